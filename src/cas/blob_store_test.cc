// The contract of BlobStore, for every implementation; then what only some of them promise.
#include "cas/blob_store.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <thread>

#include "base/thread_pool.h"
#include "cas/disk_store.h"
#include "cas/faulty_store.h"
#include "sys/tempdir.h"

namespace varve::cas {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

struct Disk {
  sys::TempDir dir = *sys::TempDir::Create(testing::TempDir(), "cas-");
  std::unique_ptr<DiskStore> store = *DiskStore::Open(dir.path());
  BlobStore& get() { return *store; }
};
struct SyncedDisk {
  sys::TempDir dir = *sys::TempDir::Create(testing::TempDir(), "cas-");
  std::unique_ptr<DiskStore> store = *DiskStore::Open(dir.path(), {.sync = true});
  BlobStore& get() { return *store; }
};
struct Memory {
  std::unique_ptr<BlobStore> store = MakeMemoryStore();
  BlobStore& get() { return *store; }
};
struct Faulty {
  std::unique_ptr<BlobStore> inner = MakeMemoryStore();
  FaultyStore store{*inner};
  BlobStore& get() { return store; }
};

template <class Fixture>
class BlobStoreContract : public testing::Test {
 protected:
  std::string Content(const Digest& digest) {
    auto reader = store.Open(digest);
    if (!reader) return "cannot open: " + reader.error().ToString();
    return ReadAll(**reader, 1 << 20).value();
  }
  std::vector<Digest> All() {
    std::vector<Digest> all;
    EXPECT_TRUE(store.ForEachStat([&](const BlobStat& stat) {
      all.push_back(stat.digest);
      return Ok();
    }));
    return all;
  }

  Fixture fixture;
  BlobStore& store = fixture.get();
};
using Stores = testing::Types<Disk, SyncedDisk, Memory, Faulty>;
TYPED_TEST_SUITE(BlobStoreContract, Stores);

TYPED_TEST(BlobStoreContract, CommittedBlobIsReadBackWithItsSize) {
  auto writer = this->store.Create().value();
  ASSERT_TRUE(writer->Write("hello "));
  ASSERT_TRUE(writer->Write("world"));
  Digest digest = writer->Commit().value();
  EXPECT_EQ(digest, Digest::Of("hello world"));
  EXPECT_EQ(this->Content(digest), "hello world");
  auto stat = this->store.Stat(digest).value();
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->digest, digest);
  EXPECT_EQ(stat->size, 11u);
  EXPECT_GT(stat->made.nanos, 0);
}

TYPED_TEST(BlobStoreContract, EmptyBlobIsABlob) {
  Digest digest = this->store.Put("").value();
  EXPECT_TRUE(this->store.Has(digest).value());
  EXPECT_EQ(this->Content(digest), "");
}

TYPED_TEST(BlobStoreContract, NothingIsVisibleBeforeCommit) {
  {
    auto writer = this->store.Create().value();
    ASSERT_TRUE(writer->Write("draft"));
    EXPECT_FALSE(this->store.Has(Digest::Of("draft")).value());
    EXPECT_THAT(this->All(), ElementsAre());
  }
  EXPECT_FALSE(this->store.Has(Digest::Of("draft")).value());
}

TYPED_TEST(BlobStoreContract, OtherContentThanExpectedIsCorruptAndLeavesNothing) {
  auto writer = this->store.Create().value();
  ASSERT_TRUE(writer->Write("forged"));
  auto wrong = writer->Commit(Digest::Of("wanted"));
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code, Code::kCorrupt);
  EXPECT_THAT(wrong.error().message, HasSubstr(Digest::Of("forged").ToString()));

  auto shorter = this->store.Create().value();
  ASSERT_TRUE(shorter->Write("for"));
  auto cut = shorter->Commit(Digest::Of("forged"));
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().code, Code::kCorrupt);
  EXPECT_THAT(cut.error().message, HasSubstr(Digest::Of("forged").ToString()));
  EXPECT_THAT(this->All(), ElementsAre());
}

TYPED_TEST(BlobStoreContract, ExpectedContentIsAccepted) {
  auto writer = this->store.Create().value();
  ASSERT_TRUE(writer->Write("good"));
  EXPECT_EQ(writer->size(), 4u);
  EXPECT_TRUE(writer->Commit(Digest::Of("good")));
}

TYPED_TEST(BlobStoreContract, AbsentBlobIsNotFoundOnlyWhenOpened) {
  Digest digest = Digest::Of("absent");
  EXPECT_FALSE(this->store.Stat(digest).value().has_value());
  auto reader = this->store.Open(digest);
  ASSERT_FALSE(reader);
  EXPECT_EQ(reader.error().code, Code::kNotFound);
  EXPECT_THAT(reader.error().message, HasSubstr(digest.ToString()));
  EXPECT_TRUE(this->store.Remove(digest));
}

TYPED_TEST(BlobStoreContract, RemovedBlobIsGoneButOpenReadersGoOn) {
  Digest digest = this->store.Put("short lived").value();
  auto reader = this->store.Open(digest).value();
  ASSERT_TRUE(this->store.Remove(digest));
  EXPECT_FALSE(this->store.Has(digest).value());
  EXPECT_EQ(ReadAll(*reader, 100).value(), "short lived");
}

TYPED_TEST(BlobStoreContract, ForEachVisitsAllInOrderAndStopsAtAnError) {
  std::vector<Digest> put;
  for (int i = 0; i < 50; ++i) put.push_back(this->store.Put(std::to_string(i)).value());
  std::sort(put.begin(), put.end());
  EXPECT_EQ(this->All(), put);
  int visits = 0;
  auto status = this->store.ForEachStat(
      [&](const BlobStat&) -> Status { return ++visits == 3 ? Status(Internal("enough")) : Ok(); });
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "enough");
  EXPECT_EQ(visits, 3);
}

TYPED_TEST(BlobStoreContract, ForEachMayRemoveWhatItVisits) {
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(this->store.Put(std::to_string(i)));
  ASSERT_TRUE(this->store.ForEachStat([&](const BlobStat& s) { return this->store.Remove(s.digest); }));
  EXPECT_THAT(this->All(), ElementsAre());
}

TYPED_TEST(BlobStoreContract, WritersOfOneBlobAllSucceed) {
  std::string big(300'000, 'x');
  std::vector<Digest> digests(16);
  ASSERT_TRUE(ParallelFor(16, 8, [&](size_t i) -> Status {
    TRY_ASSIGN(auto writer, this->store.Create());
    for (size_t at = 0; at < big.size(); at += 30'000) TRY(writer->Write(big.substr(at, 30'000)));
    TRY_ASSIGN(digests[i], writer->Commit(Digest::Of(big)));
    TRY_ASSIGN(std::string back, this->store.Get(digests[i], 1 << 20));
    return back == big ? Ok() : Status(Internal("other bytes"));
  }));
  EXPECT_THAT(this->All(), ElementsAre(Digest::Of(big)));
}

TYPED_TEST(BlobStoreContract, ReadBlobRefusesMoreThanItsLimit) {
  Digest digest = this->store.Put(std::string(100, 'x')).value();
  auto text = this->store.Get(digest, 99);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, Code::kInvalid);
  EXPECT_THAT(text.error().message, HasSubstr(digest.ToString()));
}

TEST(OpenVerified, DamageIsCorruptAtTheEndAndStaysSo) {
  auto memory = MakeMemoryStore();
  FaultyStore store(*memory);
  Digest digest = store.Put("right").value();
  store.LoseUnsynced();
  auto reader = store.OpenVerified(digest).value();
  char buffer[16];
  EXPECT_EQ(reader->Read(buffer).value(), 2u);
  for (int i = 0; i < 2; ++i) {
    auto end = reader->Read(buffer);
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code, Code::kCorrupt);
    EXPECT_THAT(end.error().message, HasSubstr(digest.ToString()));
  }
  EXPECT_FALSE(store.Has(digest).value()) << "whoever needs it makes it again";
}

TEST(OpenVerified, EndOfAGoodBlobIsAnEndEachTime) {
  auto memory = MakeMemoryStore();
  BlobStore& store = *memory;
  auto reader = store.OpenVerified(store.Put("right").value()).value();
  EXPECT_EQ(ReadAll(*reader, 100).value(), "right");
  char buffer[4];
  EXPECT_EQ(reader->Read(buffer).value(), 0u);
}

TEST(FaultyStore, NthCallFailsOnceAndLeavesNothing) {
  auto memory = MakeMemoryStore();
  FaultyStore store(*memory);
  store.FailCall(StoreCall::kCommit, 2, Resource("disk is full"));
  EXPECT_TRUE(store.Put("a"));
  auto second = store.Put("b");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kResource);
  EXPECT_FALSE(store.Has(Digest::Of("b")).value());
  EXPECT_TRUE(store.Put("b"));
  EXPECT_EQ(store.Calls(StoreCall::kCommit), 3u);
}

TEST(FaultyStore, ShortWriteNeverBecomesVisibleAsTheWholeBlob) {
  auto memory = MakeMemoryStore();
  FaultyStore store(*memory);
  store.FailCall(StoreCall::kWrite, 1, Resource("disk is full"));
  auto writer = store.Create().value();
  EXPECT_FALSE(writer->Write("0123456789"));
  auto digest = writer->Commit(Digest::Of("0123456789"));
  ASSERT_FALSE(digest);
  EXPECT_EQ(digest.error().code, Code::kCorrupt);
  EXPECT_EQ(writer->size(), 5u);
}

TEST(FaultyStore, EachKindOfCallCanFail) {
  auto memory = MakeMemoryStore();
  FaultyStore store(*memory);
  Digest digest = store.Put("content").value();
  Error error = Unavailable("no");
  store.FailCall(StoreCall::kStat, 1, error);
  EXPECT_FALSE(store.Stat(digest));
  store.FailCall(StoreCall::kOpen, 1, error);
  EXPECT_FALSE(store.Open(digest));
  store.FailCall(StoreCall::kRead, 2, error);
  EXPECT_FALSE(store.Get(digest, 1 << 20));
  store.FailCall(StoreCall::kCreate, 1, error);
  EXPECT_FALSE(store.Create());
  store.FailCall(StoreCall::kRemove, 1, error);
  EXPECT_FALSE(store.Remove(digest));
  store.FailCall(StoreCall::kForEach, 1, error);
  EXPECT_FALSE(store.ForEachStat([](const BlobStat&) { return Ok(); }));
  EXPECT_EQ(store.Get(digest, 1 << 20).value(), "content");
}

TEST(FaultyStore, UnsyncedBlobsComeBackCutAndAreNoticed) {
  auto memory = MakeMemoryStore();
  FaultyStore store(*memory);
  Digest kept = store.Put("kept through it").value();
  store.Sync();
  Digest lost = store.Put("written too late").value();
  store.LoseUnsynced();
  EXPECT_EQ(store.Get(kept, 1 << 20).value(), "kept through it");
  auto text = store.Get(lost, 1 << 20);
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().code, Code::kCorrupt);
  EXPECT_TRUE(store.Put("written too late"));  // making it again heals
  EXPECT_TRUE(store.Get(lost, 1 << 20));
}

}  // namespace
}  // namespace varve::cas
