// Many small values in few entries of GitHub's cache, where an entry costs a request out of 200 a minute,
// and can be written once only.
//
//   gha::Packs packs(client, {.scope = "app"});
//   TRY(packs.PutMany({{.key = "record/1f3c", .digest = …, .size = …, .open = …}, …}, stop));
//   TRY_ASSIGN(auto values, packs.GetMany({"record/1f3c"}, stop));
//
// A pack is an entry of values one after the other. The index is an entry that says where each value is.
// An index replaces the one before by a higher number:
//
//   varve-SCOPE#pack-HEX             HEX: sha256 of the digests and sizes of what is in it, 64 digits
//   varve-SCOPE#index-REF-NUMBER     REF: 8 hex digits of the sha256 of the git ref that the job writes;
//                                    NUMBER: 10 digits, so that no key begins with another
//                                    SCOPE: '#', ',' and '%' in it are percent-encoded
//   version of both                  sha256 of "varve packs 1"
//
//   index = {"format": 1,
//            "packs":   ["varve-SCOPE#pack-…", …],
//            "values":  [["value's key", index in packs, offset, size, "sha256:…", GENERATION, [NEEDED…]], …],
//            "leftOut": [NUMBER, …],
//            "hidden":  ["key", …]}
//            GENERATION: number of the index that put it; of two values of a key the higher one counts
//            NEEDED: positions in values. What was needed by values that were removed, and is needed by
//            none of the others, goes with them
//            leftOut: lower numbers that this index was not built on; it was built on all the others
//            hidden: keys of other refs' indexes that were removed here
//
// Reading merges the index of each ref that the token reads, the job's own first. Writing reads the
// newest of the own ref, adds and removes, and writes NUMBER + 1:
//
//   1. Who finds NUMBER + 1 taken reads again until it is committed, and adds to that one. When it is
//      not committed within Options::patience its writer is taken for dead, and the number is skipped.
//   2. A writer that was only slow commits a number that others have skipped. So everybody looks again
//      after the commit: at the newest index, and at the numbers that it skipped itself. What the newest
//      was not built on, and does not have, is added to a further one. Of two that skip and are skipped, the later to
//      commit sees the other; hence nothing is lost unless its writer dies between commit and look.
//
// The newest is found by the prefix, which gives what was committed last, and then by asking for the
// next numbers as they are, highest first: with a skipped number the last commit is not the highest.
//
// A value is verified by its digest when it is read. What is in a pack that was evicted is absent, and
// is left out of the next index. Safe from any thread; PutMany calls of one object run one at a time.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/guarded.h"
#include "gha/client.h"

namespace varve::gha {

class Packs {
 public:
  struct Options {
    std::string scope = "varve";     // of the user's choice: one per image or platform, say
    uint64_t pack_size = 64 << 20;   // a pack is begun when the one before has reached it,
    size_t max_packs = 12;           // unless that would give one PutMany more packs than this.
                                     // Half as many again with those of UploadAhead
    Nanos patience{15'000'000'000};  // go-actions-cache waits as long
    uint64_t max_index = 64 << 20;
  };
  Packs(Client& client, Options options, net::Sleeper& sleeper);

  struct Value {
    std::string key;
    Digest digest;
    uint64_t size = 0;
    OpenRange open = {};                  // none: the bytes are there, or the value is left out
    std::vector<std::string> needs = {};  // keys of other values
  };
  struct Stat {
    std::string key;
    uint64_t size = 0;
    Digest digest;
  };

  // Two look-ups a readable ref, and one download each; later calls do nothing. GetMany, Has and List do it
  // themselves.
  Status Load(std::stop_token stop);
  // Once more: what others wrote since. An index that did not change is not downloaded again.
  Status Reload(std::stop_token stop);

  Result<bool> Has(const std::string& key, std::stop_token stop);
  // Whether the bytes are there, too: a look-up, once a pack. It counts as a use of them.
  Result<bool> Holds(const std::string& key, std::stop_token stop);
  Result<std::vector<Stat>> List(const std::string& prefix, std::stop_token stop);
  // In order; nothing for what is absent or damaged. Neighbours in a pack come in one request.
  Result<std::vector<std::optional<std::string>>> GetMany(const std::vector<std::string>& keys, std::stop_token stop);
  // False when it is absent. On kCorrupt `out` has the wrong bytes.
  Result<bool> Read(const std::string& key, Writer& out, std::stop_token stop);

  // Uploads what is not there yet, and the index. A value whose bytes are there under another key, or
  // under its own, costs no upload. `removed` are no longer found afterwards, of other refs neither; their
  // bytes stay until the service drops them.
  Status PutMany(const std::vector<Value>& values, std::stop_token stop) { return Change(values, {}, stop); }
  Status Change(const std::vector<Value>& values, const std::vector<std::string>& removed, std::stop_token stop);
  // For a Change that will name the values: keeps them, each until there are enough for a pack, and uploads
  // that. The first takes a sixteenth of pack_size and each other one twice as much as the one before: what is
  // left for the Change is about what went so far, or little, and no build is so large that it takes more than
  // max_packs. A value that the Change does not name is dropped. False: it was taken before.
  Result<bool> UploadAhead(const Value& value, std::stop_token stop);
  uint64_t kept_bytes() { return state_.Lock()->kept_bytes; }

 private:
  struct Place {
    std::string pack;
    uint64_t offset = 0, size = 0;
    Digest digest;
    uint64_t generation = 0;
    std::vector<std::string> needs = {};
  };
  using Places = std::map<std::string, Place>;  // by the value's key
  struct Index {
    Places values;
    std::set<uint64_t> left_out;
    std::set<std::string> hidden;
  };
  struct Numbered {
    uint64_t number = 0;  // 0: there is none
    Index index;
  };
  struct State {
    bool loaded = false;
    Places own;                               // of the ref that is written
    Places merged;                            // of all refs, the own one's first
    std::set<std::string> theirs;             // keys of the others
    std::set<std::string> gone;               // packs that were evicted, or are damaged,
    std::set<std::string> damaged;            // so that their names cannot be written again
    std::map<std::string, FoundEntry> found;  // packs
    std::map<std::string, Numbered> newest;   // by ref, as read or written last
    std::map<Digest, Place> ahead;            // uploaded, and named by no index yet
    size_t uploads_ahead = 0;                 // begun
    std::map<Digest, Value> kept;             // for the next of them, or for the Change
    uint64_t kept_bytes = 0;
  };

  std::string IndexPrefix(const std::string& ref) const;
  std::string IndexKey(uint64_t number) const;
  static std::string Write(const Index& index);
  static Result<Index> Parse(std::string_view text);
  Result<Numbered> Fetch(FoundEntry entry, std::stop_token stop);
  Result<Numbered> Newest(const std::string& ref, std::stop_token stop);
  Result<std::optional<Index>> Exactly(uint64_t number, std::stop_token stop);
  Result<std::optional<FoundEntry>> FindPack(const std::string& pack, std::stop_token stop);
  void Remember(const std::string& pack, const FoundEntry& entry);  // an address that was replaced
  void Forget(const std::string& pack);
  Status GetRun(const std::string& pack, const std::vector<std::pair<size_t, Place>>& run,
                std::vector<std::optional<std::string>>& out, std::stop_token stop);
  Result<std::string> SavePack(const std::vector<const Value*>& values, std::stop_token stop);
  Result<std::map<Digest, Place>> KnownPlaces(const std::vector<Value>& values, std::stop_token stop);
  // One pack, whose values lie in their order.
  Result<std::map<Digest, Place>> UploadPack(const std::vector<const Value*>& values, std::stop_token stop);
  Result<std::map<Digest, Place>> Upload(std::vector<const Value*> values, std::stop_token stop);
  Index Changed(const Numbered& base, uint64_t target, const Places& mine, const std::vector<std::string>& removed);
  Status WriteIndex(Places mine, const std::vector<std::string>& removed, std::stop_token stop);
  // The values of higher generation.
  static void Merge(Places& into, const Places& from);
  static bool Covers(const Places& places, const Places& part);
  static void Remove(Places& from, const std::vector<std::string>& keys);
  static uint32_t Chance();

  Client& client_;
  const Options options_;
  net::Sleeper& sleeper_;
  const std::string version_;
  const std::string prefix_;  // "varve-SCOPE#"
  std::string own_ref_;
  std::vector<std::string> read_refs_;  // own first
  Guarded<State> state_;
  std::mutex writing_, loading_;
};

}  // namespace varve::gha
