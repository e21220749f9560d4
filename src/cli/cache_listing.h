// What `varve cache` says of a tier, for people and as JSON: pure functions.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tier/inspect.h"

namespace varve::cli {

// One line a step, newest first.
std::string ListingTable(const tier::Group& group, Timestamp now);
std::string ListingJson(const tier::Group& group);  // one object a line

// All records whose key begins with `step`, or whose name has it. kNotFound.
Result<std::string> RecordsJson(const tier::Group& group, const std::string& step);

std::string UseText(const tier::StoredGroups& stored, const tier::Group& merged);
std::string UseJson(const tier::StoredGroups& stored, const tier::Group& merged);

struct CheckedCache {
  size_t blobs = 0;
  std::vector<tier::BlobDamage> damage;
  std::vector<tier::DamagedGroup> damaged_groups;
  std::vector<std::pair<std::string, std::string>> unsigned_steps;  // name, why
  bool sound() const { return damage.empty() && damaged_groups.empty() && unsigned_steps.empty(); }
};
std::string CheckedText(const CheckedCache& checked, const std::string& cache);
std::string CheckedJson(const CheckedCache& checked);

// " (layer of [2/3] RUN make)", or nothing.
std::string NeededBy(const tier::BlobDamage& damage);

}  // namespace varve::cli
