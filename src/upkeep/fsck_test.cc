#include "upkeep/fsck.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "cache/lease.h"
#include "cache/step_locks.h"
#include "upkeep/leftovers.h"
#include "upkeep/test_root.h"

namespace varve::upkeep {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class FsckTest : public testing::Test {
 protected:
  FsckReport Check(bool repair = false, bool quick = false) {
    auto report = Fsck(root.stores(), {.repair = repair, .quick = quick}, {});
    EXPECT_TRUE(report) << report.error().ToString();
    return report.value_or(FsckReport{});
  }
  std::string Text(const FsckReport& report) {
    std::string out;
    for (const Finding& f : report.findings) out += f.object + ": " + f.problem + "; " + f.mended + "\n";
    return out;
  }
  // Found without repair and left alone, mended with it, and clean afterwards.
  void ExpectFoundAndMended(const std::string& part_of_the_text) {
    EXPECT_THAT(Text(Check()), HasSubstr(part_of_the_text));
    EXPECT_THAT(Text(Check(true)), HasSubstr(part_of_the_text));
    EXPECT_EQ(Text(Check()), "");
  }
  static void FlipBit(const std::string& path, size_t byte) {
    ASSERT_EQ(chmod(path.c_str(), 0600), 0) << path;
    Fd fd = OpenFile(path, O_RDWR).value();
    char c = 0;
    ASSERT_EQ(pread(fd.get(), &c, 1, static_cast<off_t>(byte)), 1) << path;
    c = static_cast<char>(c ^ 4);
    ASSERT_EQ(pwrite(fd.get(), &c, 1, static_cast<off_t>(byte)), 1);
  }
  cache::StepRecord Sound() {
    DiffId layer = root.Layer("content");
    cache::StepRecord record = root.Record("a", {layer});
    tree::LayerIndex index = root.layers->Index(layer).value();
    record.outputs[0].tree_root = tree::ApplyLayer(*root.local, tree::EmptyTree(), index).value();
    EXPECT_TRUE(root.local->Put(record));
    return record;
  }
  std::string FileOf(const cache::StepRecord& record) {
    std::string hex = record.key.Hex();
    return fmt::format("{}/records/{}/{}.json", root.root, hex.substr(0, 2), hex);
  }
  std::string LayerPath(const cache::StepRecord& record) {
    return root.root + "/layers/" + record.outputs[0].layers[0].Hex();
  }

  TestRoot root;
};

TEST_F(FsckTest, SoundRootIsClean) {
  Sound();
  ASSERT_TRUE(root.blobs->Put("blob"));
  FsckReport report = Check();
  EXPECT_EQ(Text(report), "");
  EXPECT_EQ(report.records, 1u);
  EXPECT_EQ(report.layers, 1u);
  EXPECT_EQ(report.blobs, 1u);
  EXPECT_GE(report.trees, 1u);
}

TEST_F(FsckTest, FlippedBitInABlob) {
  Digest blob = root.blobs->Put("some blob").value();
  FlipBit(fmt::format("{}/blobs/sha256/{}/{}", root.root, blob.Hex().substr(0, 2), blob.Hex()), 3);
  EXPECT_EQ(Text(Check(false, true)), "") << "--quick does not read contents";
  ExpectFoundAndMended("blob " + blob.ToString());
  EXPECT_FALSE(root.blobs->Has(blob).value());
}

TEST_F(FsckTest, FlippedBitInALayersFile) {
  cache::StepRecord record = Sound();
  FlipBit(LayerPath(record) + "/fs/file", 2);
  ExpectFoundAndMended("its files are not what it was made with");
  EXPECT_FALSE(root.Has(record.outputs[0].layers[0]));
  EXPECT_EQ(root.local->contents().WhyDropped(record.key).value()->rule, "its layer was damaged (varve fsck)");
}

TEST_F(FsckTest, FlippedBitInALayersIndexIsSeenQuicklyToo) {
  cache::StepRecord record = Sound();
  FlipBit(LayerPath(record) + "/index", 8);
  EXPECT_THAT(Text(Check(false, true)), HasSubstr("its files are not what it was made with"));
  ExpectFoundAndMended("layer ");
}

TEST_F(FsckTest, MissingFileOfALayerIsSeenQuicklyToo) {
  cache::StepRecord record = Sound();
  fs::remove(LayerPath(record) + "/fs/file");
  EXPECT_THAT(Text(Check(false, true)), HasSubstr("its files are not what it was made with"));
}

TEST_F(FsckTest, FlippedBitInARecordFileIsHealedFromTheIndex) {
  cache::StepRecord record = Sound();
  FlipBit(FileOf(record), 40);
  ExpectFoundAndMended("it does not have the checksum that it ends with");
  EXPECT_TRUE(root.HasRecord(record.key));
  EXPECT_TRUE(cache::DecodeRecord(ReadFile(FileOf(record)).value()));
}

// A process was killed between the two writes of a record.
TEST_F(FsckTest, RecordFileThatTheIndexDoesNotKnowIsEnteredAndNoFault) {
  cache::StepRecord record = Sound();
  std::string text = ReadFile(FileOf(record)).value();
  ASSERT_TRUE(root.local->Drop(record.key));
  ASSERT_TRUE(WriteFileAtomically(FileOf(record), text, 0600));
  FsckReport report = Check();
  EXPECT_EQ(Text(report), "");
  EXPECT_EQ(report.records, 1u);
  EXPECT_TRUE(root.HasRecord(record.key));
}

TEST_F(FsckTest, MissingRecordFileIsWrittenAgain) {
  cache::StepRecord record = Sound();
  fs::remove(FileOf(record));
  ExpectFoundAndMended("its file is missing");
  EXPECT_TRUE(fs::exists(FileOf(record)));
}

TEST_F(FsckTest, RecordWithAnotherTreeThanItsLayersGive) {
  cache::StepRecord record = Sound();
  tree::TreeEditor edit(*root.local, tree::EmptyTree());
  ASSERT_TRUE(edit.Put(RelPath("other"), {.mode = 0644, .digest = Digest::Of("x")}));
  record.outputs[0].tree_root = edit.Commit().value();
  ASSERT_TRUE(root.local->Put(record));
  ExpectFoundAndMended("its tree is not what its layers give");
  EXPECT_FALSE(root.HasRecord(record.key));
}

TEST_F(FsckTest, ImageWithoutItsManifest) {
  Digest manifest = root.blobs->Put("{}").value();
  ASSERT_TRUE(root.local->PutImage({"docker.io/library/app:1", manifest, root.clock.Now()}));
  EXPECT_EQ(Text(Check()), "");
  ASSERT_TRUE(root.blobs->Remove(manifest));
  ExpectFoundAndMended("image docker.io/library/app:1: blob " + manifest.ToString());
  EXPECT_TRUE(root.local->ListImages()->empty());
}

TEST_F(FsckTest, EvictedLayersAreNoFault) {
  cache::StepRecord record = Sound();
  ASSERT_TRUE(root.local->contents().ForgetLayer(record.outputs[0].layers[0]));
  ASSERT_TRUE(root.layers->Remove(record.outputs[0].layers[0]));
  EXPECT_EQ(Text(Check()), "");
}

TEST_F(FsckTest, LeftoversOfTheDeadAndNotOfTheLiving) {
  ASSERT_TRUE(WriteFileAtomically(root.root + "/locks/" + std::string(64, 'a'), ""));
  fs::create_directories(root.root + "/mounts/removed-1-1/data");
  fs::create_directories(root.root + "/tmp/build-x/sub");
  ASSERT_TRUE(WriteFileAtomically(root.root + "/index.db.damaged-5", "x"));
  {
    auto job = cache::JobLease::Begin(root.root, root.clock).value();
    EXPECT_THAT(Text(Check()), testing::Not(HasSubstr("build-x")));
  }
  bool waited = false;
  StepKey key(Digest::Of("k"));
  auto held = cache::LockKey(root.root, key, &waited, {}).value();
  FsckReport report = Check();
  EXPECT_EQ(report.findings.size(), 4u) << Text(report);
  EXPECT_THAT(Text(report), testing::Not(HasSubstr(key.Hex())));
  ExpectFoundAndMended("build-x");
  EXPECT_FALSE(fs::exists(root.root + "/mounts/removed-1-1"));
}

TEST_F(FsckTest, ABuildClearsAwayWhatAKilledOneWasWritingInTheRoot) {
  // No process has this number: it is above the kernel's largest.
  std::string draft = root.root + "/version.tmp-4194999-0";
  ASSERT_TRUE(WriteFileAtomically(draft, "1"));
  EXPECT_TRUE(RemoveLeftovers(root.root, {.wait = false}));
  EXPECT_NE(access(draft.c_str(), F_OK), 0);
}

TEST_F(FsckTest, WhatAKilledBuildWasWritingGoesAlsoWhenACollectionCameFirst) {
  std::string draft = root.root + "/contexts/stat-cache.tmp-4194999-0";
  fs::create_directories(root.root + "/contexts");
  ASSERT_TRUE(WriteFileAtomically(draft, "1"));
  pid_t child = fork();
  if (child == 0) {
    auto job = cache::JobLease::Begin(root.root, root.clock);
    _exit(job ? 0 : 1);  // without a destructor: its file stays, as after SIGKILL
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ASSERT_EQ(cache::CollectionLock::Take(root.root, {}).value().Read().value().dead.size(), 1u);
  EXPECT_TRUE(RemoveLeftovers(root.root, {.wait = false}));
  EXPECT_FALSE(fs::exists(draft));
  EXPECT_TRUE(cache::CollectionLock::Take(root.root, {}).value().Read().value().dead.empty());
}

TEST_F(FsckTest, LeftoversAreNotWaitedForWhenABuildIsInAHurry) {
  fs::create_directories(root.root + "/tmp/build-x");
  auto held = cache::CollectionLock::Take(root.root, {}).value();
  EXPECT_TRUE(RemoveLeftovers(root.root, {.wait = false}));
  EXPECT_TRUE(fs::exists(root.root + "/tmp/build-x"));
}

// The database's bits: whatever flips, the next look is right again.
TEST_F(FsckTest, FlippedBitsInTheDatabases) {
  std::vector<cache::StepRecord> records;
  for (int i = 0; i < 5; ++i) records.push_back(root.Record(fmt::format("r{}", i), {root.Layer(std::to_string(i))}));
  Sound();
  ASSERT_TRUE(root.local->contents().Compact());
  for (const char* name : {"/index.db", "/trees.db"}) {
    std::string path = root.root + name;
    for (int part = 0; part < 8; ++part) {
      FlipBit(path, 120 + (fs::file_size(path) - 220) * static_cast<size_t>(part) / 7);
      root.Open();
      Check(true);
      EXPECT_EQ(Text(Check()), "") << name << " part " << part;
      for (const cache::StepRecord& record : records) {
        auto found = root.local->GetMany({record.key});
        ASSERT_TRUE(found) << found.error().ToString();
        if ((*found)[0]) {
          EXPECT_EQ((*found)[0]->outputs, record.outputs);
        }
      }
      ASSERT_TRUE(root.local->contents().Compact());
    }
  }
}

}  // namespace
}  // namespace varve::upkeep
