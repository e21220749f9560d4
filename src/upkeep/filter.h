// The filters of du and prune, as containerd's filter package and Buildx read them.
//
//   filter    := condition ("," condition)*         all must hold; several filters: one of them
//   condition := field [("==" | "=" | "!=" | "~=") value]
//
// Fields: id, parents (joined by ";"), description, type, and the flags inuse, mutable, immutable,
// shared, private, which hold by presence. A value may be quoted. "~=" is a regular expression
// (RE2's, as Go's) that may match anywhere; "id=x" is "id~=x", so that a short id will do. `until=24h` (formerly
// unused-for) is no condition but a duration: what was used since then is kept.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace re2 {
class RE2;
}

namespace varve::upkeep {

struct UsageRow;

class Filter {
 public:
  // Each text is what one --filter gave; all of them must hold, as Buildx joins them. kInvalid
  // names what cannot be read, and the fields that there are.
  static Result<Filter> Parse(const std::vector<std::string>& texts);
  // As in a policy file: one of the texts must hold.
  static Result<Filter> ParseAny(const std::vector<std::string>& texts);

  Filter() = default;  // lets everything through
  bool Matches(const UsageRow& row) const;
  std::optional<Nanos> until() const { return until_; }
  bool empty() const { return alternatives_.empty(); }

 private:
  enum class Test { kPresent, kEqual, kUnequal, kLike };
  struct Condition {
    std::string field;
    Test test = Test::kPresent;
    std::string value;
    std::shared_ptr<const re2::RE2> pattern;  // of kLike
    bool Holds(const UsageRow& row) const;
  };
  Status Add(std::string_view text, std::vector<Condition>& conditions);

  std::vector<std::vector<Condition>> alternatives_;
  std::optional<Nanos> until_;
};

}  // namespace varve::upkeep
