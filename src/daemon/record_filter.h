// The filters of ListenBuildHistory, as `buildx history ls --filter` sends them.
//
//   filter    := condition ("," condition)*          all must hold; several filters: one of them
//   condition := key op value
//   op        := "==" | "=" | "!=" | "~=" | ">" | ">=" | "<" | "<="
//
// Keys: ref, repository, status (running, completed, error, canceled), startedAt and completedAt (RFC 3339, or how
// long ago: 24h), duration. "~=" is a regular expression that may match anywhere. Only times and durations have an
// order.
#pragma once

#include <string>
#include <vector>

#include "api/control.pb.h"
#include "base/clock.h"
#include "base/result.h"

namespace varve::daemon {

class RecordFilter {
 public:
  // `now`: what "24h" counts back from. kInvalid names the condition.
  static Result<RecordFilter> Parse(const std::vector<std::string>& texts, Timestamp now);
  // Without filters everything matches.
  bool Matches(const moby::buildkit::v1::BuildHistoryRecord& record) const;

 private:
  struct Condition {
    std::string key, op, text;
    int64_t number = 0;  // nanoseconds
  };
  static Result<Condition> ParseCondition(const std::string& text, Timestamp now);
  bool Holds(const Condition& condition, const moby::buildkit::v1::BuildHistoryRecord& record) const;

  std::vector<std::vector<Condition>> alternatives_;
  Timestamp now_;
};

// "running", "completed", "error" or "canceled".
std::string StatusOf(const moby::buildkit::v1::BuildHistoryRecord& record);

}  // namespace varve::daemon
