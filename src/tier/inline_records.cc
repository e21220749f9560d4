#include "tier/inline_records.h"

#include <algorithm>

#include "base/hex.h"
#include "base/json.h"
#include "base/strings.h"
#include "tree/tree.h"

namespace varve::tier {

namespace {

// Of all records together: a small config must not become gigabytes of memory.
constexpr size_t kMostPositions = 1'000'000;

bool IsPrefix(const std::vector<size_t>& layers) {
  for (size_t i = 0; i < layers.size(); ++i) {
    if (layers[i] != i) return false;
  }
  return true;
}

Error Damaged() { return Corrupt("the image's inline cache cannot be read"); }

// Nothing: the image has none.
Result<std::optional<Json>> Read(const oci::ImageConfig& config) {
  const std::string encoded = config.document().GetString(kInlineRecords);
  if (encoded.empty()) return std::optional<Json>();
  std::string text;
  if (!Base64Decode(encoded, &text)) return Damaged();
  auto json = Json::Parse(text);
  if (!json) return Damaged();
  return std::optional(std::move(*json));
}

}  // namespace

Status SetInlineRecords(oci::ImageConfig& config, std::vector<InlineRecord> records, SeenSteps seen) {
  std::ranges::sort(records, {}, &InlineRecord::key);
  records.erase(std::unique(records.begin(), records.end()), records.end());
  Json list = Json::EmptyArray(), several = Json::EmptyArray();
  for (const InlineRecord& record : records) {
    Json json = Json().Set("key", record.key.ToString());
    if (IsPrefix(record.layers)) {
      json.Set("layers", static_cast<int64_t>(record.layers.size()));
    } else {
      Json chain = Json::EmptyArray();
      for (size_t layer : record.layers) chain.Append(static_cast<int64_t>(layer));
      json.Set("chain", std::move(chain));
    }
    Json besides = Json::EmptyObject();
    for (const auto& [output, tree] : record.besides) besides.Set(std::to_string(output), tree.ToString());
    json.SetIf(!record.besides.empty(), "besides", std::move(besides));
    (record.besides.empty() ? list : several).Append(std::move(json));
  }
  Json json = Json().Set("records", std::move(list));
  if (!several.as_array().empty()) json.Set("several", std::move(several));
  if (!seen.records.empty()) {
    std::ranges::sort(seen.records, {}, &SeenSteps::Record::key);
    std::ranges::sort(seen.objects);
    Json steps = Json::EmptyArray();
    for (const SeenSteps::Record& record : seen.records) {
      Json outputs = Json::EmptyArray();
      for (const Digest& tree : record.outputs) outputs.Append(tree.ToString());
      steps.Append(Json().Set("key", record.key.ToString()).Set("outputs", std::move(outputs)));
    }
    TRY_ASSIGN(std::string trees, EncodeTrees(seen.objects));
    json.Set("seen", std::move(steps)).Set("trees", Base64Encode(trees));
  }
  config.document().Set(kInlineRecords, Base64Encode(json.Dump({})));
  return Ok();
}

cache::Rootfs Unkept(const Digest& tree_root) {
  if (tree_root == tree::EmptyTree()) return {{}, tree_root};
  return {{UnkeptLayer(tree_root)}, tree_root};
}

DiffId UnkeptLayer(const Digest& tree_root) { return DiffId(Digest::Of("an unkept layer\n" + tree_root.ToString())); }

bool IsUnkept(const cache::Rootfs& rootfs) {
  return rootfs.layers.size() == 1 && rootfs.layers[0] == UnkeptLayer(rootfs.tree_root);
}

Result<SeenSteps> GetSeenSteps(const oci::ImageConfig& config) {
  SeenSteps seen;
  TRY_ASSIGN(auto json, Read(config));
  if (!json || json->Find("seen") == nullptr) return seen;
  for (const Json& entry : json->GetArray("seen")) {
    auto key = Digest::Parse(entry.GetString("key"));
    if (!key) return Damaged();
    SeenSteps::Record record{.key = StepKey(*key), .outputs = {}};
    for (const std::string& text : entry.GetStrings("outputs")) {
      auto tree = Digest::Parse(text);
      if (!tree) return Damaged();
      record.outputs.push_back(*tree);
    }
    seen.records.push_back(std::move(record));
  }
  std::string packed;
  if (!Base64Decode(json->GetString("trees"), &packed)) return Damaged();
  TRY_ASSIGN(seen.objects, DecodeTrees(packed));
  return seen;
}

Result<std::vector<InlineRecord>> GetInlineRecords(const oci::ImageConfig& config) {
  std::vector<InlineRecord> records;
  TRY_ASSIGN(auto json, Read(config));
  if (!json) return records;
  const size_t count = config.diff_ids().size();
  size_t positions = 0;
  auto entries = json->GetArray("records");
  for (const Json& entry : json->GetArray("several")) entries.push_back(entry);
  for (const Json& entry : entries) {
    auto key = Digest::Parse(entry.GetString("key"));
    if (!key) return Damaged();
    InlineRecord record{.key = StepKey(*key)};
    auto position = [&](int64_t n) {
      if (n < 0 || static_cast<uint64_t>(n) >= count) return false;
      record.layers.push_back(static_cast<size_t>(n));
      return true;
    };
    if (entry.Find("chain") != nullptr) {
      for (const Json& layer : entry.GetArray("chain")) {
        if (!layer.is_int() || !position(layer.as_int())) return Damaged();
      }
    } else {
      int64_t layers = entry.GetInt("layers", -1);
      if (layers < 0 || static_cast<uint64_t>(layers) > count) return Damaged();
      for (int64_t i = 0; i < layers; ++i) position(i);
    }
    if (const Json* besides = entry.Find("besides")) {
      if (!besides->is_object()) return Damaged();
      for (const auto& [name, text] : besides->as_object()) {
        const auto output = ParseInt(name);
        auto tree = text.is_string() ? Digest::Parse(text.as_string()) : Result<Digest>(Damaged());
        if (!output || *output < 0 || !tree) return Damaged();
        record.besides.emplace(static_cast<size_t>(*output), *tree);
      }
      // All but one: numbers beyond would be outputs that nobody knows.
      if (!record.besides.empty() && record.besides.rbegin()->first > record.besides.size()) return Damaged();
    }
    positions += record.layers.size() + record.besides.size();
    if (positions > kMostPositions) return Damaged();
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace varve::tier
