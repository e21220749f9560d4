#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <unordered_map>

#include "base/rel_path.h"
#include "base/strings.h"
#include "graph/source_name.h"
#include "llb/definition.h"
#include "tree/pattern.h"

namespace varve::llb {

namespace {

// The Op of a step being written: its inputs are listed once each.
class OpWriter {
 public:
  explicit OpWriter(pb::Op& op) : op_(op) {}

  // The index of what a Ref leads to; -1 for an empty file system.
  int64_t Input(const std::optional<pb::Input>& input) {
    if (!input) return -1;
    for (int i = 0; i < op_.inputs_size(); ++i) {
      if (op_.inputs(i).digest() == input->digest() && op_.inputs(i).index() == input->index()) return i;
    }
    *op_.add_inputs() = *input;
    return op_.inputs_size() - 1;
  }

 private:
  pb::Op& op_;
};

int64_t Bytes(const std::string& text) {
  if (text == "-1") return -1;
  auto value = ParseRamBytes(text);
  return value ? static_cast<int64_t>(*value) : 0;
}

void WriteResources(const std::map<std::string, std::string>& from, pb::OpMetadata* metadata) {
  if (from.empty()) return;
  pb::LinuxResources* to = metadata->mutable_linux_resources();
  for (const auto& [name, value] : from) {
    int64_t number = ParseInt(value).value_or(0);
    if (name == "memory") to->set_memory(Bytes(value));
    if (name == "memory-swap") to->set_memory_swap(Bytes(value));
    if (name == "cpu-shares") to->set_cpu_shares(static_cast<uint64_t>(number));
    if (name == "cpu-period") to->set_cpu_period(static_cast<uint64_t>(number));
    if (name == "cpu-quota") to->set_cpu_quota(number);
    if (name == "cpuset-cpus") to->set_cpuset_cpus(value);
    if (name == "cpuset-mems") to->set_cpuset_mems(value);
  }
}

void WriteProxies(const std::vector<std::string>& from, pb::Meta* to) {
  for (const std::string& entry : from) {
    size_t equals = entry.find('=');
    std::string name = ToLower(entry.substr(0, equals));
    std::string value = entry.substr(equals + 1);
    if (name == "http_proxy") to->mutable_proxy_env()->set_http_proxy(value);
    if (name == "https_proxy") to->mutable_proxy_env()->set_https_proxy(value);
    if (name == "ftp_proxy") to->mutable_proxy_env()->set_ftp_proxy(value);
    if (name == "no_proxy") to->mutable_proxy_env()->set_no_proxy(value);
    if (name == "all_proxy") to->mutable_proxy_env()->set_all_proxy(value);
  }
}

void WriteUser(const std::string& text, int64_t names_of, pb::UserOpt* to) {
  auto number = ParseInt(text);
  if (number && *number >= 0 && *number <= UINT32_MAX && std::to_string(*number) == text) {
    to->set_by_id(static_cast<uint32_t>(*number));
    return;
  }
  to->mutable_by_name()->set_name(text);
  to->mutable_by_name()->set_input(names_of);
}

void WriteOwner(const graph::Owner& owner, int64_t names_of, pb::ChownOpt* to) {
  if (!owner.user.empty()) WriteUser(owner.user, names_of, to->mutable_user());
  if (!owner.group.empty()) WriteUser(owner.group, names_of, to->mutable_group());
}

int64_t TimeOf(const std::optional<Timestamp>& time) { return time ? time->nanos : -1; }

class Encoder {
 public:
  explicit Encoder(const graph::Graph& graph) : graph_(graph) {}

  pb::Definition Run(const graph::Ref& root) {
    auto result = InputOf(root);
    if (!result) return {};
    Add(root.step);
    pb::Op last;
    *last.add_inputs() = *InputOf(root);
    out_.add_def(Serialise(last));
    return std::move(out_);
  }

 private:
  static bool IsEmpty(const graph::Step& step) {
    if (const auto* file = std::get_if<graph::FileOp>(&step.op)) return file->base < 0 && file->actions.empty();
    return std::holds_alternative<graph::Merge>(step.op) && step.inputs.empty();
  }

  // How an Op names the step's result; none: an empty file system, which no Op makes.
  std::optional<pb::Input> InputOf(const graph::Ref& ref) const {
    if (IsEmpty(graph_.at(ref))) return {};
    auto known = digests_.find(ref.step);
    pb::Input input;
    if (known != digests_.end()) input.set_digest(known->second);
    input.set_index(ref.output);
    return input;
  }

  void Add(graph::StepIndex root) {
    std::vector<bool> needed(root + 1, false);
    needed[root] = true;
    for (size_t i = root + 1; i-- > 0;) {
      if (!needed[i]) continue;
      for (const graph::Ref& input : graph_.steps[i].inputs) needed[input.step] = true;
    }
    for (graph::StepIndex i = 0; i <= root; ++i) {
      if (needed[i] && !IsEmpty(graph_.steps[i])) AddStep(i);
    }
  }

  void AddStep(graph::StepIndex index) {
    const graph::Step& step = graph_.steps[index];
    pb::Op op;
    pb::OpMetadata metadata;
    Json note = Json::EmptyObject();
    SetPlatform(step.platform, op.mutable_platform());
    WriteOp(step, &op, &metadata, &note);
    Finish(index, step, op, std::move(metadata), std::move(note));
  }

  void Finish(graph::StepIndex index, const graph::Step& step, const pb::Op& op, pb::OpMetadata metadata, Json note) {
    std::string text = Serialise(op);
    std::string digest = Digest::Of(text).ToString();
    digests_[index] = digest;
    if (out_.metadata().contains(digest)) return;
    out_.add_def(std::move(text));
    note.SetIf(!step.stage.empty(), "stage", step.stage);
    note.SetIf(step.text != step.name, "text", step.text);
    note.SetIf(!step.arg_names.empty(), "args", Json::Strings(step.arg_names));
    note.SetIf(!step.no_cache_rule.empty(), "no_cache_rule", step.no_cache_rule);
    metadata.set_ignore_cache(step.no_cache);
    (*metadata.mutable_description())[kCustomName] = step.name;
    if (!note.as_object().empty()) (*metadata.mutable_description())[kStepNote] = note.DumpCanonical();
    (*out_.mutable_metadata())[digest] = std::move(metadata);
    WriteLocation(step.location, digest);
  }

  void WriteLocation(const graph::Location& location, const std::string& digest) {
    if (location.file.empty() && location.first_line == 0) return;
    pb::Source* source = out_.mutable_source();
    int file = 0;
    while (file < source->infos_size() && source->infos(file).filename() != location.file) ++file;
    if (file == source->infos_size()) {
      source->add_infos()->set_filename(location.file);
      source->mutable_infos(file)->set_language("Dockerfile");
    }
    pb::Location* place = (*source->mutable_locations())[digest].add_locations();
    place->set_source_index(file);
    pb::Range* range = place->add_ranges();
    range->mutable_start()->set_line(static_cast<int32_t>(location.first_line));
    range->mutable_end()->set_line(static_cast<int32_t>(location.last_line));
  }

  void WriteOp(const graph::Step& step, pb::Op* op, pb::OpMetadata* metadata, Json* note) {
    if (graph::IsSource(step.op)) {
      graph::SourceName name = graph::NameOfSource(step.op);
      op->mutable_source()->set_identifier(std::move(name.identifier));
      op->mutable_source()->mutable_attrs()->insert(name.attributes.begin(), name.attributes.end());
      const auto* local = std::get_if<graph::LocalSource>(&step.op);
      if (local != nullptr) note->SetIf(!local->ignore_file.empty(), "ignore_file", local->ignore_file);
    } else if (const auto* exec = std::get_if<graph::Exec>(&step.op)) {
      WriteExec(step, *exec, op, note);
      WriteResources(exec->resources, metadata);
    } else if (const auto* file = std::get_if<graph::FileOp>(&step.op)) {
      WriteFile(step, *file, op, note);
    } else if (std::holds_alternative<graph::Merge>(step.op)) {
      WriteMerge(step, op);
    } else {
      WriteDiff(step, op);
    }
  }

  void WriteMerge(const graph::Step& step, pb::Op* op) {
    pb::MergeOp* merge = op->mutable_merge();
    OpWriter writer(*op);
    for (const graph::Ref& ref : step.inputs) {
      auto input = InputOf(ref);
      if (input) merge->add_inputs()->set_input(writer.Input(input));
    }
  }

  void WriteDiff(const graph::Step& step, pb::Op* op) {
    OpWriter writer(*op);
    pb::DiffOp* diff = op->mutable_diff();
    diff->mutable_lower()->set_input(writer.Input(InputOf(step.inputs[0])));
    diff->mutable_upper()->set_input(writer.Input(InputOf(step.inputs[1])));
  }

  // --- Exec --------------------------------------------------------------------------------------------

  void WriteMeta(const graph::Exec& exec, pb::Meta* meta) {
    for (const std::string& arg : exec.args) meta->add_args(arg);
    for (const std::string& entry : exec.env) meta->add_env(entry);
    auto ssh = std::ranges::find(exec.mounts, graph::MountType::kSsh, &graph::Mount::type);
    bool told = std::ranges::any_of(exec.env, [](const auto& e) { return e.starts_with("SSH_AUTH_SOCK="); });
    if (ssh != exec.mounts.end() && !told) meta->add_env("SSH_AUTH_SOCK=" + ssh->target);
    meta->set_cwd(exec.cwd);
    meta->set_user(exec.user);
    meta->set_hostname(exec.hostname);
    meta->set_cgroup_parent(exec.cgroup_parent);
    meta->set_remove_mount_stubs_recursive(true);
    for (const auto& [host, ip] : exec.extra_hosts) {
      pb::HostIp* to = meta->add_extra_hosts();
      to->set_host(host);
      to->set_ip(ip);
    }
    for (const graph::Ulimit& limit : exec.ulimits) {
      pb::Ulimit* to = meta->add_ulimit();
      to->set_name(limit.name);
      to->set_soft(limit.soft);
      to->set_hard(limit.hard);
    }
    for (int code : exec.valid_exit_codes) meta->add_valid_exit_codes(code);
    WriteProxies(exec.proxy_env, meta);
  }

  void WriteExec(const graph::Step& step, const graph::Exec& exec, pb::Op* op, Json* note) {
    OpWriter writer(*op);
    pb::ExecOp* to = op->mutable_exec();
    WriteMeta(exec, to->mutable_meta());
    if (exec.network == graph::NetworkMode::kHost) to->set_network(pb::HOST);
    if (exec.network == graph::NetworkMode::kNone) to->set_network(pb::NONE);
    if (exec.security == graph::SecurityMode::kInsecure) to->set_security(pb::INSECURE);
    for (const graph::Device& device : exec.devices) {
      pb::CdiDevice* made = to->add_cdi_devices();
      made->set_name(device.name);
      made->set_optional(!device.required);
    }
    Json places = Json::EmptyArray();
    for (size_t i = 0; i < exec.mounts.size(); ++i) {
      const graph::Mount& mount = exec.mounts[i];
      if (!mount.env_name.empty()) {
        pb::SecretEnv* env = to->add_secret_env();
        env->set_id(mount.secret_id);
        env->set_name(mount.env_name);
        env->set_optional(!mount.required);
        if (mount.target.empty()) {
          places.Append(i);
          continue;
        }
      }
      WriteMount(step, mount, writer, to->add_mounts());
    }
    if (exec.shm_size != 0) {
      pb::Mount* shm = to->add_mounts();
      shm->set_input(-1);
      shm->set_output(-1);
      shm->set_dest("/dev/shm");
      shm->set_mount_type(pb::TMPFS);
      shm->mutable_tmpfs_opt()->set_size(static_cast<int64_t>(exec.shm_size));
    }
    if (!places.as_array().empty()) note->Set("secret_env_at", std::move(places));
  }

  void WriteMount(const graph::Step& step, const graph::Mount& mount, OpWriter& writer, pb::Mount* to) {
    to->set_input(mount.input < 0 ? -1 : writer.Input(InputOf(step.inputs[static_cast<size_t>(mount.input)])));
    if (!mount.source.empty()) to->set_selector("/" + mount.source);
    to->set_dest(mount.target);
    to->set_output(mount.output);
    switch (mount.type) {
      case graph::MountType::kBind:
        to->set_readonly(mount.readonly);
        break;
      case graph::MountType::kCache:
        WriteCache(step, mount, writer, to);
        break;
      case graph::MountType::kTmpfs:
        to->set_mount_type(pb::TMPFS);
        to->set_readonly(mount.readonly);
        to->mutable_tmpfs_opt()->set_size(static_cast<int64_t>(mount.tmpfs_size));
        break;
      case graph::MountType::kSecret: {
        to->set_mount_type(pb::SECRET);
        pb::SecretOpt* secret = to->mutable_secret_opt();
        secret->set_id(mount.secret_id);
        secret->set_uid(mount.uid);
        secret->set_gid(mount.gid);
        secret->set_mode(mount.mode);
        secret->set_optional(!mount.required);
        break;
      }
      case graph::MountType::kSsh: {
        to->set_mount_type(pb::SSH);
        pb::SshOpt* ssh = to->mutable_ssh_opt();
        ssh->set_id(mount.secret_id);
        ssh->set_uid(mount.uid);
        ssh->set_gid(mount.gid);
        ssh->set_mode(mount.mode);
        ssh->set_optional(!mount.required);
        break;
      }
    }
  }

  void WriteCache(const graph::Step& step, const graph::Mount& mount, OpWriter& writer, pb::Mount* to) {
    to->set_mount_type(pb::CACHE);
    to->set_readonly(mount.readonly);
    pb::CacheOpt* cache = to->mutable_cache_opt();
    cache->set_id(mount.cache_id);
    if (mount.sharing == graph::CacheSharing::kPrivate) cache->set_sharing(pb::PRIVATE);
    if (mount.sharing == graph::CacheSharing::kLocked) cache->set_sharing(pb::LOCKED);
    bool plain = mount.uid == 0 && mount.gid == 0 && (mount.mode == 0755 || mount.mode == 0);
    if (plain || mount.input >= 0 || !mount.source.empty()) return;
    // Whose it is says an empty directory of that owner (decode_exec.cc, ReadCacheOwner).
    graph::MakeDirectory made{.path = "/cache", .mode = mount.mode, .make_parents = false, .owner = {}};
    made.owner = {.user = std::to_string(mount.uid), .group = std::to_string(mount.gid)};
    to->set_input(writer.Input(AddOwnerDirectory(step, made)));
    to->set_selector("/cache");
  }

  std::optional<pb::Input> AddOwnerDirectory(const graph::Step& step, const graph::MakeDirectory& made) {
    pb::Op op;
    op.mutable_platform()->set_os(step.platform.os);
    op.mutable_platform()->set_architecture(step.platform.architecture);
    pb::FileAction* action = op.mutable_file()->add_actions();
    action->set_input(-1);
    action->set_secondary_input(-1);
    pb::FileActionMkDir* to = action->mutable_mkdir();
    to->set_path(made.path);
    to->set_mode(static_cast<int32_t>(made.mode));
    to->set_timestamp(-1);
    WriteOwner(made.owner, -1, to->mutable_owner());
    std::string text = Serialise(op);
    pb::Input input;
    input.set_digest(Digest::Of(text).ToString());
    if (out_.metadata().contains(input.digest())) return input;
    (*(*out_.mutable_metadata())[input.digest()].mutable_description())[kCustomName] =
        "[internal] setting cache mount permissions";
    out_.add_def(std::move(text));
    return input;
  }

  // --- Files -------------------------------------------------------------------------------------------

  void WriteFile(const graph::Step& step, const graph::FileOp& file, pb::Op* op, Json* note) {
    OpWriter writer(*op);
    auto input_of = [&](int index) {
      return index < 0 ? -1 : writer.Input(InputOf(step.inputs[static_cast<size_t>(index)]));
    };
    // All inputs first: an action names the one before it by its number after them.
    int64_t base = input_of(file.base);
    for (const graph::FileAction& action : file.actions) {
      if (const auto* copy = std::get_if<graph::Copy>(&action)) input_of(copy->input);
      if (const graph::Owner* owner = graph::OwnerOf(action)) input_of(owner->names_of);
    }
    Json copies = Json::EmptyObject();
    for (size_t i = 0; i < file.actions.size(); ++i) {
      const graph::FileAction& action = file.actions[i];
      pb::FileAction* to = op->mutable_file()->add_actions();
      to->set_input(i == 0 ? base : op->inputs_size() + static_cast<int64_t>(i) - 1);
      to->set_secondary_input(-1);
      to->set_output(i + 1 == file.actions.size() ? 0 : -1);
      const graph::Owner* owner = graph::OwnerOf(action);
      int64_t names_of = owner != nullptr && owner->names_of >= 0 ? input_of(owner->names_of) : base;
      if (const auto* copy = std::get_if<graph::Copy>(&action)) {
        to->set_secondary_input(input_of(copy->input));
        Json said = WriteCopy(*copy, names_of, to->mutable_copy());
        if (!said.as_object().empty()) copies.Set(std::to_string(i), std::move(said));
      } else {
        WriteAction(action, names_of, to);
      }
    }
    if (!copies.as_object().empty()) note->Set("copies", std::move(copies));
  }

  static void WriteAction(const graph::FileAction& action, int64_t names_of, pb::FileAction* to) {
    if (const auto* file = std::get_if<graph::MakeFile>(&action)) {
      to->mutable_mkfile()->set_path(file->path);
      to->mutable_mkfile()->set_mode(static_cast<int32_t>(file->mode));
      to->mutable_mkfile()->set_data(file->data);
      to->mutable_mkfile()->set_timestamp(TimeOf(file->timestamp));
      if (file->owner.given()) WriteOwner(file->owner, names_of, to->mutable_mkfile()->mutable_owner());
    } else if (const auto* directory = std::get_if<graph::MakeDirectory>(&action)) {
      to->mutable_mkdir()->set_path(directory->path);
      to->mutable_mkdir()->set_mode(static_cast<int32_t>(directory->mode));
      to->mutable_mkdir()->set_make_parents(directory->make_parents);
      to->mutable_mkdir()->set_timestamp(TimeOf(directory->timestamp));
      if (directory->owner.given()) WriteOwner(directory->owner, names_of, to->mutable_mkdir()->mutable_owner());
    } else if (const auto* remove = std::get_if<graph::Remove>(&action)) {
      to->mutable_rm()->set_path(remove->path);
      to->mutable_rm()->set_allow_not_found(remove->allow_not_found);
      to->mutable_rm()->set_allow_wildcard(remove->allow_wildcard);
    } else if (const auto* link = std::get_if<graph::MakeSymlink>(&action)) {
      to->mutable_symlink()->set_oldpath(link->target);
      to->mutable_symlink()->set_newpath(link->path);
      to->mutable_symlink()->set_timestamp(TimeOf(link->timestamp));
      if (link->owner.given()) WriteOwner(link->owner, names_of, to->mutable_symlink()->mutable_owner());
    }
  }

  // Returns what the note has to say of it.
  static Json WriteCopy(const graph::Copy& copy, int64_t names_of, pb::FileActionCopy* to) {
    Json said = Json::EmptyObject();
    to->set_src("/" + copy.from.path);
    to->set_dest(copy.dest);
    if (copy.owner.given()) WriteOwner(copy.owner, names_of, to->mutable_owner());
    auto octal = ParseInt(copy.mode, 8);
    if (copy.mode.empty()) {
      to->set_mode(-1);
    } else if (octal) {
      to->set_mode(static_cast<int32_t>(*octal));
    } else {
      to->set_mode_str(copy.mode);
    }
    to->set_follow_symlink(copy.from.follow_last);
    to->set_dir_copy_contents(copy.contents_only);
    to->set_attempt_unpack_docker_compatibility(copy.unpack);
    to->set_create_dest_path(copy.create_dest_path);
    to->set_allow_wildcard(copy.from.wildcards);
    to->set_allow_empty_wildcard(copy.from.allow_empty);
    to->set_timestamp(TimeOf(copy.timestamp));
    to->set_always_replace_existing_dest_paths(copy.replace);
    for (const std::string& pattern : copy.from.include) to->add_include_patterns(pattern);
    for (const std::string& pattern : copy.from.exclude) to->add_exclude_patterns(pattern);
    for (const std::string& path : copy.required) to->add_required_paths(path);
    if (copy.from.parents) {
      // As dockerfile2llb/convert_copy.go says --parents.
      size_t pivot = copy.from.path.find("/./");
      std::string above = pivot == std::string::npos ? "" : copy.from.path.substr(0, pivot);
      std::string pattern = pivot == std::string::npos ? copy.from.path : copy.from.path.substr(pivot + 3);
      to->set_src("/" + above);
      to->add_include_patterns(pattern);
      if (!tree::HasWildcards(copy.from.path)) to->add_required_paths(RelPath(above).Join(pattern).Absolute());
      said.Set("parents", copy.from.path);
    }
    said.SetIf(!copy.follow_dest_links, "follow_dest_links", false);
    return said;
  }

  const graph::Graph& graph_;
  pb::Definition out_;
  std::unordered_map<graph::StepIndex, std::string> digests_;
};

}  // namespace

void SetPlatform(const oci::Platform& platform, pb::Platform* to) {
  to->set_os(platform.os);
  to->set_architecture(platform.architecture);
  to->set_variant(platform.variant);
  to->set_os_version(platform.os_version);
  for (const std::string& feature : platform.os_features) to->add_os_features(feature);
}

std::string Serialise(const google::protobuf::Message& message) {
  std::string text;
  {
    google::protobuf::io::StringOutputStream out(&text);
    google::protobuf::io::CodedOutputStream coded(&out);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return text;
}

pb::Definition Encode(const graph::Graph& graph, const std::optional<graph::Ref>& root) {
  if (!root) return {};
  return Encoder(graph).Run(*root);
}

}  // namespace varve::llb
