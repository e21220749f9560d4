// The source policy of a command line: --source-policy-file, or the file that the environment names.
#pragma once

#include <memory>

#include "job/build_flags.h"
#include "policy/source_policy.h"

namespace varve::job {

// Null when there is none. kNotFound and kInvalid name the file.
Result<std::shared_ptr<policy::SourcePolicy>> ReadSourcePolicy(const BuildFlags& flags);

}  // namespace varve::job
