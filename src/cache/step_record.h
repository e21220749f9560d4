// What a StepKey led to. Small (kilobytes): records and trees are kept far longer than layers, so
// that keys downstream can still be computed when the layers are gone.
//
// Text form: one JSON object, versioned; doc/formats.md has the schema. Members that this version
// does not know are kept and written again. The last member is a checksum of all bytes before it: a
// single bit that a disk flipped anywhere makes the record kCorrupt, never a wrong hit.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/rel_path.h"
#include "base/result.h"

namespace varve::cache {

// A file system that a step made or a source is: the full stack of layers, lowest first, and the
// tree that they give together. Layers of different records are never spliced (invariant I2).
struct Rootfs {
  std::vector<DiffId> layers;
  Digest tree_root;  // empty: not known here (an image that was never unpacked)

  bool operator==(const Rootfs&) const = default;
};

// One read-only input as the step saw it; lets a later build say which file changed.
struct InputTree {
  std::string name;  // "context", or the name of the step it came from
  Digest tree_root;
  Digest selection;  // the SelectionDigest that is in the key
};

// An image that the step writes on or reads, as its source named it at that time.
struct InputImage {
  std::string reference;  // "docker.io/library/node:20@sha256:…"
  ChainId chain;          // what is in the key
};

// What a step looked at, where that was noted: lets it stand for a step of another key whose inputs
// answer the same (engine/replay.h).
struct StepTrace {
  Digest weak_key;                 // of all inputs but the traced layers
  std::vector<std::string> reads;  // of each traced layer, lowest first: an encoded tree::ReadSet
  // With --strict-mtime, as `reads`: of each of its paths but absent ones and directories, the time of
  // modification in nanoseconds, 8 bytes, lowest first. Else empty.
  std::vector<std::string> times = {};
};

struct StepRecord {
  static constexpr int kVersion = 1;

  StepKey key;
  std::vector<Rootfs> outputs;  // by output index
  std::string preimage;         // canonical JSON whose digest is the key
  std::vector<InputTree> inputs;
  std::vector<InputImage> images;
  std::string slot;  // which step of which file: stage and position (engine/explain.h)
  Digest op_digest;  // of the canonical op alone
  std::string name;  // display name, "[build 2/5] RUN make"
  Timestamp created;
  Nanos wall{0};           // what it cost to make
  uint64_t new_bytes = 0;  // size of the layers that it added
  std::string log;         // output, at most the last 256 KiB
  std::optional<StepTrace> trace;
  // Of a file action, when the directories that it added to had changed last, as the layers below have it: what it
  // needs of those, and trees do not tell, to be run again where they are not.
  std::map<RelPath, Timestamp> directories;
  std::string unknown;  // members of a later version: a JSON object, or empty
};

// Names what a record with a trace stands on: its weak key, what was looked at, and the layer. The records
// that replays of one run leave, each under a key of its own, have it in common. Empty without a trace.
Digest RunOf(const StepRecord& record);

std::string EncodeRecord(const StepRecord& record);
Result<StepRecord> DecodeRecord(std::string_view text);  // kCorrupt

// The same in three parts, for the index: binary, since parsing JSON was most of a look-up.
struct RecordParts {
  std::string body;  // all but preimage and log; bytes (record_parts.cc)
  std::string preimage;
  std::string log;
};
RecordParts SplitRecord(const StepRecord& record);
Result<StepRecord> JoinRecord(std::string_view body, std::string_view preimage,
                              std::string_view log);  // kCorrupt

}  // namespace varve::cache
