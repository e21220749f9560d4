#include "engine/replay.h"

#include <algorithm>

#include "base/json.h"
#include "base/log.h"
#include "base/metric.h"
#include "engine/engine.h"
#include "graph/reads.h"

namespace varve::engine {

namespace {

constexpr int kTraceSchema = 1;
// What a step may leave behind; beyond it whole directories stand for their files.
constexpr size_t kMaxEntries = 1000;
constexpr size_t kCandidates = 16;

struct Replay {
  bool stands = false;
  size_t paths = 0;     // looked at
  std::string path;     // the first that differs: "package-lock.json"
  std::string differs;  // "content changed"
};

// Whether runs of the step may stand for others.
bool IsTraceable(const graph::Step& step) {
  const auto* exec = std::get_if<graph::Exec>(&step.op);
  if (exec == nullptr || exec->security != graph::SecurityMode::kSandbox || !exec->devices.empty() ||
      exec->network == graph::NetworkMode::kHost) {
    return false;
  }
  // What is written to other mounts and kept is more than one layer.
  return std::ranges::all_of(exec->mounts, [](const graph::Mount& mount) {
    return mount.target == "/" ? mount.output == 0 : mount.output < 0;
  });
}

// Whether a step adds, as one layer, files from a directory on the client's machine.
bool CopiesFromContext(const graph::Graph& graph, graph::StepIndex i) {
  const auto* file = std::get_if<graph::FileOp>(&graph.steps[i].op);
  if (file == nullptr) return false;
  return std::ranges::any_of(file->actions, [&](const graph::FileAction& action) {
    const auto* copy = std::get_if<graph::Copy>(&action);
    if (copy == nullptr || copy->input < 0) return false;
    const graph::Ref& from = graph.steps[i].inputs[static_cast<size_t>(copy->input)];
    return std::holds_alternative<graph::LocalSource>(graph.steps[from.step].op);
  });
}

// The file system that a step writes on; none where that is scratch, or several.
std::optional<graph::Ref> LineageOf(const graph::Step& step) {
  std::optional<graph::Ref> found;
  for (const graph::InputUse& use : graph::InputUses(step)) {
    if (!use.lineage) continue;
    if (found) return std::nullopt;
    found = step.inputs[static_cast<size_t>(use.input)];
  }
  return found;
}

const cache::Rootfs* OutputOf(const Plan& plan, const graph::Ref& ref) {
  const auto* outputs = plan.Outputs(ref.step);
  return outputs != nullptr && ref.output < outputs->size() ? &(*outputs)[ref.output] : nullptr;
}

}  // namespace

std::optional<std::vector<LayerBelow>> LayersBelow(const graph::Graph& graph, const Plan& plan,
                                                   graph::StepIndex step) {
  if (!IsTraceable(graph.steps[step])) return std::nullopt;
  std::vector<LayerBelow> below;
  std::optional<graph::Ref> at = LineageOf(graph.steps[step]);
  const cache::Rootfs* rootfs = at ? OutputOf(plan, *at) : nullptr;
  if (rootfs == nullptr) return below;  // on scratch
  for (const DiffId& layer : rootfs->layers) below.push_back({layer, LayerBelow::Kind::kContent});
  size_t end = below.size();  // of what is not classified yet
  while (at) {
    if (plan.IsImage(at->step)) {
      for (size_t n = 0; n < end; ++n) below[n].kind = LayerBelow::Kind::kImage;
    }
    std::optional<graph::Ref> parent = LineageOf(graph.steps[at->step]);
    const cache::Rootfs* base = parent ? OutputOf(plan, *parent) : nullptr;
    if (base == nullptr || base->layers.size() > end) break;
    if (base->layers.size() + 1 == end && CopiesFromContext(graph, at->step)) {
      below[end - 1].kind = LayerBelow::Kind::kTraced;
    }
    end = base->layers.size();
    at = parent;
  }
  return below;
}

namespace {

Result<WeakStep> ComputeWeakKey(const KeyedStep& keyed, const std::vector<LayerBelow>& below,
                                StepRunner& runner) {
  WeakStep weak;
  Json layers = Json::EmptyArray();
  for (const LayerBelow& layer : below) {
    if (layer.kind == LayerBelow::Kind::kImage) {
      layers.Append(layer.layer.ToString());
      continue;
    }
    // One that lies in the stack twice is mounted once: what is asked of the other would not be noted.
    bool traced = layer.kind == LayerBelow::Kind::kTraced &&
                  std::ranges::count(below, layer.layer, &LayerBelow::layer) == 1;
    TRY_ASSIGN(LayerContent content, runner.ContentOf(layer.layer, traced));
    if (traced && content.tree) {
      layers.Append("traced");
      weak.traced.push_back({layer.layer, content.has_xattrs});
      weak.trees.push_back(*content.tree);
    } else {
      layers.Append(Json().Set("content", content.digest.ToString()));
    }
  }
  TRY_ASSIGN(Json exact, Json::Parse(keyed.preimage));
  Json preimage;
  for (const auto& [name, value] : exact.as_object()) {
    if (name != "lineage") preimage.Set(name, value);
  }
  preimage.Set("layers", std::move(layers)).Set("trace", kTraceSchema);
  weak.key = Digest::Of(preimage.DumpCanonical());
  return weak;
}

}  // namespace

std::optional<WeakStep> WeakStepOf(const graph::Step& step, const KeyedStep& keyed,
                                   const std::vector<LayerBelow>& below, StepRunner& runner) {
  auto weak = ComputeWeakKey(keyed, below, runner);
  if (weak) return std::move(*weak);
  LOG_WARN("step \"{}\" is not traced: {}", step.name, weak.error().message);
  return std::nullopt;
}

Result<cache::StepTrace> MakeTrace(const WeakStep& weak, tree::TreeStore& trees,
                                   const std::vector<std::vector<tree::Question>>& asked) {
  if (asked.size() != weak.traced.size()) return Corrupt("not every traced layer has notes");
  cache::StepTrace trace{weak.key, {}};
  for (size_t i = 0; i < asked.size(); ++i) {
    TRY_ASSIGN(tree::ReadSet set, tree::AnswerAll(trees, weak.trees[i], asked[i]));
    TRY_ASSIGN(set, tree::Coarsen(trees, weak.trees[i], std::move(set), kMaxEntries));
    trace.reads.push_back(tree::EncodeReadSet(set));
  }
  return trace;
}

namespace {

Result<Replay> CheckTrace(const cache::StepTrace& trace, const WeakStep& weak, tree::TreeStore& trees) {
  Replay replay;
  if (trace.weak_key != weak.key || trace.reads.size() != weak.trees.size()) return replay;
  for (size_t i = 0; i < trace.reads.size(); ++i) {
    TRY_ASSIGN(tree::ReadSet set, tree::DecodeReadSet(trace.reads[i]));
    TRY_ASSIGN(auto mismatch, tree::FirstMismatch(trees, weak.trees[i], set));
    replay.paths += set.size();
    if (!mismatch) continue;
    replay.path = mismatch->path.empty() ? "/" : mismatch->path;
    replay.differs = mismatch->difference;
    return replay;
  }
  replay.stands = true;
  return replay;
}

std::string Describe(const Replay& replay) {
  if (replay.paths == 0) return "replayed: what is below it holds the same";
  return fmt::format("replayed: {} {} looked at, none changed", replay.paths,
                     replay.paths == 1 ? "path" : "paths");
}

Result<std::optional<Replayed>> Find(const Services& services, const RunRequest& request, const WeakStep& weak,
                                     const ReplayedStep& step, std::stop_token stop) {
  const graph::Step& wanted = request.graph.steps[request.step];
  cache::Rootfs base;
  for (const graph::InputUse& use : graph::InputUses(wanted)) {
    if (use.lineage) base = request.inputs[static_cast<size_t>(use.input)].rootfs;
  }
  TRY_ASSIGN(auto earlier, services.records.Earlier(step.slot, step.keyed.op_digest, kCandidates));
  for (cache::StepRecord& record : earlier) {
    bool fits = record.trace && record.trace->weak_key == weak.key && record.outputs.size() == 1 &&
                !record.outputs[0].layers.empty();
    if (!fits || record.created < step.not_before) continue;
    TRY_ASSIGN(Replay replay, CheckTrace(*record.trace, weak, services.trees));
    if (!replay.stands) {
      LOG_INFO("\"{}\" is not replayed: {}: {}", wanted.name, replay.path, replay.differs);
      continue;
    }
    auto made = services.runner.Stack(request.graph, request.step, base, record.outputs[0].layers.back(),
                                      services.observer.SinkOf(request.step), stop);
    if (!made) {
      // Its layer is gone: another earlier run may do as well.
      if (made.error().code == Code::kCancelled) return std::move(made).error();
      continue;
    }
    record.key = step.keyed.key;
    record.preimage = step.keyed.preimage;
    record.inputs = step.keyed.inputs;
    record.images = step.keyed.images;
    record.slot = step.slot;
    record.name = wanted.name;
    record.outputs = {std::move(*made)};
    return Replayed{std::move(record), Describe(replay)};
  }
  return std::optional<Replayed>();
}

}  // namespace

Result<std::optional<Replayed>> FindReplay(const Services& services, const RunRequest& request,
                                           const WeakStep& weak, const ReplayedStep& step,
                                           std::stop_token stop) {
  METRIC("engine.replay");
  auto found = Find(services, request, weak, step, stop);
  if (!found) {
    if (found.error().code == Code::kCancelled) return found;
    LOG_WARN("earlier runs of \"{}\": {}", request.graph.steps[request.step].name, found.error().message);
    return std::optional<Replayed>();
  }
  if (!*found) return found;
  Counter("engine.replays").Add();
  if (Status put = services.records.Put((*found)->record); !put) {
    LOG_WARN("record of \"{}\" was not stored: {}", (*found)->record.name, put.error().message);
  }
  return found;
}

}  // namespace varve::engine
