// A daemon under many clients, good and bad ones, for as long as one likes; afterwards it holds what it held before.
//
//   soak VARVED [--clients N] [--sessions N] [--rounds N] [--seconds N] [--directory DIR]
//
// A round is: N clients that build at once, among them some that cancel, close or die while they upload; a tenth of as
// many whose process is killed; then N sessions that are opened and dropped. A tenth of a round goes before the first,
// and fills what is made once; what the daemon then has of memory, descriptors, mounts, processes and temporary files
// is the measure for the middle and the end of each round. Rounds go on until both --rounds and --seconds are over.
// With VARVE_REGISTRIES naming a registry that has busybox, builds run steps in it. A round of the defaults takes two
// cores some minutes.
//
// Ends with 0 when nothing was left behind, every good client had its build, and the daemon ended as it was told.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "crowd.h"
#include "daemon_process.h"
#include "sys/process.h"
#include "sys/tempdir.h"

namespace varve::soak {

namespace {

using std::chrono::steady_clock;

struct Options {
  std::string varved, directory, crowd;
  int clients = 100, sessions = 10'000, rounds = 1, seconds = 0;
};

// What caches and allocators may keep of more clients than there were before. A leak of 8 KiB a session is 80 MiB a
// round.
constexpr uint64_t kSlackBytes = 48 << 20;
constexpr size_t kSlackFiles = 8;
// gRPC's threads come and go with the load.
constexpr size_t kSlackThreads = 64;
// Ending takes time: health checks, a step that is killed.
constexpr std::chrono::seconds kSettle{60};

class Soak {
 public:
  Soak(Options options, DaemonProcess daemon) : options_(std::move(options)), daemon_(std::move(daemon)) {}

  int Run() {
    Let({.clients = std::max(options_.clients / 10, 10), .round = -1, .sessions = options_.sessions / 10});
    const Usage start = Settled(nullptr);
    Tell("start", start);
    const auto end = steady_clock::now() + std::chrono::seconds(options_.seconds);
    for (int round = 0; round < options_.rounds || steady_clock::now() < end; ++round) {
      Let({.clients = options_.clients, .round = round});
      Kill(round);
      Compare(fmt::format("round {} middle", round), start);
      Let({.round = round, .sessions = options_.sessions});
      Compare(fmt::format("round {} end", round), start);
      if (!daemon_.running()) break;
    }
    if (!daemon_.running()) Fail("the daemon has ended by itself");
    else if (int code = daemon_.Stop(); code != 0) Fail(fmt::format("the daemon ended with {}", code));
    fmt::print("{} builds, {} of them left early, {} sessions: {}\n", builds_, left_, dropped_,
               failures_ == 0 ? "nothing was left behind" : fmt::format("{} failures", failures_));
    return failures_ == 0 ? 0 : 1;
  }

 private:
  void Fail(const std::string& what) {
    ++failures_;
    fmt::print(stderr, "FAIL: {}\n", what);
  }

  void Tell(const std::string& when, const Usage& usage) const {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(steady_clock::now() - begun_);
    fmt::print("{:>5} s  {:16} {}\n", seconds.count(), when, usage.ToString());
  }

  static sys::Child Start(const std::vector<std::string>& argv) {
    auto child = sys::Spawn({.argv = argv, .stderr_fd = STDERR_FILENO});
    CHECK(child.has_value());
    return std::move(*child);
  }

  std::vector<std::string> Argv(const Crowd& crowd) const {
    return {"/proc/self/exe",
            "--crowd",
            crowd.address,
            "--directory",
            crowd.directory,
            "--clients",
            std::to_string(crowd.clients),
            "--rounds",
            std::to_string(crowd.round),
            "--sessions",
            std::to_string(crowd.sessions)};
  }

  void Let(Crowd crowd) {
    crowd.address = daemon_.address();
    crowd.directory = options_.directory + "/ctx";
    auto status = Start(Argv(crowd)).Wait();
    if (!status || !status->ok())
      Fail(fmt::format("the clients of round {} ended with {}", crowd.round, status ? status->code : -1));
    builds_ += crowd.clients;
    left_ += LeavingEarly(crowd.clients);
    dropped_ += crowd.sessions;
  }

  // Clients whose machine goes down: whatever they are about, all of it ends with no word.
  void Kill(int round) {
    const Crowd crowd{.address = daemon_.address(),
                      .directory = options_.directory + "/killed",
                      .clients = std::max(options_.clients / 10, 10),
                      .round = round};
    sys::Child child = Start(Argv(crowd));
    std::this_thread::sleep_for(std::chrono::milliseconds(20 + round * 37 % 400));
    CHECK(child.Kill(SIGKILL).has_value());
    (void)child.Wait();
    builds_ += crowd.clients;
    left_ += crowd.clients;
  }

  static bool IsClean(const Usage& first, const Usage& now) {
    return now.files <= first.files + kSlackFiles && now.threads <= first.threads + kSlackThreads &&
           now.mounts <= first.mounts && now.processes <= first.processes && now.leftovers <= first.leftovers;
  }

  // Once what was left has come to its end; `first`: waits until it is as it was then. Without it: until two
  // measurements are the same.
  Usage Settled(const Usage* first) const {
    const auto deadline = steady_clock::now() + kSettle;
    Usage last = daemon_.Measure();
    while (steady_clock::now() < deadline && daemon_.running()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(first ? 200 : 2000));
      const Usage now = daemon_.Measure();
      const bool settled = first ? IsClean(*first, now) : IsClean(last, now) && IsClean(now, last);
      last = now;
      if (settled) break;
    }
    return last;
  }

  void Compare(const std::string& when, const Usage& start) {
    const Usage now = Settled(&start);
    Tell(when, now);
    auto check = [&](const char* what, uint64_t before, uint64_t after, uint64_t slack) {
      if (after > before + slack) Fail(fmt::format("{}: {} at the start, {} in {}", what, before, after, when));
    };
    check("open files", start.files, now.files, kSlackFiles);
    check("threads", start.threads, now.threads, kSlackThreads);
    check("mounts", start.mounts, now.mounts, 0);
    check("processes", start.processes, now.processes, 0);
    check("temporary files", start.leftovers, now.leftovers, 0);
    check("bytes of memory", start.resident, now.resident, kSlackBytes);
  }

  const Options options_;
  const steady_clock::time_point begun_ = steady_clock::now();
  DaemonProcess daemon_;
  int failures_ = 0, builds_ = 0, left_ = 0, dropped_ = 0;
};

int Main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // what was measured is there, also when this is killed
  CLI::App app("A daemon under many clients");
  Options options;
  app.add_option("varved", options.varved, "The daemon's program");
  app.add_option("--clients", options.clients, "That build at once");
  app.add_option("--sessions", options.sessions, "Opened and dropped in each round");
  app.add_option("--rounds", options.rounds, "At least");
  app.add_option("--seconds", options.seconds, "At least");
  app.add_option("--directory", options.directory, "Where everything lies; removed at the end unless it is named");
  app.add_option("--crowd", options.crowd, "Be the clients of the daemon at this address")->group("");
  CLI11_PARSE(app, argc, argv);
  if (!options.crowd.empty()) {
    const Crowd crowd{options.crowd, options.directory, options.clients, options.rounds, options.sessions};
    return Run(crowd) ? 0 : 1;
  }
  if (options.varved.empty()) {
    fmt::print(stderr, "which varved? See --help\n");
    return 2;
  }
  std::optional<sys::TempDir> temporary;
  if (options.directory.empty()) {
    auto made = sys::TempDir::Create(sys::TemporaryRoot(), "varve-soak-");
    CHECK(made.has_value());
    temporary = std::move(*made);
    options.directory = temporary->path();
  }
  auto daemon = DaemonProcess::Start(options.varved, options.directory + "/daemon");
  if (!daemon) {
    fmt::print(stderr, "{}\n", daemon.error().ToString());
    return 1;
  }
  return Soak(std::move(options), std::move(*daemon)).Run();
}

}  // namespace

}  // namespace varve::soak

int main(int argc, char** argv) { return varve::soak::Main(argc, argv); }
