#include "daemon/refusals.h"

#include <algorithm>

namespace varve::daemon {

Status RefuseClientsFiles(const std::vector<tier::Spec>& specs) {
  for (const tier::Spec& spec : specs) {
    if (spec.kind == tier::Kind::kLocal) {
      Error error = Invalid("caches of type=local are not supported through the daemon yet");
      error.hint = "use type=registry, or varve build with type=local";
      return error;
    }
    if (spec.sign_key.empty() && spec.verify_key.empty()) continue;
    Error error = Invalid("cache {}: sign-key and verify-key are not supported through the daemon yet", spec.Name());
    error.hint = "use varve build, which reads the client's key";
    return error;
  }
  return Ok();
}

Status RefuseClientsLayouts(const graph::Graph& graph) {
  bool layout = std::ranges::any_of(graph.steps, [](const graph::Step& step) {
    return std::holds_alternative<graph::OciLayoutSource>(step.op);
  });
  return layout ? Invalid("oci-layout:// sources are not supported through the daemon yet") : Status();
}

}  // namespace varve::daemon
