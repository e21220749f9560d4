// What a StepKey led to. Small (kilobytes): records and trees are kept far longer than layers, so
// that keys downstream can still be computed when the layers are gone.
//
// Text form: one JSON object, versioned, unknown members ignored; doc/formats.md has the schema.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/digest.h"
#include "base/result.h"

namespace varve::cache {

// A file system that a step made or a source is: the full stack of layers, lowest first, and the tree
// that they give together. Layers of different records are never spliced (invariant I2).
struct Rootfs {
  std::vector<DiffId> layers;
  Digest tree_root;                  // empty: not known here (an image that was never unpacked)

  bool operator==(const Rootfs&) const = default;
};

// One read-only input as the step saw it; lets a later build say which file changed.
struct InputTree {
  std::string name;                  // "context", or the name of the step it came from
  Digest tree_root;
  Digest selection;                  // the SelectionDigest that is in the key
};

struct StepRecord {
  static constexpr int kVersion = 1;

  StepKey key;
  std::vector<Rootfs> outputs;       // by output index
  std::string preimage;              // canonical JSON whose digest is the key
  std::vector<InputTree> inputs;
  std::string slot;                  // which step of which file: stage and position (engine/explain.h)
  Digest op_digest;                  // of the canonical op alone
  std::string name;                  // display name, "[build 2/5] RUN make"
  Timestamp created;
  Nanos wall{0};                     // what it cost to make
  uint64_t new_bytes = 0;            // size of the layers that it added
  std::string log;                   // output, at most the last 256 KiB
};

std::string EncodeRecord(const StepRecord& record);
Result<StepRecord> DecodeRecord(std::string_view text);  // kCorrupt

}  // namespace varve::cache
