// A state root with real stores, and records whose layers hold files, for this module's tests.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/fd.h"
#include "cache/root.h"
#include "sys/tempdir.h"
#include "upkeep/inventory.h"

namespace varve::upkeep {

class TestRoot {
 public:
  TestRoot() {
    EXPECT_TRUE(cache::PrepareRoot(root));
    Open();
  }
  void Open() {
    auto opened = cache::OpenLocalStore(root, clock);
    ASSERT_TRUE(opened) << opened.error().ToString();
    local = std::move(opened->store);
    notice = opened->notice;
    blobs = cas::OpenDiskStore(root).value();
    layers = snapshot::OpenLayerStore(root).value();
  }
  Stores stores() { return {root, *local, *blobs, *layers, clock}; }

  DiffId Layer(const std::string& content) {
    auto draft = layers->NewDraft().value();
    EXPECT_TRUE(WriteFileAtomically(draft->upper() + "/file", content));
    return layers->Commit(std::move(draft), {}, {}, {}).value().diff_id;
  }
  cache::StepRecord Record(const std::string& name, std::vector<DiffId> stack, int seconds = 10,
                           const std::string& slot = "") {
    cache::StepRecord record;
    record.preimage = fmt::format("{{\"n\":\"{}\"}}", name);
    record.key = StepKey(Digest::Of(record.preimage));
    record.outputs = {{std::move(stack), tree::EmptyTree()}};
    record.slot = slot.empty() ? name : slot;
    record.op_digest = Digest::Of("op");
    record.name = name;
    record.created = clock.Now();
    record.wall = std::chrono::seconds(seconds);
    record.new_bytes = 300'000;
    EXPECT_TRUE(local->Put(record));
    return record;
  }
  bool Has(const DiffId& layer) { return layers->Has(layer).value(); }
  bool HasRecord(const StepKey& key) { return local->GetMany({key}).value()[0].has_value(); }

  sys::TempDir directory = *sys::TempDir::Create(testing::TempDir(), "upkeep-");
  const std::string root = directory.path();
  Clock& clock = SystemClock();
  std::unique_ptr<cache::LocalStore> local;
  std::unique_ptr<cas::BlobStore> blobs;
  std::unique_ptr<snapshot::LayerStore> layers;
  std::string notice;
};

}  // namespace varve::upkeep
