// Targets and groups of bake files as values: merged, overridden, printed (reference
// compose-bake.md, B3 to B7).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bake/entry.h"
#include "base/json.h"

namespace varve::bake {

using Strings = std::vector<std::string>;
using NullableMap = std::map<std::string, std::optional<std::string>>;

// One attribute's new value, from --set.
struct Override {
  std::string key;  // without the target: "args.VERSION"
  std::string value;
  Strings values;  // of a list, in order
  bool append = false;
};

// What was said, and no more: an attribute that nobody set is absent.
struct Target {
  std::string name, description;
  Strings inherits;
  std::optional<Strings> annotations, tags, platforms, no_cache_filter, ulimits, entitlements;
  std::optional<Entries> attest, cache_from, cache_to, secret, ssh, output, policy;
  std::optional<std::string> context, dockerfile, dockerfile_inline, target, network, shm_size, call;
  NullableMap args, labels, extra_hosts;
  std::map<std::string, std::string> contexts, resources;
  std::optional<bool> pull, no_cache;

  // Directories that relative contexts start from (BUILDX_BAKE_FILE_RELATIVE_PATHS): of the file that
  // said them.
  std::optional<std::string> context_base;
  std::map<std::string, std::string> contexts_base;

  bool linked = false;  // built only because another target uses it

  // What `upper` says wins, lists of some attributes are joined: as one target inherits from another.
  void Merge(const Target& upper);
  // Each element of a list once, what means nothing gone.
  void Normalise();
  // kInvalid with the key.
  Status Apply(const std::vector<Override>& overrides);
  // As `--print` shows it.
  Json ToJson() const;
};

struct Group {
  std::string name, description;
  Strings targets;
};

// Attributes of a target, for messages and for the reader.
const Strings& TargetAttributes();
// The names of a target's resources.
const Strings& ResourceNames();

}  // namespace varve::bake
