// What a tier asks of its storage, counted, and small blobs verified. Blobs that were found to be damaged
// are remembered.
//
// Safe from any thread.
#pragma once

#include <algorithm>
#include <atomic>
#include <set>
#include <stop_token>
#include <string>

#include "base/guarded.h"
#include "tier/group.h"
#include "tier/storage.h"
#include "tier/tier.h"

namespace varve::tier {

// Of a text, which storages may keep until it is sent.
OpenAt OpenText(std::string text);
oci::Descriptor Describe(const std::string& text, std::string_view media_type);

class Wire {
 public:
  explicit Wire(BlobStorage& storage) : storage_(storage) {}

  Status Get(const oci::Descriptor& blob, Writer& out, std::stop_token stop);
  bool HasParts() const { return storage_.HasParts(); }
  bool KeepsUntilReplace() const { return storage_.KeepsUntilReplace(); }
  Status GetPart(const oci::Descriptor& blob, uint64_t offset, uint64_t size, Writer& out, std::stop_token stop);
  // The whole blob, verified. kCorrupt also when it is larger than `limit`.
  Result<std::string> GetSmall(const oci::Descriptor& blob, uint64_t limit, std::stop_token stop);
  Result<bool> Holds(const oci::Descriptor& blob, std::stop_token stop);
  Status Send(const oci::Descriptor& blob, const OpenAt& open, std::stop_token stop);
  // Tells, under the name `id`, how much of the blob was read: now, or when the storage gets round to it;
  // `on_progress` must last until then.
  Status Send(const oci::Descriptor& blob, const OpenAt& open, const OnProgress& on_progress, std::string id,
              std::stop_token stop);

  // Before the export that names the blob. It is there then, and nobody asks for it again, until ForgetSent:
  // what nothing names is not kept for ever.
  Result<bool> SendAhead(const oci::Descriptor& blob, const OpenAt& open, std::stop_token stop);
  void ForgetSent() { sent_.Lock()->clear(); }
  // Of what was sent so far, without what the storage keeps for the export.
  uint64_t bytes_sent() { return bytes_written - std::min(storage_.kept_ahead(), bytes_written.load()); }

  // The blob's bytes are wrong: it counts as absent, and is sent in place of what is there.
  void Distrust(const Digest& blob) { distrusted_.Lock()->insert(blob); }

  // Adds the group, whose blobs were sent, to the list in place of those whose manifests are `old`.
  Status PutGroup(const Group& group, const std::vector<Digest>& old, std::stop_token stop);

  std::atomic<uint64_t> bytes_read = 0, bytes_written = 0, requests = 0;

 private:
  Result<bool> Put(const oci::Descriptor& blob, const OpenAt& open, std::stop_token stop);

  BlobStorage& storage_;
  Guarded<std::set<Digest>> distrusted_;
  Guarded<std::set<Digest>> sent_;  // ahead
};

}  // namespace varve::tier
