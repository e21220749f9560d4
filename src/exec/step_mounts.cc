#include "exec/step_mounts.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdlib>
#include <map>

#include "base/strings.h"
#include "exec/show_traced.h"
#include "sys/mounts.h"
#include "sys/open.h"
#include "sys/socket_server.h"

namespace varve::exec {

namespace {

cache::MountSharing SharingOf(const graph::Mount& mount) {
  switch (mount.sharing) {
    case graph::CacheSharing::kLocked:
      return cache::MountSharing::kLocked;
    case graph::CacheSharing::kPrivate:
      return cache::MountSharing::kPrivate;
    default:
      return cache::MountSharing::kShared;
  }
}

}  // namespace

// A bind mount with its own writable layer over an input.
struct StepMounts::Written {
  const graph::Mount* mount_of;
  cache::Rootfs base;
  std::unique_ptr<snapshot::LayerDraft> draft;
  std::unique_ptr<snapshot::RootfsMount> mount;
};

struct StepMounts::Held {
  std::vector<InputFiles> inputs;
  std::vector<Written> written;
  std::vector<std::unique_ptr<snapshot::LayerDraft>> drafts;  // of copied directories
  std::vector<std::pair<std::string, size_t>> contexts;       // copied ones: target, and position in specs_
  std::unique_ptr<trace::TracedLayers> traced;                // shows those whose use is noted
  std::map<std::string, cache::CacheMounts::Use> caches;      // by their key
  sys::Mount secrets;
  std::string secrets_path;
  std::vector<std::unique_ptr<sys::SocketServer>> agents;
};

StepMounts::StepMounts(const Job& job, const engine::RunRequest& request, const graph::Exec& exec, std::string scratch)
    : job_(job), request_(request), exec_(exec), scratch_(std::move(scratch)), held_(std::make_unique<Held>()) {}
StepMounts::~StepMounts() = default;

Result<std::string> StepMounts::Scratch(const char* kind) {
  std::string path = fmt::format("{}/{}-{}", scratch_, kind, ++counter_);
  TRY(sys::MkdirAll(path, 0755));
  return path;
}

Result<std::string> StepMounts::PathInside(int root, const std::string& root_path, const std::string& path) {
  RelPath inside(path);
  if (inside.IsRoot()) return root_path;
  auto fd = sys::OpenInRoot(root, inside, O_PATH);
  if (!fd) {
    if (fd.error().code == Code::kNotFound) return NotFound("\"{}\": not found", inside.Absolute());
    return Error(std::move(fd).error());
  }
  // The descriptor's own path, so that a symlink swapped later is not followed again by mount(2).
  char buffer[PATH_MAX];
  ssize_t n = readlink(sys::FdPath(fd->get()).c_str(), buffer, sizeof(buffer));
  if (n <= 0) return ErrnoError(errno, "readlink");
  return std::string(buffer, static_cast<size_t>(n));
}

Status StepMounts::PrepareBind(const graph::Mount& mount, std::stop_token stop) {
  sandbox::MountSpec spec{.target = mount.target, .read_only = mount.readonly};
  cache::Rootfs base{{}, tree::EmptyTree()};
  std::string directory;
  if (mount.input >= 0) {
    const engine::RunInput& input = request_.inputs[static_cast<size_t>(mount.input)];
    base = input.rootfs;
    directory = job_.directories.DirectoryOf(input.step);
  }
  if (!directory.empty()) {
    // A context is copied, never shown: the step must see what the tree says (ignored files are not
    // in it), must not see it change, and must not write to the user's files.
    const engine::RunInput& input = request_.inputs[static_cast<size_t>(mount.input)];
    TRY_ASSIGN(auto draft, job_.layers.NewDraft());
    TRY_ASSIGN(InputFiles files, OpenInput(job_, input));
    LayerWriter writer(job_.layers, job_.trees, {{}, tree::EmptyTree()}, *draft);
    {
      TreeCopy copy(writer, job_.trees, nullptr, nullptr, TreeCopy::Files::kWhole, stop);
      graph::Copy action{.from = {.path = mount.source}, .dest = RelPath(mount.target).Absolute()};
      TRY(copy.Copy(files.AsCopySource(input.rootfs), action, {}, FileMode()));
      TRY(copy.Finish());
    }
    TRY(writer.Finish());
    // Where the step has it, so that the paths that are noted are those that it used.
    spec.source = draft->upper() + RelPath(mount.target).Absolute();
    held_->drafts.push_back(std::move(draft));
    held_->contexts.emplace_back(mount.target, specs_.size());
    specs_.push_back(std::move(spec));
    return Ok();
  }
  if (mount.readonly && mount.output < 0) {
    InputFiles files;
    if (mount.input >= 0) {
      TRY_ASSIGN(files, OpenInput(job_, request_.inputs[static_cast<size_t>(mount.input)]));
      TRY_ASSIGN(spec.source, PathInside(files.root.get(), files.path, mount.source));
    } else {
      TRY_ASSIGN(spec.source, Scratch("empty"));
    }
    held_->inputs.push_back(std::move(files));
    specs_.push_back(std::move(spec));
    return Ok();
  }
  Written written{.mount_of = &mount, .base = base};
  TRY_ASSIGN(written.draft, job_.layers.NewDraft());
  TRY_ASSIGN(std::string point, Scratch("bind"));
  TRY_ASSIGN(written.mount, snapshot::MountRootfs(job_.layers, base.layers, written.draft.get(), point));
  TRY_ASSIGN(Fd root, sys::OpenDir(written.mount->path()));
  TRY_ASSIGN(spec.source, PathInside(root.get(), written.mount->path(), mount.source));
  held_->written.push_back(std::move(written));
  specs_.push_back(std::move(spec));
  return Ok();
}

std::string StepMounts::CacheKeyOf(const graph::Mount& mount) const {
  std::string origin;
  if (mount.input >= 0) {
    // Initialised from another content, it is another mount (reference cache.md, "Cache mounts").
    const cache::Rootfs& from = request_.inputs[static_cast<size_t>(mount.input)].rootfs;
    std::string layers;
    for (const DiffId& layer : from.layers) layers += layer.Hex();
    origin = Digest::Of(layers + from.tree_root.Hex() + mount.source).Hex();
  }
  return cache::MountKey(job_.mount_namespace, mount.cache_id, origin);
}

// Each directory once, however often the step mounts it: one that is locked would wait for itself. And all steps
// in one order: two of them that lock the same mounts do not wait for each other.
Status StepMounts::AcquireCaches(engine::StepSink& sink, std::stop_token stop) {
  struct Wanted {
    const graph::Mount* first;
    cache::MountSharing sharing;
  };
  std::map<std::string, Wanted> wanted;
  for (const graph::Mount& mount : exec_.mounts) {
    if (mount.type != graph::MountType::kCache || mount.target == "/") continue;
    const cache::MountSharing sharing = SharingOf(mount);
    auto [it, is_new] = wanted.try_emplace(CacheKeyOf(mount), Wanted{&mount, sharing});
    if (sharing == cache::MountSharing::kLocked) it->second.sharing = sharing;
  }
  for (const auto& [key, want] : wanted) TRY(AcquireCache(key, *want.first, want.sharing, sink, stop));
  return Ok();
}

Status StepMounts::AcquireCache(const std::string& key, const graph::Mount& mount, cache::MountSharing sharing,
                                engine::StepSink& sink, std::stop_token stop) {
  const engine::RunInput* from = mount.input >= 0 ? &request_.inputs[static_cast<size_t>(mount.input)] : nullptr;
  cache::CacheMounts::Request request{.key = key, .id = mount.cache_id, .sharing = sharing};
  request.on_wait = [&] { sink.Log(2, fmt::format("waiting for cache mount {} to become free\n", mount.cache_id)); };
  TRY_ASSIGN(cache::CacheMounts::Use use, job_.cache_mounts.Acquire(request, stop));
  if (use.is_new()) {
    if (from != nullptr) {
      TRY_ASSIGN(InputFiles files, OpenInput(job_, *from));
      TRY_ASSIGN(std::string source, PathInside(files.root.get(), files.path, mount.source));
      // `cp` keeps every attribute; the directory is a private one that nobody else sees yet.
      TRY(sys::RunAndRead({.argv = {"cp", "-a", "--reflink=auto", source + "/.", use.path()}}, stop));
    } else {
      if (chmod(use.path().c_str(), mount.mode == 0 ? 0755 : mount.mode) != 0 ||
          chown(use.path().c_str(), mount.uid, mount.gid) != 0) {
        return ErrnoError(errno, "cache mount " + mount.cache_id);
      }
    }
    // One that --no-cache has emptied is not filled from elsewhere either.
    if (job_.restore_mount && !request_.graph.steps[request_.step].no_cache) {
      OnProgress progress = [&](const std::string& id, uint64_t current, uint64_t total, bool done) {
        sink.Progress(id, current, total, done);
      };
      TRY(job_.restore_mount(key, mount.cache_id, use.path(), progress, stop));
    }
    TRY(use.MarkInitialised());
  }
  held_->caches.emplace(key, std::move(use));
  return Ok();
}

Status StepMounts::PrepareSecret(const graph::Mount& mount) {
  TRY_ASSIGN(auto value, job_.secrets.Get(mount.secret_id));
  if (!value) {
    if (!mount.required) return Ok();
    Error error = NotFound("secret {}: not found: it is required by this step, but was not given", mount.secret_id);
    error.hint =
        fmt::format("pass --secret id={},src=FILE or --secret id={},env=VARIABLE", mount.secret_id, mount.secret_id);
    return error;
  }
  secrets_.push_back(*value);
  if (!mount.env_name.empty()) env_.push_back(mount.env_name + "=" + *value);
  if (mount.target.empty()) return Ok();
  if (held_->secrets_path.empty()) {
    TRY_ASSIGN(held_->secrets_path, Scratch("secrets"));
    TRY_ASSIGN(held_->secrets, sys::MountTmpfs(held_->secrets_path, 0, 0700, {.nosuid = true, .nodev = true}));
  }
  std::string path = fmt::format("{}/{}", held_->secrets_path, ++counter_);
  TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
  TRY(FdWriter(fd.get()).Write(*value));
  unsigned mode = mount.mode == 0 ? 0400 : mount.mode;
  if (fchown(fd.get(), mount.uid, mount.gid) != 0 || fchmod(fd.get(), mode) != 0) {
    return ErrnoError(errno, "secret file");
  }
  specs_.push_back({.source = path,
                    .target = mount.target,
                    .read_only = true,
                    .nosuid = true,
                    .nodev = true,
                    .noexec = (mode & 0111) == 0});
  return Ok();
}

Status StepMounts::PrepareSsh(const graph::Mount& mount) {
  std::string id = mount.secret_id.empty() ? "default" : mount.secret_id;
  std::string target = mount.target.empty() ? fmt::format("/run/buildkit/ssh_agent.{}", ssh_sockets_) : mount.target;
  // Also without an agent: the step is the same, only nothing listens there.
  if (ssh_sockets_++ == 0) env_.push_back("SSH_AUTH_SOCK=" + target);
  std::string why = "it is required by this step, but was not given";
  for (const SshAgent& agent : job_.ssh) {
    if (agent.id != id) continue;
    if (!agent.missing.empty()) why = agent.missing;
    if (agent.socket.empty()) continue;
    struct stat st;
    if (stat(agent.socket.c_str(), &st) != 0) return ErrnoError(errno, "ssh agent " + id);
    // A socket of the step's own: its owner and mode are the mount's, and agents answer to their owner alone.
    TRY_ASSIGN(std::string directory, Scratch("ssh"));
    auto relay = [to = agent.socket](int connection, std::stop_token stopping) {
      sys::RelayTo(to, connection, std::move(stopping));
    };
    TRY_ASSIGN(auto server, sys::SocketServer::Listen(
                                directory + "/agent",
                                {.uid = mount.uid, .gid = mount.gid, .mode = mount.mode == 0 ? 0600 : mount.mode},
                                std::move(relay)));
    specs_.push_back({.source = server->path(), .target = target});
    held_->agents.push_back(std::move(server));
    return Ok();
  }
  if (!mount.required) return Ok();
  Error error = NotFound("no SSH key \"{}\" forwarded from the client: {}", id, why);
  error.hint = fmt::format("pass --ssh {}", id);
  return error;
}

Status StepMounts::Prepare(engine::StepSink& sink, std::stop_token stop) {
  TRY(AcquireCaches(sink, stop));
  for (const graph::Mount& mount : exec_.mounts) {
    if (mount.target == "/") continue;
    switch (mount.type) {
      case graph::MountType::kBind:
        TRY(PrepareBind(mount, stop));
        break;
      case graph::MountType::kCache:
        specs_.push_back({.source = held_->caches.at(CacheKeyOf(mount)).path(),
                          .target = mount.target,
                          .read_only = mount.readonly});
        break;
      case graph::MountType::kTmpfs:
        specs_.push_back(
            {.kind = sandbox::MountKind::kTmpfs, .target = mount.target, .nosuid = true, .size = mount.tmpfs_size});
        break;
      case graph::MountType::kSecret:
        TRY(PrepareSecret(mount));
        break;
      case graph::MountType::kSsh:
        TRY(PrepareSsh(mount));
        break;
    }
  }
  ShowContexts();
  return Ok();
}

// Drafts and contexts are in the same order.
void StepMounts::ShowContexts() {
  std::vector<trace::TracedLayers::Layer> layers;
  std::vector<size_t> shown;
  for (const auto& traced : request_.traced_mounts) {
    const std::string& target = exec_.mounts[traced.mount].target;
    auto at = std::ranges::find(held_->contexts, target, [](const auto& context) { return context.first; });
    if (at == held_->contexts.end()) return;
    shown.push_back(static_cast<size_t>(at - held_->contexts.begin()));
    layers.push_back({held_->drafts[shown.back()]->upper(), traced.has_xattrs});
  }
  if (layers.empty()) return;
  held_->traced = ShowTraced(job_, std::move(layers), scratch_ + "/traced");
  for (size_t i = 0; held_->traced && i < shown.size(); ++i) {
    const auto& [target, spec] = held_->contexts[shown[i]];
    specs_[spec].source = held_->traced->Directory(i) + RelPath(target).Absolute();
  }
}

Result<trace::Asked> StepMounts::FinishTraced() {
  return held_->traced ? held_->traced->Finish() : Result<trace::Asked>(trace::Asked());
}

Result<std::vector<std::pair<const graph::Mount*, cache::Rootfs>>> StepMounts::Commit(Which which,
                                                                                      std::stop_token stop) {
  std::vector<std::pair<const graph::Mount*, cache::Rootfs>> committed;
  for (Written& written : held_->written) {
    TRY(written.mount->Finish());
    written.mount.reset();
    if (which == Which::kOutputs && written.mount_of->output < 0) continue;
    TRY_ASSIGN(snapshot::Layer layer, CommitLeased(job_, std::move(written.draft), {}, stop));
    TRY_ASSIGN(cache::Rootfs rootfs, WithLayer(job_, written.base, layer.diff_id));
    committed.emplace_back(written.mount_of, std::move(rootfs));
  }
  return committed;
}

}  // namespace varve::exec
