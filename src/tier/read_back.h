// Replacing a document that others replace at the same moment, where no write can be made conditional.
//
// A writer that was overtaken finds out afterwards: it reads the document back, and merges again when
// what it added is not there. Whoever read the document before another's write has done his own by
// then, since reading back waits longer than a merge takes.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "base/result.h"
#include "net/retry.h"

namespace varve::tier {

struct SharedDocument {
  std::string name;  // for messages
  // Reads, merges and writes; the text that was written.
  std::function<Result<std::string>()> merge;
  // Whether the document is this text; as cheap as can be.
  std::function<Result<bool>(const std::string& text)> is;
  // Whether what was added is in it.
  std::function<Result<bool>()> holds;
};

// kUnavailable when others overwrote it again and again.
Status MergeAndReadBack(const SharedDocument& document, net::Sleeper& sleeper, std::stop_token stop);

// Pauses for a moment of random length between two attempts; false when `stop` was requested.
bool StepBack(net::Sleeper& sleeper, std::stop_token stop);

inline constexpr int kMaxMerges = 40;  // twenty exporters at once need about six

}  // namespace varve::tier
