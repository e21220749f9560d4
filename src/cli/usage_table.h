// Rows of du and prune as Buildx prints them: a table, "pretty" blocks, JSON lines, or a template
// of
// {{.Field}}s.
#pragma once

#include <string>

#include "base/json.h"
#include "upkeep/inventory.h"

namespace varve::cli {

class UsageFormat {
 public:
  // "table", "pretty", "json", "table {{.ID}}\t{{.Size}}" or "{{.ID}}"; kInvalid for what else Go's
  // templates can do. `now` is what "5 minutes ago" counts from.
  static Result<UsageFormat> Parse(const std::string& text, Timestamp now);

  std::string Header() const;
  std::string Row(const upkeep::UsageRow& row) const;
  bool is_table() const { return kind_ == Kind::kTable; }
  bool is_for_people() const { return kind_ == Kind::kTable || kind_ == Kind::kPretty; }

 private:
  enum class Kind { kTable, kPretty, kJson, kTemplate };
  Kind kind_ = Kind::kTable;
  std::string template_, header_;
  Timestamp now_;
};

// Buildx's order: what is in use first, then by size.
void SortForPeople(std::vector<upkeep::UsageRow>& rows);

Json UsageJson(const upkeep::UsageRow& row);

}  // namespace varve::cli
