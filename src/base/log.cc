#include "base/log.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <string>

#include "base/json.h"
#include "base/log_format.h"

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

std::atomic<LogFormat>& Format() {
  static std::atomic<LogFormat> format{LogFormat::kText};
  return format;
}

// A line is one line, whatever it quotes: what a client sends does not look like lines of ours.
std::string OneLine(std::string_view text) {
  std::string line;
  for (char c : text) {
    if (c == '\n') line += "\\n";
    else if (c == '\r') line += "\\r";
    else line += c;
  }
  return line;
}

}  // namespace

std::optional<LogFormat> ParseLogFormat(std::string_view text) {
  if (text == "text") return LogFormat::kText;
  if (text == "json") return LogFormat::kJson;
  return std::nullopt;
}

void SetLogFormat(LogFormat format) { Format() = format; }

std::string FormatLogLine(LogFormat format, LogLevel level, Timestamp time, std::string_view text) {
  const auto index = static_cast<size_t>(level);
  if (format == LogFormat::kJson) {
    static constexpr const char* kLevels[] = {"debug", "info", "warning"};
    return Json()
               .Set("level", kLevels[index])
               .Set("msg", text)
               .Set("time", FormatTime(time))
               .Set("pid", getpid())
               .Dump() +
           "\n";
  }
  static constexpr const char* kNames[] = {"DEBUG", "INFO", "WARN"};
  return fmt::format("{} varve[{}] {} {}\n", FormatTime(time), getpid(), kNames[index], OneLine(text));
}

void SetLogLevel(LogLevel level) { Level() = level; }
LogLevel CurrentLogLevel() { return Level(); }

void LogLine(LogLevel level, std::string_view text) {
  // One write per line: lines of several threads and processes do not mix.
  std::string line = FormatLogLine(Format(), level, SystemClock().Now(), text);
  [[maybe_unused]] ssize_t n = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace varve
