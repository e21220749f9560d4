#include "llb/decode.h"

#include <google/protobuf/unknown_field_set.h>

#include <algorithm>
#include <set>
#include <unordered_map>

#include "base/strings.h"
#include "llb/capabilities.h"

namespace varve::llb {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// A field of a newer protocol says something that would be done wrong without it.
Status RefuseUnknownFields(const Message& message) {
  const auto* reflection = message.GetReflection();
  const auto& unknown = reflection->GetUnknownFields(message);
  if (!unknown.empty()) {
    return Invalid("field {} of {} is not known to varve", unknown.field(0).number(),
                   message.GetDescriptor()->full_name());
  }
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) continue;
    if (!field->is_repeated()) {
      TRY(RefuseUnknownFields(reflection->GetMessage(message, field)));
      continue;
    }
    for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
      TRY(RefuseUnknownFields(reflection->GetRepeatedMessage(message, field, i)));
    }
  }
  return Ok();
}

void ReadResources(const pb::LinuxResources& from, std::map<std::string, std::string>* to) {
  auto set = [&](const char* name, auto value) {
    if (value != 0) to->insert_or_assign(name, std::to_string(value));
  };
  set("memory", from.memory());
  set("memory-swap", from.memory_swap());
  set("cpu-shares", from.cpu_shares());
  set("cpu-period", from.cpu_period());
  set("cpu-quota", from.cpu_quota());
  if (!from.cpuset_cpus().empty()) to->insert_or_assign("cpuset-cpus", from.cpuset_cpus());
  if (!from.cpuset_mems().empty()) to->insert_or_assign("cpuset-mems", from.cpuset_mems());
}

// The whole definition, while it is decoded.
class Decoder {
 public:
  Decoder(const pb::Definition& definition, const DecodeOptions& options)
      : definition_(definition), options_(options) {}

  Result<Decoded> Run() {
    if (definition_.def().empty()) return Decoded();
    TRY_ASSIGN(const pb::Op* last, ReadOps());
    if (last->inputs().empty()) return Invalid("the last Op of the definition has no input: it is to name the result");
    if (last->inputs_size() > 1)
      return Invalid("the last Op of the definition has {} inputs, not one", last->inputs_size());
    const pb::Input& result = last->inputs(0);
    std::string root = result.digest();
    TRY_ASSIGN(std::set<std::string> needed, NeededFor(root));
    // In the client's order, as far as it has inputs before users.
    for (const std::string& digest : order_) {
      if (needed.contains(digest)) TRY(Load(digest));
    }
    TRY_ASSIGN(decoded_.root, OutputOf(*ops_.at(root).vertex, result));
    if (decoded_.root) decoded_.root = LayersOf(*decoded_.root);
    TRY(graph::Validate(decoded_.graph));
    return std::move(decoded_);
  }

 private:
  struct Known {
    pb::Op op;
    Digest digest;
    bool open = false;             // its inputs are being loaded
    std::optional<size_t> vertex;  // once it is decoded
    size_t depth = 0;
    std::map<int64_t, std::optional<graph::Ref>> outputs;
  };

  Result<const pb::Op*> ReadOps() {
    if (static_cast<size_t>(definition_.def_size()) > kMaxOps) {
      return Invalid("the definition has {} Ops, more than {}", definition_.def_size(), kMaxOps);
    }
    size_t bytes = 0;
    const pb::Op* last = nullptr;
    ops_.reserve(static_cast<size_t>(definition_.def_size()));
    for (int i = 0; i < definition_.def_size(); ++i) {
      const std::string& text = definition_.def(i);
      bytes += text.size();
      if (bytes > kMaxDefinitionBytes) {
        return Invalid("the definition has more than {} MiB", kMaxDefinitionBytes >> 20);
      }
      Digest digest = Digest::Of(text);
      auto [known, is_new] = ops_.try_emplace(digest.ToString());
      last = &known->second.op;
      if (!is_new) continue;
      order_.push_back(known->first);
      known->second.digest = digest;
      if (!known->second.op.ParseFromString(text)) {
        return Invalid("Op {} of the definition cannot be read as one", i + 1);
      }
    }
    return last;
  }

  Result<std::set<std::string>> NeededFor(const std::string& root) const {
    std::set<std::string> needed = {root};
    std::vector<std::string> todo = {root};
    while (!todo.empty()) {
      auto found = ops_.find(todo.back());
      if (found == ops_.end()) return Invalid("invalid missing input digest {}", todo.back());
      todo.pop_back();
      for (const pb::Input& input : found->second.op.inputs()) {
        if (needed.insert(input.digest()).second) todo.push_back(input.digest());
      }
    }
    return needed;
  }

  // Decodes the Op and all that it needs. Not recursive: the depth is the client's to choose.
  Status Load(const std::string& root) {
    std::vector<std::string> stack = {root};
    while (!stack.empty()) {
      auto found = ops_.find(stack.back());
      CHECK(found != ops_.end());
      Known& known = found->second;
      if (known.vertex) {
        stack.pop_back();
        continue;
      }
      if (!known.open) {
        known.open = true;
        // Reversed, so that they are decoded in the order in which they are listed.
        for (int i = known.op.inputs_size(); i-- > 0;) stack.push_back(known.op.inputs(i).digest());
        continue;
      }
      stack.pop_back();
      for (const pb::Input& input : known.op.inputs()) {
        const Known& below = ops_.at(input.digest());
        // Only a hash collision makes a cycle; it must not make a loop.
        if (!below.vertex) return Invalid("Op {} is an input of itself", found->first);
        known.depth = std::max(known.depth, below.depth + 1);
      }
      if (known.depth > kMaxDepth) return Invalid("the definition is more than {} Ops deep", kMaxDepth);
      if (Status decoded = DecodeOp(known); !decoded) {
        return Error(std::move(decoded).error()).With("LLB Op " + found->first);
      }
    }
    return Ok();
  }

  Result<std::optional<graph::Ref>> OutputOf(size_t vertex, const pb::Input& input) {
    const Known& known = ops_.at(decoded_.vertices[vertex].digest.ToString());
    auto output = known.outputs.find(input.index());
    if (output == known.outputs.end()) {
      return Invalid("output {} of Op {} is asked for, which has none of that number", input.index(), input.digest());
    }
    return output->second;
  }

  graph::Ref LayersOf(const graph::Ref& root) {
    static const pb::Op kOp;
    static const pb::OpMetadata kMetadata;
    static const Json kNote = Json::EmptyObject();
    graph::Step step = decoded_.graph.at(root);
    OpReader reader{.digest = {},
                    .op = kOp,
                    .metadata = kMetadata,
                    .note = kNote,
                    .inputs = {},
                    .step = std::move(step),
                    .graph = decoded_.graph,
                    .layered = layered_,
                    .outputs = {}};
    graph::Ref out = reader.AsLayers(root);
    decoded_.vertex_of.resize(decoded_.graph.steps.size(), decoded_.vertex_of[root.step]);
    return out;
  }

  Status DecodeOp(Known& known) {
    TRY(RefuseUnknownFields(known.op));
    static const pb::OpMetadata kNone;
    auto at = definition_.metadata().find(known.digest.ToString());
    const pb::OpMetadata& metadata = at == definition_.metadata().end() ? kNone : at->second;
    for (const auto& [cap, wanted] : metadata.caps()) {
      if (wanted) TRY(RequireCapability(cap));
    }
    Json note = Json::EmptyObject();
    if (auto text = metadata.description().find(kStepNote); text != metadata.description().end()) {
      auto parsed = Json::Parse(text->second);
      if (parsed && parsed->is_object()) note = std::move(*parsed);
    }
    Vertex vertex{.digest = known.digest, .name = {}, .progress_group = {}, .export_cache = {}};
    std::vector<std::string> names;
    OpReader reader{.digest = known.digest.ToString(),
                    .op = known.op,
                    .metadata = metadata,
                    .note = note,
                    .inputs = {},
                    .step = {},
                    .graph = decoded_.graph,
                    .layered = layered_,
                    .outputs = {}};
    for (const pb::Input& input : known.op.inputs()) {
      const Known& below = ops_.at(input.digest());
      TRY_ASSIGN(auto ref, OutputOf(*below.vertex, input));
      reader.inputs.push_back(ref);
      names.push_back(decoded_.vertices[*below.vertex].name);
      vertex.inputs.push_back(below.digest);
    }
    vertex.description.insert(metadata.description().begin(), metadata.description().end());
    vertex.description.erase(kStepNote);
    if (metadata.has_progress_group()) {
      const pb::ProgressGroup& group = metadata.progress_group();
      vertex.progress_group = ProgressGroup{group.id(), group.name(), group.weak()};
    }
    if (metadata.has_export_cache()) vertex.export_cache = metadata.export_cache().value();
    auto custom = vertex.description.find(kCustomName);
    vertex.name = custom != vertex.description.end() ? custom->second : OpTitle(known.op, names);
    reader.step = StepOf(known, vertex, metadata, note);
    TRY(DecodeKind(reader));
    known.outputs = std::move(reader.outputs);
    known.vertex = decoded_.vertices.size();
    decoded_.vertices.push_back(std::move(vertex));
    decoded_.vertex_of.resize(decoded_.graph.steps.size(), *known.vertex);
    return Ok();
  }

  graph::Step StepOf(const Known& known, const Vertex& vertex, const pb::OpMetadata& metadata, const Json& note) const {
    graph::Step step{.op = graph::Merge{},
                     .platform = known.op.has_platform() ? PlatformOf(known.op.platform()) : options_.platform,
                     .name = vertex.name};
    step.stage = note.GetString("stage");
    step.text = note.GetString("text", step.name);
    step.arg_names = note.GetStrings("args");
    step.no_cache = metadata.ignore_cache();
    step.no_cache_rule = note.GetString("no_cache_rule", step.no_cache ? "the client" : "");
    step.location = LocationOf(known.digest);
    return step;
  }

  graph::Location LocationOf(const Digest& digest) const {
    const pb::Source& source = definition_.source();
    auto at = source.locations().find(digest.ToString());
    if (at == source.locations().end()) return {};
    for (const pb::Location& place : at->second.locations()) {
      if (place.source_index() < 0 || place.source_index() >= source.infos_size()) continue;
      graph::Location out{.file = source.infos(place.source_index()).filename()};
      for (const pb::Range& range : place.ranges()) {
        auto first = static_cast<uint32_t>(std::max(range.start().line(), 0));
        auto last = static_cast<uint32_t>(std::max(range.end().line(), 0));
        out.first_line = out.first_line == 0 ? first : std::min(out.first_line, first);
        out.last_line = std::max(out.last_line, std::max(first, last));
      }
      return out;
    }
    return {};
  }

  Status DecodeKind(OpReader& reader) {
    const pb::Op& op = reader.op;
    switch (op.op_case()) {
      case pb::Op::kSource: {
        if (op.inputs_size() > 0) return Invalid("a SourceOp has no inputs, this one has {}", op.inputs_size());
        auto replaced = options_.replaced.find(reader.digest);
        TRY_ASSIGN(graph::Op source, graph::ParseSource(replaced == options_.replaced.end() ? SourceNameOf(op.source())
                                                                                            : replaced->second));
        auto* local = std::get_if<graph::LocalSource>(&source);
        if (local != nullptr) local->ignore_file = reader.note.GetString("ignore_file");
        reader.outputs[0] = reader.Add(std::move(source));
        return Ok();
      }
      case pb::Op::kExec: {
        TRY(DecodeExec(reader, op.exec()));
        if (reader.metadata.has_linux_resources()) {
          auto& exec = std::get<graph::Exec>(reader.graph.steps.back().op);
          ReadResources(reader.metadata.linux_resources(), &exec.resources);
        }
        return Ok();
      }
      case pb::Op::kFile:
        return DecodeFile(reader, op.file());
      case pb::Op::kMerge:
        return DecodeMerge(reader, op.merge());
      case pb::Op::kDiff:
        return DecodeDiff(reader, op.diff());
      case pb::Op::kPassthrough:
        return DecodePassthrough(reader, op.passthrough());
      case pb::Op::kBuild: {
        Error error = Invalid("a BuildOp, a build that another step's result defines, is not supported");
        error.hint = "solve the inner definition first, and send the outer one with its result";
        return error;
      }
      case pb::Op::OP_NOT_SET:
        break;
    }
    return Invalid("it has no operation");
  }

  static Status DecodeMerge(OpReader& reader, const pb::MergeOp& merge) {
    std::vector<graph::Ref> from;
    for (const pb::MergeInput& input : merge.inputs()) {
      TRY_ASSIGN(auto ref, reader.Input(input.input(), "MergeOp.inputs"));
      if (ref) from.push_back(reader.AsLayers(*ref));
    }
    reader.outputs[0] = from.empty() ? std::optional<graph::Ref>() : reader.Add(graph::Merge{}, std::move(from));
    return Ok();
  }

  static Status DecodeDiff(OpReader& reader, const pb::DiffOp& diff) {
    if (!diff.has_lower() || !diff.has_upper()) return Invalid("a DiffOp needs lower and upper");
    TRY_ASSIGN(auto lower, reader.Input(diff.lower().input(), "DiffOp.lower"));
    TRY_ASSIGN(auto upper, reader.Input(diff.upper().input(), "DiffOp.upper"));
    if (!lower) {
      reader.outputs[0] = upper;
      return Ok();
    }
    graph::Ref below = reader.AsLayers(*lower);
    graph::Ref above = upper ? reader.AsLayers(*upper) : reader.EmptyTree();
    reader.outputs[0] = reader.Add(graph::Diff{}, {below, above});
    return Ok();
  }

  Status DecodePassthrough(OpReader& reader, const pb::PassthroughOp& passthrough) {
    if (passthrough.outputs().empty()) return Invalid("a PassthroughOp needs outputs");
    std::set<int64_t> given;
    for (int i = 0; i < passthrough.outputs_size(); ++i) {
      if (passthrough.outputs(i) < 0)
        return Invalid("invalid passthrough output input index {}", passthrough.outputs(i));
      TRY_ASSIGN(reader.outputs[i], reader.Input(passthrough.outputs(i), "PassthroughOp.outputs"));
      given.insert(passthrough.outputs(i));
    }
    for (size_t i = 0; i < reader.inputs.size(); ++i) {
      const auto& input = reader.inputs[i];
      if (input && !given.contains(static_cast<int64_t>(i))) decoded_.besides.push_back(reader.AsLayers(*input));
    }
    return Ok();
  }

  const pb::Definition& definition_;
  const DecodeOptions& options_;
  std::unordered_map<std::string, Known> ops_;  // by digest
  std::vector<std::string> order_;              // their digests, as they are listed
  std::map<graph::StepIndex, graph::Ref> layered_;
  Decoded decoded_;
};

std::string FileTitle(const pb::FileOp& file) {
  std::vector<std::string> names;
  for (const pb::FileAction& action : file.actions()) {
    if (action.has_mkdir()) names.push_back("mkdir " + action.mkdir().path());
    if (action.has_mkfile()) names.push_back("mkfile " + action.mkfile().path());
    if (action.has_rm()) names.push_back("rm " + action.rm().path());
    if (action.has_symlink())
      names.push_back("symlink " + action.symlink().oldpath() + " " + action.symlink().newpath());
    if (action.has_copy()) names.push_back("copy " + action.copy().src() + " " + action.copy().dest());
  }
  return Join(names, ", ");
}

}  // namespace

graph::SourceName SourceNameOf(const pb::SourceOp& source) {
  return {.identifier = source.identifier(), .attributes = {source.attrs().begin(), source.attrs().end()}};
}

oci::Platform PlatformOf(const pb::Platform& from) {
  return oci::Normalise({.os = from.os(),
                         .architecture = from.architecture(),
                         .variant = from.variant(),
                         .os_version = from.os_version(),
                         .os_features = {from.os_features().begin(), from.os_features().end()}});
}

std::string OpTitle(const pb::Op& op, const std::vector<std::string>& input_names) {
  auto name_of = [&](int64_t input) -> std::string {
    if (input < 0 || static_cast<size_t>(input) >= input_names.size()) return "scratch";
    return "(" + input_names[static_cast<size_t>(input)] + ")";
  };
  switch (op.op_case()) {
    case pb::Op::kSource:
      return op.source().identifier();
    case pb::Op::kExec: {
      const auto& args = op.exec().meta().args();
      return Join(std::vector<std::string>(args.begin(), args.end()), " ");
    }
    case pb::Op::kFile:
      return FileTitle(op.file());
    case pb::Op::kMerge:
      return "merge (" + Join(input_names, ", ") + ")";
    case pb::Op::kDiff:
      return "diff " + name_of(op.diff().lower().input()) + " -> " + name_of(op.diff().upper().input());
    case pb::Op::kPassthrough:
      return "passthrough " + op.passthrough().id();
    case pb::Op::kBuild:
      return "build";
    case pb::Op::OP_NOT_SET:
      break;
  }
  return "unknown";
}

Result<std::optional<graph::Ref>> OpReader::Input(int64_t index, std::string_view field) const {
  if (index == -1) return std::optional<graph::Ref>();
  if (index < 0 || index >= static_cast<int64_t>(inputs.size())) {
    return Invalid("{} names input {}, but the Op has {}", field, index, inputs.size());
  }
  return inputs[static_cast<size_t>(index)];
}

Result<graph::Ref> OpReader::InputStep(int64_t index, std::string_view field) {
  TRY_ASSIGN(auto ref, Input(index, field));
  return ref ? *ref : EmptyTree();
}

graph::Ref OpReader::EmptyTree() {
  graph::Step empty{.op = graph::FileOp{}, .platform = step.platform, .name = "[internal] empty stage"};
  empty.text = empty.name;
  return {graph.Add(std::move(empty)), 0};
}

graph::Ref OpReader::AsLayers(graph::Ref ref) {
  const graph::Step& source = graph.at(ref);
  if (!graph::IsDirectory(source.op)) return ref;
  auto [known, is_new] = layered.try_emplace(ref.step);
  if (!is_new) return known->second;
  graph::Step copy{.op = graph::FileOp{.actions = {graph::Copy{.input = 0, .from = {}, .dest = "/"}}},
                   .inputs = {ref},
                   .platform = source.platform,
                   .name = source.name};
  if (!copy.name.starts_with("[internal]")) copy.name = "[internal] " + copy.name;
  copy.text = copy.name;
  known->second = {graph.Add(std::move(copy)), 0};
  return known->second;
}

graph::Ref OpReader::Add(graph::Op made, std::vector<graph::Ref> from) {
  graph::Step added = step;
  added.op = std::move(made);
  added.inputs = std::move(from);
  return {graph.Add(std::move(added)), 0};
}

Result<Decoded> Decode(const pb::Definition& definition, const DecodeOptions& options) {
  return Decoder(definition, options).Run();
}

Status CheckEntitlements(const graph::Graph& graph, const std::set<std::string>& granted) {
  auto need = [&](const graph::Step& step, const std::string& what) -> Status {
    if (granted.contains(what)) return Ok();
    Error error = Invalid("{} is not allowed", what);
    error.hint = fmt::format("step \"{}\" asks for it: pass --allow {}, and let the daemon grant it", step.name, what);
    return error;
  };
  for (const graph::Step& step : graph.steps) {
    const auto* exec = std::get_if<graph::Exec>(&step.op);
    if (exec == nullptr) continue;
    if (exec->network == graph::NetworkMode::kHost) TRY(need(step, "network.host"));
    if (exec->security == graph::SecurityMode::kInsecure) TRY(need(step, "security.insecure"));
  }
  return Ok();
}

}  // namespace varve::llb
