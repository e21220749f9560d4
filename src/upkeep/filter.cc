#include "upkeep/filter.h"

#include <re2/re2.h>

#include <algorithm>
#include <array>

#include "base/strings.h"
#include "upkeep/inventory.h"

namespace varve::upkeep {

namespace {

constexpr std::array<std::string_view, 4> kTexts = {"id", "parents", "description", "type"};
constexpr std::array<std::string_view, 5> kFlags = {"inuse", "mutable", "immutable", "shared", "private"};
constexpr std::array<std::string_view, 6> kTypes = {
    "internal", "frontend", "source.local", "source.git.checkout", "exec.cachemount", "regular"};
constexpr size_t kMaxPattern = 4096;  // bytes: a search takes as long as pattern and text multiplied

// Filters come from clients of the daemon too: std::regex recurses by the length of a pattern and of a text until the
// stack is full, and takes exponential time.
Result<std::shared_ptr<const re2::RE2>> Compile(const std::string& pattern) {
  if (pattern.size() > kMaxPattern) return Invalid("filter: a pattern of more than {} bytes", kMaxPattern);
  auto compiled = std::make_shared<const re2::RE2>(pattern, re2::RE2::Quiet);
  if (compiled->ok()) return compiled;
  return Invalid("filter: \"{}\" is not a regular expression: {}", pattern, compiled->error());
}

bool Flag(const UsageRow& row, std::string_view field) {
  if (field == "inuse") return row.in_use;
  if (field == "mutable") return row.is_mutable;
  if (field == "immutable") return !row.is_mutable;
  if (field == "shared") return row.shared;
  return !row.shared;  // private
}

std::string Text(const UsageRow& row, std::string_view field) {
  if (field == "id") return row.id;
  if (field == "parents") return Join(row.parents, ";");
  if (field == "description") return row.description;
  return std::string(NameOf(row.type));
}

std::string Unquoted(std::string_view value) {
  if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front()) {
    value = value.substr(1, value.size() - 2);
  }
  return std::string(value);
}

}  // namespace

bool Filter::Condition::Holds(const UsageRow& row) const {
  if (std::ranges::find(kFlags, field) != kFlags.end()) {
    bool flag = Flag(row, field);
    switch (test) {
      case Test::kPresent:
        return flag;
      case Test::kEqual:
        return flag == ParseBool(value).value_or(true);
      case Test::kUnequal:
        return flag != ParseBool(value).value_or(true);
      case Test::kLike:
        return flag;
    }
  }
  std::string text = Text(row, field);
  switch (test) {
    case Test::kPresent:
      return !text.empty();
    case Test::kEqual:
      return text == value;
    case Test::kUnequal:
      return text != value;
    case Test::kLike:
      return re2::RE2::PartialMatch(text, *pattern);
  }
  return false;
}

Status Filter::Add(std::string_view text, std::vector<Condition>& conditions) {
  text = TrimSpace(text);
  size_t end = text.find_first_of("=!~");
  Condition condition{
      .field = std::string(TrimSpace(text.substr(0, end))), .test = {}, .value = {}, .pattern = nullptr};
  if (end != text.npos) {
    std::string_view rest = text.substr(end);
    size_t length = rest.starts_with("!=") || rest.starts_with("~=") || rest.starts_with("==") ? 2 : 1;
    if (length == 1 && rest[0] != '=') return Invalid("filter \"{}\": expected =, !=, or ~=", text);
    condition.test = rest[0] == '!' ? Test::kUnequal : rest[0] == '~' ? Test::kLike : Test::kEqual;
    condition.value = Unquoted(TrimSpace(rest.substr(length)));
  }
  if (condition.field == "until" || condition.field == "unused-for") {
    if (until_) return Invalid("filter: until is given twice");
    if (condition.test != Test::kEqual) return Invalid("filter \"{}\": until takes a duration", text);
    auto duration = ParseGoDuration(condition.value);
    if (!duration) return Invalid("filter \"{}\": {}", text, duration.error().message);
    until_ = *duration;
    return Ok();
  }
  bool is_text = std::ranges::find(kTexts, condition.field) != kTexts.end();
  if (!is_text && std::ranges::find(kFlags, condition.field) == kFlags.end()) {
    Error error = Invalid("filter \"{}\": there is no field \"{}\"", text, condition.field);
    error.hint =
        "fields are until, id, parents, description, type, inuse, mutable, immutable, shared, "
        "private";
    return error;
  }
  if (condition.field == "type" && condition.test == Test::kEqual &&
      std::ranges::find(kTypes, condition.value) == kTypes.end()) {
    Error error = Invalid("filter \"{}\": there is no type \"{}\"", text, condition.value);
    auto near = NearestWord(condition.value, kTypes);
    error.hint = near ? fmt::format("did you mean {}?", *near)
                      : "types are regular, exec.cachemount, source.local, source.git.checkout, "
                        "internal, frontend";
    return error;
  }
  if (condition.field == "id" && condition.test == Test::kEqual) {
    // A digest has no character that means something in a pattern, but other ids may.
    condition.test = Test::kLike;
  }
  if (condition.test == Test::kLike) {
    TRY_ASSIGN(condition.pattern, Compile(condition.value));
  }
  conditions.push_back(std::move(condition));
  return Ok();
}

Result<Filter> Filter::Parse(const std::vector<std::string>& texts) {
  Filter filter;
  std::vector<Condition> all;
  for (const std::string& text : texts) {
    TRY_ASSIGN(auto parts, ParseCsvRecord(text));
    for (const std::string& part : parts) TRY(filter.Add(part, all));
  }
  if (!all.empty()) filter.alternatives_.push_back(std::move(all));
  return filter;
}

Result<Filter> Filter::ParseAny(const std::vector<std::string>& texts) {
  Filter filter;
  for (const std::string& text : texts) {
    std::vector<Condition> all;
    TRY_ASSIGN(auto parts, ParseCsvRecord(text));
    for (const std::string& part : parts) TRY(filter.Add(part, all));
    if (!all.empty()) filter.alternatives_.push_back(std::move(all));
  }
  return filter;
}

bool Filter::Matches(const UsageRow& row) const {
  if (alternatives_.empty()) return true;
  return std::ranges::any_of(alternatives_, [&](const auto& conditions) {
    return std::ranges::all_of(conditions, [&](const auto& c) { return c.Holds(row); });
  });
}

}  // namespace varve::upkeep
