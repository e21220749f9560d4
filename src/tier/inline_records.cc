#include "tier/inline_records.h"

#include <algorithm>

#include "base/hex.h"
#include "base/json.h"

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

}  // namespace

void SetInlineRecords(oci::ImageConfig& config, std::vector<InlineRecord> records) {
  std::ranges::sort(records, {}, &InlineRecord::key);
  records.erase(std::unique(records.begin(), records.end()), records.end());
  Json list = Json::EmptyArray();
  for (const InlineRecord& record : records) {
    Json json = Json().Set("key", record.key.ToString());
    if (IsPrefix(record.layers)) {
      json.Set("layers", static_cast<int64_t>(record.layers.size()));
    } else {
      Json chain = Json::EmptyArray();
      for (size_t layer : record.layers) chain.Append(static_cast<int64_t>(layer));
      json.Set("chain", std::move(chain));
    }
    list.Append(std::move(json));
  }
  std::string text = Json().Set("records", std::move(list)).Dump({});
  config.document().Set(kInlineRecords, Base64Encode(text));
}

Result<std::vector<InlineRecord>> GetInlineRecords(const oci::ImageConfig& config) {
  std::vector<InlineRecord> records;
  std::string encoded = config.document().GetString(kInlineRecords);
  if (encoded.empty()) return records;
  auto damaged = [] { return Corrupt("the image's inline cache cannot be read"); };
  std::string text;
  if (!Base64Decode(encoded, &text)) return damaged();
  auto json = Json::Parse(text);
  if (!json) return damaged();
  const size_t count = config.diff_ids().size();
  size_t positions = 0;
  for (const Json& entry : json->GetArray("records")) {
    auto key = Digest::Parse(entry.GetString("key"));
    if (!key) return damaged();
    InlineRecord record{.key = StepKey(*key)};
    auto position = [&](int64_t n) {
      if (n < 0 || static_cast<uint64_t>(n) >= count) return false;
      record.layers.push_back(static_cast<size_t>(n));
      return true;
    };
    if (entry.Find("chain") != nullptr) {
      for (const Json& layer : entry.GetArray("chain")) {
        if (!layer.is_int() || !position(layer.as_int())) return damaged();
      }
    } else {
      int64_t layers = entry.GetInt("layers", -1);
      if (layers < 0 || static_cast<uint64_t>(layers) > count) return damaged();
      for (int64_t i = 0; i < layers; ++i) position(i);
    }
    positions += record.layers.size();
    if (positions > kMostPositions) return damaged();
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace varve::tier
