#include "daemon/record_filter.h"

#include <re2/re2.h>

#include <algorithm>

#include "base/strings.h"
#include "job/step_rules.h"

namespace varve::daemon {

namespace {

using moby::buildkit::v1::BuildHistoryRecord;

int64_t NanosOf(const google::protobuf::Timestamp& time) { return time.seconds() * 1'000'000'000 + time.nanos(); }

std::optional<int64_t> ParseTime(const std::string& text) {
  struct tm parts {};
  const char* rest = strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) {
    parts = {};
    rest = strptime(text.c_str(), "%Y-%m-%d", &parts);
    if (rest == nullptr || *rest != '\0') return std::nullopt;
    return timegm(&parts) * 1'000'000'000;
  }
  if (*rest == '.') {
    ++rest;
    while (*rest >= '0' && *rest <= '9') ++rest;
  }
  int64_t offset = 0;
  if (*rest == '+' || *rest == '-') {
    int hours = 0, minutes = 0;
    if (sscanf(rest + 1, "%2d:%2d", &hours, &minutes) != 2) return std::nullopt;
    offset = (*rest == '+' ? 1 : -1) * (hours * 3600 + minutes * 60);
  } else if (std::string_view(rest) != "Z" && *rest != '\0') {
    return std::nullopt;
  }
  return (timegm(&parts) - offset) * 1'000'000'000;
}

bool Compare(const std::string& op, int64_t have, int64_t wanted) {
  if (op == ">") return have > wanted;
  if (op == ">=") return have >= wanted;
  if (op == "<") return have < wanted;
  if (op == "<=") return have <= wanted;
  return (op == "!=") != (have == wanted);
}

std::string RepositoryOf(const BuildHistoryRecord& record) {
  auto source = record.frontend_attrs().find("vcs:source");
  if (source != record.frontend_attrs().end()) return source->second;
  auto context = record.frontend_attrs().find("context");
  return context == record.frontend_attrs().end() ? "" : context->second;
}

}  // namespace

std::string StatusOf(const BuildHistoryRecord& record) {
  if (!record.has_completed_at()) return "running";
  if (!record.has_error() || record.error().code() == 0) return "completed";
  return record.error().code() == 1 ? "canceled" : "error";  // CANCELLED
}

Result<RecordFilter::Condition> RecordFilter::ParseCondition(const std::string& text, Timestamp now) {
  auto wrong = [&] { return Invalid("invalid history filter \"{}\"", text); };
  static constexpr std::string_view kOps[] = {"==", "!=", "~=", ">=", "<=", "=", ">", "<"};
  static constexpr std::string_view kKeys[] = {"ref", "repository", "status", "startedAt", "completedAt", "duration"};
  Condition condition;
  size_t at = text.find_first_of("=!~<>");
  if (at == text.npos) return wrong();
  condition.key = std::string(TrimSpace(text.substr(0, at)));
  for (std::string_view op : kOps) {
    if (!text.substr(at).starts_with(op)) continue;
    condition.op = op;
    break;
  }
  if (condition.op.empty() || std::ranges::find(kKeys, condition.key) == std::end(kKeys)) return wrong();
  condition.text = std::string(TrimSpace(text.substr(at + condition.op.size())));
  const bool is_time = condition.key.ends_with("At"), is_duration = condition.key == "duration";
  if (is_time || is_duration) {
    if (condition.op == "~=") return wrong();
    auto time = is_time ? ParseTime(condition.text) : std::nullopt;
    auto age = job::ParseAge(condition.text);
    if (!time && !age) return wrong();
    condition.number = time ? *time : is_time ? now.nanos - age->count() : age->count();
  } else if (condition.op.find_first_of("<>") != std::string::npos) {
    return wrong();
  } else if (condition.op == "~=" && !RE2(condition.text, RE2::Quiet).ok()) {
    return wrong();
  }
  return condition;
}

Result<RecordFilter> RecordFilter::Parse(const std::vector<std::string>& texts, Timestamp now) {
  RecordFilter filter;
  filter.now_ = now;
  for (const std::string& text : texts) {
    if (text.empty()) continue;
    TRY_ASSIGN(auto fields, ParseCsvRecord(text));
    std::vector<Condition> all;
    for (const std::string& field : fields) {
      TRY_ASSIGN(auto condition, ParseCondition(field, now));
      all.push_back(std::move(condition));
    }
    filter.alternatives_.push_back(std::move(all));
  }
  return filter;
}

bool RecordFilter::Holds(const Condition& condition, const BuildHistoryRecord& record) const {
  if (condition.key == "startedAt") return Compare(condition.op, NanosOf(record.created_at()), condition.number);
  if (condition.key == "completedAt") {
    return record.has_completed_at() && Compare(condition.op, NanosOf(record.completed_at()), condition.number);
  }
  if (condition.key == "duration") {
    int64_t end = record.has_completed_at() ? NanosOf(record.completed_at()) : now_.nanos;
    return Compare(condition.op, end - NanosOf(record.created_at()), condition.number);
  }
  std::string have = condition.key == "ref"          ? record.ref()
                     : condition.key == "repository" ? RepositoryOf(record)
                                                     : StatusOf(record);
  if (condition.op == "~=") return RE2::PartialMatch(have, RE2(condition.text, RE2::Quiet));
  return (condition.op == "!=") != (have == condition.text);
}

bool RecordFilter::Matches(const BuildHistoryRecord& record) const {
  if (alternatives_.empty()) return true;
  return std::ranges::any_of(alternatives_, [&](const auto& all) {
    return std::ranges::all_of(all, [&](const Condition& condition) { return Holds(condition, record); });
  });
}

}  // namespace varve::daemon
