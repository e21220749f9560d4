#include "engine/mailbox.h"

#include <gtest/gtest.h>

#include <latch>
#include <string>
#include <thread>
#include <vector>

namespace varve::engine {
namespace {

struct MailboxTest : ::testing::Test {
  // Outlives the pool, whose threads write to it.
  std::vector<std::thread::id> threads = std::vector<std::thread::id>(3);
  int received = 0;
  Mailbox mail{io};
  ThreadPool io{4}, other{4};  // end before the mailbox, as it asks

  // Notes the thread that does the work, at `place`.
  void Start(ThreadPool& pool, size_t place) {
    mail.Start(
        pool, {}, [this, place](std::stop_token) { return threads[place] = std::this_thread::get_id(); },
        [this, place](std::thread::id id) {
          EXPECT_EQ(id, threads[place]);
          ++received;
        });
  }
};

TEST_F(MailboxTest, ShortWorkThatComesAloneIsDoneByWhoWaits) {
  Start(io, 0);
  EXPECT_EQ(mail.in_flight(), 1u);
  mail.Next()();
  EXPECT_EQ(threads[0], std::this_thread::get_id());
  EXPECT_EQ(mail.in_flight(), 0u);
  EXPECT_EQ(received, 1);
}

TEST_F(MailboxTest, OtherWorkRunsOnThreads) {
  Start(other, 0);
  mail.Next()();
  EXPECT_NE(threads[0], std::this_thread::get_id());
}

TEST_F(MailboxTest, TwoPiecesRunSideBySide) {
  std::latch both(2);  // neither ends without the other
  for (int i = 0; i < 2; ++i) {
    mail.Start(
        io, {}, [&](std::stop_token) { return both.arrive_and_wait(), 0; }, [this](int) { ++received; });
  }
  mail.Next()();
  mail.Next()();
  EXPECT_EQ(received, 2);
}

TEST_F(MailboxTest, WhatIsPostedComesInOrder) {
  std::string order;
  mail.Post([&] { order += "a"; });
  Start(io, 0);
  mail.Post([&] { order += "b"; });
  for (int i = 0; i < 3; ++i) mail.Next()();
  EXPECT_EQ(order, "ab");
  EXPECT_EQ(received, 1);
}

}  // namespace
}  // namespace varve::engine
