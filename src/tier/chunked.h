// Tars in a tier as content-defined chunks (chunk/chunk_list.h): sent so that only chunks travel that
// the tier lacks, fetched so that only chunks travel that this machine lacks.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "base/guarded.h"
#include "chunk/chunk_list.h"
#include "chunk/packer.h"
#include "sys/tempdir.h"
#include "tier/group.h"
#include "tier/spool.h"
#include "tier/wire.h"

namespace varve::tier {

// What this machine has that a fetch may take chunks from.
struct LocalTars {
  std::string scratch = sys::TemporaryRoot();  // directory for files that are deleted when they are closed
  // Layers that earlier runs of a step made, latest first, of those that are here.
  std::function<std::vector<DiffId>(const std::string& slot, std::stop_token stop)> earlier;
  std::function<Status(const DiffId& layer, Writer& out, std::stop_token stop)> write_tar;
};

// The chunk lists of a tier that were read; each is read once. Safe from any thread.
class ChunkLists {
 public:
  explicit ChunkLists(Wire& wire) : wire_(wire) {}
  Result<std::shared_ptr<const chunk::ChunkList>> Get(const StoredLayer& tar, std::stop_token stop);

 private:
  Wire& wire_;
  Guarded<std::map<Digest, std::shared_ptr<const chunk::ChunkList>>> lists_;
};

// Writes the tar. `similar` are local layers that may have parts of it, the best first; kCorrupt and
// kNotFound: the tier's copy is of no use. The whole is not hashed: the caller knows its digest.
Status FetchChunked(const StoredLayer& tar, const std::vector<DiffId>& similar, const LocalTars& local,
                    ChunkLists& lists, Wire& wire, Writer& out, std::stop_token stop);

// One export. Not safe for use from several threads at once. However much is added, what is in memory are the
// packs that are made at the moment, some fifty megabytes: packs for a storage that keeps them until its Replace
// wait in `scratch`, a directory, as a file that takes what is new of the tars, compressed. Such a storage is
// given what SendHeld names, and nothing before.
class ChunkSender {
 public:
  ChunkSender(Wire& wire, ChunkLists& lists, std::string scratch, std::optional<int> level, std::stop_token stop);

  // Chunks of these need not be sent, as far as their packs are there. Those that cannot be read are
  // passed over.
  Status Know(const std::vector<const StoredLayer*>& tars);

  // `write` writes the tar; what was packed of one that fails is not named by anything.
  using WriteTar = std::function<Status(Writer& out, std::stop_token stop)>;
  // The bytes of its chunks, before they are compressed, that are neither there nor were added.
  Result<uint64_t> NewBytes(const WriteTar& write);
  Status AddLayer(const DiffId& layer, const WriteTar& write);
  Status AddMount(const std::string& key, Timestamp created, const WriteTar& write);

  // Sends what is left, then the lists; or holds them. In the order of the calls.
  struct Sent {
    std::vector<StoredLayer> layers;
    std::vector<StoredMount> mounts;
  };
  Result<Sent> Finish();
  // What is held of the blobs of one that Finish gave.
  Status SendHeld(const StoredLayer& tar);

 private:
  Status SendPack(const chunk::Pack& pack, std::string bytes);
  Result<StoredLayer> SendList(const chunk::Stream& stream);
  Status EndOfTar();

  Wire& wire_;
  ChunkLists& lists_;
  const std::stop_token stop_;
  Spool spool_;
  Guarded<std::map<Digest, OpenAt>> held_;
  chunk::Packer packer_;
  std::vector<chunk::Stream> layers_;
  struct Mount {
    std::string key;
    Timestamp created;
    chunk::Stream stream;
  };
  std::vector<Mount> mounts_;
};

}  // namespace varve::tier
