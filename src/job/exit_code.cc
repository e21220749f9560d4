#include "job/exit_code.h"

namespace varve::job {

ExitCode ExitCodeOf(const Error& error) {
  switch (error.code) {
    case Code::kInvalid:
    case Code::kNotFound:
    case Code::kExec:
      return kBuildFailed;
    case Code::kUnavailable:
      return kServiceDown;
    case Code::kResource:
      return kOutOfResources;
    case Code::kCorrupt:
      return kDamaged;
    case Code::kCancelled:
      return kInterrupted;
    case Code::kInternal:
      return kBug;
  }
  return kBug;
}

}  // namespace varve::job
