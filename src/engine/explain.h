// Why a step runs: the difference between the preimage of its key and that of the nearest earlier
// record of the same step, in words. Pure, except that trees are read to name the files.
#pragma once

#include <string>
#include <vector>

#include "cache/step_record.h"
#include "engine/keys.h"
#include "tree/tree.h"

namespace varve::engine {

struct Reason {
  enum class Kind {
    kFirstTime,      // no earlier record of this step
    kNoCache,        // the user asked for it
    kCommand,        // the instruction itself changed
    kEnvironment,    // a variable
    kSetting,        // another field of the operation: user, mounts, network, …
    kPlatform,
    kSalt,
    kSchema,         // keys of another version of varve
    kBase,           // the base image is another one
    kParent,         // the step before it has another key
    kFile,           // files that it reads changed
    kDataGone,       // same key: the record or its layers were collected
  };
  Kind kind;
  std::string text;                 // "src/server.js: content changed"
  std::vector<std::string> paths;   // kFile: the files, at most kMaxPaths
  static constexpr size_t kMaxPaths = 20;
};

std::string_view ReasonKindName(Reason::Kind kind);  // "first-time", "file", …

// `earlier`: candidates, nearest first (cache::RecordStore::Earlier). The one that differs least is
// compared with. Never empty.
std::vector<Reason> Explain(const KeyedStep& now, const std::vector<cache::StepRecord>& earlier,
                            tree::TreeStore& trees);

// One line of all reasons, most telling first: "src/server.js: content changed (and 2 more)".
std::string Summarise(const std::vector<Reason>& reasons);

}  // namespace varve::engine
