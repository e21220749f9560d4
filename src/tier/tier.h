// A place far away that holds records and the blobs that they name: a directory, a registry.
//
// Unlike the local store a tier answers with descriptors: a hit moves no layer. What the keys of later
// steps need of it, the trees that selectors look into, comes along and is put into the tree store.
//
// All methods block and are safe from any thread. An Error of GetMany means that the tier cannot answer;
// absent is not failed.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/byte_progress.h"
#include "cache/step_record.h"
#include "oci/descriptor.h"
#include "tree/tree.h"

namespace varve::tier {

// What a build has to give.
struct Offer {
  struct Record {
    cache::StepRecord record;
    bool fresh = false;  // this build ran the step: it replaces an older record of the same key
  };
  std::vector<Record> records;
  // Layers to send along where the tier lacks them. Others of the records are to be had elsewhere (a base
  // image's registry), or not at all.
  std::set<DiffId> layers;
  // Those of `layers` that the build's result has: the last to be left out where not all fit.
  std::set<DiffId> result_layers;
  // Weak keys that are disowned, and why. The tier is told of those that it has records of.
  std::map<Digest, std::string> disowned;
  // The trees that keys of later steps look into, and the objects of them that a base image does not give.
  std::vector<Digest> roots;
  std::vector<std::pair<Digest, std::string>> objects;

  struct Blob {
    oci::Descriptor descriptor;
    std::function<Result<std::unique_ptr<Reader>>(uint64_t offset)> open;
  };
  // The layer as a blob, compressed if it has to be; kNotFound: it is not on this machine. Called from
  // several threads, only for layers that the tier lacks.
  std::function<Result<Blob>(const DiffId& layer, std::stop_token stop)> make_blob;
  // What is sent of the layers, those worth most first (export_choice.h): so many bytes of blobs, as
  // much as can be sent in that time, what is worth moving. Records of the others go all the same.
  std::optional<uint64_t> max_bytes;
  std::optional<Nanos> max_time;
  bool only_worth_moving = false;
  // Records of the same keys that the tier has are taken away, whoever made them, and everything that
  // only they need.
  bool replace = false;
  bool force_compression = false;  // a blob of another media type that the tier has does not do
  std::string media_type;          // of the layers that make_blob makes

  // Layers are sent as chunks (chunk/chunk_list.h): write_tar is called for them instead of make_blob,
  // one at a time, and gives the layer's tar, verified; kNotFound: it is not on this machine.
  bool chunked = false;
  std::optional<int> chunk_level;  // of zstd
  std::function<Status(const DiffId& layer, Writer& out, std::stop_token stop)> write_tar;

  // Contents of RUN --mount=type=cache, as tars that are made when they are asked for.
  struct Mount {
    std::string key;  // cache::MountKey
    std::string id;   // for people
    Timestamp created;
    bool changed = true;  // else it is sent only where the tier has nothing of that key
    std::function<Status(Writer& out, std::stop_token stop)> write;
  };
  std::vector<Mount> mounts;
};

// What the tier was asked and what went over the wire; kept by the tier, read at the end.
struct Traffic {
  uint64_t hits = 0;
  uint64_t layers = 0;  // fetched
  uint64_t bytes_read = 0, bytes_written = 0;
  uint64_t requests = 0;
  uint64_t refused = 0;                        // keys that were asked for and have only records that are not trusted
  uint64_t left_out = 0;                       // layers that an export did not send, for the sake of its limits
  uint64_t layers_ahead = 0, bytes_ahead = 0;  // of what was written: before the export began
};

class Tier {
 public:
  virtual ~Tier() = default;
  // One entry per key, in order. Trees of the hits that the tier has are put into `trees`.
  virtual Result<std::vector<std::optional<cache::StepRecord>>> GetMany(const std::vector<StepKey>& keys,
                                                                        tree::TreeStore& trees,
                                                                        std::stop_token stop) = 0;
  // Earlier records of the same step, newest first, by slot, then by op digest; of what was loaded for
  // a look-up already: an explanation costs no request.
  virtual std::vector<cache::StepRecord> Earlier(const std::string& slot, const Digest& op_digest, size_t limit) = 0;
  // The records with this weak key, as cache::RecordStore has it; of what was loaded for a look-up already,
  // so that the two round trips of a look-up are all that a replay takes before its layer is fetched.
  virtual std::vector<cache::StepRecord> Traced(const Digest& weak_key, size_t limit) {
    (void)weak_key, (void)limit;
    return {};
  }
  // Why runs of this weak key stand for no others, as cache::RecordStore has it; of what was loaded as well.
  virtual std::optional<std::string> WhyDisowned(const Digest& weak_key) {
    (void)weak_key;
    return std::nullopt;
  }
  // After a look-up that did not find the key: why what the tier has of it is not trusted, if it has it.
  virtual std::optional<std::string> WhyRefused(const StepKey& key) {
    (void)key;
    return std::nullopt;
  }
  // What the layer is available as. One that is stored as chunks is to be had as its uncompressed tar.
  virtual Result<std::optional<oci::Descriptor>> FindLayer(const DiffId& layer, std::stop_token stop) = 0;
  // The bytes as they come: whoever writes them verifies. kNotFound when they are gone.
  virtual Status Fetch(const oci::Descriptor& blob, Writer& out, std::stop_token stop) = 0;
  // What Fetch gave was not what the descriptor says: an export by this object sends it again.
  virtual void Distrust(const oci::Descriptor& blob) { (void)blob; }
  // Sends a layer that an Export by this object will offer, while the build still makes others: nothing
  // names it until then. `terms` says how its blob is made (make_blob, chunked, force_compression, …), and
  // its records and layers do not count. False: it is there, or it goes better with the others. An error
  // is the tier's: a layer that this machine cannot give is left to the Export to tell of.
  virtual Result<bool> SendAhead(const Offer& terms, const DiffId& layer, std::stop_token stop) {
    (void)terms, (void)layer, (void)stop;
    return false;
  }
  // Adds what the tier lacks, blobs before records (invariant I4), and stays within its bounds. After the
  // last SendAhead.
  virtual Status Export(const Offer& offer, const OnProgress& on_progress, std::stop_token stop) = 0;
  virtual Traffic traffic() = 0;
  // The tar of a cache mount's content, to be fetched like a layer.
  virtual Result<std::optional<oci::Descriptor>> FindMount(const std::string& key, std::stop_token stop) {
    (void)key, (void)stop;
    return std::nullopt;
  }
  // What could not be used and was passed over, each a line for people; every line is told once.
  virtual std::vector<std::string> TakeNotices() = 0;
};

}  // namespace varve::tier
