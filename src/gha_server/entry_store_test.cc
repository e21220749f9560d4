#include "gha_server/entry_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "sys/tempdir.h"

namespace varve::gha_server {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class EntryStoreTest : public ::testing::Test {
 protected:
  void Open(uint64_t max_size = 1000) {
    store_.reset();
    auto opened = EntryStore::Open({.dir = dir_.path(), .max_size = max_size}, clock_);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
  }
  std::shared_ptr<Upload> Begin(const std::string& key, const std::string& scope = "main") {
    auto id = store_->Reserve(scope, key, "v");
    return id && *id ? store_->FindUpload(**id) : nullptr;
  }
  static Status Write(Upload& upload, uint64_t offset, const std::string& bytes) {
    TRY_ASSIGN(auto part, upload.StartRange(offset, bytes.size()));
    TRY(FdWriter(part.fd.get()).Write(bytes));
    return upload.Done(std::move(part));
  }
  static Status Block(Upload& upload, const std::string& id, const std::string& bytes) {
    TRY_ASSIGN(auto part, upload.StartBlock(id));
    TRY(FdWriter(part.fd.get()).Write(bytes));
    return upload.Done(std::move(part));
  }
  void Save(const std::string& key, const std::string& bytes, const std::string& scope = "main") {
    auto upload = Begin(key, scope);
    ASSERT_TRUE(upload);
    ASSERT_TRUE(Write(*upload, 0, bytes));
    Status committed = store_->Commit(*upload, bytes.size());
    ASSERT_TRUE(committed) << committed.error().message;
    clock_.Advance(std::chrono::seconds(1));
  }
  std::string Found(const std::vector<KeyPattern>& keys, const std::vector<std::string>& scopes = {"main"}) {
    auto entry = store_->Find(scopes, keys, "v");
    return entry ? entry->scope + " " + entry->key : "nothing";
  }
  std::string Bytes(const std::string& key) {
    auto entry = store_->Find({"main"}, {{key, false}}, "v");
    if (!entry) return "nothing";
    auto content = store_->Read(entry->id);
    if (!content) return content.error().message;
    FdReader reader(content->fd.get());
    return ReadAll(reader, 1 << 20).value_or("unreadable");
  }

  sys::TempDir dir_ = *sys::TempDir::Create(sys::TemporaryRoot(), "varve-entries-");
  FakeClock clock_;
  std::unique_ptr<EntryStore> store_;
};

TEST_F(EntryStoreTest, AnExactKeyWinsOverANewerPrefix) {
  Open();
  Save("k-1", "a");
  Save("k-1-longer", "b");
  EXPECT_EQ(Found({{"k-1"}}), "main k-1");
  EXPECT_EQ(Found({{"k-"}}), "main k-1-longer");
  EXPECT_EQ(Found({{"k-", false}}), "nothing");
  EXPECT_EQ(Found({{"absent"}, {"k-1"}}), "main k-1");
}

TEST_F(EntryStoreTest, TheFirstScopeWinsOverABetterKeyOfTheNext) {
  Open();
  Save("k-exact", "a", "main");
  Save("k-other", "b", "topic");
  EXPECT_EQ(Found({{"k-exact"}, {"k-"}}, {"topic", "main"}), "topic k-other");
  EXPECT_EQ(Found({{"k-exact"}}, {"topic", "main"}), "main k-exact");
  EXPECT_EQ(Found({{"k-other"}}, {"main"}), "nothing");
}

TEST_F(EntryStoreTest, AnotherVersionIsAnotherEntry) {
  Open();
  Save("k", "a");
  EXPECT_FALSE(store_->Find({"main"}, {{"k"}}, "w"));
  auto id = store_->Reserve("main", "k", "w");
  EXPECT_TRUE(id && *id);
}

TEST_F(EntryStoreTest, AKeyIsWrittenOnce) {
  Open();
  auto upload = Begin("k");
  EXPECT_FALSE(Begin("k"));  // reserved
  EXPECT_EQ(Found({{"k"}}), "nothing");
  ASSERT_TRUE(Write(*upload, 0, "a"));
  ASSERT_TRUE(store_->Commit(*upload, 1));
  EXPECT_FALSE(Begin("k"));
  EXPECT_FALSE(Write(*upload, 0, "b"));
  EXPECT_EQ(Bytes("k"), "a");
}

TEST_F(EntryStoreTest, AForgottenReservationIsGivenAnew) {
  Open();
  ASSERT_TRUE(Begin("k"));
  clock_.Advance(std::chrono::minutes(59));
  EXPECT_FALSE(Begin("k"));
  clock_.Advance(std::chrono::minutes(2));
  EXPECT_TRUE(Begin("k"));
}

TEST_F(EntryStoreTest, RangesMayComeInAnyOrderAndLeaveNoHole) {
  Open();
  auto upload = Begin("k");
  ASSERT_TRUE(Write(*upload, 6, "gh"));
  ASSERT_TRUE(Write(*upload, 0, "abc"));
  EXPECT_THAT(store_->Commit(*upload, 8).error().message, HasSubstr("hole"));
  ASSERT_TRUE(Write(*upload, 3, "def"));
  EXPECT_THAT(store_->Commit(*upload, 9).error().message, HasSubstr("8 bytes of 'k' were uploaded, not 9"));
  ASSERT_TRUE(store_->Commit(*upload, 8));
  EXPECT_EQ(Bytes("k"), "abcdefgh");
}

TEST_F(EntryStoreTest, ARangeThatIsBeingWrittenKeepsTheUploadOpen) {
  Open();
  auto upload = Begin("k");
  ASSERT_TRUE(Write(*upload, 0, "abc"));
  {
    auto part = upload->StartRange(0, 3);
    EXPECT_THAT(store_->Commit(*upload, 3).error().message, HasSubstr("going on"));
  }
  EXPECT_TRUE(store_->Commit(*upload, 3));
}

TEST_F(EntryStoreTest, BlocksAreJoinedInTheOrderOfTheList) {
  Open();
  auto upload = Begin("k");
  ASSERT_TRUE(Block(*upload, "2", "two"));
  ASSERT_TRUE(Block(*upload, "1", "one"));
  ASSERT_TRUE(Block(*upload, "unused", "x"));
  EXPECT_THAT(upload->JoinBlocks({"1", "3"}).error().message, HasSubstr("block '3' was not uploaded"));
  ASSERT_TRUE(upload->JoinBlocks({"1", "2", "1"}));
  ASSERT_TRUE(store_->Commit(*upload, 9));
  EXPECT_EQ(Bytes("k"), "onetwoone");
  EXPECT_TRUE(fs::is_empty(dir_.path() + "/uploads"));
}

TEST_F(EntryStoreTest, WhatWasUsedLongestAgoGoesFirst) {
  Open(10);
  Save("a", "aaaa");
  Save("b", "bbbb");
  EXPECT_EQ(Found({{"a"}}), "main a");
  Save("c", "cccc");
  EXPECT_EQ(Found({{"b"}}), "nothing");
  EXPECT_EQ(Bytes("a"), "aaaa");
  EXPECT_EQ(Bytes("c"), "cccc");
  EXPECT_EQ(store_->size(), 8u);
  auto evicted = store_->TakeEvicted();
  ASSERT_EQ(evicted.size(), 1u);
  EXPECT_EQ(evicted[0].key, "b");
}

TEST_F(EntryStoreTest, TheOrderOfUseSurvivesARestart) {
  Open(10);
  Save("a", "aaaa");
  Save("b", "bbbb");
  EXPECT_EQ(Found({{"a"}}), "main a");
  clock_.Advance(std::chrono::seconds(1));
  Open(10);
  Save("c", "cccc");
  EXPECT_EQ(Bytes("b"), "nothing");
  EXPECT_EQ(Bytes("a"), "aaaa");
}

TEST_F(EntryStoreTest, AnEntryLargerThanTheCacheIsRefused) {
  Open(3);
  auto upload = Begin("k");
  ASSERT_TRUE(Write(*upload, 0, "abcd"));
  EXPECT_EQ(store_->Commit(*upload, 4).error().code, Code::kResource);
}

TEST_F(EntryStoreTest, EvictionDoesNotDisturbWhoReads) {
  Open(4);
  Save("a", "aaaa");
  auto content = store_->Read(store_->Find({"main"}, {{"a"}}, "v")->id);
  Save("b", "bbbb");
  EXPECT_EQ(Bytes("a"), "nothing");
  FdReader reader(content->fd.get());
  EXPECT_EQ(ReadAll(reader, 10).value_or(""), "aaaa");
}

// What a kill leaves between any two steps of Commit.
TEST_F(EntryStoreTest, LeftoversOfAKilledServiceAreRemoved) {
  Open();
  Save("whole", "abc");
  auto upload = Begin("begun");
  ASSERT_TRUE(Write(*upload, 0, "abc"));
  auto whole = store_->Find({"main"}, {{"whole"}}, "v");
  store_.reset();
  std::ofstream(dir_.path() + "/entries/77.data") << "no description";
  std::ofstream(dir_.path() + "/entries/78.json") << R"({"id":78,"key":"no data","version":"v","size":3})";
  std::ofstream(dir_.path() + "/entries/79.json") << "{";
  Open();
  EXPECT_EQ(Bytes("whole"), "abc");
  EXPECT_TRUE(Begin("begun"));
  size_t files = 0;
  for ([[maybe_unused]] auto& file : fs::directory_iterator(dir_.path() + "/entries")) ++files;
  EXPECT_EQ(files, 2u);
  EXPECT_GT(Begin("new")->id(), whole->id);
}

TEST_F(EntryStoreTest, OneServiceAFolder) {
  Open();
  auto second = EntryStore::Open({.dir = dir_.path()}, clock_);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, HasSubstr("in use by another cache server"));
}

}  // namespace
}  // namespace varve::gha_server
