// Attributes that are written as text, as on the command line, or as an object: caches, outputs,
// attestations, secrets, ssh agents, policies (buildx util/buildflags; reference compose-bake.md, B5).
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace varve::bake {

enum class EntryKind { kAttest, kCache, kOutput, kPolicy, kSecret, kSsh };

struct Entry {
  // By name; type is one of them. A secret has id, src and env, an ssh agent id.
  std::map<std::string, std::string> fields;
  std::vector<std::string> paths;  // of an ssh agent

  std::string Get(const std::string& name) const {
    auto it = fields.find(name);
    return it == fields.end() ? "" : it->second;
  }
  bool operator==(const Entry&) const = default;
};
using Entries = std::vector<Entry>;

// One text may be several caches: "a/b,c/d". kInvalid quotes the text.
Result<Entries> ParseEntries(EntryKind kind, const std::string& text);
// An object's; kInvalid for a key that such an entry cannot have.
Result<Entry> MakeEntry(EntryKind kind, std::map<std::string, std::string> fields, std::vector<std::string> paths = {});

// Each once: by id, by type, or as a whole. The last of those with an id stays, at the first's place.
Entries WithoutDuplicates(EntryKind kind, const Entries& entries);

// The object that --print shows; and the text that the flags of `varve build` read.
Json EntryJson(EntryKind kind, const Entry& entry);
std::string EntryText(EntryKind kind, const Entry& entry);

// "sbom", "true" as "type=sbom,disabled=false".
std::string AttestText(const std::string& type, const std::string& value);

}  // namespace varve::bake
