#include "cache/step_record.h"

#include <algorithm>
#include <iterator>

#include "base/hex.h"
#include "base/json.h"
#include "base/wire.h"
#include "cache/record_parts.h"

namespace varve::cache {

namespace {

Json ToJson(const Rootfs& rootfs) {
  Json layers = Json::EmptyArray();
  for (const DiffId& layer : rootfs.layers) layers.Append(layer.ToString());
  Json json;
  json.Set("layers", std::move(layers));
  json.SetIf(!rootfs.tree_root.empty(), "tree", rootfs.tree_root.ToString());
  return json;
}

Result<Rootfs> RootfsFromJson(const Json& json) {
  Rootfs rootfs;
  for (const std::string& text : json.GetStrings("layers")) {
    TRY_ASSIGN(Digest digest, Digest::Parse(text));
    rootfs.layers.emplace_back(digest);
  }
  if (const Json* tree = json.Find("tree"); tree && tree->is_string()) {
    TRY_ASSIGN(rootfs.tree_root, Digest::Parse(tree->as_string()));
  }
  return rootfs;
}

Status ReadInputs(const Json& json, StepRecord& record) {
  for (const Json& item : json.GetArray("inputs")) {
    InputTree input{.name = item.GetString("name")};
    TRY_ASSIGN(input.tree_root, Digest::Parse(item.GetString("tree")));
    TRY_ASSIGN(input.selection, Digest::Parse(item.GetString("selection")));
    record.inputs.push_back(std::move(input));
  }
  for (const Json& item : json.GetArray("images")) {
    TRY_ASSIGN(Digest chain, Digest::Parse(item.GetString("chain")));
    record.images.push_back({item.GetString("reference"), ChainId(chain)});
  }
  return Ok();
}

Json ToJson(const StepTrace& trace) {
  Json reads = Json::EmptyArray();
  for (const std::string& set : trace.reads) reads.Append(Base64Encode(set));
  Json json = Json().Set("weak", trace.weak_key.ToString()).Set("reads", std::move(reads));
  if (trace.times.empty()) return json;
  Json times = Json::EmptyArray();
  for (const std::string& of : trace.times) times.Append(Base64Encode(of));
  return json.Set("times", std::move(times));
}

Result<StepTrace> TraceFromJson(const Json& json) {
  StepTrace trace;
  TRY_ASSIGN(trace.weak_key, Digest::Parse(json.GetString("weak")));
  for (const std::string& text : json.GetStrings("reads")) {
    if (!Base64Decode(text, &trace.reads.emplace_back())) return Corrupt("its trace is no base64");
  }
  for (const std::string& text : json.GetStrings("times")) {
    if (!Base64Decode(text, &trace.times.emplace_back())) return Corrupt("its trace is no base64");
  }
  return trace;
}

// All that this version knows; the rest goes to StepRecord::unknown.
constexpr std::string_view kMembers[] = {"version", "key",        "outputs", "preimage",    "inputs",  "images",
                                         "slot",    "op",         "name",    "created",     "wall_ns", "new_bytes",
                                         "log",     "log_digest", "trace",   "directories", "checksum"};

Result<StepRecord> FromJson(const Json& json) {
  StepRecord record;
  TRY_ASSIGN(Digest key, Digest::Parse(json.GetString("key")));
  record.key = StepKey(key);
  for (const Json& item : json.GetArray("outputs")) {
    TRY_ASSIGN(Rootfs output, RootfsFromJson(item));
    record.outputs.push_back(std::move(output));
  }
  TRY(ReadInputs(json, record));
  record.slot = json.GetString("slot");
  TRY_ASSIGN(record.op_digest, Digest::Parse(json.GetString("op")));
  record.name = json.GetString("name");
  TRY_ASSIGN(record.created, ParseTime(json.GetString("created")));
  record.wall = Nanos(json.GetInt("wall_ns"));
  record.new_bytes = static_cast<uint64_t>(json.GetInt("new_bytes"));
  if (const Json* trace = json.Find("trace"); trace != nullptr) {
    TRY_ASSIGN(record.trace, TraceFromJson(*trace));
  }
  if (const Json* directories = json.Find("directories"); directories != nullptr) {
    if (!directories->is_object()) return Corrupt("its directories are no object");
    for (const auto& [path, time] : directories->as_object()) {
      if (!time.is_int()) return Corrupt("the time of a directory is no number");
      record.directories[RelPath(path)] = Timestamp{time.as_int()};
    }
  }
  Json unknown;
  for (const auto& [name, value] : json.as_object()) {
    if (std::ranges::find(kMembers, name) == std::end(kMembers)) unknown.Set(name, value);
  }
  if (!unknown.is_null()) record.unknown = unknown.Dump();
  return record;
}

// Members that both forms have, in the order of the document.
Json CommonMembers(const StepRecord& record) {
  Json outputs = Json::EmptyArray(), inputs = Json::EmptyArray();
  for (const Rootfs& output : record.outputs) outputs.Append(ToJson(output));
  for (const InputTree& input : record.inputs) {
    inputs.Append(Json()
                      .Set("name", input.name)
                      .Set("tree", input.tree_root.ToString())
                      .Set("selection", input.selection.ToString()));
  }
  Json json;
  json.Set("version", StepRecord::kVersion).Set("key", record.key.ToString());
  json.Set("outputs", std::move(outputs)).Set("inputs", std::move(inputs));
  Json images = Json::EmptyArray();
  for (const InputImage& image : record.images) {
    images.Append(Json().Set("reference", image.reference).Set("chain", image.chain.ToString()));
  }
  json.SetIf(!record.images.empty(), "images", std::move(images));
  json.Set("slot", record.slot).Set("op", record.op_digest.ToString()).Set("name", record.name);
  json.Set("created", FormatTime(record.created)).Set("wall_ns", record.wall.count());
  json.Set("new_bytes", record.new_bytes);
  if (record.trace) json.Set("trace", ToJson(*record.trace));
  Json directories;
  for (const auto& [path, time] : record.directories) directories.Set(path.str(), time.nanos);
  json.SetIf(!record.directories.empty(), "directories", std::move(directories));
  if (auto unknown = Json::Parse(record.unknown); unknown && unknown->is_object()) {
    for (const auto& [name, value] : unknown->as_object()) json.Set(name, value);
  }
  return json;
}

// text + ,"checksum":"sha256:…"} where the checksum is of everything before that comma.
constexpr std::string_view kChecksumStart = ",\"checksum\":\"";
constexpr std::string_view kChecksumEnd = "\"}";
constexpr size_t kSealSize = kChecksumStart.size() + 7 + 64 + kChecksumEnd.size();

std::string Seal(std::string object) {
  object.pop_back();  // '}'
  std::string digest = Digest::Of(object).ToString();
  return fmt::format("{}{}{}{}", object, kChecksumStart, digest, kChecksumEnd);
}

Result<Json> Unseal(std::string_view text) {
  if (text.size() < kSealSize) return Corrupt("step record: it is cut short");
  std::string_view content = text.substr(0, text.size() - kSealSize);
  if (Seal(std::string(content) + "}") != text) {
    return Corrupt("step record: it does not have the checksum that it ends with");
  }
  auto json = Json::Parse(text);
  if (!json) return Corrupt("step record: {}", json.error().message);
  int64_t version = json->GetInt("version");
  if (version != StepRecord::kVersion) return Corrupt("step record of version {}", version);
  return json;
}

// The body of a row that an earlier version wrote.
Result<StepRecord> FromJsonBody(std::string_view body, std::string_view log) {
  TRY_ASSIGN(Json json, Unseal(body));
  if (json.GetString("log_digest") != Digest::Of(log).ToString()) {
    return Corrupt("step record: its log is damaged");
  }
  return FromJson(json);
}

Result<StepRecord> Checked(Result<StepRecord> record) {
  if (!record) return Corrupt("step record: {}", record.error().message);
  // A record that does not hash to its key was made to deceive.
  if (Digest::Of(record->preimage) != record->key.value) {
    return Corrupt("step record: the preimage does not hash to the key");
  }
  return record;
}

}  // namespace

Digest RunOf(const StepRecord& record) {
  if (!record.trace) return Digest();
  std::string text(record.trace->weak_key.raw());
  for (const auto* parts : {&record.trace->reads, &record.trace->times}) {
    PutVarint(text, parts->size());
    for (const std::string& part : *parts) PutBytes(text, part);
  }
  for (const Rootfs& output : record.outputs) {
    if (!output.layers.empty()) text += output.layers.back().value.raw();
  }
  return Digest::Of(text);
}

std::string EncodeRecord(const StepRecord& record) {
  Json json = CommonMembers(record);
  json.Set("preimage", record.preimage).SetIf(!record.log.empty(), "log", record.log);
  return Seal(json.Dump());
}

Result<StepRecord> DecodeRecord(std::string_view text) {
  TRY_ASSIGN(Json json, Unseal(text));
  auto record = FromJson(json);
  if (record) {
    record->preimage = json.GetString("preimage");
    record->log = json.GetString("log");
  }
  return Checked(std::move(record));
}

RecordParts SplitRecord(const StepRecord& record) { return {EncodeBody(record), record.preimage, record.log}; }

Result<StepRecord> JoinRecord(std::string_view body, std::string_view preimage, std::string_view log) {
  auto record = IsBinaryBody(body) ? DecodeBody(body, log) : FromJsonBody(body, log);
  if (record) {
    record->preimage = preimage;
    record->log = log;
  }
  return Checked(std::move(record));
}

}  // namespace varve::cache
