#include "registry/challenge.h"

#include <gtest/gtest.h>

namespace varve::registry {
namespace {

TEST(Challenge, BearerWithQuotedParameters) {
  auto list = ParseChallenges({R"(Bearer realm="https://a/token",service="s, t",scope="x:y:pull,push")"});
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].scheme, "bearer");
  EXPECT_EQ(list[0].Get("realm"), "https://a/token");
  EXPECT_EQ(list[0].Get("service"), "s, t");
  EXPECT_EQ(list[0].Get("scope"), "x:y:pull,push");
  EXPECT_EQ(list[0].Get("error"), "");
}

TEST(Challenge, SeveralInOneLineAndInSeveral) {
  auto list = ParseChallenges({R"(Basic realm=plain, BEARER Realm = "r\"q")", "Negotiate"});
  ASSERT_EQ(list.size(), 3u);
  EXPECT_EQ(list[0].scheme, "basic");
  EXPECT_EQ(list[0].Get("realm"), "plain");
  EXPECT_EQ(list[1].scheme, "bearer");
  EXPECT_EQ(list[1].Get("realm"), "r\"q");
  EXPECT_EQ(list[2].scheme, "negotiate");
}

TEST(Challenge, NonsenseGivesNothingAndEnds) {
  for (const char* text : {"", ",,,", "=", "\"", "realm=\"x\"", "Basic realm=\"open", "Basic \\",
                           "Basic realm=", "Basic =x", "Basic realm=\"\\"}) {
    for (const Challenge& challenge : ParseChallenges({text})) {
      EXPECT_EQ(challenge.scheme, "basic") << text;
    }
  }
}

}  // namespace
}  // namespace varve::registry
