#include "daemon/refusals.h"

namespace varve::daemon {

Status RefuseClientsFiles(const std::vector<tier::Spec>& specs) {
  for (const tier::Spec& spec : specs) {
    if (spec.sign_key.empty() && spec.verify_key.empty()) continue;
    Error error = Invalid("cache {}: sign-key and verify-key are not supported through the daemon yet", spec.Name());
    error.hint = "use varve build, which reads the client's key";
    return error;
  }
  return Ok();
}

}  // namespace varve::daemon
