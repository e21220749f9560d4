// Why a step ran, as a value: what `build` prints in a line, `varve explain` in full, and history keeps.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace varve::engine {

struct Reason {
  enum class Kind {
    kFirstTime,    // no earlier record of this step
    kNoCache,      // the user asked for it: --no-cache, --no-cache-filter
    kMaxAge,       // its record is older than the user wants to accept
    kCommand,      // the instruction itself changed
    kEnvironment,  // an ENV or ARG
    kSetting,      // another field of the operation: user, working directory, network, …
    kMount,        // the shape of a mount, or a secret's id
    kPlatform,
    kSalt,
    kSchema,    // keys of another version of varve
    kBase,      // the base image, or an image that is read, is another one
    kFile,      // files that it reads changed
    kUnstable,  // a stage that it reads ran again and gave something else
    kParent,    // the step before it ran, or has another key
    kEvicted,   // same key: the record was removed to keep the cache small
    kDataGone,  // same key: layers of its record are lost
    kDamaged,   // same key: the record or its layers are damaged
    kTier,      // a tier that may have it is not trusted, or did not answer
    kTraced,    // what an earlier run of it looked at is another now, or that run is too old to repeat
  };

  // One differing file.
  struct Change {
    std::string path;
    std::string what;    // "content changed", "added", … (tree::DifferenceName)
    std::string detail;  // "100755 → 100644"; may be empty
  };
  // Words of a command that differ; one side may be empty.
  struct Edit {
    std::string removed;
    std::string added;
  };

  Kind kind;
  std::string text;                       // one line: "src/server.js: content changed"
  std::string subject = {};               // the variable, setting, mount, source or tier that it is about
  std::string before = {}, after = {};    // short values; what looks secret is hidden
  std::vector<Change> changes = {};       // kFile, kUnstable: at most kMaxChanges …
  size_t change_count = 0;                // … of so many; kMaxCounted: or more
  std::vector<Edit> edits = {};           // kCommand
  std::vector<std::string> used_by = {};  // kEnvironment: steps of the stage that name the variable
  std::string step = {};                  // kParent, kFile, kUnstable, kTraced: the step that it comes from
  std::string hint = {};                  // a counterfactual: "would have hit if …"

  static constexpr size_t kMaxChanges = 10;
  static constexpr size_t kMaxCounted = 10'000;
};

std::string_view KindName(Reason::Kind kind);  // "first-time", "file", …

// One line of all reasons, most telling first: "src/server.js: content changed; and 2 more". Not
// empty unless `reasons` is.
std::string Summarise(const std::vector<Reason>& reasons);

// All that is known, for people: the line, below it the changes, the words, where it is used, and
// the hint; each line begins with `indent`.
std::string Describe(const std::vector<Reason>& reasons, std::string_view indent);

Json ToJson(const std::vector<Reason>& reasons);
// What history holds. Kinds that this version does not know become kSetting with their text.
std::vector<Reason> ReasonsFromJson(const Json& json);

}  // namespace varve::engine
