// gha::Packs above the service itself.
#include "gha/packs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "gha_server/testing/service.h"

namespace varve::gha {
namespace {

using gha_server::testing::LocalService;
using ::testing::ElementsAre;
using ::testing::Optional;

Packs::Value Text(const std::string& key, const std::string& text) {
  return {.key = key,
          .digest = Digest::Of(text),
          .size = text.size(),
          .open = [text](uint64_t offset, uint64_t size) -> Result<std::unique_ptr<Reader>> {
            class Owner final : public Reader {
             public:
              explicit Owner(std::string bytes) : bytes_(std::move(bytes)), reader_(bytes_) {}
              Result<size_t> Read(std::span<char> buffer) override { return reader_.Read(buffer); }

             private:
              const std::string bytes_;
              StringReader reader_;
            };
            return std::make_unique<Owner>(text.substr(offset, size));
          }};
}

// Sleeps a fiftieth, so that writers meet as they would, sooner.
class QuickSleeper final : public net::Sleeper {
 public:
  bool Sleep(Nanos time, std::stop_token stop) override {
    slept_ += time.count();
    std::this_thread::sleep_for(time / 50);
    return !stop.stop_requested();
  }
  Nanos slept() const { return Nanos(slept_.load()); }

 private:
  std::atomic<int64_t> slept_ = 0;
};

// One job: its own connections and memory.
struct Job {
  Job(LocalService& service, Protocol protocol, const std::string& scopes = "refs/heads/main:rw",
      Packs::Options options = {})
      : client(http, service.Address(protocol, scopes), SystemClock(), sleeper), packs(client, options, sleeper) {}
  void Put(const std::vector<Packs::Value>& values) {
    Status put = packs.PutMany(values, {});
    EXPECT_TRUE(put) << put.error().message;
  }
  std::string Get(const std::string& key) {
    auto values = packs.GetMany({key}, {});
    if (!values) return values.error().message;
    return (*values)[0].value_or("nothing");
  }
  QuickSleeper sleeper;
  net::HttpClient http;
  Client client;
  Packs packs;
};

class PacksTest : public ::testing::TestWithParam<Protocol> {
 protected:
  size_t Uploads() { return service_.Requests("/CreateCacheEntry 200") + service_.Requests("/caches 201"); }
  LocalService service_;
};

INSTANTIATE_TEST_SUITE_P(Versions, PacksTest, ::testing::Values(Protocol::kV1, Protocol::kV2),
                         [](const auto& version) { return version.param == Protocol::kV1 ? "V1" : "V2"; });

TEST_P(PacksTest, AnotherJobReadsWhatOnePut) {
  Job(service_, GetParam()).Put({Text("record/a", "A"), Text("blob/b", std::string(100'000, 'b')), Text("empty", "")});
  Job other(service_, GetParam());
  EXPECT_EQ(other.Get("record/a"), "A");
  EXPECT_EQ(other.Get("empty"), "");
  EXPECT_EQ(other.Get("record/absent"), "nothing");
  StringWriter out;
  EXPECT_TRUE(*other.packs.Read("blob/b", out, {}));
  EXPECT_EQ(out.text, std::string(100'000, 'b'));
  EXPECT_TRUE(*other.packs.Has("record/a", {}));
  EXPECT_FALSE(*other.packs.Has("record/b", {}));
  auto listed = other.packs.List("record/", {});
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ((*listed)[0].key, "record/a");
  EXPECT_EQ((*listed)[0].size, 1u);
}

TEST_P(PacksTest, SixtyStepsTakeFewUploadsAndFewRequestsToRead) {
  std::vector<Packs::Value> values;
  std::vector<std::string> records;
  for (int i = 0; i < 60; ++i) {
    records.push_back("record/" + std::to_string(i));
    values.push_back(Text(records.back(), "{\"step\":" + std::to_string(i) + "}" + std::string(2'000, ' ')));
    values.push_back(Text("blob/" + std::to_string(i), std::string(1'000 + i * 500, static_cast<char>(i))));
  }
  Job(service_, GetParam(), "refs/heads/main:rw", {.pack_size = 100'000}).Put(values);
  EXPECT_LT(Uploads(), 20u);
  EXPECT_GT(Uploads(), 5u);  // several packs
  Job reader(service_, GetParam());
  auto found = reader.packs.GetMany(records, {});
  ASSERT_TRUE(found) << found.error().message;
  for (auto& value : *found) EXPECT_TRUE(value);
  EXPECT_LE(service_.Requests("GET /varve/cache/"), 10u);
}

TEST_P(PacksTest, WhatIsThereIsNotSentAgain) {
  Job(service_, GetParam()).Put({Text("a", "same"), Text("b", "other")});
  size_t before = Uploads();
  Job again(service_, GetParam());
  again.Put({Text("a", "same"), Text("b", "other")});
  EXPECT_EQ(Uploads(), before);
  again.Put({Text("c", "same")});
  EXPECT_EQ(Uploads(), before + 1);  // the index alone
  EXPECT_EQ(Job(service_, GetParam()).Get("c"), "same");
}

// --- Ahead of the Change ------------------------------------------------------------------------------

std::vector<Packs::Value> Sixty() {
  std::vector<Packs::Value> values;
  for (int i = 0; i < 60; ++i) {
    values.push_back(Text("blob/" + std::to_string(i), std::string(50, static_cast<char>('0' + i))));
  }
  return values;
}

// As the build knows them in the end: their bytes are with the packs.
std::vector<Packs::Value> WithoutBytes(std::vector<Packs::Value> values) {
  for (Packs::Value& value : values) value.open = nullptr;
  return values;
}

TEST_P(PacksTest, SmallValuesGoAheadTogetherInPacksThatGrow) {
  Job writer(service_, GetParam(), "refs/heads/main:rw", {.pack_size = 1600});
  std::vector<uint64_t> kept;
  for (const Packs::Value& value : Sixty()) {
    EXPECT_TRUE(*writer.packs.UploadAhead(value, {}));
    kept.push_back(writer.packs.kept_bytes());
  }
  // Of 100, 200, 400 and 800 bytes; what is left is 1500.
  EXPECT_EQ(Uploads(), 4u);
  EXPECT_THAT(std::vector(kept.begin(), kept.begin() + 7), ElementsAre(50, 0, 50, 100, 150, 0, 50));
  EXPECT_EQ(kept.back(), 1500u);
  EXPECT_FALSE(*writer.packs.UploadAhead(Sixty().front(), {})) << "it was taken before";
  EXPECT_FALSE(*writer.packs.UploadAhead(Sixty().back(), {}));
  writer.Put(WithoutBytes(Sixty()));
  EXPECT_EQ(Uploads(), 4u + 1 + 1);
  EXPECT_EQ(writer.packs.kept_bytes(), 0u);
  Job reader(service_, GetParam());
  for (const Packs::Value& value : Sixty()) EXPECT_EQ(Digest::Of(reader.Get(value.key)), value.digest);
}

TEST_P(PacksTest, NoNumberOfValuesAheadTakesMoreThanNineteenUploads) {
  Job writer(service_, GetParam(), "refs/heads/main:rw", {.pack_size = 16});
  std::vector<Packs::Value> values;
  for (int i = 0; i < 300; ++i)
    values.push_back(Text("blob/" + std::to_string(i), std::to_string(i) + std::string(60, '.')));
  for (size_t i = 0; i < 200; ++i) EXPECT_TRUE(*writer.packs.UploadAhead(values[i], {}));
  EXPECT_GT(Uploads(), 6u);
  writer.Put(values);
  EXPECT_LE(Uploads(), 19u);
  Job reader(service_, GetParam());
  for (const Packs::Value& value : values) EXPECT_EQ(Digest::Of(reader.Get(value.key)), value.digest);
}

TEST_P(PacksTest, WhatTheChangeDoesNotNameIsNotUploaded) {
  Job writer(service_, GetParam());
  EXPECT_TRUE(*writer.packs.UploadAhead(Text("blob/a", "A"), {}));
  EXPECT_TRUE(*writer.packs.UploadAhead(Text("blob/b", "B"), {}));
  writer.Put(WithoutBytes({Text("blob/b", "B")}));
  EXPECT_EQ(writer.packs.kept_bytes(), 0u);
  Job reader(service_, GetParam());
  EXPECT_EQ(reader.Get("blob/a"), "nothing");
  EXPECT_EQ(reader.Get("blob/b"), "B");
  auto packs = service_.store().List({"refs/heads/main"}, "varve-varve#pack-");
  ASSERT_EQ(packs.size(), 1u);
  EXPECT_EQ(packs[0].size, 1u);
}

TEST_P(PacksTest, AnUploadAheadThatFailsIsMadeUpForByTheChange) {
  Job writer(service_, GetParam(), "refs/heads/main:rw", {.pack_size = 32});
  EXPECT_TRUE(*writer.packs.UploadAhead(Text("blob/a", "A"), {}));
  Packs::Value bad = Text("blob/b", "B");
  auto open = std::exchange(bad.open, nullptr);
  bad.open = [open, opened = std::make_shared<std::atomic<int>>(0)](uint64_t offset,
                                                                    uint64_t size) -> Result<std::unique_ptr<Reader>> {
    if ((*opened)++ == 0) return Corrupt("a bad disk");
    return open(offset, size);
  };
  EXPECT_FALSE(writer.packs.UploadAhead(bad, {}));
  EXPECT_EQ(writer.packs.kept_bytes(), 2u);
  writer.Put(WithoutBytes({Text("blob/a", "A"), Text("blob/b", "B")}));
  Job reader(service_, GetParam());
  EXPECT_EQ(reader.Get("blob/a") + reader.Get("blob/b"), "AB");
}

TEST_P(PacksTest, ALaterValueReplacesAnEarlierOne) {
  Job(service_, GetParam()).Put({Text("k", "one"), Text("l", "stays")});
  Job(service_, GetParam()).Put({Text("k", "two")});
  Job reader(service_, GetParam());
  EXPECT_EQ(reader.Get("k"), "two");
  EXPECT_EQ(reader.Get("l"), "stays");
}

TEST_P(PacksTest, TwentyWritersAtOnceLoseNothing) {
  constexpr int kWriters = 20;
  {
    std::vector<std::jthread> writers;
    for (int i = 0; i < kWriters; ++i) {
      writers.emplace_back([this, i] {
        Job job(service_, GetParam());
        job.Put({Text("of/" + std::to_string(i), std::to_string(i)), Text("shared", "by all")});
      });
    }
  }
  Job reader(service_, GetParam());
  for (int i = 0; i < kWriters; ++i) EXPECT_EQ(reader.Get("of/" + std::to_string(i)), std::to_string(i));
  EXPECT_EQ(reader.Get("shared"), "by all");
}

TEST_P(PacksTest, ANumberWhoseWriterDiedIsSkipped) {
  Job first(service_, GetParam());
  first.Put({Text("a", "A")});
  const std::string dead = "varve-varve#index-" + Digest::Of("refs/heads/main").Hex().substr(0, 8) + "-0000000002";
  ASSERT_TRUE(*service_.store().Reserve("refs/heads/main", dead, Digest::Of("varve packs 1").Hex()));
  Job second(service_, GetParam());
  second.Put({Text("b", "B")});
  EXPECT_GE(second.sleeper.slept(), std::chrono::seconds(15));
  Job third(service_, GetParam());
  third.Put({Text("c", "C")});
  EXPECT_EQ(third.sleeper.slept(), Nanos(0));
  Job reader(service_, GetParam());
  EXPECT_EQ(reader.Get("a") + reader.Get("b") + reader.Get("c"), "ABC");
}

// Everybody is impatient: numbers of writers that are merely slow are skipped all the time.
TEST_P(PacksTest, ImpatientWritersLoseNothing) {
  constexpr int kWriters = 12;
  {
    std::vector<std::jthread> writers;
    for (int i = 0; i < kWriters; ++i) {
      writers.emplace_back([this, i] {
        Job job(service_, GetParam(), "refs/heads/main:rw", {.patience = Nanos(0)});
        job.Put({Text("of/" + std::to_string(i), std::to_string(i))});
      });
    }
  }
  Job reader(service_, GetParam());
  for (int i = 0; i < kWriters; ++i) EXPECT_EQ(reader.Get("of/" + std::to_string(i)), std::to_string(i));
}

TEST_P(PacksTest, ABranchReadsItsBaseAndWritesItsOwn) {
  Job(service_, GetParam()).Put({Text("k", "of main"), Text("m", "main's")});
  const std::string topic = "refs/heads/topic:rw,refs/heads/main:r";
  Job(service_, GetParam(), topic).Put({Text("k", "of topic"), Text("n", "main's")});
  Job branch(service_, GetParam(), topic), main(service_, GetParam());
  EXPECT_EQ(branch.Get("k"), "of topic");
  EXPECT_EQ(branch.Get("m"), "main's");
  EXPECT_EQ(branch.Get("n"), "main's");
  EXPECT_EQ(main.Get("k"), "of main");
  EXPECT_EQ(main.Get("n"), "nothing");
}

Packs::Value Needing(Packs::Value value, std::vector<std::string> keys) {
  value.needs = std::move(keys);
  return value;
}

TEST_P(PacksTest, WhatOnlyRemovedValuesNeededGoesWithThem) {
  Job(service_, GetParam())
      .Put({Text("a", "A"), Text("b", "B"), Text("c", "C"), Text("free", "F"),
            Needing(Text("list/1", "one"), {"a", "b"}), Needing(Text("list/2", "two"), {"b", "c"})});
  Job job(service_, GetParam());
  Status changed = job.packs.Change({Text("list/3", "three")}, {"list/1"}, {});
  ASSERT_TRUE(changed) << changed.error().message;
  EXPECT_EQ(job.Get("list/1"), "nothing");
  Job reader(service_, GetParam());
  std::string found;
  auto listed = reader.packs.List("", {});
  for (const auto& stat : *listed) found += stat.key + " ";
  EXPECT_EQ(found, "b c free list/2 list/3 ");
}

// The slow job knows "a" from an index of before, in which another job's list needed it.
TEST_P(PacksTest, WhatIsTakenAwayMeanwhileStaysForWhoNamesIt) {
  Job(service_, GetParam()).Put({Text("a", "A"), Needing(Text("list/1", "one"), {"a"})});
  Job slow(service_, GetParam());
  ASSERT_TRUE(slow.packs.Load({}));
  ASSERT_TRUE(Job(service_, GetParam()).packs.Change({}, {"list/1"}, {}));
  Packs::Value a = Text("a", "A");
  a.open = nullptr;  // its bytes are there
  slow.Put({a, Needing(Text("list/2", "two"), {"a"})});
  Job reader(service_, GetParam());
  EXPECT_EQ(reader.Get("a"), "A");
  EXPECT_EQ(reader.Get("list/1"), "nothing");
}

TEST_P(PacksTest, ABranchHidesWhatItRemovesAndItsBaseKeepsIt) {
  const std::string topic = "refs/heads/topic:rw,refs/heads/main:r";
  Job(service_, GetParam()).Put({Text("a", "A"), Needing(Text("list/1", "one"), {"a"})});
  ASSERT_TRUE(Job(service_, GetParam(), topic).packs.Change({Text("list/2", "two")}, {"list/1"}, {}));
  Job branch(service_, GetParam(), topic), main(service_, GetParam());
  EXPECT_EQ(branch.Get("list/1"), "nothing");
  EXPECT_EQ(branch.Get("list/2"), "two");
  EXPECT_EQ(main.Get("list/1"), "one");
}

TEST_P(PacksTest, ScopesOfAnySpellingAreApart) {
  const std::string ref = Digest::Of("refs/heads/main").Hex().substr(0, 8);
  const std::vector<std::string> scopes = {"a", "a#index-" + ref + "-1", "a,b", "a%23"};
  for (const std::string& scope : scopes) {
    Job(service_, GetParam(), "refs/heads/main:rw", {.scope = scope}).Put({Text("k", scope)});
  }
  for (const std::string& scope : scopes) {
    EXPECT_EQ(Job(service_, GetParam(), "refs/heads/main:rw", {.scope = scope}).Get("k"), scope);
  }
}

TEST_P(PacksTest, ScopesAreApart) {
  Job(service_, GetParam(), "refs/heads/main:rw", {.scope = "app"}).Put({Text("k", "of app")});
  Job web(service_, GetParam(), "refs/heads/main:rw", {.scope = "web"});
  EXPECT_EQ(web.Get("k"), "nothing");
}

TEST_P(PacksTest, AnEvictedPackIsAbsentAndPutAgain) {
  Job(service_, GetParam()).Put({Text("k", std::string(1'000, 'k'))});
  service_.clock().Advance(std::chrono::seconds(1));
  {
    Job touch(service_, GetParam());
    EXPECT_TRUE(*touch.packs.Has("k", {}));
  }  // the index is used, the pack is not
  service_.clock().Advance(std::chrono::seconds(1));
  Job(service_, GetParam(), "refs/heads/other:rw").Put({Text("large", std::string(LocalService::kMaxSize - 800, 'x'))});
  Job job(service_, GetParam());
  EXPECT_EQ(job.Get("k"), "nothing");
  EXPECT_FALSE(*job.packs.Has("k", {}));
  job.Put({Text("k", std::string(1'000, 'k'))});
  EXPECT_EQ(Job(service_, GetParam()).Get("k"), std::string(1'000, 'k'));
}

TEST_P(PacksTest, DamagedBytesAreAbsentOrSaid) {
  Job(service_, GetParam()).Put({Text("k", "right bytes")});
  for (const gha_server::Entry& entry : service_.store().List({"refs/heads/main"}, "varve-varve#pack-")) {
    std::ofstream(service_.folder() + "/entries/" + std::to_string(entry.id) + ".data") << "wrong bytes";
  }
  EXPECT_EQ(Job(service_, GetParam()).Get("k"), "nothing");
  StringWriter out;
  Job job(service_, GetParam());
  EXPECT_EQ(job.packs.Read("k", out, {}).error().code, Code::kCorrupt);
}

TEST_P(PacksTest, ADamagedIndexIsAnEmptyOne) {
  Job(service_, GetParam()).Put({Text("k", "K")});
  for (const gha_server::Entry& entry : service_.store().List({"refs/heads/main"}, "varve-varve#index-")) {
    std::ofstream(service_.folder() + "/entries/" + std::to_string(entry.id) + ".data")
        << "{\"format\":1,\"packs\":[],\"values\":[[\"k\",7,0,1,\"sha256:\",1]]}" << std::string(entry.size, ' ');
  }
  EXPECT_EQ(Job(service_, GetParam()).Get("k"), "nothing");
  Job(service_, GetParam()).Put({Text("l", "L")});
  EXPECT_EQ(Job(service_, GetParam()).Get("l"), "L");
}

TEST_P(PacksTest, AReadOnlyJobIsToldThatItMayNotWrite) {
  Job(service_, GetParam()).Put({Text("k", "K")});
  Job reader(service_, GetParam(), "refs/heads/main:r");
  EXPECT_EQ(reader.Get("k"), "K");
  EXPECT_EQ(reader.packs.PutMany({Text("l", "L")}, {}).error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace varve::gha
