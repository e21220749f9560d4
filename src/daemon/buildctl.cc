#include "daemon/buildctl.h"

#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <cstring>
#include <map>

#include "api/control.grpc.pb.h"
#include "base/strings.h"
#include "daemon/capabilities.h"
#include "daemon/failure.h"
#include "daemon/server.h"
#include "job/console.h"
#include "job/exit_code.h"

namespace varve::daemon {

namespace {

constexpr char kDefaultAddress[] = "unix:///run/buildkit/buildkitd.sock";
constexpr auto kAnswerTime = std::chrono::seconds(5);

Result<Fd> Connect(const std::string& text) {
  TRY_ASSIGN(auto address, ParseAddress(text));
  if (address.kind != ListenAddress::Kind::kUnix) {
    return Invalid("{}: only unix:// addresses are supported here", text);
  }
  sockaddr_un name{.sun_family = AF_UNIX, .sun_path = {}};
  if (address.path.size() >= sizeof(name.sun_path)) return Invalid("the path {} is too long", address.path);
  memcpy(name.sun_path, address.path.c_str(), address.path.size() + 1);
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return ErrnoError(errno, "socket");
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) != 0) {
    return ErrnoError(errno, "connect to " + text);
  }
  return fd;
}

// Moves what there is; false at the end of `from`.
Result<bool> Move(int from, int to) {
  char buffer[64 << 10];
  ssize_t n = read(from, buffer, sizeof(buffer));
  if (n < 0 && errno == EINTR) return true;
  if (n < 0) return ErrnoError(errno, "read");
  if (n == 0) return false;
  FdWriter out(to);
  TRY(out.Write({buffer, static_cast<size_t>(n)}));
  return true;
}

// Until the daemon ends the connection. The end of our input is passed on, and answers still come.
Status DialStdio(const std::string& address) {
  TRY_ASSIGN(Fd daemon, Connect(address));
  bool input = true;
  while (true) {
    pollfd ready[2] = {{.fd = daemon.get(), .events = POLLIN, .revents = 0},
                       {.fd = input ? STDIN_FILENO : -1, .events = POLLIN, .revents = 0}};
    if (poll(ready, 2, -1) < 0 && errno != EINTR) return ErrnoError(errno, "poll");
    if (ready[1].revents != 0) {
      TRY_ASSIGN(input, Move(STDIN_FILENO, daemon.get()));
      if (!input) shutdown(daemon.get(), SHUT_WR);
    }
    if (ready[0].revents != 0) {
      TRY_ASSIGN(bool more, Move(daemon.get(), STDOUT_FILENO));
      if (!more) return Ok();
    }
  }
}

Status ShowWorkers(const std::string& address, bool verbose) {
  // gRPC's own words for a socket that is not there name no file.
  TRY(Connect(address));
  auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kAnswerTime);
  control::ListWorkersResponse response;
  auto status = control::Control::NewStub(channel)->ListWorkers(&context, {}, &response);
  if (!status.ok()) return FromGrpc(status);
  std::string out = verbose ? "" : "ID\t\t\t\tPLATFORMS\n";
  for (const auto& worker : response.record()) {
    std::vector<std::string> platforms;
    for (const auto& platform : worker.platforms()) {
      platforms.push_back(platform.os() + "/" + platform.architecture() +
                          (platform.variant().empty() ? "" : "/" + platform.variant()));
    }
    if (!verbose) {
      out += fmt::format("{}\t{}\n", worker.id(), Join(platforms, ","));
      continue;
    }
    out += fmt::format("ID:\t\t{}\nPlatforms:\t{}\nLabels:\n", worker.id(), Join(platforms, ","));
    const std::map<std::string, std::string> labels(worker.labels().begin(), worker.labels().end());
    for (const auto& [name, value] : labels) out += fmt::format("\t{}:\t{}\n", name, value);
    out += "\n";
  }
  job::ToStdout(out);
  return Ok();
}

}  // namespace

int BuildctlMain(int argc, char** argv) {
  CLI::App app("the part of buildctl that drivers of docker buildx call", "buildctl");
  std::string address;
  const char* host = std::getenv("BUILDKIT_HOST");
  app.set_version_flag("-v,--version", fmt::format("buildctl {} {} {}", kPackage, kBuildkitVersion, kRevision));
  app.add_option("--addr", address, "Address of the daemon")
      ->default_val(host != nullptr && *host != '\0' ? host : kDefaultAddress);
  CLI::App* dial = app.add_subcommand("dial-stdio", "Connect standard input and output to the daemon");
  CLI::App* debug = app.add_subcommand("debug", "Look into the daemon");
  CLI::App* workers = debug->add_subcommand("workers", "List workers");
  bool verbose = false;
  workers->add_flag("-v,--verbose", verbose, "With their labels");
  debug->require_subcommand(1);
  app.require_subcommand(1);
  CLI11_PARSE(app, argc, argv);
  Status done = dial->parsed() ? DialStdio(address) : ShowWorkers(address, verbose);
  if (done) return job::kSuccess;
  job::PrintCommandError(done.error());
  return job::ExitCodeOf(done.error());
}

}  // namespace varve::daemon
