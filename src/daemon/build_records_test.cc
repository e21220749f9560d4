#include "daemon/build_records.h"

#include <gtest/gtest.h>

#include "daemon/record_filter.h"
#include "sys/tempdir.h"

namespace varve::daemon {
namespace {

using Record = control::BuildHistoryRecord;

// A clock that stands still until it is set.
class StoppedClock final : public Clock {
 public:
  Timestamp Now() override { return now; }
  Nanos Monotonic() override { return Nanos(now.nanos); }
  Timestamp now{1'800'000'000'000'000'000};
};

struct RecordsTest : ::testing::Test {
  sys::TempDir root = std::move(*sys::TempDir::Create("/tmp", "records-"));
  StoppedClock clock;
  RecordLimits limits;
  std::unique_ptr<BuildRecords> records = std::make_unique<BuildRecords>(root.path(), limits, clock);

  Record Begin(const std::string& ref) {
    Record record;
    record.set_ref(ref);
    SetTime(clock.now, record.mutable_created_at());
    records->Started(record);
    return record;
  }
  void End(Record record, int code = 0) {
    SetTime(clock.now, record.mutable_completed_at());
    if (code != 0) record.mutable_error()->set_code(code);
    StatusFeed feed(record.ref());
    progress::Board board(feed.MakeDisplay(), SystemClock());
    board.Finish(board.Add("a step of " + record.ref()), {});
    feed.End();
    records->Completed(std::move(record), feed);
  }
  std::vector<std::string> List(control::BuildHistoryRequest request = {}) {
    std::vector<std::string> out;
    request.set_early_exit(true);
    Status listed = records->Listen(
        request,
        [&](const control::BuildHistoryEvent& event) {
          out.push_back(event.record().ref() + (event.type() == control::STARTED ? " runs" : ""));
          return true;
        },
        [] { return false; });
    if (!listed) out = {listed.error().message};
    return out;
  }
};

TEST_F(RecordsTest, NewestFirstWithThoseThatRun) {
  End(Begin("a"));
  clock.now.nanos += 1;
  Begin("b");
  EXPECT_EQ(List(), (std::vector<std::string>{"b runs", "a"}));
  control::BuildHistoryRequest active;
  active.set_active_only(true);
  EXPECT_EQ(List(active), (std::vector<std::string>{"b runs"}));
  control::BuildHistoryRequest one;
  one.set_ref("a");
  EXPECT_EQ(List(one), (std::vector<std::string>{"a"}));
  // A limit is one of those that have ended: who asks for the last one is not given one that runs instead.
  clock.now.nanos += 1;
  End(Begin("c"));
  control::BuildHistoryRequest limited;
  limited.set_limit(1);
  EXPECT_EQ(List(limited), (std::vector<std::string>{"b runs", "c"}));
}

TEST_F(RecordsTest, DocumentsAreThereAsLongAsTheirRecord) {
  auto describe = [](const std::string& text, control::Descriptor& out) {
    out.set_digest(Digest::Of(text).ToString());
  };
  Record record = Begin("a");
  SetTime(clock.now, record.mutable_completed_at());
  describe("provenance", *record.mutable_result()->add_attestations());
  describe("of arm", *(*record.mutable_results())["linux/arm64"].add_attestations());
  describe("trace", *record.mutable_trace());
  StatusFeed feed("a");
  feed.End();
  records->Completed(record, feed, {"provenance", "of arm", "trace", "of nobody"});
  records = std::make_unique<BuildRecords>(root.path(), limits, clock);
  for (const char* text : {"provenance", "of arm", "trace"}) EXPECT_EQ(records->Document(Digest::Of(text)), text);
  EXPECT_EQ(records->Document(Digest::Of("of nobody")), std::nullopt);
  control::UpdateBuildHistoryRequest remove;
  remove.set_ref("a");
  remove.set_delete_(true);
  ASSERT_TRUE(records->Update(remove));
  EXPECT_EQ(records->Document(Digest::Of("trace")), std::nullopt);
}

TEST_F(RecordsTest, SurviveTheDaemon) {
  End(Begin("a"));
  records = std::make_unique<BuildRecords>(root.path(), limits, clock);
  EXPECT_EQ(List(), (std::vector<std::string>{"a"}));
  std::string told;
  ASSERT_TRUE(records->Replay("a", [&](const control::StatusResponse& response) {
    told += response.vertexes(0).name();
    return true;
  }));
  EXPECT_EQ(told, "a step of a");
  EXPECT_EQ(records->Replay("b", [](const auto&) { return true; }).error().code, Code::kNotFound);
}

TEST_F(RecordsTest, OldOnesGoButThoseThatArePinned) {
  limits = {.entries = 2, .age = std::chrono::hours(1)};
  records = std::make_unique<BuildRecords>(root.path(), limits, clock);
  End(Begin("pinned"));
  control::UpdateBuildHistoryRequest pin;
  pin.set_ref("pinned");
  pin.set_pinned(true);
  ASSERT_TRUE(records->Update(pin));
  for (const char* ref : {"a", "b", "c"}) {
    clock.now.nanos += 1;
    End(Begin(ref));
  }
  EXPECT_EQ(List(), (std::vector<std::string>{"c", "b", "a", "pinned"}));  // all are young
  clock.now.nanos += Nanos(std::chrono::hours(2)).count();
  End(Begin("d"));
  EXPECT_EQ(List(), (std::vector<std::string>{"d", "c", "pinned"}));  // of the old ones, the newest two
}

TEST_F(RecordsTest, NoMoreThanAreToBeHeldAreHeldHoweverYoungTheyAre) {
  limits = {.entries = 1, .age = std::chrono::hours(1), .most = 3};
  records = std::make_unique<BuildRecords>(root.path(), limits, clock);
  for (const char* ref : {"a", "b", "c", "d"}) {
    clock.now.nanos += 1;
    End(Begin(ref));
  }
  EXPECT_EQ(List(), (std::vector<std::string>{"d", "c", "b"}));
}

TEST_F(RecordsTest, AreDeletedUnlessTheyRun) {
  Record running = Begin("a");
  control::UpdateBuildHistoryRequest remove;
  remove.set_ref("a");
  remove.set_delete_(true);
  EXPECT_EQ(records->Update(remove).error().code, Code::kInvalid);
  End(running);
  EXPECT_TRUE(records->Update(remove));
  EXPECT_EQ(records->Update(remove).error().code, Code::kNotFound);
  EXPECT_TRUE(List().empty());
}

TEST_F(RecordsTest, AListenerIsToldWhatHappens) {
  std::vector<int> types;
  int rounds = 0;
  Record record;
  ASSERT_TRUE(records->Listen(
      {},
      [&](const control::BuildHistoryEvent& event) {
        types.push_back(event.type());
        return event.type() != control::COMPLETE;
      },
      [&] {
        if (rounds++ == 0) record = Begin("a");
        if (rounds == 2) End(record);
        return false;
      }));
  EXPECT_EQ(types, (std::vector<int>{control::STARTED, control::COMPLETE}));
}

TEST_F(RecordsTest, AreFiltered) {
  Record good = Begin("good");
  (*good.mutable_frontend_attrs())["vcs:source"] = "https://host/app.git";
  End(good);
  End(Begin("bad"), 2);
  End(Begin("cancelled"), 1);
  auto list = [&](const std::string& filter) {
    control::BuildHistoryRequest request;
    request.add_filter(filter);
    return List(request);
  };
  EXPECT_EQ(list("status==error"), (std::vector<std::string>{"bad"}));
  EXPECT_EQ(list("status!=error,status!=canceled"), (std::vector<std::string>{"good"}));
  EXPECT_EQ(list("repository~=host/app"), (std::vector<std::string>{"good"}));
  EXPECT_EQ(list("startedAt<1h").size(), 0u);
  EXPECT_EQ(list("startedAt>1h").size(), 3u);
  EXPECT_EQ(list("startedAt>2000-01-02T03:04:05Z").size(), 3u);
  EXPECT_EQ(list("duration>1s").size(), 0u);
  EXPECT_EQ(list("moon=1"), (std::vector<std::string>{"invalid history filter \"moon=1\""}));
}

}  // namespace
}  // namespace varve::daemon
