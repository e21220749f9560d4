#include "daemon_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <thread>

#include "base/fd.h"
#include "base/strings.h"
#include "net/http_client.h"
#include "sys/open.h"

namespace varve::soak {

namespace {

namespace fs = std::filesystem;

size_t CountEntries(const std::string& directory) {
  std::error_code error;
  size_t count = 0;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) ++count;
  return count;
}

size_t CountLines(const std::string& path) {
  auto text = ReadFile(path, 16 << 20);
  return text ? static_cast<size_t>(std::ranges::count(*text, '\n')) : 0;
}

// The number after "NAME:" in /proc/PID/status.
int64_t StatusField(const std::string& pid, std::string_view name) {
  auto text = ReadFile("/proc/" + pid + "/status", 1 << 16);
  if (!text) return 0;
  for (const std::string& line : Split(*text, '\n')) {
    if (!line.starts_with(name) || line.size() <= name.size()) continue;
    const std::string number(TrimSpace(line.substr(name.size() + 1)));
    return ParseInt(number.substr(0, number.find(' '))).value_or(0);
  }
  return 0;
}

size_t CountDescendants(pid_t ancestor) {
  std::map<pid_t, pid_t> parents;
  std::error_code error;
  for (fs::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename();
    auto pid = ParseInt(name);
    if (pid) parents[static_cast<pid_t>(*pid)] = static_cast<pid_t>(StatusField(name, "PPid"));
  }
  size_t count = 0;
  for (const auto& [pid, parent] : parents) {
    for (pid_t at = parent; at > 1; at = parents.contains(at) ? parents[at] : 0) {
      if (at == ancestor && ++count) break;
    }
  }
  return count;
}

}  // namespace

std::string Usage::ToString() const {
  return fmt::format("{:4} MiB, {} files, {} threads, {} mounts, {} processes, {} leftovers", resident >> 20, files,
                     threads, mounts, processes, leftovers);
}

Result<DaemonProcess> DaemonProcess::Start(const std::string& varved, const std::string& directory) {
  TRY(sys::MkdirAll(directory));
  const std::string log = directory + "/log";
  TRY_ASSIGN(Fd out, OpenFile(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  TRY_ASSIGN(sys::Child child, sys::Spawn({.argv = {varved, "--addr", "unix://" + directory + "/d.sock", "--root",
                                                    directory + "/root", "--debugaddr", "127.0.0.1:0"},
                                           .stderr_fd = out.get()}));
  DaemonProcess daemon(std::move(child), directory);
  constexpr std::string_view kAddress = "metrics are at http://";
  for (int i = 0; i < 600; ++i) {
    auto text = ReadFile(log, 1 << 20);
    size_t at = text ? text->find(kAddress) : std::string::npos;
    if (at != std::string::npos && text->find('\n', at) != std::string::npos) {
      at += kAddress.size();
      daemon.debug_address_ = text->substr(at, text->find('/', at) - at);
      return daemon;
    }
    if (!daemon.running()) return Unavailable("{} did not start: {}", varved, text ? *text : "");
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  return Unavailable("{} does not begin to listen", varved);
}

bool DaemonProcess::running() const {
  siginfo_t info{};
  return waitid(P_PID, static_cast<id_t>(child_.pid()), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

Usage DaemonProcess::Measure() const {
  net::HttpClient http;
  (void)http.Fetch({.url = "http://" + debug_address_ + "/debug/gc"}, 4096, {});
  const std::string pid = std::to_string(child_.pid());
  Usage usage;
  usage.resident = static_cast<uint64_t>(StatusField(pid, "VmRSS")) << 10;
  usage.files = CountEntries("/proc/" + pid + "/fd");
  usage.threads = static_cast<size_t>(StatusField(pid, "Threads"));
  usage.mounts = CountLines("/proc/" + pid + "/mountinfo");
  usage.processes = CountDescendants(child_.pid());
  usage.leftovers = CountEntries(root() + "/staging") + CountEntries(root() + "/jobs");
  return usage;
}

int DaemonProcess::Stop() {
  if (!child_.Kill(SIGTERM)) return -1;
  auto status = child_.Wait();
  return status ? status->code : -1;
}

}  // namespace varve::soak
