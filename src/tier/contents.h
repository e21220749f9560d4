// What the record groups of a place say together, as one look-up or one export sees them.
//
// Immutable once it was loaded, and safe from any thread then.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "tier/group.h"
#include "tier/storage.h"
#include "tier/wire.h"

namespace varve::tier {

struct Contents {
  std::vector<GroupEntry> entries;  // of the groups that could be read
  std::vector<Group> groups;        // as `entries`
  std::vector<Digest> damaged;      // manifests of the others: the next export takes them away
  // Into `groups`, of what is trusted.
  std::map<StepKey, const cache::StepRecord*> records;  // the newest of each key
  std::map<DiffId, const StoredLayer*> layers;
  std::map<Digest, const TreePack*> trees;           // by root
  std::map<std::string, const StoredMount*> mounts;  // the newest of each key
  std::map<Digest, const DisownedKey*> disowned;     // by weak key
  std::map<StepKey, std::string> refused;            // of which there are only records that are not trusted: why

  Contents() = default;
  Contents(const Contents&) = delete;
  Contents& operator=(const Contents&) = delete;

  // Whether the layer is had from this blob: it is trusted, and the latest.
  bool Takes(const StoredLayer& layer) const;
  // What is stored as chunks and is named by its tar's digest; null: nothing is.
  const StoredLayer* Chunked(const Digest& tar) const;
  // Tars whose chunks may be relied on, the latest first.
  std::vector<const StoredLayer*> Tars() const;
  // The steps that made the layer.
  std::set<std::string> SlotsOf(const DiffId& layer) const;
};

// The list and the groups, which is two round trips. Groups of `known` are not fetched again. `trusted`:
// whose word counts; null: everybody's. A group that is damaged makes a line for `note`, and does not make
// the others so; a list that is damaged makes one too, and is an empty one.
using Note = std::function<void(std::string line)>;
Result<std::shared_ptr<const Contents>> LoadContents(BlobStorage& storage, Wire& wire, const Contents* known,
                                                     const VerifyKeys* trusted, const Note& note, std::stop_token stop);

}  // namespace varve::tier
