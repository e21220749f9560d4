// The local store: records, trees, and what is known of images and layers, in two SQLite files.
//
//   <root>/index.db   records, images, layers, chains, memos
//   <root>/trees.db   Directory objects
//   <root>/records/ab/<hex>.json, <root>/images/<hex>.json
//                     each record and image name, written before its row: a lost or damaged index
//                     is rebuilt from them
//
// Trees are not rebuilt: they can be made again from the indexes that lie beside the layers, and
// without them a record is a miss. They have a file of their own, so that a gigabyte of trees does
// not stand between a look-up and its record, and damage in one spares the other.
//
// What a rebuild does not bring back: chains and layer_blobs (the next pull learns them again),
// memos, times of last use, and why records were dropped.
//
// Safe from any thread; several processes may have one root open. A writer waits for others for up
// to 30 s. What is put survives kill -9 on return, and a power failure up to the last few seconds.
//
// A look-up does not write. Uses are noted in memory and written by Flush, for a record or layer
// once an hour at most: a build that hits everything must not wait for the disk. `uses` therefore
// counts builds at least an hour apart.
//
// Damage never becomes a hit: records carry a checksum and trees are checked against their digest
// when they are read; what fails is dropped and absent (counters cache.records.damaged,
// cache.trees.damaged).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cache/contents.h"
#include "cache/tier.h"
#include "tree/tree.h"

namespace varve::cache {

// A form in which a layer's bytes can be had without making its tar: a blob in the blob store, or
// in a registry's repository.
struct LayerBlob {
  Digest blob;
  std::string media_type;
  uint64_t size = 0;
  // Where it came from, "docker.io/library/node" or "oci-layout:/path"; empty: made here.
  std::string repository;
  bool operator==(const LayerBlob&) const = default;
};

struct StoredImage {
  std::string name;   // "docker.io/library/app:latest"
  Digest manifest;    // in the blob store
  Timestamp updated;  // when the name came to mean this manifest
};

class LocalStore : public RecordStore, public tree::TreeStore {
 public:
  using RecordStore::Put;      // of a record
  using tree::TreeStore::Put;  // of Directory objects

  // What is known of a base image's stack.
  virtual Result<std::optional<Digest>> GetChainTree(const ChainId& chain) = 0;
  virtual Status PutChainTree(const ChainId& chain, const Digest& tree_root) = 0;

  virtual Result<std::vector<LayerBlob>> FindLayerBlobs(const DiffId& layer) = 0;
  // Of many at once, in their order: one read lock.
  virtual Result<std::vector<std::vector<LayerBlob>>> FindBlobsOfLayers(const std::vector<DiffId>& layers) = 0;
  virtual Status PutLayerBlob(const DiffId& layer, const LayerBlob& blob) = 0;

  virtual Result<std::optional<StoredImage>> GetImage(const std::string& name) = 0;
  virtual Status PutImage(const StoredImage& image) = 0;
  virtual Result<std::vector<StoredImage>> ListImages() = 0;  // by name
  virtual Status RemoveImage(const std::string& name) = 0;    // absent is fine

  // A layer that is on this machine. NoteLayer when it was made or unpacked (at once), UsedLayer
  // when a step or an export used it (with the next Flush).
  virtual Status NoteLayer(const DiffId& layer, uint64_t tar_size) = 0;
  virtual void UsedLayer(const DiffId& layer) = 0;

  // Small facts with a time: what an ADD url answered, what a tag resolved to.
  struct Memo {
    std::string value;
    Timestamp time;
  };
  virtual Result<std::optional<Memo>> GetMemo(const std::string& kind, const std::string& key) = 0;
  virtual Status PutMemo(const std::string& kind, const std::string& key, const Memo& memo) = 0;

  // All of WhyDisowned, by weak key.
  virtual Result<std::map<Digest, std::string>> Disowned() = 0;

  // For the end of a job: writes the uses noted since the last time, and shortens what the next
  // process would have to read.
  virtual Status Flush() = 0;

  // What collection, du, fsck and explanations see; valid as long as the store.
  virtual StoreContents& contents() = 0;

  // What happened to the indexes since they were opened, for the user; empty: nothing.
  virtual std::string Notice() = 0;
};

struct OpenedStore {
  std::unique_ptr<LocalStore> store;
  std::string notice;  // LocalStore::Notice right after opening
};

// `root` is prepared (cache/root.h).
Result<OpenedStore> OpenLocalStore(const std::string& root, Clock& clock);

}  // namespace varve::cache
