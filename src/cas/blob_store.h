// Bytes named by their SHA-256: compressed layers, configs, manifests.
//
//   TRY_ASSIGN(auto blob, store.Create());
//   TRY(Copy(download, *blob));
//   TRY(blob->Commit(descriptor.digest));
//
// A store holds bytes and nothing else. Who needs them is known to cache (leases, records); what
// they mean, to oci.
//
// Threads and processes: implementations are safe from any thread, and the disk store also from
// several processes on one directory. A Reader or BlobWriter belongs to one thread at a time.
//
// Visibility: a blob appears whole and verified when Commit returns, or not at all. Writers of the
// same blob do not disturb each other, nor its readers; all of them succeed. A reader that is open
// goes on reading after Remove.
//
// Durability: a committed blob survives the death of this process (kill -9 included). It survives a
// crash of the machine only if the store was told to sync; otherwise it may come back shorter than
// its name says, which OpenVerified finds, and which an equal Commit heals.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/digest.h"
#include "base/io.h"
#include "base/result.h"

namespace varve::cas {

struct BlobStat {
  Digest digest;
  uint64_t size = 0;        // of the content
  uint64_t disk_bytes = 0;  // what removing it would free
  Timestamp made;           // when it was committed last: an equal Commit renews it
};

// The destructor discards what was not committed.
class BlobWriter : public Writer {
 public:
  // kCorrupt, naming both digests, when the content is not `expected`; nothing becomes visible
  // then. Called once, last.
  virtual Result<Digest> Commit(std::optional<Digest> expected) = 0;
  Result<Digest> Commit() { return Commit(std::nullopt); }
  virtual uint64_t size() const = 0;
};

class BlobStore {
 public:
  virtual ~BlobStore() = default;
  virtual Result<std::optional<BlobStat>> Stat(const Digest& blob) = 0;  // absent: nothing
  virtual Result<std::unique_ptr<Reader>> Open(const Digest& blob) = 0;  // kNotFound
  virtual Result<std::unique_ptr<BlobWriter>> Create() = 0;
  virtual Status Remove(const Digest& blob) = 0;  // absent is fine
  // Every blob once, in order of digest. Those that come or go meanwhile may be missed. `visit` may
  // use the store; its error ends the walk and is returned.
  virtual Status ForEachStat(const std::function<Status(const BlobStat&)>& visit) = 0;

  Result<std::optional<uint64_t>> Size(const Digest& blob);  // absent: nothing
  Result<bool> Has(const Digest& blob);
  Status ForEach(const std::function<Status(const Digest&, uint64_t size)>& visit);
  // For content that is at hand, such as a manifest.
  Result<Digest> Put(std::string_view content);
  // A whole small blob, verified; kInvalid beyond `limit`.
  Result<std::string> Get(const Digest& blob, uint64_t limit);
  // A reader that ends in kCorrupt when the content is not what the name says, and removes the blob
  // then: whoever needs it makes it again. Callers act on the content only after the end. The store
  // outlives the reader.
  Result<std::unique_ptr<Reader>> OpenVerified(const Digest& blob);
};

std::unique_ptr<BlobStore> MakeMemoryStore(Clock& clock = SystemClock());

struct DiskOptions {
  // fsync each blob before it becomes visible, and its directory after. Off by default: a cache
  // that lost its last blobs makes them again, and an fsync costs 1 to 30 ms.
  bool sync = false;
};

// <root>/blobs/sha256/ab/<hex>; unfinished writes are in <root>/staging/ (see disk_store.h).
// Missing directories are made; kInvalid with a hint where they cannot be.
Result<std::unique_ptr<BlobStore>> OpenDiskStore(const std::string& root, const DiskOptions& options = {});

// Fails the n-th call (from 1) of the given kind with kResource, for fault tests; 0: never. A write
// that fails has passed on half of its data. faulty_store.h has more.
struct Faults {
  int create = 0, write = 0, commit = 0, open = 0;
};
std::unique_ptr<BlobStore> MakeFaultyStore(BlobStore& inner, Faults faults);

}  // namespace varve::cas
