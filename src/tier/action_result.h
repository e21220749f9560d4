// A text as an entry of Bazel's action cache.
//
// bazel-remote takes nothing else there: it parses what is PUT as an ActionResult of the Remote Execution API
// (build/bazel/remote/execution/v2), writes it anew with the client's address as the name of a worker, and
// answers GET only while all blobs that the entry names are there. So the text is the standard output of an action,
// within the entry (stdout_raw, field 5): an entry that names no blob stays whatever else the server drops.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace varve::tier {

std::string AsActionResult(std::string_view text);
// Other fields are passed over. kInvalid: it is no such message, or has no standard output.
Result<std::string> TextOfActionResult(std::string_view entry);

}  // namespace varve::tier
