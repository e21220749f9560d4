// How log lines look: one line of text for people, or one JSON object for what collects logs.
//
//   2026-11-21T18:30:00.123Z varve[4711] INFO build abc begins
//   {"level":"info","msg":"build abc begins","time":"2026-11-21T18:30:00.123Z","pid":4711}
//
// Names of members and levels are those of buildkitd's log ("debug", "info", "warning").
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"

namespace varve {

enum class LogFormat { kText, kJson };

std::optional<LogFormat> ParseLogFormat(std::string_view text);  // "text", "json"
void SetLogFormat(LogFormat format);                             // of this process; text at first

// With its newline, and with none inside.
std::string FormatLogLine(LogFormat format, LogLevel level, Timestamp time, std::string_view text);

}  // namespace varve
