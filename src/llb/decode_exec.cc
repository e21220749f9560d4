// ExecOp.
#include <algorithm>
#include <set>

#include "base/rel_path.h"
#include "base/strings.h"
#include "llb/decode.h"

namespace varve::llb {

namespace {

Status ReadCache(const pb::Mount& from, graph::Mount* mount) {
  mount->type = graph::MountType::kCache;
  mount->cache_id = from.cache_opt().id().empty() ? mount->target : from.cache_opt().id();
  switch (from.cache_opt().sharing()) {
    case pb::SHARED:
      mount->sharing = graph::CacheSharing::kShared;
      break;
    case pb::PRIVATE:
      mount->sharing = graph::CacheSharing::kPrivate;
      break;
    case pb::LOCKED:
      mount->sharing = graph::CacheSharing::kLocked;
      break;
    default:
      return Invalid("CacheOpt.sharing is {}, which is not known", static_cast<int>(from.cache_opt().sharing()));
  }
  return Ok();
}

void ReadSecret(const pb::Mount& from, graph::Mount* mount) {
  const pb::SecretOpt& secret = from.secret_opt();
  mount->type = graph::MountType::kSecret;
  mount->secret_id = secret.id();
  mount->uid = secret.uid();
  mount->gid = secret.gid();
  mount->mode = secret.mode() & 07777;
  mount->required = !secret.optional();
  mount->readonly = true;
  mount->source.clear();
}

void ReadSsh(const pb::Mount& from, graph::Mount* mount) {
  const pb::SshOpt& ssh = from.ssh_opt();
  mount->type = graph::MountType::kSsh;
  mount->secret_id = ssh.id().empty() ? "default" : ssh.id();
  mount->uid = ssh.uid();
  mount->gid = ssh.gid();
  mount->mode = ssh.mode() & 07777;
  mount->required = !ssh.optional();
  mount->readonly = false;
  mount->source.clear();
}

class ExecReader {
 public:
  ExecReader(OpReader& reader, const pb::ExecOp& from) : reader_(reader), from_(from) {}

  Status Read() {
    if (from_.meta().args().empty()) return Invalid("invalid exec op with no args");
    if (from_.mounts().empty()) return Invalid("invalid exec op with no mounts");
    TRY(ReadMeta());
    TRY(ReadModes());
    TRY(PlaceWritten());
    for (int i = 0; i < from_.mounts_size(); ++i) TRY(ReadMount(i));
    ReadSecretEnv();
    DropSshVariable();
    for (const pb::CdiDevice& device : from_.cdi_devices()) {
      exec_.devices.push_back({device.name(), !device.optional()});
    }
    return Finish();
  }

 private:
  Status ReadMeta() {
    const pb::Meta& meta = from_.meta();
    exec_.args = {meta.args().begin(), meta.args().end()};
    exec_.env = {meta.env().begin(), meta.env().end()};
    exec_.cwd = JoinAbsolute("/", meta.cwd());
    exec_.user = meta.user();
    exec_.hostname = meta.hostname();
    exec_.cgroup_parent = meta.cgroup_parent();
    for (const pb::HostIp& host : meta.extra_hosts()) exec_.extra_hosts.emplace_back(host.host(), host.ip());
    for (const pb::Ulimit& limit : meta.ulimit()) exec_.ulimits.push_back({limit.name(), limit.soft(), limit.hard()});
    for (int code : meta.valid_exit_codes()) {
      if (code < 0 || code > 255) return Invalid("Meta.valid_exit_codes has {}, which no process can give", code);
      exec_.valid_exit_codes.push_back(code);
    }
    const pb::ProxyEnv& proxy = meta.proxy_env();
    for (const auto& [name, value] : {std::pair("HTTP_PROXY", proxy.http_proxy()),
                                      {"HTTPS_PROXY", proxy.https_proxy()},
                                      {"FTP_PROXY", proxy.ftp_proxy()},
                                      {"NO_PROXY", proxy.no_proxy()},
                                      {"ALL_PROXY", proxy.all_proxy()}}) {
      if (value.empty()) continue;
      exec_.proxy_env.push_back(fmt::format("{}={}", name, value));
      exec_.proxy_env.push_back(fmt::format("{}={}", ToLower(name), value));
    }
    // Meta.remove_mount_stubs_recursive: what a sandbox makes to mount on is always taken away again.
    return Ok();
  }

  Status ReadModes() {
    switch (from_.network()) {
      case pb::UNSET:
        break;
      case pb::HOST:
        exec_.network = graph::NetworkMode::kHost;
        break;
      case pb::NONE:
        exec_.network = graph::NetworkMode::kNone;
        break;
      default:
        return Invalid("invalid network mode {}", static_cast<int>(from_.network()));
    }
    switch (from_.security()) {
      case pb::SANDBOX:
        break;
      case pb::INSECURE:
        exec_.security = graph::SecurityMode::kInsecure;
        break;
      default:
        return Invalid("invalid security mode {}", static_cast<int>(from_.security()));
    }
    return Ok();
  }

  bool IsRoot(const pb::Mount& mount) const { return mount.dest() == "/"; }

  // A result of its own: what is written there is kept. A mount that cannot be written to gives what
  // it shows.
  bool IsOutput(const pb::Mount& mount) const {
    if (mount.mount_type() != pb::BIND || mount.output() < 0) return false;
    return IsRoot(mount) || !mount.readonly() || mount.input() < 0;
  }

  // Inputs of what is written on come first: each is the start of a result.
  Status PlaceWritten() {
    written_.resize(static_cast<size_t>(from_.mounts_size()), -1);
    for (int root = 1; root >= 0; --root) {
      for (int i = 0; i < from_.mounts_size(); ++i) {
        const pb::Mount& mount = from_.mounts(i);
        if (IsRoot(mount) != (root == 1) || (!IsRoot(mount) && !IsOutput(mount))) continue;
        TRY_ASSIGN(auto ref, reader_.Input(mount.input(), "Mount.input"));
        if (ref) written_[static_cast<size_t>(i)] = inputs_.AddOwn(reader_.AsLayers(*ref));
      }
    }
    return Ok();
  }

  Status ReadMount(int i) {
    const pb::Mount& from = from_.mounts(i);
    if (!from.result_id().empty()) return Invalid("Mount.result_id is for containers of a front end, not for steps");
    if (IsRoot(from) && !RelPath(from.selector()).IsRoot()) return Invalid("the mount at / has a Mount.selector");
    // Where every step has a tmpfs already.
    if (from.mount_type() == pb::TMPFS && JoinAbsolute(exec_.cwd, from.dest()) == "/dev/shm" &&
        from.tmpfs_opt().size() > 0) {
      exec_.shm_size = static_cast<uint64_t>(from.tmpfs_opt().size());
      return Ok();
    }
    TRY_ASSIGN(graph::Mount mount, DecodeMount(from, exec_.cwd));
    if (from.mount_type() == pb::BIND) TRY(ReadBind(from, i, &mount));
    if (from.mount_type() == pb::CACHE) TRY(ReadCacheInput(from, &mount));
    exec_.mounts.push_back(std::move(mount));
    return Ok();
  }

  Status ReadBind(const pb::Mount& from, int i, graph::Mount* mount) {
    TRY_ASSIGN(auto ref, reader_.Input(from.input(), "Mount.input"));
    if (IsOutput(from)) {
      if (!outputs_.insert(from.output()).second) return Invalid("output {} is given twice", from.output());
      if (from.output() >= from_.mounts_size())
        return Invalid("Mount.output is {}, with {} mounts", from.output(), from_.mounts_size());
      mount->output = static_cast<int>(from.output());
    } else if (from.output() >= 0) {
      if (!reader_.outputs.try_emplace(from.output(), ref).second)
        return Invalid("output {} is given twice", from.output());
    }
    int written = written_[static_cast<size_t>(i)];
    mount->input = written >= 0 ? written : ref ? inputs_.Add(*ref) : -1;
    return Ok();
  }

  Status ReadCacheInput(const pb::Mount& from, graph::Mount* mount) {
    TRY_ASSIGN(auto ref, reader_.Input(from.input(), "Mount.input"));
    if (ref && ReadCacheOwner(*ref, mount)) return Ok();
    if (ref) {
      mount->input = inputs_.Add(*ref);
    } else {
      mount->source.clear();
    }
    if (mount->source.empty()) mount->mode = 0755;
    return Ok();
  }

  // An empty directory that another step has made says only whose the mount is, and how it may be used:
  // the form of `RUN --mount=type=cache,uid=…` (dockerfile2llb/convert_runmount.go).
  bool ReadCacheOwner(graph::Ref ref, graph::Mount* mount) const {
    const auto* file = std::get_if<graph::FileOp>(&reader_.graph.at(ref).op);
    if (file == nullptr || file->base >= 0 || file->actions.size() != 1) return false;
    const auto* made = std::get_if<graph::MakeDirectory>(&file->actions[0]);
    if (made == nullptr || mount->source.empty() || RelPath(made->path).str() != mount->source) return false;
    auto uid = ParseInt(made->owner.user.empty() ? "0" : made->owner.user);
    auto gid = ParseInt(made->owner.group.empty() ? "0" : made->owner.group);
    if (!uid || !gid) return false;
    mount->uid = static_cast<uint32_t>(*uid);
    mount->gid = static_cast<uint32_t>(*gid);
    mount->mode = made->mode;
    mount->source.clear();
    return true;
  }

  // A secret that is a file and a variable is one mount in the graph. Those that are a variable alone
  // stand among the mounts where the note says; their order matters to the key.
  void ReadSecretEnv() {
    const Json::Array& places = reader_.note.GetArray("secret_env_at");
    size_t alone = 0;
    for (const pb::SecretEnv& env : from_.secret_env()) {
      auto file = std::ranges::find_if(exec_.mounts, [&](const graph::Mount& mount) {
        return mount.type == graph::MountType::kSecret && !mount.target.empty() && mount.env_name.empty() &&
               mount.secret_id == env.id() && mount.required == !env.optional();
      });
      if (file != exec_.mounts.end()) {
        file->env_name = env.name();
        continue;
      }
      graph::Mount mount{.type = graph::MountType::kSecret,
                         .readonly = true,
                         .secret_id = env.id(),
                         .required = !env.optional(),
                         .env_name = env.name()};
      auto at = static_cast<ptrdiff_t>(exec_.mounts.size());
      if (alone < places.size() && places[alone].is_int()) {
        at = std::clamp<ptrdiff_t>(static_cast<ptrdiff_t>(places[alone].as_int()), 0, at);
      }
      ++alone;
      exec_.mounts.insert(exec_.mounts.begin() + at, std::move(mount));
    }
  }

  // Clients set it beside the mount; here the mount itself does.
  void DropSshVariable() {
    auto ssh = std::ranges::find(exec_.mounts, graph::MountType::kSsh, &graph::Mount::type);
    if (ssh != exec_.mounts.end()) std::erase(exec_.env, "SSH_AUTH_SOCK=" + ssh->target);
  }

  Status Finish() {
    graph::Ref made = reader_.Add(std::move(exec_), inputs_.Take());
    for (int64_t output : outputs_) {
      reader_.outputs.insert_or_assign(output, graph::Ref{made.step, static_cast<uint32_t>(output)});
    }
    return Ok();
  }

  OpReader& reader_;
  const pb::ExecOp& from_;
  graph::Exec exec_;
  InputList inputs_;
  std::vector<int> written_;  // by mount: its input, where it is written on
  std::set<int64_t> outputs_;
};

}  // namespace

Result<graph::Mount> DecodeMount(const pb::Mount& from, const std::string& cwd) {
  graph::Mount mount;
  mount.target = from.dest().empty() ? "" : JoinAbsolute(cwd, from.dest());
  if (mount.target.empty()) return Invalid("a mount has no Mount.dest");
  if (mount.target == "/" && from.mount_type() != pb::BIND) return Invalid("the mount at / is no bind mount");
  mount.readonly = from.readonly();
  mount.source = RelPath(from.selector()).str();
  switch (from.mount_type()) {
    case pb::BIND:
      break;
    case pb::CACHE:
      TRY(ReadCache(from, &mount));
      break;
    case pb::TMPFS:
      if (from.tmpfs_opt().size() < 0) return Invalid("TmpfsOpt.size is negative");
      mount.type = graph::MountType::kTmpfs;
      mount.tmpfs_size = static_cast<uint64_t>(from.tmpfs_opt().size());
      break;
    case pb::SECRET:
      ReadSecret(from, &mount);
      break;
    case pb::SSH:
      ReadSsh(from, &mount);
      break;
    default:
      return Invalid("Mount.mount_type is {}, which is not known", static_cast<int>(from.mount_type()));
  }
  return mount;
}

Status DecodeExec(OpReader& reader, const pb::ExecOp& exec) { return ExecReader(reader, exec).Read(); }

}  // namespace varve::llb
