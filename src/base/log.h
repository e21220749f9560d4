// Diagnostics for people who look into varve itself; a build's own output is progress events.
//
// Off by default. VARVE_LOG=debug|info|warn (or `-D`) sends lines to stderr. Never log a secret's
// value, an Authorization header, or a URL with credentials (net::Redact).
#pragma once

#include <fmt/core.h>

#include <string_view>

namespace varve {

enum class LogLevel { kDebug, kInfo, kWarn, kOff };

void SetLogLevel(LogLevel level);
LogLevel CurrentLogLevel();
void LogLine(LogLevel level, std::string_view text);

#define VARVE_LOG(level, ...)                                \
  do {                                                       \
    if (::varve::CurrentLogLevel() <= (level)) {             \
      ::varve::LogLine((level), ::fmt::format(__VA_ARGS__)); \
    }                                                        \
  } while (false)
#define LOG_DEBUG(...) VARVE_LOG(::varve::LogLevel::kDebug, __VA_ARGS__)
#define LOG_INFO(...) VARVE_LOG(::varve::LogLevel::kInfo, __VA_ARGS__)
#define LOG_WARN(...) VARVE_LOG(::varve::LogLevel::kWarn, __VA_ARGS__)

}  // namespace varve
