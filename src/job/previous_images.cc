#include "job/previous_images.h"

#include <algorithm>

#include "archive/codec.h"
#include "base/metric.h"
#include "base/strings.h"
#include "job/build_display.h"
#include "tier/inline_records.h"
#include "tree/layer_index.h"

namespace varve::job {

// The layers of one image, and what the steps read.
class PreviousImages::Contents final : public previous::Contents {
 public:
  Contents(PreviousImages& images, std::vector<DiffId> layers, std::vector<DiffId> base_layers, OnProgress on_progress,
           std::stop_token stop)
      : images_(images), workspace_(images.workspace_), layers_(std::move(layers)),
        base_layers_(std::move(base_layers)), on_progress_(std::move(on_progress)), stop_(std::move(stop)) {}

  tree::TreeStore& trees() override { return *workspace_.local.store; }

  Result<Digest> BaseTree() override {
    for (const source::ResolvedImage& image : images_.base_images_()) {
      if (image.diff_ids != base_layers_) continue;
      TRY(workspace_.lease->Add(image.diff_ids));
      TRY_ASSIGN(auto here, workspace_.images->FindLocally(image));
      if (here) return here->tree_root;
      if (images_.dry_run_) return NotFound("the base image is not on this machine");
      TRY_ASSIGN(cache::Rootfs pulled, workspace_.images->Pull(image, on_progress_, stop_));
      return pulled.tree_root;
    }
    return NotFound("the base image is not known");
  }

  Result<tree::LayerIndex> Layer(const DiffId& layer) override {
    TRY(workspace_.lease->Add(layer));
    TRY_ASSIGN(bool here, workspace_.layers->Has(layer));
    if (!here && images_.dry_run_) return NotFound("its layer is not on this machine");
    if (!here) TRY(Unpack(layer));
    return workspace_.layers->Index(layer);
  }

  Result<std::optional<Digest>> Input(const graph::Ref& ref) override {
    auto tree = images_.trees_.find({ref.step, ref.output});
    return tree == images_.trees_.end() ? std::nullopt : std::optional(tree->second);
  }

 private:
  Status Unpack(const DiffId& layer) {
    TRY_ASSIGN(auto blob, images_.chain_.FetchLayer(layer, on_progress_, stop_));
    if (!blob) return NotFound("its layer cannot be had");
    TRY_ASSIGN(auto packed, workspace_.blobs->OpenVerified(blob->blob));
    TRY_ASSIGN(auto tar, archive::MakeDecompressor(*packed));
    auto place = std::ranges::find(layers_, layer);
    TRY_ASSIGN(auto unpacked,
               workspace_.layers->Unpack(layer, std::vector<DiffId>(layers_.begin(), place), *tar, stop_));
    return workspace_.local.store->NoteLayer(unpacked.diff_id, unpacked.tar_size);
  }

  PreviousImages& images_;
  Workspace& workspace_;
  const std::vector<DiffId> layers_, base_layers_;
  const OnProgress on_progress_;
  const std::stop_token stop_;
};

namespace {

// When each layer was made, as far as the history says.
std::vector<Timestamp> CreationTimes(const oci::ImageConfig& config) {
  std::vector<Timestamp> times;
  for (const oci::History& entry : config.history()) {
    if (!entry.empty_layer) times.push_back(entry.created.value_or(Timestamp{0}));
  }
  times.resize(config.diff_ids().size());
  return times;
}

}  // namespace

std::vector<std::optional<engine::ResultMatcher::Matched>> PreviousImages::Match(
    const graph::Graph& graph, const std::vector<engine::LookedUp>& steps, std::stop_token stop) {
  METRIC("previous.match");
  std::lock_guard one_at_a_time(mutex_);
  Round round{graph, {}, std::move(stop)};
  for (const engine::LookedUp& step : steps) {
    const std::vector<graph::Ref>& inputs = graph.steps[step.step].inputs;
    for (size_t i = 0; i < inputs.size() && i < step.inputs.size(); ++i) {
      if (!step.inputs[i].tree_root) continue;
      trees_[{inputs[i].step, inputs[i].output}] = *step.inputs[i].tree_root;
    }
    if (!step.answered) round.open[step.step] = &step;
  }
  Answers answers;
  for (const Image& image : images_) {
    for (const Build& build : builds_) {
      if (!build.images.empty() && !build.images.contains(image.name)) continue;
      for (const dockerfile::PlatformResult& platform : build.lowered.results) {
        if (!round.open.empty()) AskImage(image, platform, round, answers);
        if (build.of_any_platform) AskAllPlatforms(image, platform.lowered.config.platform(), round, answers);
      }
    }
  }
  std::vector<std::optional<Matched>> matched(steps.size());
  for (size_t n = 0; n < steps.size(); ++n) {
    auto answer = answers.find(steps[n].step);
    if (answer != answers.end()) matched[n] = std::move(answer->second);
  }
  return matched;
}

std::optional<tier::PreviousImage> PreviousImages::Open(const Image& image, const oci::Platform& platform) {
  std::optional<tier::PreviousImage> previous;
  std::optional<Error> not_for_it;
  bool answered = chain_.Ask(image.member, [&](tier::Tier&, std::stop_token stop) -> Status {
    auto found = image.tier->Image(platform, stop);
    if (found) {
      previous = std::move(*found);
    } else if (found.error().code == Code::kNotFound) {
      not_for_it = std::move(found).error();
    } else {
      return Error(std::move(found).error());
    }
    return Ok();
  });
  if (not_for_it && told_.insert(image.name + not_for_it->message).second) {
    board_.Warn({.text = fmt::format("cache image {}: {}", image.name, not_for_it->message)});
  }
  return answered ? std::move(previous) : std::nullopt;
}

void PreviousImages::AskImage(const Image& image, const dockerfile::PlatformResult& platform, Round& round,
                              Answers& answers) {
  auto previous = Open(image, platform.lowered.config.platform());
  if (!previous) return;
  AskRecords(image, *previous, round, answers);
  if (!round.open.empty()) AskHistory(image, platform, *previous, round, answers);
}

void PreviousImages::AskAllPlatforms(const Image& image, const oci::Platform& asked, Round& round, Answers& answers) {
  if (round.open.empty()) return;
  std::vector<oci::Platform> platforms;
  chain_.Ask(image.member, [&](tier::Tier&, std::stop_token stop) -> Status {
    platforms = image.tier->Platforms(std::move(stop));
    return Ok();
  });
  for (const oci::Platform& platform : platforms) {
    if (round.open.empty()) return;
    if (platform == asked) continue;
    if (auto previous = Open(image, platform)) AskRecords(image, *previous, round, answers);
  }
}

void PreviousImages::Answer(const Image& image, graph::StepIndex step, std::vector<cache::Rootfs> outputs,
                            Timestamp created, Round& round, Answers& answers) {
  auto open = round.open.find(step);
  if (open == round.open.end()) return;
  cache::StepRecord record = open->second->record;
  record.outputs = std::move(outputs);
  record.created = created;
  chain_.NoteFound(image.member, record);
  image.tier->NoteHits(1);
  answers[step] = {std::move(record), "image " + image.name};
  round.open.erase(open);
}

// Steps of other stages: what they gave is known, and nowhere to be had.
Status PreviousImages::AskSeen(const Image& image, const tier::PreviousImage& previous, Round& round,
                               Answers& answers) {
  TRY_ASSIGN(const tier::SeenSteps seen, tier::GetSeenSteps(previous.config));
  if (seen.records.empty()) return Ok();
  if (seen_.insert(image.name + " " + previous.config.platform().ToString()).second) {
    TRY(workspace_.local.store->Put(seen.objects));
  }
  std::map<StepKey, const tier::SeenSteps::Record*> by_key;
  for (const tier::SeenSteps::Record& record : seen.records) by_key[record.key] = &record;
  const auto open = round.open;
  for (const auto& [step, looked_up] : open) {
    auto found = by_key.find(looked_up->record.key);
    if (found == by_key.end()) continue;
    std::vector<cache::Rootfs> outputs;
    for (const Digest& tree : found->second->outputs) outputs.push_back(tier::Unkept(tree));
    Answer(image, step, std::move(outputs), Timestamp{0}, round, answers);
  }
  return Ok();
}

void PreviousImages::AskRecords(const Image& image, const tier::PreviousImage& previous, Round& round,
                                Answers& answers) {
  auto records = tier::GetInlineRecords(previous.config);
  Status seen = records ? AskSeen(image, previous, round, answers) : Status(Error(records.error()));
  if (!seen) {
    if (told_.insert(image.name + " records").second) {
      board_.Warn({.text = fmt::format("cache image {}: {}", image.name, seen.error().message)});
    }
    return;
  }
  const std::vector<DiffId> ids = previous.config.diff_ids();
  const std::vector<Timestamp> times = CreationTimes(previous.config);
  std::map<StepKey, const tier::InlineRecord*> by_key;
  for (const tier::InlineRecord& record : *records) by_key[record.key] = &record;
  const auto open = round.open;
  for (const auto& [step, looked_up] : open) {
    auto found = by_key.find(looked_up->record.key);
    if (found == by_key.end()) continue;
    cache::Rootfs rootfs;
    for (size_t layer : found->second->layers) rootfs.layers.push_back(ids[layer]);
    if (rootfs.layers.empty()) rootfs.tree_root = tree::EmptyTree();
    Timestamp created = found->second->layers.empty() ? Timestamp{0} : times[found->second->layers.back()];
    std::vector<cache::Rootfs> outputs = {std::move(rootfs)};
    for (const auto& [output, tree] : found->second->besides) {
      outputs.insert(outputs.begin() + static_cast<ptrdiff_t>(output), tier::Unkept(tree));
    }
    Answer(image, step, std::move(outputs), created, round, answers);
  }
}

void PreviousImages::AskHistory(const Image& image, const dockerfile::PlatformResult& platform,
                                const tier::PreviousImage& previous, Round& round, Answers& answers) {
  if (failed_.contains(image.name)) return;
  std::vector<previous::Planned> stages = previous::PlannedOf(platform.lowered, round.graph);
  std::erase_if(stages, [&](const previous::Planned& stage) {
    return std::ranges::none_of(stage.history, [&](const dockerfile::HistoryEntry& entry) {
      return entry.step && round.open.contains(*entry.step) && !unlike_.contains({image.name, *entry.step});
    });
  });
  if (stages.empty()) return;
  Status compared = Shown(board_, "comparing with image " + image.name, [&](VertexSink& sink) -> Status {
    for (const previous::Planned& stage : stages) {
      TRY(Compare(image, previous, stage, round, sink, answers));
    }
    return Ok();
  });
  if (compared) return;
  failed_.insert(image.name);
  Counter("tier.failed").Add();
  if (round.stop.stop_requested()) return;
  board_.Warn({.text = fmt::format("cache image {} is not used: {}", image.name, compared.error().message)});
}

Status PreviousImages::Compare(const Image& image, const tier::PreviousImage& previous,
                               const previous::Planned& planned, Round& round, engine::StepSink& sink,
                               Answers& answers) {
  OnProgress progress = [&sink](const std::string& id, uint64_t current, uint64_t total, bool done) {
    sink.Progress(id, current, total, done);
  };
  auto wanted = [&](graph::StepIndex step) { return round.open.contains(step); };
  const std::vector<DiffId> ids = previous.config.diff_ids();
  Contents contents(*this, ids, planned.base_layers, progress, round.stop);
  TRY_ASSIGN(previous::Outcome outcome, previous::MatchImage(previous.config, planned, image.trust, wanted, contents));
  std::string text =
      fmt::format("{} step{} as in the image", outcome.answers.size(), outcome.answers.size() == 1 ? "" : "s");
  if (!outcome.stopped.empty()) text += "; " + outcome.stopped;
  sink.Log(2, text + "\n");
  // Later look-ups would find the same again.
  if (outcome.unlike) {
    for (const dockerfile::HistoryEntry& entry : planned.history) {
      if (entry.step) unlike_.insert({image.name, *entry.step});
    }
  }
  const std::vector<Timestamp> times = CreationTimes(previous.config);
  for (const previous::Answer& answer : outcome.answers) {
    cache::Rootfs rootfs{{ids.begin(), ids.begin() + static_cast<ptrdiff_t>(answer.layers)}, answer.tree};
    Answer(image, answer.step, {std::move(rootfs)}, times[answer.layers - 1], round, answers);
  }
  return Ok();
}

}  // namespace varve::job
