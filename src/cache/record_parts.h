// A record's body as it is in a row of the index; for step_record.cc alone.
#pragma once

#include <string>
#include <string_view>

#include "cache/step_record.h"

namespace varve::cache {

bool IsBinaryBody(std::string_view body);

// Without preimage and log, of which it has the log's digest.
std::string EncodeBody(const StepRecord& record);
Result<StepRecord> DecodeBody(std::string_view body, std::string_view log);  // kCorrupt

}  // namespace varve::cache
