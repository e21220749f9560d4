#include "net/http_date.h"

#include <gtest/gtest.h>

namespace varve::net {
namespace {

TEST(HttpDate, HasThreeForms) {
  const Timestamp expected{784'111'777'000'000'000};
  EXPECT_EQ(ParseHttpDate("Sun, 06 Nov 1994 08:49:37 GMT"), expected);
  EXPECT_EQ(ParseHttpDate("Sunday, 06-Nov-94 08:49:37 GMT"), expected);
  EXPECT_EQ(ParseHttpDate("Sun Nov  6 08:49:37 1994"), expected);
  EXPECT_EQ(ParseHttpDate(" Sunday, 06-Nov-94 08:49:37 UTC "), expected);
}

TEST(HttpDate, IsNothingElse) {
  for (const char* text : {"", "0", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 +0100", "Sun, 06 Nov 1994"}) {
    EXPECT_EQ(ParseHttpDate(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace varve::net
