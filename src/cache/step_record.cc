#include "cache/step_record.h"

#include "base/json.h"

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
  return Ok();
}

Result<StepRecord> FromJson(const Json& json) {
  StepRecord record;
  TRY_ASSIGN(Digest key, Digest::Parse(json.GetString("key")));
  record.key = StepKey(key);
  record.preimage = json.GetString("preimage");
  // A record that does not hash to its key was damaged, or made to deceive.
  if (Digest::Of(record.preimage) != key) return Corrupt("the preimage does not hash to the key");
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
  record.log = json.GetString("log");
  return record;
}

}  // namespace

std::string EncodeRecord(const StepRecord& record) {
  Json outputs = Json::EmptyArray(), inputs = Json::EmptyArray();
  for (const Rootfs& output : record.outputs) outputs.Append(ToJson(output));
  for (const InputTree& input : record.inputs) {
    inputs.Append(Json().Set("name", input.name).Set("tree", input.tree_root.ToString())
                      .Set("selection", input.selection.ToString()));
  }
  Json json;
  json.Set("version", StepRecord::kVersion).Set("key", record.key.ToString());
  json.Set("outputs", std::move(outputs)).Set("preimage", record.preimage);
  json.Set("inputs", std::move(inputs)).Set("slot", record.slot);
  json.Set("op", record.op_digest.ToString()).Set("name", record.name);
  json.Set("created", FormatTime(record.created)).Set("wall_ns", record.wall.count());
  json.Set("new_bytes", record.new_bytes).SetIf(!record.log.empty(), "log", record.log);
  return json.Dump();
}

Result<StepRecord> DecodeRecord(std::string_view text) {
  auto corrupt = [](const Error& error) { return Corrupt("step record: {}", error.message); };
  auto json = Json::Parse(text);
  if (!json) return corrupt(json.error());
  int64_t version = json->GetInt("version");
  if (version != StepRecord::kVersion) return Corrupt("step record of version {}", version);
  auto record = FromJson(*json);
  if (!record) return corrupt(record.error());
  return record;
}

}  // namespace varve::cache
