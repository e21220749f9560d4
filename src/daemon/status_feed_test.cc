#include "daemon/status_feed.h"

#include <gtest/gtest.h>

#include <thread>

namespace varve::daemon {
namespace {

struct FeedTest : ::testing::Test {
  StatusFeed feed{"ref"};
  progress::Board board{feed.MakeDisplay(), SystemClock()};

  control::StatusResponse All(StatusFeed::Place& place) {
    control::StatusResponse all, part;
    while (feed.Next(place, part, Nanos(0)) == StatusFeed::More::kYes) all.MergeFrom(part);
    return all;
  }
  control::StatusResponse All() {
    StatusFeed::Place place;
    return All(place);
  }
};

TEST_F(FeedTest, TellsAVertexWhenItStartsAndWhenItEnds) {
  uint32_t a = board.Add("[1/2] FROM busybox"), b = board.Add("[2/2] RUN make", {a});
  board.Start(b);
  board.Finish(b, {.error = "exit code: 1"});
  auto all = All();
  ASSERT_EQ(all.vertexes_size(), 2);
  EXPECT_EQ(all.vertexes(0).name(), "[2/2] RUN make");
  EXPECT_EQ(all.vertexes(0).digest(), feed.DigestOf(b));
  ASSERT_EQ(all.vertexes(0).inputs_size(), 1);
  EXPECT_EQ(all.vertexes(0).inputs(0), feed.DigestOf(a));
  EXPECT_FALSE(all.vertexes(0).has_completed());
  EXPECT_EQ(all.vertexes(1).digest(), all.vertexes(0).digest());
  EXPECT_TRUE(all.vertexes(1).has_completed());
  EXPECT_EQ(all.vertexes(1).error(), "exit code: 1");
}

TEST_F(FeedTest, VerticesOfTwoBuildsAreApart) { EXPECT_NE(feed.DigestOf(0), StatusFeed("other").DigestOf(0)); }

TEST_F(FeedTest, ACachedVertexStartsAsItEnds) {
  board.Finish(board.Add("[1/1] FROM busybox"), {.cached = true});
  auto all = All();
  ASSERT_EQ(all.vertexes_size(), 1);
  EXPECT_TRUE(all.vertexes(0).cached());
  EXPECT_EQ(all.vertexes(0).started().nanos(), all.vertexes(0).completed().nanos());
  EXPECT_EQ(feed.counts().cached, 1);
}

TEST_F(FeedTest, ATransferHasTheNameOfItsAction) {
  uint32_t v = board.Add("[context src] load from client");
  board.Start(v);
  board.Progress(v, "transferring src:", 7, 0, false);
  board.Progress(v, "layer", 1, 10, false);
  auto all = All();
  ASSERT_EQ(all.statuses_size(), 2);
  EXPECT_EQ(all.statuses(0).id(), "transferring src:");
  EXPECT_EQ(all.statuses(0).name(), "transferring");
  EXPECT_EQ(all.statuses(1).name(), "");
}

TEST_F(FeedTest, ALateReaderGetsAllOfItAndOfAnItemOnlyTheLastState) {
  uint32_t v = board.Add("pull");
  board.Start(v);
  board.Progress(v, "layer", 1, 10, false);
  StatusFeed::Place early;
  EXPECT_EQ(All(early).statuses_size(), 1);
  board.Progress(v, "layer", 10, 10, true);
  EXPECT_EQ(All(early).statuses_size(), 1);
  auto late = All();
  ASSERT_EQ(late.statuses_size(), 1);
  EXPECT_EQ(late.statuses(0).current(), 10);
  EXPECT_TRUE(late.statuses(0).has_completed());
}

TEST_F(FeedTest, OutputOfAVertexThatNobodyStartedBringsTheVertex) {
  board.Log(board.Add("RUN make"), 2, "cc\n");
  auto all = All();
  ASSERT_EQ(all.vertexes_size(), 1);
  ASSERT_EQ(all.logs_size(), 1);
  EXPECT_EQ(all.logs(0).vertex(), all.vertexes(0).digest());
  EXPECT_EQ(all.logs(0).stream(), 2);
  EXPECT_EQ(all.logs(0).msg(), "cc\n");
}

TEST_F(FeedTest, OutputEndsAtItsLimit) {
  uint32_t v = board.Add("RUN yes");
  const std::string block(StatusFeed::kMaxLog / 2 + 100, 'y');
  for (int i = 0; i < 4; ++i) board.Log(v, 1, block);
  size_t bytes = 0;
  bool clipped = false;
  auto all = All();
  for (const auto& log : all.logs()) {
    bytes += log.msg().size();
    clipped = clipped || log.msg().find("[output clipped, log limit 2MiB reached]") != std::string::npos;
  }
  EXPECT_TRUE(clipped);
  EXPECT_LT(bytes, StatusFeed::kMaxLog + 100);
}

TEST_F(FeedTest, AWarningBelongsToTheVertexThatLoadedTheFile) {
  uint32_t v = board.Add("[internal] load build definition from Dockerfile");
  board.Start(v);
  feed.SetSource("Dockerfile", "FROM a\n", v);
  board.Warn({.text = "Rule: said (line 1)", .detail = "why", .url = "u", .file = "Dockerfile", .line = 1});
  auto all = All();
  ASSERT_EQ(all.warnings_size(), 1);
  EXPECT_EQ(all.warnings(0).vertex(), feed.DigestOf(v));
  EXPECT_EQ(all.warnings(0).short_(), "Rule: said (line 1)");
  EXPECT_EQ(all.warnings(0).info().data(), "FROM a\n");
  ASSERT_EQ(all.warnings(0).ranges_size(), 1);
  EXPECT_EQ(all.warnings(0).ranges(0).start().line(), 1);
  EXPECT_EQ(feed.counts().warnings, 1);
}

TEST_F(FeedTest, WhatHasNotEndedIsCancelledAtTheEnd) {
  uint32_t v = board.Add("RUN sleep");
  board.Start(v);
  feed.End();
  auto all = All();
  ASSERT_EQ(all.vertexes_size(), 2);
  EXPECT_EQ(all.vertexes(1).error(), "context canceled");
  EXPECT_TRUE(all.vertexes(1).has_completed());
  StatusFeed::Place place;
  All(place);
  control::StatusResponse rest;
  EXPECT_EQ(feed.Next(place, rest, Nanos(0)), StatusFeed::More::kEnd);
}

TEST_F(FeedTest, AReaderWaitsForNewsAndForTheEnd) {
  std::jthread writer([&] {
    board.Start(board.Add("one"));
    feed.End();
  });
  StatusFeed::Place place;
  control::StatusResponse part;
  int vertices = 0;
  StatusFeed::More more;
  while ((more = feed.Next(place, part, std::chrono::seconds(60))) != StatusFeed::More::kEnd) {
    if (more == StatusFeed::More::kYes) vertices += part.vertexes_size();
  }
  EXPECT_EQ(vertices, 2);
}

}  // namespace
}  // namespace varve::daemon
