#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>

#include "base/clock.h"

namespace varve {

namespace {

LogLevel FromEnvironment() {
  const char* value = std::getenv("VARVE_LOG");
  std::string_view text = value ? value : "";
  if (text == "debug") return LogLevel::kDebug;
  if (text == "info") return LogLevel::kInfo;
  if (text == "warn") return LogLevel::kWarn;
  return LogLevel::kOff;
}

std::atomic<LogLevel>& Level() {
  static std::atomic<LogLevel> level{FromEnvironment()};
  return level;
}

}  // namespace

void SetLogLevel(LogLevel level) { Level() = level; }
LogLevel CurrentLogLevel() { return Level(); }

void LogLine(LogLevel level, std::string_view text) {
  static constexpr const char* kNames[] = {"DEBUG", "INFO", "WARN"};
  // One write per line: lines of several threads and processes do not mix.
  std::string line = fmt::format("{} varve[{}] {} {}\n", FormatTime(SystemClock().Now()), getpid(),
                                 kNames[static_cast<int>(level)], text);
  [[maybe_unused]] ssize_t n = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace varve
