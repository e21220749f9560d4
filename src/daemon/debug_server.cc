#include "daemon/debug_server.h"

#include <malloc.h>

#include "base/strings.h"

namespace varve::daemon {

namespace {

using gha_server::HttpReply;
using gha_server::HttpRequest;

constexpr char kPlaces[] = "/metrics\n/healthz\n/debug/requests\n/debug/gc\n";

HttpReply Text(int status, std::string body) {
  return {.status = status, .headers = {{"Content-Type", "text/plain; charset=utf-8"}}, .body = std::move(body)};
}

// A body that comes along is read and dropped.
class Get final : public gha_server::Exchange {
 public:
  explicit Get(std::function<HttpReply()> reply) : reply_(std::move(reply)) {}
  void Body(std::string_view) override {}
  HttpReply Finish() override { return reply_(); }

 private:
  const std::function<HttpReply()> reply_;
};

std::string CollectMemory() {
  const bool released = malloc_trim(0) != 0;
  const struct mallinfo2 info = mallinfo2();
  return fmt::format("{}; {} in use, {} free and kept\n",
                     released ? "memory was given back to the system" : "there was no memory to give back",
                     FormatBytes(info.uordblks + info.hblkhd), FormatBytes(info.fordblks));
}

std::string NumericAddress(std::string address) {
  if (address.starts_with(':')) return "0.0.0.0" + address;
  if (address.starts_with("localhost:")) return "127.0.0.1" + address.substr(9);
  return address;
}

}  // namespace

Result<std::unique_ptr<DebugServer>> DebugServer::Start(const std::string& address, DebugPages pages) {
  auto server = std::unique_ptr<DebugServer>(new DebugServer(std::move(pages)));
  auto accept = [self = server.get()](HttpRequest request) -> std::unique_ptr<gha_server::Exchange> {
    return std::make_unique<Get>([self, request = std::move(request)] { return self->Reply(request); });
  };
  auto http = gha_server::HttpDaemon::Start(NumericAddress(address), std::move(accept));
  if (!http) return std::move(http).error().With("--debugaddr");
  server->http_ = std::move(*http);
  return server;
}

HttpReply DebugServer::Reply(const HttpRequest& request) const {
  if (request.method != "GET" && request.method != "HEAD") return Text(405, "GET is all there is here\n");
  if (request.path == "/metrics") {
    return {.status = 200,
            .headers = {{"Content-Type", "text/plain; version=0.0.4; charset=utf-8"}},
            .body = pages_.metrics()};
  }
  if (request.path == "/healthz") {
    const std::string why = pages_.unhealthy();
    return why.empty() ? Text(200, "ok\n") : Text(503, why + "\n");
  }
  if (request.path == "/debug/requests") return Text(200, pages_.requests());
  if (request.path == "/debug/gc") return Text(200, CollectMemory());
  if (request.path.starts_with("/debug/pprof")) {
    return Text(404, "there are no profiles of Go's here: use perf record -g -p PID\n");
  }
  return Text(404, std::string("there is nothing here; there are:\n") + kPlaces);
}

}  // namespace varve::daemon
