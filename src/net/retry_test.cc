#include "net/retry.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace varve::net {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class RecordingSleeper final : public Sleeper {
 public:
  bool Sleep(Nanos time, std::stop_token stop) override {
    slept.push_back(time);
    return !stop.stop_requested();
  }
  std::vector<Nanos> slept;
};

TEST(Retry, StatusesThatMayPass) {
  for (int status : {408, 429, 500, 502, 503, 504, 520}) EXPECT_TRUE(IsRetryableStatus(status));
  for (int status : {200, 301, 400, 401, 403, 404, 416, 501, 505}) {
    EXPECT_FALSE(IsRetryableStatus(status)) << status;
  }
}

TEST(Retry, RetryAfterIsSecondsOrADate) {
  Timestamp now{784'111'770'000'000'000};  // Sun, 06 Nov 1994 08:49:30 GMT
  EXPECT_EQ(ParseRetryAfter(" 120 ", now), seconds(120));
  EXPECT_EQ(ParseRetryAfter("0", now), seconds(0));
  EXPECT_EQ(ParseRetryAfter("Sun, 06 Nov 1994 08:49:37 GMT", now), seconds(7));
  EXPECT_EQ(ParseRetryAfter("Sunday, 06-Nov-94 08:49:37 GMT", now), seconds(7));
  EXPECT_EQ(ParseRetryAfter("Sun Nov  6 08:49:37 1994", now), seconds(7));
  EXPECT_EQ(ParseRetryAfter("Sun, 06 Nov 1994 08:00:00 GMT", now), seconds(0));
  EXPECT_EQ(ParseRetryAfter("99999999999999999999", now), seconds(999'999'999));
  EXPECT_EQ(ParseRetryAfter("soon", now), std::nullopt);
  EXPECT_EQ(ParseRetryAfter("-1", now), std::nullopt);
  EXPECT_EQ(ParseRetryAfter("", now), std::nullopt);
}

TEST(Retry, BackOffDoublesUpToALimit) {
  RetryPolicy policy{.first_delay = milliseconds(100), .max_delay = milliseconds(350)};
  EXPECT_EQ(Backoff(policy, 1, 0), milliseconds(100));
  EXPECT_EQ(Backoff(policy, 2, 0), milliseconds(200));
  EXPECT_EQ(Backoff(policy, 3, 0), milliseconds(350));
  EXPECT_EQ(Backoff(policy, 1000, 0), milliseconds(350));
  EXPECT_EQ(Backoff(policy, 1, 0.5), milliseconds(75));
}

TEST(Retry, AttemptsAreCountedAndProgressForgivesThem) {
  RecordingSleeper sleeper;
  Retrier retrier({.attempts = 3}, sleeper);
  EXPECT_TRUE(retrier.Wait({}, {}));
  EXPECT_TRUE(retrier.Wait({}, {}));
  EXPECT_FALSE(retrier.Wait({}, {}));
  EXPECT_EQ(sleeper.slept.size(), 2u);
  retrier.Reset();
  EXPECT_TRUE(retrier.Wait({}, {}));
  EXPECT_FALSE(retrier.Wait({}, {}, 2));
}

TEST(Retry, AServersWishIsHonouredUnlessItIsTooLong) {
  RecordingSleeper sleeper;
  Retrier retrier({.attempts = 9, .max_retry_after = seconds(30)}, sleeper);
  EXPECT_TRUE(retrier.Wait(seconds(20), {}));
  EXPECT_EQ(sleeper.slept, std::vector<Nanos>{seconds(20)});
  EXPECT_FALSE(retrier.Wait(seconds(31), {}));
}

TEST(Retry, TheRealSleeperWakesAtAStop) {
  std::stop_source stop;
  std::jthread other([&] { stop.request_stop(); });
  EXPECT_FALSE(SystemSleeper().Sleep(std::chrono::hours(1), stop.get_token()));
  EXPECT_TRUE(SystemSleeper().Sleep(milliseconds(1), {}));
}

}  // namespace
}  // namespace varve::net
