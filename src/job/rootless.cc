#include "job/rootless.h"

#include <unistd.h>

#include <cstdlib>

#include "base/log.h"
#include "cache/root.h"
#include "sys/namespace.h"

namespace varve::job {

Status BecomeRootless() {
  if (geteuid() == 0 || sys::CanMount()) return Ok();
  setenv("VARVE_ROOT", cache::RootDirectory("").c_str(), 1);
  Status entered = sys::EnterUserNamespace();
  if (entered) return Ok();
  if (sys::MappedIds() == 0) {
    Error error = std::move(entered).error();
    error.hint =
        "allow unprivileged user namespaces (sysctl kernel.apparmor_restrict_unprivileged_userns=0, "
        "or an AppArmor profile for varve), or run as root";
    return error;
  }
  LOG_WARN("{}", entered.error().ToString());
  return Ok();
}

}  // namespace varve::job
