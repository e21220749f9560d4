// What every ObjectStore must do, run against memory, fakes of S3 and of a web server, and the real
// servers that fixtures/object-servers starts (VARVE_TEST_S3 and VARVE_TEST_HTTP).
#include "objects/object_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <thread>

#include "base/thread_pool.h"
#include "objects/http_store.h"
#include "objects/memory_store.h"
#include "objects/s3_store.h"
#include "objects/testing/fake_bucket.h"

namespace varve::objects {
namespace {

using testing::BucketOptions;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using testing::FakeBucket;

Environment NoEnvironment() {
  return [](const std::string&) { return std::string(); };
}

// A place for one test, and what it can do.
struct Place {
  std::unique_ptr<FakeBucket> server = {};
  std::unique_ptr<net::HttpClient> http = std::make_unique<net::HttpClient>();
  std::unique_ptr<ObjectStore> store = {};
  bool lists = true;
  bool conditions = true;
  bool refreshes = true;
  std::string skip = {};
};

S3Options SmallParts(const std::string& url) {
  return {.bucket = "cache",
          .region = "eu-west-9",
          .prefix = "p/",
          .endpoint_url = url,
          .keys = {"ID", "secret", ""},
          .part_size = 1000};
}

Place Memory() {
  Place place;
  place.store = std::make_unique<MemoryStore>();
  return place;
}

Place FakeS3() {
  Place place;
  place.server = std::make_unique<FakeBucket>();
  place.store = *S3Store::Open(SmallParts(place.server->Url()), *place.http, NoEnvironment(), SystemClock(),
                               net::SystemSleeper());
  return place;
}

Place FakeHttp(bool conditions, bool ranges) {
  Place place;
  place.server = std::make_unique<FakeBucket>(BucketOptions{.keys = {}, .conditions = conditions, .ranges = ranges});
  place.store =
      *HttpStore::Open({.url = place.server->Url("/cache")}, *place.http, SystemClock(), net::SystemSleeper());
  place.lists = place.refreshes = false;
  place.conditions = conditions;
  return place;
}
Place FakeHttpServer() { return FakeHttp(true, true); }
Place FakeHttpServerWithout() { return FakeHttp(false, false); }

std::string FreshPrefix() {
  std::random_device random;
  return "t" + std::to_string(random()) + "/";
}

// VARVE_TEST_S3=http://127.0.0.1:PORT, bucket "cache", keys S3RVER:S3RVER.
Place RealS3() {
  Place place;
  const char* url = std::getenv("VARVE_TEST_S3");
  if (url == nullptr) {
    place.skip = "no S3 server: eval \"$(fixtures/object-servers start)\"";
    return place;
  }
  S3Options options = SmallParts(url);
  options.prefix = FreshPrefix();
  options.keys = {"S3RVER", "S3RVER", ""};
  options.part_size = 5 << 20;
  place.store = *S3Store::Open(options, *place.http, NoEnvironment(), SystemClock(), net::SystemSleeper());
  place.conditions = false;  // s3rver ignores If-None-Match
  return place;
}

Place RealNginx() {
  Place place;
  const char* url = std::getenv("VARVE_TEST_HTTP");
  if (url == nullptr) {
    place.skip = "no nginx: eval \"$(fixtures/object-servers start)\"";
    return place;
  }
  place.store = *HttpStore::Open({.url = url + ("/" + FreshPrefix()), .user = "varve", .password = "pass word"},
                                 *place.http, SystemClock(), net::SystemSleeper());
  place.lists = place.refreshes = false;
  place.conditions = false;  // nginx ignores If-None-Match of a PUT
  return place;
}

struct Kind {
  const char* name;
  Place (*open)();
};
void PrintTo(const Kind& kind, std::ostream* out) { *out << kind.name; }

class ObjectStoreContract : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    place_ = GetParam().open();
    if (!place_.skip.empty()) GTEST_SKIP() << place_.skip;
  }
  ObjectStore& store() { return *place_.store; }
  std::string GetAll(const std::string& key) {
    auto text = GetString(store(), key, 100 << 20, {});
    if (!text) return "error: " + text.error().message;
    return text->value_or("absent");
  }
  Place place_;
};

TEST_P(ObjectStoreContract, AbsentIsNotAnError) {
  StringWriter out;
  auto got = store().Get("no/such", {}, out, {});
  ASSERT_TRUE(got) << got.error().message;
  EXPECT_FALSE(*got);
  EXPECT_EQ(out.text, "");
  auto head = store().Head("no/such", {});
  ASSERT_TRUE(head) << head.error().message;
  EXPECT_FALSE(*head);
  EXPECT_TRUE(store().Delete({"no/such"}, {}));
}

TEST_P(ObjectStoreContract, GivesWhatWasPut) {
  ASSERT_TRUE(store().Put("a/b", BodyOf("hello"), {}));
  EXPECT_EQ(GetAll("a/b"), "hello");
  auto head = store().Head("a/b", {});
  ASSERT_TRUE(head && *head);
  EXPECT_EQ((*head)->size, 5u);
  EXPECT_NE((*head)->etag, "");
  EXPECT_TRUE((*head)->modified);
  ASSERT_TRUE(store().Put("a/b", BodyOf("other"), {}));
  EXPECT_EQ(GetAll("a/b"), "other");
}

TEST_P(ObjectStoreContract, KeepsAnEmptyObject) {
  ASSERT_TRUE(store().Put("empty", BodyOf(""), {}));
  EXPECT_EQ(GetAll("empty"), "");
  auto head = store().Head("empty", {});
  ASSERT_TRUE(head && *head);
  EXPECT_EQ((*head)->size, 0u);
}

TEST_P(ObjectStoreContract, GivesARange) {
  ASSERT_TRUE(store().Put("r", BodyOf("0123456789"), {}));
  StringWriter out;
  auto got = store().Get("r", ByteRange{3, 4}, out, {});
  ASSERT_TRUE(got) << got.error().message;
  ASSERT_TRUE(*got);
  EXPECT_EQ(out.text, "3456");
  EXPECT_EQ((*got)->size, 10u);
  StringWriter last;
  ASSERT_TRUE(store().Get("r", ByteRange{9, 1}, last, {}));
  EXPECT_EQ(last.text, "9");
}

TEST_P(ObjectStoreContract, RefusesARangeBeyondTheEnd) {
  ASSERT_TRUE(store().Put("r", BodyOf("0123456789"), {}));
  for (ByteRange range : {ByteRange{8, 4}, ByteRange{10, 1}, ByteRange{1000, 1}}) {
    StringWriter out;
    auto got = store().Get("r", range, out, {});
    ASSERT_FALSE(got) << range.offset;
    EXPECT_EQ(got.error().code, Code::kInvalid) << got.error().message;
  }
}

TEST_P(ObjectStoreContract, TakesLargeBodies) {
  std::string large;
  std::mt19937 random(7);
  while (large.size() < (12 << 20) + 5) large += static_cast<char>(random());
  Status put = store().Put("large", BodyOf(large), {});
  ASSERT_TRUE(put) << put.error().message;
  EXPECT_TRUE(GetAll("large") == large);
}

TEST_P(ObjectStoreContract, TakesKeysOfAnyCharacters) {
  for (const char* key : {"sha256:00ff", "a b+c", "p%41&x=1?y#z", "é/ü", "~t-._!*'()"}) {
    Status put = store().Put(key, BodyOf(key), {});
    ASSERT_TRUE(put) << key << ": " << put.error().message;
    EXPECT_EQ(GetAll(key), key);
  }
}

TEST_P(ObjectStoreContract, ListsByPrefixInOrder) {
  if (!place_.lists) {
    auto listed = store().List("", {});
    ASSERT_FALSE(listed);
    EXPECT_EQ(listed.error().code, Code::kInvalid);
    return;
  }
  for (const char* key : {"l/3", "l/1", "l/2 +&", "l/4", "m/1", "l/5"}) {
    ASSERT_TRUE(store().Put(key, BodyOf("xyz"), {}));
  }
  auto listed = store().List("l/", {});
  ASSERT_TRUE(listed) << listed.error().message;
  std::vector<std::string> keys;
  for (const ListedObject& object : *listed) {
    keys.push_back(object.key);
    EXPECT_EQ(object.info.size, 3u);
  }
  EXPECT_THAT(keys, ElementsAre("l/1", "l/2 +&", "l/3", "l/4", "l/5"));
  auto none = store().List("nothing/", {});
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_TRUE(none->empty());
}

TEST_P(ObjectStoreContract, TellsAgesByTheStoresClock) {
  ASSERT_TRUE(store().Put("k", BodyOf("bytes"), {}));
  auto there = store().Head("k", {});
  ASSERT_TRUE(there && *there);
  ASSERT_TRUE((*there)->Age());
  EXPECT_LT(*(*there)->Age(), std::chrono::minutes(2));
  auto refreshed = store().Refresh("k", {});
  ASSERT_TRUE(refreshed) << refreshed.error().message;
  EXPECT_EQ(*refreshed, place_.refreshes);
  EXPECT_EQ(*GetString(store(), "k", 100, {}), "bytes");
  EXPECT_FALSE(*store().Refresh("absent", {}));
}

TEST_P(ObjectStoreContract, DeletesWhatIsNamed) {
  for (const char* key : {"d/1", "d/2<&>", "d/3"}) ASSERT_TRUE(store().Put(key, BodyOf("x"), {}));
  Status status = store().Delete({"d/1", "d/2<&>", "d/none"}, {});
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(GetAll("d/1"), "absent");
  EXPECT_EQ(GetAll("d/2<&>"), "absent");
  EXPECT_EQ(GetAll("d/3"), "x");
}

TEST_P(ObjectStoreContract, WritesOnlyUnderTheCondition) {
  auto has = store().HasConditions({});
  ASSERT_TRUE(has) << has.error().message;
  ASSERT_EQ(*has, place_.conditions);
  if (!*has) {
    EXPECT_EQ(store().PutIf("c", "x", {}, {}).error().code, Code::kInvalid);
    EXPECT_EQ(GetAll("c"), "absent");
    return;
  }
  EXPECT_EQ(store().PutIf("c", "one", {}, {}).value(), true);
  EXPECT_EQ(store().PutIf("c", "two", {}, {}).value(), false);
  EXPECT_EQ(GetAll("c"), "one");
  std::string etag = (*store().Head("c", {}))->etag;
  EXPECT_EQ(store().PutIf("c", "three", {.etag = etag}, {}).value(), true);
  EXPECT_EQ(store().PutIf("c", "four", {.etag = etag}, {}).value(), false);
  EXPECT_EQ(store().PutIf("gone", "x", {.etag = etag}, {}).value(), false);
  EXPECT_EQ(GetAll("c"), "three");
}

// Twenty writers append to one object by compare and swap: nothing is lost.
TEST_P(ObjectStoreContract, LosesNoConcurrentCompareAndSwap) {
  if (!place_.conditions) GTEST_SKIP() << "this store has no conditional writes";
  ASSERT_TRUE(store().Put("list", BodyOf("."), {}));
  Status all = ParallelFor(20, 20, [&](size_t i) -> Status {
    while (true) {
      StringWriter text;
      TRY_ASSIGN(auto info, store().Get("list", {}, text, {}));
      if (!info) return Internal("list is gone");
      TRY_ASSIGN(bool written, store().PutIf("list", text.text + static_cast<char>('a' + i), {.etag = info->etag}, {}));
      if (written) return Ok();
    }
  });
  ASSERT_TRUE(all) << all.error().message;
  std::string text = GetAll("list");
  std::sort(text.begin(), text.end());
  EXPECT_EQ(text, ".abcdefghijklmnopqrst");
}

TEST_P(ObjectStoreContract, ServesManyThreads) {
  // Each its own key: s3rver writes objects in place, and a reader sees half of one.
  Status all = ParallelFor(40, 16, [&](size_t i) -> Status {
    std::string key = "t/" + std::to_string(i), text(i * 100, 'x');
    TRY(store().Put(key, BodyOf(text), {}));
    TRY_ASSIGN(auto got, GetString(store(), key, 1 << 20, {}));
    return got == text ? Ok() : Status(Internal("{} is not what was put", key));
  });
  EXPECT_TRUE(all) << all.error().message;
}

TEST(HttpStore, TellsAReasonThatIsALineOfText) {
  auto refusal = [](const std::string& type, const std::string& body) {
    Place place = FakeHttpServer();
    place.server->SetFaults([&](int, const net::testing::ServerRequest&) {
      return std::optional(net::testing::ServerReply{.status = 413, .headers = {{"Content-Type", type}}, .body = body});
    });
    return place.store->Put("key", BodyOf("value"), {}).error().message;
  };
  EXPECT_THAT(refusal("text/plain; charset=utf-8", "at most 5 bytes\n"),
              EndsWith("refused: status 413: at most 5 bytes"));
  EXPECT_THAT(refusal("text/html", "<h1>Too large</h1>"), EndsWith("refused: status 413"));
  EXPECT_THAT(refusal("text/plain", "\x1b[2J"), EndsWith("refused: status 413"));
  EXPECT_THAT(refusal("text/plain", std::string(999, 'x')), EndsWith("413: " + std::string(200, 'x')));
}

INSTANTIATE_TEST_SUITE_P(All, ObjectStoreContract,
                         ::testing::Values(Kind{"Memory", Memory}, Kind{"FakeS3", FakeS3},
                                           Kind{"FakeHttp", FakeHttpServer},
                                           Kind{"FakeHttpPlain", FakeHttpServerWithout}, Kind{"S3rver", RealS3},
                                           Kind{"Nginx", RealNginx}),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace varve::objects
