#include "engine/shadow.h"

#include <cstring>

#include "base/log.h"
#include "base/metric.h"
#include "tree/selection.h"

namespace varve::engine {

namespace {

class SilentSink final : public StepSink {
 public:
  void Log(int, std::string_view) override {}
  void Progress(const std::string&, uint64_t, uint64_t, bool) override {}
};

// The first path in which two results of a step differ.
std::string FirstDifference(const cache::Rootfs& replayed, const cache::Rootfs& real, tree::TreeStore& trees) {
  auto differences = tree::Compare(trees, replayed.tree_root, real.tree_root, RelPath(), 1);
  if (!differences || differences->empty()) return "its layer is another";
  const tree::Difference& first = differences->front();
  return fmt::format("{}: {}", first.path.Absolute(), tree::DifferenceName(first.kind));
}

Result<ShadowResult> RunShadow(const ShadowRun& shadow, const ReplayStores& stores, std::stop_token stop) {
  ShadowResult out{.step = shadow.request.step};
  SilentSink sink;
  auto real = stores.runner.Run(shadow.request, sink, stop);
  if (!real && real.error().code == Code::kExec) {
    out.differs = true;
    out.text = fmt::format("run for real, it failed: {}", real.error().message);
    return out;
  }
  if (!real) return std::move(real).error();
  if (real->outputs.size() != 1 || real->outputs[0].layers.empty()) return Corrupt("it gave no layer");
  TRY_ASSIGN(LayerContent now, stores.runner.ContentOf(real->outputs[0].layers.back(), false));
  TRY_ASSIGN(LayerContent then, stores.runner.ContentOf(shadow.replayed.layers.back(), false));
  out.differs = now.digest != then.digest;
  out.text = out.differs ? "run for real, it gave something else: " +
                               FirstDifference(shadow.replayed, real->outputs[0], stores.trees)
                         : "run for real, it gave the same";
  return out;
}

void Disown(const ShadowRun& shadow, const std::string& why, cache::RecordStore& records) {
  Counter("engine.shadow_differs").Add();
  if (Status done = records.Disown(shadow.weak_key, why); !done) LOG_WARN("{}", done.error().message);
  if (Status done = records.Drop(shadow.request.key); !done) LOG_WARN("{}", done.error().message);
}

}  // namespace

bool IsSampled(const StepKey& key, int percent) {
  uint32_t number = 0;
  const Digest digest = Digest::Of("shadow " + key.Hex());
  std::memcpy(&number, digest.raw().data(), sizeof(number));
  return static_cast<int>(number % 100) < percent;
}

std::vector<ShadowResult> RunShadows(const std::vector<ShadowRun>& shadows, const ReplayStores& stores,
                                     std::stop_token stop) {
  METRIC("engine.shadow");
  std::vector<ShadowResult> results;
  for (const ShadowRun& shadow : shadows) {
    const std::string& name = shadow.request.graph.steps[shadow.request.step].name;
    auto result = RunShadow(shadow, stores, stop);
    if (!result) {
      if (result.error().code == Code::kCancelled) break;
      LOG_WARN("the replay of \"{}\" could not be checked: {}", name, result.error().message);
      continue;
    }
    Counter("engine.shadow_runs").Add();
    if (result->differs) {
      LOG_WARN("\"{}\" was replayed, but {}; it is not replayed any more", name, result->text);
      Disown(shadow, fmt::format("its replays are not trusted: {}", result->text), stores.records);
    }
    results.push_back(std::move(*result));
  }
  return results;
}

void NoteShadows(const std::vector<ShadowResult>& results, std::vector<StepOutcome>& steps) {
  for (const ShadowResult& result : results) steps[result.step].shadow = result.text;
}

}  // namespace varve::engine
