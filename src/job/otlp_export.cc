#include "job/otlp_export.h"

#include <thread>

#include "base/strings.h"
#include "net/http_client.h"

namespace varve::job {

namespace {

// OTLP specification, "Retryable Response Codes".
bool IsRetryable(int status) { return status == 429 || status == 502 || status == 503 || status == 504; }

}  // namespace

Status SendOtlp(const report::OtlpTarget& target, const Json& body) {
  using Milliseconds = std::chrono::milliseconds;
  auto end = std::chrono::steady_clock::now() + target.timeout;
  auto left = [&] { return std::chrono::duration_cast<Milliseconds>(end - std::chrono::steady_clock::now()); };
  net::HttpClient http;
  net::Request request{.method = "POST", .url = target.url, .headers = target.headers, .body = body.Dump()};
  request.headers.emplace_back("Content-Type", "application/json");
  request.tls.ca = target.certificate;
  for (Milliseconds pause{250};; pause *= 2) {
    Milliseconds rest = std::max(left(), Milliseconds(1));
    request.timeouts = {.connect = rest, .stall = rest, .total = rest};
    auto reply = http.Fetch(request, 64 << 10, {});
    if (!reply) return Error(std::move(reply).error());
    int status = reply->head.status;
    if (status / 100 == 2) {
      std::string rejected = report::PartialSuccess(reply->body);
      return rejected.empty() ? Ok() : Status(Invalid("{}: {}", target.url, rejected));
    }
    Milliseconds wait = pause;
    if (auto asked = ParseInt(reply->head.Header("Retry-After"))) wait = std::max(wait, Milliseconds(1000 * *asked));
    if (!IsRetryable(status) || wait >= left()) {
      std::string said(TrimSpace(reply->body));
      return Unavailable("POST {} answered {}{}", target.url, status, said.empty() ? "" : ": " + said.substr(0, 200));
    }
    std::this_thread::sleep_for(wait);
  }
}

}  // namespace varve::job
