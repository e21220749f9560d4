#include "engine/age.h"

#include <algorithm>

namespace varve::engine {

std::optional<AgeLimit> LimitOf(const Request& request, graph::StepIndex step) {
  return step < request.max_age.size() ? request.max_age[step] : std::nullopt;
}

std::optional<Miss::Age> TooOld(const Request& request, const Plan& plan, graph::StepIndex step,
                                const cache::StepRecord& record, Timestamp now) {
  if (auto own = LimitOf(request, step)) {
    Nanos age(now.nanos - record.created.nanos);
    if (age >= own->limit) return Miss::Age{age, own->limit, own->rule, {}};
  }
  auto below = plan.LimitedBy(step);
  if (!below) return std::nullopt;
  const auto* outputs = plan.Outputs(*below);
  if (outputs == nullptr || outputs->empty()) return std::nullopt;
  const std::vector<DiffId>& layers = outputs->front().layers;
  bool on_top = std::ranges::all_of(record.outputs, [&](const cache::Rootfs& output) {
    return output.layers.size() >= layers.size() && std::equal(layers.begin(), layers.end(), output.layers.begin());
  });
  if (on_top) return std::nullopt;
  return Miss::Age{.rule = request.max_age[*below]->rule, .below = request.graph.steps[*below].name};
}

std::vector<AgeLimit> LimitsOfReplays(const Request& request, graph::StepIndex step) {
  std::vector<AgeLimit> limits;
  if (auto own = LimitOf(request, step)) limits.push_back(*own);
  const auto* exec = std::get_if<graph::Exec>(&request.graph.steps[step].op);
  bool network = exec != nullptr && exec->network != graph::NetworkMode::kNone;
  if (network && request.trace.network_age) limits.push_back(*request.trace.network_age);
  return limits;
}

}  // namespace varve::engine
