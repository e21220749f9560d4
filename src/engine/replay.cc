#include "engine/replay.h"

#include <algorithm>
#include <map>

#include "base/json.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "engine/engine.h"
#include "engine/overlooked.h"
#include "graph/reads.h"
#include "tree/merged_layers.h"
#include "tree/selection.h"

namespace varve::engine {

namespace {

// 2: empty layers and extended attributes; 3: what is looked up only; 4: mounted contexts; 5: layers that lie
// directly on each other as one
constexpr int kTraceSchema = 5;
// What a step may leave behind; beyond it whole directories stand for their files.
constexpr size_t kMaxEntries = 1000;
// … except where every file's time counts: then a step that looks at more is not traced.
constexpr size_t kMaxTimedEntries = 20'000;
constexpr size_t kCandidates = 16;
constexpr const char* kDisowned = "shadow";  // Reason::subject
constexpr size_t kMaxUnread = 1000;          // counted, for people

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

const cache::Rootfs* OutputOf(const OutputsOf& outputs_of, const graph::Ref& ref) {
  const auto* outputs = outputs_of(ref.step);
  return outputs != nullptr && ref.output < outputs->size() ? &(*outputs)[ref.output] : nullptr;
}

bool IsReadFromContext(const graph::Step& step, const graph::Mount& mount, const graph::Graph& graph) {
  return mount.type == graph::MountType::kBind && mount.target != "/" && mount.readonly && mount.output < 0 &&
         std::holds_alternative<graph::LocalSource>(graph.steps[step.inputs[static_cast<size_t>(mount.input)].step].op);
}

// An input counts in the key as one, so that all its mounts must be such.
std::vector<MountBelow> MountsBelow(const graph::Graph& graph, const OutputsOf& outputs, graph::StepIndex i) {
  const graph::Step& step = graph.steps[i];
  const auto& mounts = std::get<graph::Exec>(step.op).mounts;
  std::vector<MountBelow> below;
  for (size_t n = 0; n < mounts.size(); ++n) {
    int input = mounts[n].input;
    if (input < 0) continue;
    bool traced = std::ranges::all_of(mounts, [&](const graph::Mount& mount) {
      return mount.input != input || IsReadFromContext(step, mount, graph);
    });
    const cache::Rootfs* context = OutputOf(outputs, step.inputs[static_cast<size_t>(input)]);
    if (!traced || context == nullptr || context->tree_root.empty()) continue;
    below.push_back({n, input, context->tree_root, mounts[n].source, mounts[n].target});
  }
  return below;
}

}  // namespace

std::optional<FilesBelow> LayersBelow(const graph::Graph& graph, const Plan& plan, graph::StepIndex step, bool trace) {
  return LayersBelow(
      graph, plan, [&plan](graph::StepIndex of) { return plan.Outputs(of); }, step, trace);
}

std::optional<FilesBelow> LayersBelow(const graph::Graph& graph, const Plan& plan, const OutputsOf& outputs,
                                      graph::StepIndex step, bool trace) {
  if (graph.steps[step].no_trace || !IsTraceable(graph.steps[step])) return std::nullopt;
  FilesBelow files{.layers = {}, .mounts = trace ? MountsBelow(graph, outputs, step) : std::vector<MountBelow>()};
  std::vector<LayerBelow>& below = files.layers;
  std::optional<graph::Ref> at = LineageOf(graph.steps[step]);
  const cache::Rootfs* rootfs = at ? OutputOf(outputs, *at) : nullptr;
  if (rootfs == nullptr) return files;  // on scratch
  for (const DiffId& layer : rootfs->layers) below.push_back({layer, LayerBelow::Kind::kContent});
  size_t end = below.size();  // of what is not classified yet
  while (at) {
    if (plan.IsImage(at->step)) {
      for (size_t n = 0; n < end; ++n) below[n].kind = LayerBelow::Kind::kImage;
    }
    std::optional<graph::Ref> parent = LineageOf(graph.steps[at->step]);
    const cache::Rootfs* base = parent ? OutputOf(outputs, *parent) : nullptr;
    if (parent && base == nullptr) break;
    size_t height = base == nullptr ? 0 : base->layers.size();  // 0: on scratch
    if (height > end) break;
    if (height + 1 == end && CopiesFromContext(graph, at->step)) {
      below[end - 1].packages = graph.steps[at->step].semantic && !graph.steps[step].installs.empty();
      if (trace) below[end - 1].kind = LayerBelow::Kind::kTraced;
      below[end - 1].below = base == nullptr ? tree::EmptyTree() : base->tree_root;
    }
    end = height;
    at = parent;
  }
  if (!trace && std::ranges::none_of(below, &LayerBelow::packages)) return std::nullopt;
  return files;
}

namespace {

Result<bool> HasXattrs(tree::TreeStore& trees, const tree::Node& node) {
  if (!node.xattrs.empty()) return true;
  if (!node.IsDirectory()) return false;
  TRY_ASSIGN(auto directory, tree::GetDirectory(trees, node.digest));
  for (const tree::Node& entry : directory->entries) {
    TRY_ASSIGN(bool has, HasXattrs(trees, entry));
    if (has) return true;
  }
  return false;
}

struct Shown {
  Digest tree;  // of nothing but the mount's content, at its target
  bool has_xattrs = false;
};

// As StepMounts copies it.
Result<Shown> Show(const MountBelow& mount, tree::TreeStore& trees) {
  TRY_ASSIGN(auto matches, tree::FindMatches(trees, mount.tree_root, {.path = mount.source}));
  if (matches.size() != 1) return Internal("\"{}\" is not one path of the context", mount.source);
  tree::Node node = matches[0].node;
  if (node.IsDirectory()) {
    node = {.type = tree::NodeType::kDirectory, .mode = 0755, .digest = node.digest};
  }
  Shown shown;
  TRY_ASSIGN(shown.has_xattrs, HasXattrs(trees, node));
  tree::TreeEditor edit(trees, tree::EmptyTree());
  TRY(edit.Put(RelPath(mount.target), std::move(node)));
  TRY_ASSIGN(shown.tree, edit.Commit());
  return shown;
}

// On top of it.
Status Put(const DiffId& layer, const LayerContent& content, TracedStack& stack, tree::TreeStore& trees) {
  stack.layers.push_back(layer);
  stack.trees.push_back(*content.tree);
  stack.has_xattrs |= content.has_xattrs;
  if (stack.layers.size() == 1) {
    stack.merged = *content.tree;
    return Ok();
  }
  TRY_ASSIGN(stack.merged, tree::MergeLayers(trees, stack.merged, *content.tree, stack.below));
  return Ok();
}

}  // namespace

Result<WeakStep> ComputeWeakStep(const graph::Step& step, const KeyedStep& keyed, const FilesBelow& below,
                                 bool strict_mtime, tree::TreeStore& trees, StepRunner& runner) {
  WeakStep weak{.strict_mtime = strict_mtime};
  std::vector<Json> layers;
  std::optional<std::vector<DiffId>> between(std::in_place);
  bool on_stack = false;
  for (const LayerBelow& layer : below.layers) {
    const bool stacks = std::exchange(on_stack, false) && !strict_mtime;  // times are those of single layers
    if (layer.kind == LayerBelow::Kind::kImage) {
      layers.emplace_back(layer.layer.ToString());
      continue;
    }
    if (layer.packages && !strict_mtime) {
      TRY_ASSIGN(PackageLayer packages, runner.PackagesOf(layer.layer, step.installs));
      if (!packages.refused.empty()) weak.refused.push_back(packages.refused);
      if (!packages.files.empty()) {
        layers.push_back(Json().Set("packages", packages.digest.ToString()).Set("of", step.installs));
        weak.packages.insert(weak.packages.end(), packages.files.begin(), packages.files.end());
        between.reset();
        continue;
      }
    }
    bool traced = layer.kind == LayerBelow::Kind::kTraced;
    TRY_ASSIGN(LayerContent content, runner.ContentOf(layer.layer, traced));
    if (traced && content.tree) {
      if (stacks) layers.pop_back();
      else weak.stacks.push_back({.below = layer.below, .between = std::exchange(between, std::vector<DiffId>())});
      TracedStack& stack = weak.stacks.back();
      TRY(Put(layer.layer, content, stack, trees));
      // Of layers without extended attributes nobody asks for them: that they have none is an answer.
      layers.emplace_back(stack.has_xattrs ? "traced, xattrs" : "traced");
      on_stack = true;
      continue;
    }
    if (between) between->push_back(layer.layer);
    if (strict_mtime) layers.emplace_back(layer.layer.ToString());
    else layers.push_back(Json().Set("content", content.digest.ToString()));
  }
  // What is read of a context that is mounted counts by what is looked at, too.
  std::map<int, std::string> read_by;
  for (const MountBelow& mount : below.mounts) {
    if (strict_mtime) break;
    TRY_ASSIGN(Shown shown, Show(mount, trees));
    weak.mounts.push_back({mount.mount, shown.has_xattrs});
    weak.mount_trees.push_back(shown.tree);
    read_by[mount.input] += shown.has_xattrs ? "traced, xattrs;" : "traced;";
  }
  TRY_ASSIGN(Json exact, Json::Parse(keyed.preimage));
  Json preimage;
  for (const auto& [name, value] : exact.as_object()) {
    if (name == "lineage") continue;
    if (name != "reads" || read_by.empty()) {
      preimage.Set(name, value);
      continue;
    }
    Json reads = Json::EmptyArray();
    for (Json read : value.as_array()) {
      auto traced = read_by.find(static_cast<int>(read.GetInt("input")));
      if (traced != read_by.end()) read.Set("content", traced->second);
      reads.Append(std::move(read));
    }
    preimage.Set(name, std::move(reads));
  }
  Json all_layers = Json::EmptyArray();
  for (Json& layer : layers) all_layers.Append(std::move(layer));
  preimage.Set("layers", std::move(all_layers)).Set("trace", kTraceSchema);
  preimage.SetIf(strict_mtime, "mtime", true);
  weak.key = Digest::Of(preimage.DumpCanonical());
  return weak;
}

std::optional<WeakStep> WeakStepOf(const graph::Step& step, const KeyedStep& keyed, const FilesBelow& below,
                                   bool strict_mtime, const Services& services) {
  auto weak = ComputeWeakStep(step, keyed, below, strict_mtime, services.trees, services.runner);
  if (weak) return std::move(*weak);
  LOG_WARN("step \"{}\" is not traced: {}", step.name, weak.error().message);
  return std::nullopt;
}

namespace {

// Directories have the time at which they were made here.
bool HasTime(const tree::Entry& entry) { return (entry.facets & tree::kStat) && entry.object.empty(); }

// Of each entry that has one, in order: nanoseconds, 8 bytes, lowest first.
Result<std::string> TimesOf(const tree::ReadSet& set, const DiffId& layer, StepRunner& runner) {
  std::string times;
  for (const tree::Entry& entry : set) {
    if (!HasTime(entry)) continue;
    TRY_ASSIGN(Timestamp time, runner.TimeOf(layer, RelPath(entry.path)));
    for (int shift = 0; shift < 64; shift += 8) times.push_back(static_cast<char>(time.nanos >> shift));
  }
  return times;
}

// The first whose time is another one.
const tree::Entry* FirstTouched(const tree::ReadSet& set, std::string_view before, std::string_view now) {
  size_t at = 0;
  for (const tree::Entry& entry : set) {
    if (!HasTime(entry)) continue;
    if (before.substr(at, 8) != now.substr(at, 8)) return &entry;
    at += 8;
  }
  return nullptr;
}

}  // namespace

std::vector<RunRequest::TracedLayer> WeakStep::Mounted() const {
  std::vector<RunRequest::TracedLayer> mounted;
  for (const TracedStack& stack : stacks) {
    for (const DiffId& layer : stack.layers) {
      auto known = std::ranges::find(mounted, layer, &RunRequest::TracedLayer::layer);
      if (known == mounted.end()) mounted.push_back({layer, stack.has_xattrs});
      else known->has_xattrs |= stack.has_xattrs;
    }
  }
  return mounted;
}

std::vector<Digest> WeakStep::Trees() const {
  std::vector<Digest> trees;
  for (const TracedStack& stack : stacks) trees.push_back(stack.merged);
  trees.insert(trees.end(), mount_trees.begin(), mount_trees.end());
  return trees;
}

namespace {

// What was asked of one layer of a stack, as a question about all of it: what a layer above it has, or one
// below, was asked there. Nothing of a path that a layer above hides: it is asked of the same layer elsewhere.
Status AddQuestions(const TracedStack& stack, size_t layer, const std::vector<tree::Question>& asked,
                    tree::TreeStore& trees, std::map<std::string, uint8_t>& all) {
  // Fails where the notes are not about this layer.
  TRY(tree::AnswerAll(trees, stack.trees[layer], asked));
  for (const tree::Question& question : asked) {
    TRY_ASSIGN(auto shown, tree::Lookup(trees, stack.merged, RelPath(question.path)));
    const bool absent = (question.facets & tree::kAbsent) != 0;
    if (shown) all[question.path] |= absent ? uint8_t{tree::kExists} : question.facets;
    else if (absent) all[question.path] |= tree::kAbsent;
  }
  return Ok();
}

// `asked` of each layer.
Result<std::vector<tree::Question>> QuestionsAbout(const TracedStack& stack,
                                                   const std::vector<const std::vector<tree::Question>*>& asked,
                                                   tree::TreeStore& trees) {
  if (asked.size() == 1) return *asked[0];
  std::map<std::string, uint8_t> all;
  for (size_t i = 0; i < asked.size(); ++i) TRY(AddQuestions(stack, i, *asked[i], trees, all));
  std::vector<tree::Question> questions;
  for (auto [path, facets] : all) {
    if (facets & tree::kStat) facets &= static_cast<uint8_t>(~tree::kExists);
    questions.push_back({path, facets});
  }
  std::ranges::sort(questions, tree::WalksBefore, &tree::Question::path);
  return questions;
}

}  // namespace

std::optional<std::string> WhyNotForOthers(const WeakStep& weak, const RunResult& result, StepRunner& runner) {
  if (weak.packages.empty()) return std::nullopt;
  if (result.outputs.empty() || result.outputs[0].layers.empty()) return "it made no layer";
  auto touches = runner.Touches(result.outputs[0].layers.back(), weak.packages);
  if (!touches) return touches.error().message;
  if (!*touches) return std::nullopt;
  return fmt::format("this step changes {} itself", Join(weak.packages, " or "));
}

Result<cache::StepTrace> MakeTrace(const WeakStep& weak, tree::TreeStore& trees, StepRunner& runner,
                                   const std::vector<std::vector<tree::Question>>& asked) {
  const auto mounted = weak.Mounted();
  if (asked.size() != mounted.size() + weak.mounts.size()) return Corrupt("not every traced layer has notes");
  cache::StepTrace trace{.weak_key = weak.key};
  for (const TracedStack& stack : weak.stacks) {
    std::vector<const std::vector<tree::Question>*> notes;
    for (const DiffId& layer : stack.layers) {
      auto shown = std::ranges::find(mounted, layer, &RunRequest::TracedLayer::layer);
      notes.push_back(&asked[static_cast<size_t>(shown - mounted.begin())]);
    }
    TRY_ASSIGN(auto questions, QuestionsAbout(stack, notes, trees));
    if (weak.strict_mtime && questions.size() > kMaxTimedEntries) {
      return Invalid("it looked at {} paths, more than can be kept with the time of each", questions.size());
    }
    TRY_ASSIGN(tree::ReadSet set, tree::AnswerAll(trees, stack.merged, questions));
    if (weak.strict_mtime) {
      TRY_ASSIGN(std::string times, TimesOf(set, stack.layers[0], runner));
      trace.times.push_back(std::move(times));
    } else {
      TRY_ASSIGN(set, tree::Coarsen(trees, stack.merged, std::move(set), kMaxEntries));
    }
    trace.reads.push_back(tree::EncodeReadSet(set));
  }
  for (size_t i = 0; i < weak.mounts.size(); ++i) {
    const Digest& tree = weak.mount_trees[i];
    TRY_ASSIGN(tree::ReadSet set, tree::AnswerAll(trees, tree, asked[mounted.size() + i]));
    TRY_ASSIGN(set, tree::Coarsen(trees, tree, std::move(set), kMaxEntries));
    trace.reads.push_back(tree::EncodeReadSet(set));
  }
  return trace;
}

Result<Replay> CheckTrace(const cache::StepTrace& trace, const WeakStep& weak, tree::TreeStore& trees,
                          StepRunner& runner) {
  Replay replay;
  const std::vector<Digest> shown = weak.Trees();
  if (trace.weak_key != weak.key || trace.reads.size() != shown.size()) return replay;
  if (trace.times.size() != (weak.strict_mtime ? trace.reads.size() : 0)) return replay;
  std::vector<tree::ReadSet> sets;
  for (const std::string& encoded : trace.reads) {
    TRY_ASSIGN(tree::ReadSet set, tree::DecodeReadSet(encoded));
    sets.push_back(std::move(set));
  }
  Overlooked overlooked(weak, sets, trees, runner);
  for (size_t i = 0; i < sets.size(); ++i) {
    const tree::ReadSet& set = sets[i];
    tree::IsOverlooked is_overlooked;
    if (i < weak.stacks.size() && !weak.strict_mtime) {
      is_overlooked = [&overlooked, i](const auto& entry, const auto& now) { return overlooked.IsOne(i, entry, now); };
    }
    TRY_ASSIGN(auto mismatch, tree::FirstMismatch(trees, shown[i], set, is_overlooked));
    replay.paths += set.size();
    if (!mismatch && weak.strict_mtime) {
      TRY_ASSIGN(std::string now, TimesOf(set, weak.stacks[i].layers[0], runner));
      if (now.size() != trace.times[i].size()) return Corrupt("a trace has the times of other files");
      if (const tree::Entry* touched = FirstTouched(set, trace.times[i], now)) {
        mismatch = tree::Mismatch{touched->path, touched->facets, "modification time changed"};
      }
    }
    if (!mismatch) continue;
    replay.path = mismatch->path.empty() ? "/" : mismatch->path;
    replay.differs = mismatch->difference;
    replay.facets = mismatch->facets;
    return replay;
  }
  replay.stands = true;
  return replay;
}

namespace {

// The first limit that a record of this age exceeds.
const AgeLimit* TooOldFor(const ReplayedStep& step, const cache::StepRecord& record) {
  Nanos age(step.now.nanos - record.created.nanos);
  auto limit = std::ranges::find_if(step.age, [&](const AgeLimit& of) { return age >= of.limit; });
  return limit == step.age.end() ? nullptr : &*limit;
}

Reason WhyNot(const Replay& replay) {
  Reason reason{Reason::Kind::kTraced, fmt::format("it looks at {}: {}", replay.path, replay.differs)};
  reason.subject = replay.path;
  reason.changes = {{.path = replay.path, .what = replay.differs, .detail = ""}};
  reason.change_count = 1;
  return reason;
}

Reason WhyNot(const AgeLimit& limit, Nanos age) {
  Reason reason{Reason::Kind::kTraced, fmt::format("what it looks at is the same, but it ran {} ago, and {} asks "
                                                   "for a newer result",
                                                   FormatAge(age), limit.rule)};
  reason.subject = limit.rule;
  return reason;
}

}  // namespace

void AddWhyNotReplayed(Reason reason, std::vector<Reason>& reasons) {
  auto parent = std::ranges::find(reasons, Reason::Kind::kParent, &Reason::kind);
  if (parent != reasons.end()) reason.step = parent->step;
  // Then that is why there is no record.
  if (reason.subject == kDisowned) {
    std::erase_if(reasons, [](const Reason& other) { return other.kind == Reason::Kind::kDataGone; });
  }
  reasons.push_back(std::move(reason));
}

size_t CountUnread(const cache::StepRecord& record, const Digest& base_now, tree::TreeStore& trees) {
  auto differences = tree::Compare(trees, record.outputs[0].tree_root, base_now, RelPath(), kMaxUnread);
  return differences ? differences->size() : 0;
}

std::string DescribeReplay(const Replay& replay, const WeakStep& weak, size_t unread) {
  if (replay.paths == 0 && !weak.packages.empty()) {
    return fmt::format("replayed: {} install{} the same", Join(weak.packages, ", "),
                       weak.packages.size() == 1 ? "s" : "");
  }
  if (replay.paths == 0) return "replayed: what is below it holds the same";
  std::string text =
      fmt::format("replayed: {} {} looked at, none changed", replay.paths, replay.paths == 1 ? "path" : "paths");
  if (unread == 0) return text;
  return text + fmt::format("; {}{} changed {} never read", unread, unread == kMaxUnread ? " or more" : "",
                            unread == 1 ? "file was" : "files were");
}

Result<std::optional<Reason>> FindRuns(const ReplayStores& stores, const WeakStep& weak, const ReplayedStep& step,
                                       const std::string& name, const TakeRun& take) {
  std::optional<Reason> why_not;
  auto say = [&](Reason reason) {
    LOG_INFO("\"{}\" is not replayed: {}", name, reason.text);
    if (!why_not) why_not = std::move(reason);
  };
  TRY_ASSIGN(auto disowned, stores.records.WhyDisowned(weak.key));
  if (disowned) {
    Reason reason{Reason::Kind::kTraced, *disowned};
    reason.subject = kDisowned;
    say(std::move(reason));
    return why_not;
  }
  TRY_ASSIGN(auto runs, stores.records.Traced(weak.key, kCandidates));
  for (cache::StepRecord& record : runs) {
    if (!record.trace || record.outputs.size() != 1 || record.outputs[0].layers.empty()) continue;
    auto checked = CheckTrace(*record.trace, weak, stores.trees, stores.runner);
    if (!checked) {
      LOG_WARN("a trace of \"{}\": {}", name, checked.error().message);
      continue;
    }
    if (!checked->stands) {
      say(WhyNot(*checked));
      continue;
    }
    if (const AgeLimit* limit = TooOldFor(step, record)) {
      say(WhyNot(*limit, Nanos(step.now.nanos - record.created.nanos)));
      continue;
    }
    TRY_ASSIGN(bool taken, take(std::move(record), *checked));
    if (taken) return std::optional<Reason>();
  }
  return why_not;
}

namespace {

Result<ReplaySearch> Find(const Services& services, const RunRequest& request, const WeakStep& weak,
                          const ReplayedStep& step, std::stop_token stop) {
  const graph::Step& wanted = request.graph.steps[request.step];
  cache::Rootfs base;
  for (const graph::InputUse& use : graph::InputUses(wanted)) {
    if (use.lineage) base = request.inputs[static_cast<size_t>(use.input)].rootfs;
  }
  ReplaySearch search;
  auto take = [&](cache::StepRecord record, const Replay& checked) -> Result<bool> {
    auto made = services.runner.Stack(request.graph, request.step, base, record.outputs[0].layers.back(),
                                      services.observer.SinkOf(request.step), stop);
    if (!made) {
      // Its layer is gone: another earlier run may do as well.
      if (made.error().code == Code::kCancelled) return std::move(made).error();
      return false;
    }
    record.key = step.keyed.key;
    record.preimage = step.keyed.preimage;
    record.inputs = step.keyed.inputs;
    record.images = step.keyed.images;
    record.slot = step.slot;
    record.name = wanted.name;
    size_t unread = CountUnread(record, made->tree_root, services.trees);
    record.outputs = {std::move(*made)};
    search.found = Replayed{std::move(record), DescribeReplay(checked, weak, unread)};
    return true;
  };
  ReplayStores stores{services.records, services.trees, services.runner};
  TRY_ASSIGN(search.why_not, FindRuns(stores, weak, step, wanted.name, take));
  return search;
}

}  // namespace

Result<ReplaySearch> FindReplay(const Services& services, const RunRequest& request, const WeakStep& weak,
                                const ReplayedStep& step, std::stop_token stop) {
  METRIC("engine.replay");
  auto search = Find(services, request, weak, step, stop);
  if (!search) {
    if (search.error().code == Code::kCancelled) return search;
    LOG_WARN("earlier runs of \"{}\": {}", request.graph.steps[request.step].name, search.error().message);
    return ReplaySearch();
  }
  if (!search->found) return search;
  Counter("engine.replays").Add();
  const cache::StepRecord& record = search->found->record;
  if (Status put = services.records.Put(record); !put) {
    LOG_WARN("record of \"{}\" was not stored: {}", record.name, put.error().message);
  }
  return search;
}

}  // namespace varve::engine
