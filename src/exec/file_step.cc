#include "exec/file_step.h"

#include <fcntl.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>

#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "cache/lease.h"
#include "exec/needed_layers.h"
#include "exec/unpack.h"
#include "sandbox/user.h"
#include "snapshot/layer_stream.h"
#include "tree/layer_tree.h"
#include "tree/pattern.h"

namespace varve::exec {

namespace {

constexpr uint64_t kMaxPasswd = 8 << 20;

// A layer like an earlier one of at least so many entries is lazy (snapshot/lazy_layers.h). To make 1,000
// links takes 10 ms, which is what mounting such a layer would cost later. VARVE_LAZY_FROM=N, for tests: of N
// entries, whatever comes later.
constexpr int64_t kLazyFrom = 1000;

// Those inputs of a step whose layers are not all here, by index.
using PartialInputs = std::map<int, NeededLayers>;

NeededLayers* PartOf(PartialInputs& partial, int input) {
  auto it = partial.find(input);
  return it == partial.end() ? nullptr : &it->second;
}

// The actions of one step, in order, on one layer.
class FileStep {
 public:
  FileStep(const Job& job, const engine::RunRequest& request, const graph::FileOp& op, PartialInputs& partial,
           snapshot::LayerDraft& draft, const SimilarLayer* similar, snapshot::LayerStream* stream,
           TreeCopy::Files files, engine::StepSink& sink, std::stop_token stop)
      : job_(job), request_(request), op_(op), partial_(partial), has_base_(op.base >= 0), sink_(sink), stop_(stop),
        writer_(job.layers, job.trees, BaseOf(request, op), draft, PartOf(partial, op.base)),
        copy_(writer_, job.trees, similar, stream, files, stop) {}

  static cache::Rootfs BaseOf(const engine::RunRequest& request, const graph::FileOp& op) {
    if (op.base >= 0) return request.inputs[static_cast<size_t>(op.base)].rootfs;
    return {{}, tree::EmptyTree()};
  }

  Status Run(const graph::FileOp& op) {
    for (const graph::FileAction& action : op.actions) {
      if (stop_.stop_requested()) return Cancelled("cancelled");
      const auto* copy = std::get_if<graph::Copy>(&action);
      if (copy == nullptr || copy->unpack) TRY(copy_.Settle());
      TRY(std::visit([this](const auto& a) { return Do(a); }, action));
    }
    TRY(copy_.Finish());
    return writer_.Finish();
  }

  TreeCopy& copy() { return copy_; }
  const std::map<RelPath, Timestamp>& base_times() const { return writer_.base_times(); }

 private:
  // Of where names are looked up: an input, or what is written on (-1).
  struct Names {
    std::string passwd, group;
  };

  Result<std::string> ReadNames(int input, const char* file) {
    if (input < 0) {
      TRY_ASSIGN(auto text, writer_.ReadBaseFile(RelPath(file), kMaxPasswd));
      return text.value_or("");
    }
    TRY_ASSIGN(InputFiles * files, Input(input));
    return sandbox::ReadRootFile(files->root.get(), file);
  }

  Result<const Names*> NamesOf(int input) {
    auto known = names_.find(input);
    if (known == names_.end()) {
      Names names;
      TRY_ASSIGN(names.passwd, ReadNames(input, "etc/passwd"));
      TRY_ASSIGN(names.group, ReadNames(input, "etc/group"));
      known = names_.emplace(input, std::move(names)).first;
    }
    return &known->second;
  }

  Result<std::optional<Ownership>> OwnerOf(const graph::Owner& owner) {
    if (!owner.given()) return std::optional<Ownership>();
    TRY_ASSIGN(const Names* names, NamesOf(owner.names_of));
    std::string spec = owner.group.empty() ? owner.user : owner.user + ":" + owner.group;
    std::optional<std::string> unknown;
    TRY_ASSIGN(sandbox::User user, sandbox::ResolveChownUser(spec, names->passwd, names->group, &unknown));
    if (unknown && !has_base_ && owner.names_of < 0) {
      Error error = Invalid("--chown={}: there is no /etc/passwd or /etc/group to find \"{}\" in", spec, *unknown);
      error.hint = "use numbers: a copy with --link, or onto scratch, has no image below it";
      return error;
    }
    if (unknown) {
      sink_.Log(2, fmt::format("warning: --chown={}: \"{}\" is not in the image's /etc/passwd or "
                               "/etc/group; 0 is used\n",
                               spec, *unknown));
    }
    return std::optional<Ownership>(Ownership{user.uid, user.gid});
  }

  Attributes AttributesFor(uint32_t mode, const std::optional<Ownership>& owner,
                           const std::optional<Timestamp>& time = {}) const {
    Attributes out{.mode = mode, .mtime = time.value_or(job_.clock.Now())};
    if (owner) {
      out.uid = owner->uid;
      out.gid = owner->gid;
    }
    return out;
  }

  Result<InputFiles*> Input(int index) {
    auto it = inputs_.find(index);
    if (it == inputs_.end()) {
      TRY_ASSIGN(InputFiles files, Open(index));
      it = inputs_.emplace(index, std::move(files)).first;
    }
    return &it->second;
  }

  Result<InputFiles> Open(int index) {
    NeededLayers* needed = PartOf(partial_, index);
    if (needed == nullptr) return OpenInput(job_, request_.inputs[static_cast<size_t>(index)]);
    std::vector<tree::Selector> selectors;
    std::vector<RelPath> names;
    for (const graph::FileAction& action : op_.actions) {
      const auto* copy = std::get_if<graph::Copy>(&action);
      if (copy != nullptr && copy->input == index) selectors.push_back(copy->from);
      const graph::Owner* owner = graph::OwnerOf(action);
      if (owner != nullptr && owner->given() && owner->names_of == index) {
        names = {RelPath("etc/passwd"), RelPath("etc/group")};
      }
    }
    TRY_ASSIGN(auto layers, needed->HoldersOf(selectors, names));
    return OpenLayers(job_, layers);
  }

  Status Do(const graph::Copy& action) {
    TRY_ASSIGN(auto owner, OwnerOf(action.owner));
    TRY_ASSIGN(FileMode mode, FileMode::Parse(action.mode));
    TRY_ASSIGN(InputFiles * files, Input(action.input));
    const cache::Rootfs& rootfs = request_.inputs[static_cast<size_t>(action.input)].rootfs;
    CopySource source = files->AsCopySource(rootfs);
    TRY(CheckPaths(action, source));
    if (!action.unpack) return copy_.Copy(source, action, owner, mode);
    TRY_ASSIGN(auto matches, tree::FindMatches(job_.trees, source.tree_root, action.from));
    for (const tree::Match& match : matches) {
      bool unpacked = false;
      if (match.node.type == tree::NodeType::kFile) {
        TRY_ASSIGN(RelPath dest, writer_.Resolve(RelPath(action.dest), true));
        TRY_ASSIGN(unpacked, UnpackArchive(source.root, match.path, writer_, dest, owner, stop_));
      }
      if (!unpacked) TRY(copy_.CopyMatch(source, action, match, owner, mode));
    }
    return Ok();
  }

  // What a copy wants to be there, on both sides.
  Status CheckPaths(const graph::Copy& action, const CopySource& source) {
    for (const std::string& path : action.required) {
      TRY(tree::FindMatches(job_.trees, source.tree_root, {.path = RelPath(path).str()}));
    }
    if (action.create_dest_path) return Ok();
    TRY_ASSIGN(RelPath dest, writer_.Resolve(RelPath(action.dest), true));
    return NeedParent("copy to", dest);
  }

  Status NeedParent(std::string_view what, const RelPath& path) {
    TRY_ASSIGN(auto parent, writer_.Lookup(path.Parent()));
    if (parent) return Ok();
    return NotFound("{} {}: its parent directory does not exist", what, path.Absolute());
  }

  Status Do(const graph::MakeFile& action) {
    TRY_ASSIGN(auto owner, OwnerOf(action.owner));
    TRY_ASSIGN(RelPath path, writer_.Resolve(RelPath(action.path), true));
    TRY(NeedParent("mkfile", path));
    TRY(writer_.Directory(path.Parent(), {}));
    TRY(writer_.ClearForFile(path));
    return writer_.PutText(path, AttributesFor(action.mode, owner, action.timestamp), action.data);
  }

  Status Do(const graph::MakeDirectory& action) {
    TRY_ASSIGN(auto owner, OwnerOf(action.owner));
    TRY_ASSIGN(RelPath path, writer_.Resolve(RelPath(action.path), true));
    if (!action.make_parents) TRY(NeedParent("mkdir", path));
    TRY_ASSIGN(auto existing, writer_.Lookup(path));
    if (existing && existing->IsDirectory()) return Ok();
    TRY(writer_.Directory(path, AttributesFor(action.mode, owner, action.timestamp)));
    return Ok();
  }

  Status Do(const graph::Remove& action) {
    TRY_ASSIGN(RelPath path, writer_.Resolve(RelPath(action.path), false));
    if (action.allow_wildcard && tree::HasWildcards(action.path)) {
      return RemoveMatches(path, action.allow_not_found);
    }
    TRY_ASSIGN(bool removed, writer_.Remove(path));
    if (!removed && !action.allow_not_found) return NotFound("rm {}: not found", path.Absolute());
    return Ok();
  }

  Status RemoveMatches(const RelPath& pattern, bool allow_not_found) {
    tree::Selector selector{.path = pattern.str(), .wildcards = true, .allow_empty = true, .follow_last = false};
    const graph::FileOp& op = std::get<graph::FileOp>(request_.graph.steps[request_.step].op);
    TRY_ASSIGN(auto matches, tree::FindMatches(job_.trees, BaseOf(request_, op).tree_root, selector));
    for (const tree::Match& match : matches) TRY(writer_.Remove(match.path));
    if (matches.empty() && !allow_not_found) {
      return NotFound("rm {}: nothing matches", pattern.Absolute());
    }
    return Ok();
  }

  Status Do(const graph::MakeSymlink& action) {
    TRY_ASSIGN(auto owner, OwnerOf(action.owner));
    TRY_ASSIGN(RelPath path, writer_.Resolve(RelPath(action.path), false));
    TRY(NeedParent("symlink", path));
    TRY(writer_.Directory(path.Parent(), {}));
    TRY(writer_.ClearForFile(path));
    return writer_.PutSymlink(path, AttributesFor(0777, owner, action.timestamp), action.target);
  }

  const Job& job_;
  const engine::RunRequest& request_;
  const graph::FileOp& op_;
  PartialInputs& partial_;
  const bool has_base_;
  engine::StepSink& sink_;
  std::stop_token stop_;
  LayerWriter writer_;
  std::map<int, InputFiles> inputs_;  // before copy_: its threads read from these
  TreeCopy copy_;
  std::map<int, Names> names_;
};

// Then the copies know every entry of the layer.
bool OnlyCopies(const graph::FileOp& op) {
  return std::ranges::all_of(op.actions, [](const graph::FileAction& action) {
    const auto* copy = std::get_if<graph::Copy>(&action);
    return copy != nullptr && !copy->unpack;
  });
}

std::optional<SimilarLayer> OpenSimilar(const Job& job, const std::optional<DiffId>& layer) {
  if (!layer) return {};
  // The lease first: what is found under it stays (invariant I5), and a lazy layer may refer to it.
  if (!job.lease.Add(*layer)) return {};
  auto here = job.layers.Has(*layer);
  if (!here || !*here) return {};
  auto index = job.layers.EncodedIndex(*layer);
  auto files = job.layers.Files(*layer);
  if (!index || !files || !job.lease.Add(files->whole)) return {};
  return SimilarLayer{std::move(*files), std::move(*index)};
}

// Whether a step of the graph mounts this one's files: a RUN on it or on what is stacked on it, or a copy
// out of it. Then they are best made at once, while the threads that make them have the directories open.
bool IsMountedLater(const graph::Graph& graph, graph::StepIndex step) {
  std::set<graph::StepIndex> stacked = {step};  // steps whose layers include this one's
  for (graph::StepIndex i = step + 1; i < graph.steps.size(); ++i) {
    const graph::Step& later = graph.steps[i];
    const auto* files = std::get_if<graph::FileOp>(&later.op);
    for (size_t n = 0; n < later.inputs.size(); ++n) {
      if (!stacked.contains(later.inputs[n].step)) continue;
      bool is_base = files != nullptr && files->base == static_cast<int>(n);
      if (std::holds_alternative<graph::Exec>(later.op) || (files != nullptr && !is_base)) return true;
      stacked.insert(i);
    }
  }
  return false;
}

// Worth it for the many files that are left where they are. What such a layer has of its own is linked
// again by each one that comes after it: when that grows, a whole layer is the next to be referred to.
bool MayBeLazy(const engine::RunRequest& request, const SimilarLayer& similar) {
  const auto& op = std::get<graph::FileOp>(request.graph.steps[request.step].op);
  constexpr size_t kMostOwn = 8;  // one of so many entries
  static const std::optional<int64_t> forced = [] {
    const char* text = std::getenv("VARVE_LAZY_FROM");
    return text != nullptr ? ParseInt(text) : std::nullopt;
  }();
  const size_t from = static_cast<size_t>(std::max<int64_t>(forced.value_or(kLazyFrom), 0));
  auto index = tree::LayerIndexReader::Open(similar.index);
  if (!index || index->entries() < from || op.actions.size() != 1 || !OnlyCopies(op)) return false;
  if (!forced && IsMountedLater(request.graph, request.step)) return false;
  return similar.files.own_paths.size() * kMostOwn <= index->entries();
}

// For a step's second run, of which all has been said in the first.
class SilentSink final : public engine::StepSink {
 public:
  void Log(int, std::string_view) override {}
  void Progress(const std::string&, uint64_t, uint64_t, bool) override {}
};

struct Written {
  std::unique_ptr<snapshot::LayerDraft> draft;
  std::optional<snapshot::WrittenLayer> layer;  // nothing: to be read back
  snapshot::LayerStore::KnownDigests known;
  Digest tree_root;  // with `layer`
  std::map<RelPath, Timestamp> base_times = {};
};

// Nothing: no lazy layer can be made of this.
Result<std::optional<Written>> Write(const Job& job, const engine::RunRequest& request, PartialInputs& partial,
                                     const SimilarLayer* similar, TreeCopy::Files files, engine::StepSink& sink,
                                     std::stop_token stop) {
  const auto& op = std::get<graph::FileOp>(request.graph.steps[request.step].op);
  const Digest& below = FileStep::BaseOf(request, op).tree_root;
  Written written;
  TRY_ASSIGN(written.draft, job.layers.NewDraft());
  tree::LayerTree tree(job.trees, below.empty() ? tree::EmptyTree() : below);
  std::optional<snapshot::LayerStream> stream;
  if (OnlyCopies(op)) {
    stream.emplace([&](snapshot::StreamedEntry entry) { return tree.Add(std::move(entry.index), entry.fresh); },
                   snapshot::LayerStream::IndexFile{.path = written.draft->work() + "/index"});
  }
  uint64_t linked = 0;
  {
    FileStep step(job, request, op, partial, *written.draft, similar, stream ? &*stream : nullptr, files, sink, stop);
    TRY(step.Run(op));
    written.known = step.copy().TakeKnown();
    linked = step.copy().linked_files();
    written.base_times = step.base_times();
  }
  bool streamed = stream && !stream->broken();
  if (files == TreeCopy::Files::kLazy && !streamed) return std::optional<Written>();
  Counter("exec.files_linked").Add(static_cast<int64_t>(linked));
  if (streamed) {
    TRY_ASSIGN(written.layer, stream->Finish());
    TRY_ASSIGN(written.tree_root, tree.Finish());
    if (files == TreeCopy::Files::kLazy) written.layer->rest = similar->files.whole;
  }
  return std::optional(std::move(written));
}

// Images that Windows made have their files below Files/, beside those of the registry: a layer as it is written here
// would be none of theirs.
Status CheckWindowsBase(const Job& job, const engine::RunRequest& request, const cache::Rootfs& base) {
  const graph::Step& step = request.graph.steps[request.step];
  if (step.platform.os != "windows") return Ok();
  for (const char* name : {"Files", "Hives"}) {
    TRY_ASSIGN(auto node, tree::Lookup(job.trees, base.tree_root, RelPath(name)));
    if (!node || !node->IsDirectory()) return Ok();
  }
  Error error = Invalid("the image below was made on Windows, and varve writes no layers in the form of Windows");
  error.hint = "copy into an empty stage (FROM scratch), or build this target on Windows";
  return error;
}

Result<engine::RunResult> RunWith(const Job& job, const engine::RunRequest& request, PartialInputs& partial,
                                  engine::StepSink& sink, std::stop_token stop) {
  const auto& op = std::get<graph::FileOp>(request.graph.steps[request.step].op);
  cache::Rootfs rootfs = FileStep::BaseOf(request, op);
  if (rootfs.tree_root.empty()) rootfs.tree_root = tree::EmptyTree();
  TRY(CheckWindowsBase(job, request, rootfs));
  // Until the layer is there: what a lazy one refers to must stay.
  std::optional<SimilarLayer> opened = OpenSimilar(job, request.similar);
  const SimilarLayer* similar = opened ? &*opened : nullptr;
  std::optional<Written> written;
  engine::StepSink* said = &sink;
  SilentSink silent;
  if (similar != nullptr && MayBeLazy(request, *similar)) {
    TRY_ASSIGN(written, Write(job, request, partial, similar, TreeCopy::Files::kLazy, sink, stop));
    said = &silent;
  }
  if (!written) {
    TRY_ASSIGN(written, Write(job, request, partial, similar, TreeCopy::Files::kWhole, *said, stop));
  }
  if (!written->layer) {
    TRY_ASSIGN(snapshot::Layer layer, CommitLeased(job, std::move(written->draft), written->known, stop));
    TRY_ASSIGN(rootfs, WithLayer(job, rootfs, layer.diff_id));
    return engine::RunResult{.outputs = {std::move(rootfs)},
                             .new_bytes = layer.tar_size,
                             .log = "",
                             .directories = std::move(written->base_times)};
  }
  TRY_ASSIGN(snapshot::Layer layer, CommitLeased(job, std::move(written->draft), std::move(*written->layer)));
  rootfs.layers.push_back(layer.diff_id);
  rootfs.tree_root = written->tree_root;
  return engine::RunResult{.outputs = {std::move(rootfs)},
                           .new_bytes = layer.tar_size,
                           .log = "",
                           .directories = std::move(written->base_times)};
}

}  // namespace

Result<engine::RunResult> RunFileStep(const Job& job, const engine::RunRequest& request, engine::StepSink& sink,
                                      std::stop_token stop) {
  METRIC("exec.file_step");
  PartialInputs partial;
  for (size_t i = 0; i < request.inputs.size(); ++i) {
    const engine::RunInput& input = request.inputs[i];
    if (!input.here) partial.try_emplace(static_cast<int>(i), job, request.graph, input, sink, stop);
  }
  auto result = RunWith(job, request, partial, sink, stop);
  if (result || partial.empty() || stop.stop_requested()) return result;
  // A layer could not be had, or a tree is not known here in all its parts: where they were made, they are.
  bool missing = result.error().code == Code::kCorrupt ||
                 std::ranges::any_of(partial, [](const auto& part) { return part.second.missing(); });
  if (!missing) return result;
  LOG_INFO("the inputs of a copy are needed whole: {}", result.error().message);
  return engine::RunResult{.inputs_missing = true};
}

}  // namespace varve::exec
