#include "engine/explain.h"

#include <algorithm>

#include "engine/explain_parts.h"

namespace varve::engine {

namespace {

using Kind = Reason::Kind;

Reason Unreadable() { return {Kind::kSchema, "its earlier record cannot be read by this version of varve"}; }

std::vector<Reason> Differences(const graph::Step& step, const KeyedStep& now, const cache::StepRecord& record,
                                tree::TreeStore& trees) {
  std::vector<Reason> out;
  if (record.preimage == now.preimage) {
    return {{Kind::kDataGone, "its record came too late: another build made it meanwhile"}};
  }
  auto before_json = Json::Parse(record.preimage);
  auto now_json = Json::Parse(now.preimage);
  if (!before_json || !now_json) return {Unreadable()};
  int64_t schema = before_json->GetInt("schema"), now_schema = now_json->GetInt("schema");
  if (schema != now_schema) {
    Reason reason{Kind::kSchema, fmt::format("keys changed with this version of varve: its record has "
                                             "key schema {}, this version uses {}",
                                             schema, now_schema)};
    reason.before = std::to_string(schema);
    reason.after = std::to_string(now_schema);
    return {reason};
  }
  std::string salt = before_json->GetString("salt"), now_salt = now_json->GetString("salt");
  if (salt != now_salt) {
    Reason reason{Kind::kSalt, "the cache salt changed"};
    if (salt.empty()) reason.text = "a cache salt is given, and was not before";
    if (now_salt.empty()) reason.text = "a cache salt was given before, and is not now";
    out.push_back(std::move(reason));
  }
  std::string platform = before_json->GetString("platform");
  std::string now_platform = now_json->GetString("platform");
  bool other_platform = platform != now_platform;
  if (other_platform) {
    Reason reason{Kind::kPlatform, fmt::format("never built for {} here, only for {}", now_platform, platform)};
    reason.before = platform;
    reason.after = now_platform;
    out.push_back(std::move(reason));
  }
  const Json *old_op = before_json->Find("op"), *op = now_json->Find("op");
  if (old_op && op && old_op->is_object() && op->is_object()) {
    ExplainOp(step, *old_op, *op, record.name, out);
  }
  // Another platform or salt makes other parents, and maybe other base images: those say nothing more.
  Side before_side{*before_json, record.inputs, record.images};
  Side now_side{*now_json, now.inputs, now.images};
  ExplainReads(step, before_side, now_side, trees, out);
  bool said = other_platform || salt != now_salt;
  if (!said) ExplainLineage(before_side, now_side, out);
  if (out.empty()) out.push_back({Kind::kSetting, "its key changed"});
  return out;
}

}  // namespace

Nearest Explain(const graph::Step& step, const KeyedStep& now, const std::vector<cache::StepRecord>& earlier,
                tree::TreeStore& trees) {
  Nearest best;
  for (const cache::StepRecord& record : earlier) {
    std::vector<Reason> reasons = Differences(step, now, record, trees);
    if (best.record != nullptr && reasons.size() >= best.reasons.size()) continue;
    best = {&record, std::move(reasons)};
  }
  if (best.record == nullptr) best.reasons = {{Kind::kFirstTime, "never built here"}};
  return best;
}

std::optional<StepKey> ParentKey(std::string_view preimage) {
  auto json = Json::Parse(preimage);
  if (!json) return std::nullopt;
  for (const Json& entry : json->GetArray("lineage")) {
    const Json* from = entry.Find("from");
    auto key = from ? Digest::Parse(from->GetString("step")) : Result<Digest>(Digest());
    if (key && !key->empty()) return StepKey(*key);
  }
  return std::nullopt;
}

std::string Quote(std::string_view text) {
  constexpr size_t kMax = 60;
  std::string out = "\"";
  size_t shown = 0;
  for (char c : text) {
    // Characters, not bytes: a cut must not leave half of one.
    bool starts = (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    if (starts && shown++ == kMax) {
      out += "…";
      break;
    }
    out += c == '\n' || c == '\t' || c == '\r' ? ' ' : c;
  }
  return out + "\"";
}

}  // namespace varve::engine
