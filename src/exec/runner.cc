#include "exec/runner.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <climits>
#include <cstdlib>

#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "cache/step_locks.h"
#include "exec/detached.h"
#include "exec/exec_step.h"
#include "exec/file_step.h"
#include "exec/foresee.h"
#include "exec/layer_content.h"
#include "exec/package_layer.h"
#include "exec/source_auth.h"
#include "graph/reads.h"
#include "graph/source_url.h"
#include "oci/image_config.h"
#include "source/git.h"
#include "source/http.h"
#include "sys/open.h"
#include "tree/layer_index.h"

namespace varve::exec {

namespace {

OnProgress ProgressTo(engine::StepSink& sink) {
  return [&sink](const std::string& id, uint64_t current, uint64_t total, bool done) {
    sink.Progress(id, current, total, done);
  };
}

class HeldLock final : public engine::StepLocks::Lock {
 public:
  explicit HeldLock(std::unique_ptr<cache::KeyLock> lock) : lock_(std::move(lock)) {}

 private:
  std::unique_ptr<cache::KeyLock> lock_;
};

}  // namespace

Runner::Runner(RunnerOptions options, RunnerStores stores)
    : options_(std::move(options)), stores_(stores), scratch_(options_.root + "/tmp", "job-"),
      secrets_(options_.secrets, options_.secrets_elsewhere), cache_mounts_(options_.root, stores.clock),
      obtainer_(stores.layers, stores.local, stores.images, stores.blobs, stores.fetch_layer) {}
Runner::~Runner() = default;

Result<std::unique_ptr<Runner>> Runner::Create(RunnerOptions options, RunnerStores stores) {
  std::unique_ptr<Runner> runner(new Runner(std::move(options), stores));
  TRY(runner->secrets_.Check());
  runner->step_state_ = std::make_unique<StepState>(runner->scratch_);
  runner->job_ = std::make_unique<Job>(Job{
      .layers = stores.layers,
      .trees = stores.local,
      .cache_mounts = runner->cache_mounts_,
      .directories = *runner,
      .secrets = runner->secrets_,
      .ssh = runner->options_.ssh,
      .scratch = runner->scratch_,
      .step_state = *runner->step_state_,
      .mount_namespace = runner->options_.mount_namespace,
      .clock = stores.clock,
      .lease = stores.lease,
      .root = runner->options_.root,
      .resolv_conf = runner->options_.steps.resolv_conf,
      .restore_mount = stores.restore_mount,
      .warn = [&self = *runner](const std::string& text) { self.WarnOnce(text); },
      .bring_layer =
          [&self = *runner](const cache::Rootfs& stack, size_t layer, engine::StepSink& sink, std::stop_token stop) {
            return self.obtainer_.ObtainLayer(stack, layer, self.Images(), ProgressTo(sink), stop);
          },
      .keep_failed = runner->options_.keep_failed});
  return runner;
}

void Runner::WarnOnce(const std::string& text) {
  if (options_.warn && warned_.Lock()->insert(text).second) options_.warn(text);
}

// --- Sources -----------------------------------------------------------------------------------------

Result<engine::Pin> Runner::Resolve(const graph::Graph& graph, graph::StepIndex step, engine::StepSink& sink,
                                    std::stop_token stop) {
  const graph::Step& source = graph.steps[step];
  if (const auto* image = std::get_if<graph::ImageSource>(&source.op)) {
    TRY_ASSIGN(auto resolved, ResolveImage(source, *image, stop));
    return PinImage(step, std::move(resolved), image->layer_limit);
  }
  if (const auto* layout = std::get_if<graph::OciLayoutSource>(&source.op)) {
    if (options_.layouts) {
      TRY_ASSIGN(auto resolved, options_.layouts(*layout, source.platform, stop));
      return PinImage(step, std::move(resolved), layout->layer_limit);
    }
    std::string reference = layout->digest ? layout->digest->ToString() : layout->reference;
    TRY_ASSIGN(auto resolved, stores_.images.ResolveLayout(layout->path, reference, source.platform));
    return PinImage(step, std::move(resolved), layout->layer_limit);
  }
  if (const auto* blob = std::get_if<graph::BlobSource>(&source.op)) return ResolveBlob(step, *blob, sink, stop);
  if (const auto* local = std::get_if<graph::LocalSource>(&source.op)) {
    return ResolveLocal(graph, step, *local, sink, stop);
  }
  if (const auto* git = std::get_if<graph::GitSource>(&source.op)) {
    return ResolveGit(graph, step, *git, sink, stop);
  }
  return ResolveHttp(step, std::get<graph::HttpSource>(source.op), sink, stop);
}

Result<source::ResolvedImage> Runner::ResolveImage(const graph::Step& step, const graph::ImageSource& op,
                                                   std::stop_token stop) {
  // What a tag led to an hour ago cannot be held against it.
  const auto mode = op.checksum ? graph::ResolveMode::kPull : op.resolve_mode;
  TRY_ASSIGN(auto image, stores_.images.Resolve(op.reference, step.platform, mode, std::move(stop)));
  if (op.checksum && image.named_digest != *op.checksum) {
    return Invalid("image digest {} for {} does not match expected checksum {}", image.named_digest.ToString(),
                   op.reference, op.checksum->ToString());
  }
  return image;
}

Result<engine::Pin> Runner::PinImage(graph::StepIndex step, source::ResolvedImage image,
                                     std::optional<uint32_t> layer_limit) {
  if (layer_limit) source::LimitLayers(image, *layer_limit);
  engine::Pin pin{.rootfs = {image.diff_ids, Digest()}, .chain = image.chain};
  // The lease first: what is found under it stays (invariant I5).
  TRY(stores_.lease.Add(image.diff_ids));
  TRY_ASSIGN(auto here, stores_.images.FindLocally(image));
  if (here) {
    pin.rootfs = std::move(*here);
    pin.data_local = true;
  }
  images_.Lock()->insert_or_assign(step, std::move(image));
  return pin;
}

Result<engine::Pin> Runner::ResolveLocal(const graph::Graph& graph, graph::StepIndex step, const graph::LocalSource& op,
                                         engine::StepSink& sink, std::stop_token stop) {
  METRIC("exec.walk_context");
  source::ContextSpec spec{
      .exclude = op.exclude, .include = op.include, .reach = graph::Reach(graph, step), .mode = options_.context_mode};
  if (auto directory = options_.directories.find(op.name); directory != options_.directories.end()) {
    spec.directory = directory->second;
  } else if (options_.other_directories) {
    TRY_ASSIGN(spec.directory, options_.other_directories(op, spec.reach, sink, stop));
  } else {
    return Internal("no directory was given for the context \"{}\"", op.name);
  }
  char resolved[PATH_MAX];
  const char* real = realpath(spec.directory.c_str(), resolved);
  spec.stat_cache_file =
      fmt::format("{}/contexts/{}", options_.root, Digest::Of(real ? real : spec.directory).Hex().substr(0, 32));
  TRY_ASSIGN(source::ContextTree tree, source::WalkContext(spec, stores_.local, stop));
  sink.Progress(fmt::format("{} files, {} read", tree.files, FormatBytes(tree.hashed_bytes)), tree.bytes, 0, true);
  source_directories_.Lock()->insert_or_assign(step, spec.directory);
  return engine::Pin{.rootfs = {{}, tree.root}, .data_local = true};
}

Result<engine::Pin> Runner::ResolveGit(const graph::Graph& graph, graph::StepIndex step, const graph::GitSource& op,
                                       engine::StepSink& sink, std::stop_token stop) {
  TRY_ASSIGN(std::string scratch, scratch_.Path());
  TRY_ASSIGN(auto work, sys::TempDir::Create(scratch, "git-"));
  source::GitRequest request{.source = op, .cache_directory = options_.root, .work_directory = work.path()};
  request.answers = stores_.answers;
  TRY_ASSIGN(request.access, FindGitAccess(op, secrets_));
  if (!op.known_hosts.empty()) {
    request.access.known_hosts = work.path() + "/known_hosts";
    TRY_ASSIGN(Fd fd, OpenFile(request.access.known_hosts, O_WRONLY | O_CREAT | O_EXCL, 0600));
    TRY(FdWriter(fd.get()).Write(op.known_hosts));
  }
  for (const SshAgent& agent : options_.ssh) {
    if (agent.id == op.ssh_id) request.access.ssh_auth_sock = agent.socket;
  }
  if (op.bundle) {
    request.bundle = work.path() + "/imported.bundle";
    TRY(stores_.images.FetchBlobTo(request.bundle, *op.bundle, options_.stores, ProgressTo(sink), stop));
  }
  auto on_line = [&](std::string_view line) { sink.Log(2, std::string(line) + "\n"); };
  TRY_ASSIGN(auto checkout, source::FetchGit(request, on_line, stop));
  source::ContextSpec spec{.directory = checkout.directory, .reach = graph::Reach(graph, step)};
  TRY_ASSIGN(source::ContextTree tree, source::WalkContext(spec, stores_.local, stop));
  work.Release();  // removed with the scratch directory
  const char* algorithm = checkout.commit.size() == 64 ? "sha256:" : "sha1:";
  pins_.Lock()->insert_or_assign(step, algorithm + checkout.commit);
  source_directories_.Lock()->insert_or_assign(step, checkout.directory);
  return engine::Pin{.rootfs = {{}, tree.root}, .data_local = true};
}

Result<source::HttpFile> Runner::Download(const graph::HttpSource& op, std::stop_token stop) {
  if (!op.url.starts_with(kUploadHost) || !options_.uploads) {
    TRY_ASSIGN(std::string authorization, FindHttpAuthorization(op, secrets_));
    const source::HttpPlace place{stores_.http, stores_.blobs, stores_.local, stores_.clock, stores_.answers};
    return source::FetchHttp(op, authorization, place, stop);
  }
  // The client sends it once.
  std::optional<source::HttpAnswer> sent;
  if (stores_.answers != nullptr) sent = stores_.answers->Http(op.url);
  if (!sent) {
    TRY_ASSIGN(auto writer, stores_.blobs.Create());
    TRY(options_.uploads(op.url, *writer, stop));
    sent = source::HttpAnswer{.size = writer->size()};
    TRY_ASSIGN(sent->digest, writer->Commit({}));
    if (stores_.answers != nullptr) stores_.answers->SetHttp(op.url, *sent);
  }
  return source::HttpFile{.digest = sent->digest,
                          .size = sent->size,
                          .name = op.filename.empty() ? graph::HttpFileName(op.url) : op.filename};
}

Result<engine::Pin> Runner::ResolveHttp(graph::StepIndex step, const graph::HttpSource& op, engine::StepSink& sink,
                                        std::stop_token stop) {
  TRY_ASSIGN(source::HttpFile file, Download(op, stop));
  return PinFile(step,
                 {file.digest,
                  file.size,
                  file.name,
                  {.mode = op.mode, .uid = op.uid, .gid = op.gid, .mtime = file.modified.value_or(Timestamp{0})}},
                 sink);
}

Result<engine::Pin> Runner::ResolveBlob(graph::StepIndex step, const graph::BlobSource& op, engine::StepSink& sink,
                                        std::stop_token stop) {
  TRY_ASSIGN(uint64_t size, stores_.images.FetchBlob(op, options_.stores, ProgressTo(sink), std::move(stop)));
  return PinFile(step,
                 {op.digest,
                  size,
                  op.filename.empty() ? op.digest.Hex() : op.filename,
                  {.mode = op.mode, .uid = op.uid, .gid = op.gid, .mtime = Timestamp{0}}},
                 sink);
}

Result<engine::Pin> Runner::PinFile(graph::StepIndex step, const SingleFile& file, engine::StepSink& sink) {
  sink.Progress(file.name, file.size, file.size, true);
  pins_.Lock()->insert_or_assign(step, file.digest.ToString());
  TRY_ASSIGN(std::string scratch, scratch_.Path());
  TRY_ASSIGN(auto work, sys::TempDir::Create(scratch, "file-"));
  std::string path = work.path() + "/" + file.name;
  TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
  TRY_ASSIGN(auto body, stores_.blobs.OpenVerified(file.digest));
  FdWriter out(fd.get());
  TRY(Copy(*body, out));
  TRY(About(RelPath(file.name), ApplyAttributes(fd.get(), file.attributes)));
  tree::TreeEditor edit(stores_.local, tree::EmptyTree());
  TRY(edit.Put(RelPath(file.name), {.mode = file.attributes.mode,
                                    .uid = file.attributes.uid,
                                    .gid = file.attributes.gid,
                                    .size = file.size,
                                    .digest = file.digest}));
  TRY_ASSIGN(Digest root, edit.Commit());
  source_directories_.Lock()->insert_or_assign(step, work.Release());
  return engine::Pin{.rootfs = {{}, root}, .data_local = true};
}

std::string Runner::DirectoryOf(graph::StepIndex step) const {
  auto directories = source_directories_.Lock();
  auto it = directories->find(step);
  return it == directories->end() ? "" : it->second;
}

// --- Results -----------------------------------------------------------------------------------------

bool Runner::HasLocally(const std::vector<cache::Rootfs>& outputs) {
  std::vector<DiffId> layers;
  for (const cache::Rootfs& output : outputs) {
    if (output.tree_root.empty()) return false;  // Obtain makes it
    layers.insert(layers.end(), output.layers.begin(), output.layers.end());
  }
  // The lease first: what is found under it stays (invariant I5). One for all: it takes five system calls.
  if (Status leased = stores_.lease.Add(layers); !leased) return false;
  for (const cache::Rootfs& output : outputs) {
    for (const DiffId& layer : output.layers) {
      // Once: with each step on top of the last, to look again at all below would be quadratic.
      if (here_.Lock()->contains(layer)) continue;
      auto here = stores_.layers.Has(layer);
      if (!here || !*here) return false;
      here_.Lock()->insert(layer);
    }
  }
  return true;
}

bool Runner::RestoreTrees(const std::vector<cache::Rootfs>& outputs) {
  METRIC("exec.restore_trees");
  if (!HasLocally(outputs)) return false;
  for (const cache::Rootfs& output : outputs) {
    Digest root = tree::EmptyTree();
    for (const DiffId& layer : output.layers) {
      auto index = stores_.layers.Index(layer);
      auto applied = index ? tree::ApplyLayer(stores_.local, root, *index) : Result<Digest>(Error(index.error()));
      if (!applied) {
        LOG_WARN("a lost tree cannot be made again: {}", applied.error().message);
        return false;
      }
      root = *applied;
    }
    if (root != output.tree_root) return false;
  }
  return true;
}

Result<std::vector<cache::Rootfs>> Runner::Obtain(const graph::Graph&, graph::StepIndex step,
                                                  const std::vector<cache::Rootfs>& outputs, engine::StepSink& sink,
                                                  std::stop_token stop) {
  std::optional<source::ResolvedImage> image;
  {
    auto images = images_.Lock();
    auto it = images->find(step);
    if (it != images->end()) image = it->second;
  }
  if (image) {
    METRIC("exec.pull");
    TRY(stores_.lease.Add(image->diff_ids));
    TRY_ASSIGN(cache::Rootfs rootfs, stores_.images.Pull(*image, ProgressTo(sink), stop));
    return std::vector<cache::Rootfs>{std::move(rootfs)};
  }
  if (!HasLocally(outputs)) {
    TRY(obtainer_.Obtain(outputs, Images(), ProgressTo(sink), stop));
  }
  std::vector<cache::Rootfs> obtained = outputs;
  for (cache::Rootfs& output : obtained) {
    if (!output.tree_root.empty()) continue;
    TRY_ASSIGN(output.tree_root, obtainer_.TreeOf(output.layers, Images()));
  }
  return obtained;
}

bool Runner::FillTrees(std::vector<cache::Rootfs>& outputs) {
  for (cache::Rootfs& output : outputs) {
    if (!output.tree_root.empty()) continue;
    auto tree = obtainer_.TreeOf(output.layers, Images());
    if (!tree) return false;
    output.tree_root = *tree;
  }
  return true;
}

Result<engine::LayerContent> Runner::ContentOf(const DiffId& layer, bool as_tree) {
  {
    auto known = contents_.Lock();
    auto it = known->find(layer);
    if (it != known->end() && (it->second.tree || !as_tree)) return it->second;
  }
  TRY_ASSIGN(auto content, ReadLayerContent(stores_.layers, stores_.local, stores_.clock, layer, as_tree));
  contents_.Lock()->insert_or_assign(layer, content);
  return content;
}

Result<Timestamp> Runner::TimeOf(const DiffId& layer, const RelPath& path) {
  TRY_ASSIGN(auto found, stores_.layers.Find(layer, path));
  if (!found) return NotFound("{} is not in layer {}", path.Absolute(), layer.ToString());
  return found->mtime;
}

Result<engine::PackageLayer> Runner::PackagesOf(const DiffId& layer, const std::string& manager) {
  {
    auto foreseen = foreseen_.Lock();
    if (auto it = foreseen->find(layer); it != foreseen->end()) {
      const auto& [index, copied_from] = it->second;
      auto read = [&](const tree::LayerEntry& entry) -> Result<std::string> {
        auto from = copied_from.find(entry.path.str());
        if (from == copied_from.end()) return NotFound("{} comes from no directory", entry.path.str());
        return ReadFile(from->second, kMaxPackageFile);
      };
      return PackagesIn(index, manager, read);
    }
  }
  return ReadPackageLayer(stores_.layers, layer, manager);
}

Result<bool> Runner::Touches(const DiffId& layer, const std::vector<std::string>& paths) {
  return LayerTouches(stores_.layers, layer, paths);
}

Result<cache::Rootfs> Runner::Stack(const graph::Graph& graph, graph::StepIndex step, const cache::Rootfs& base,
                                    const DiffId& layer, engine::StepSink& sink, std::stop_token stop) {
  cache::Rootfs stacked = base;
  stacked.layers.push_back(layer);
  stacked.tree_root = Digest();
  TRY(Obtain(graph, step, {stacked}, sink, stop));
  return WithLayer(*job_, base, layer);
}

Result<std::optional<engine::ForeseenLayer>> Runner::Foresee(const graph::Graph& graph, graph::StepIndex step,
                                                             const std::vector<cache::Rootfs>& inputs) {
  const auto* op = std::get_if<graph::FileOp>(&graph.steps[step].op);
  if (op == nullptr) return std::nullopt;
  auto read = [this](const cache::Rootfs& input, const char* path) -> std::optional<std::string> {
    constexpr uint64_t kMaxPasswd = 8 << 20;
    auto text = ReadFileOf(stores_.layers, stores_.local, input, RelPath(path), kMaxPasswd);
    return text ? std::optional(text->value_or("")) : std::nullopt;
  };
  TRY_ASSIGN(auto files, ForeseeLayer(stores_.local, *op, inputs, read));
  if (!files) return std::nullopt;
  engine::ForeseenLayer foreseen{DiffId(Digest::Of("foreseen " + files->content.digest.Hex())), files->tree_root};
  contents_.Lock()->insert_or_assign(foreseen.layer, files->content);
  std::map<std::string, std::string> copied_from;
  for (const auto& [path, from] : files->copied_from) {
    std::string directory = DirectoryOf(graph.steps[step].inputs[static_cast<size_t>(from.first)].step);
    if (!directory.empty()) copied_from[path] = directory + from.second.Absolute();
  }
  foreseen_.Lock()->insert_or_assign(foreseen.layer, std::pair(std::move(files->index), std::move(copied_from)));
  return std::optional(foreseen);
}

Result<Digest> Runner::TreeOn(const Digest& tree_root, const DiffId& layer) {
  TRY_ASSIGN(tree::LayerIndex index, stores_.layers.Index(layer));
  return tree::ApplyLayer(stores_.local, tree_root, index);
}

std::vector<source::ResolvedImage> Runner::Images() {
  std::vector<source::ResolvedImage> images;
  auto resolved = images_.Lock();
  for (const auto& [step, image] : *resolved) images.push_back(image);
  return images;
}

Result<std::unique_ptr<engine::StepLocks::Lock>> Runner::Acquire(const StepKey& key, std::stop_token stop) {
  bool waited = false;
  TRY_ASSIGN(auto lock, cache::LockKey(options_.root, key, &waited, stop));
  return std::unique_ptr<Lock>(std::make_unique<HeldLock>(std::move(lock)));
}

// --- Steps -------------------------------------------------------------------------------------------

Result<engine::RunResult> Runner::Run(const engine::RunRequest& request, engine::StepSink& sink, std::stop_token stop) {
  std::vector<cache::Rootfs> inputs;
  for (const engine::RunInput& input : request.inputs) {
    for (const DiffId& layer : input.rootfs.layers) stores_.local.UsedLayer(layer);
    if (!input.rootfs.layers.empty()) inputs.push_back(input.rootfs);
  }
  std::unique_ptr<StepSlots::Slot> slot;
  if (options_.steps.slots) {
    TRY_ASSIGN(slot, options_.steps.slots->Take(stop));
  }
  auto result = RunOnce(request, sink, stop);
  // A part of a tree may have been lost, of a base image's as well.
  bool again = !result && result.error().code == Code::kCorrupt && RestoreTrees(inputs);
  return again ? RunOnce(request, sink, stop) : std::move(result);
}

Result<engine::RunResult> Runner::RunOnce(const engine::RunRequest& request, engine::StepSink& sink,
                                          std::stop_token stop) {
  const graph::Op& op = request.graph.steps[request.step].op;
  if (std::holds_alternative<graph::Exec>(op)) return RunExecStep(*job_, request, sink, stop);
  if (std::holds_alternative<graph::FileOp>(op)) return RunFileStep(*job_, request, sink, stop);
  if (std::holds_alternative<graph::Merge>(op)) {
    TRY_ASSIGN(cache::Rootfs merged, MergeInputs(*job_, request.inputs, stop));
    return engine::RunResult{{std::move(merged)}, 0, ""};
  }
  if (std::holds_alternative<graph::Diff>(op)) {
    TRY_ASSIGN(cache::Rootfs diff, DiffInputs(*job_, request.inputs[0], request.inputs[1], stop));
    return engine::RunResult{{std::move(diff)}, 0, ""};
  }
  return Internal("step \"{}\" is a source and cannot be run", request.graph.steps[request.step].name);
}

}  // namespace varve::exec
