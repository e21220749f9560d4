#include "upkeep/filter.h"

#include <gtest/gtest.h>

#include "upkeep/inventory.h"

namespace varve::upkeep {
namespace {

UsageRow Row() {
  UsageRow row{.kind = UsageRow::Kind::kMount,
               .type = UsageType::kCacheMount,
               .id = "abcdef.1",
               .description = "cache mount /root/.npm"};
  row.is_mutable = true;
  row.parents = {"p1", "p2"};
  return row;
}

bool Matches(const std::vector<std::string>& texts) {
  auto filter = Filter::Parse(texts);
  EXPECT_TRUE(filter) << filter.error().ToString();
  return filter && filter->Matches(Row());
}

TEST(Filter, TextsAreEqualUnequalOrLike) {
  EXPECT_TRUE(Matches({"type=exec.cachemount"}));
  EXPECT_TRUE(Matches({"type==exec.cachemount"}));
  EXPECT_FALSE(Matches({"type=regular"}));
  EXPECT_TRUE(Matches({"type!=regular"}));
  EXPECT_TRUE(Matches({"description~=npm$"}));
  EXPECT_FALSE(Matches({"description=npm"}));
  EXPECT_TRUE(Matches({"parents~=p2"}));
  EXPECT_TRUE(Matches({"parents=p1;p2"}));
  EXPECT_TRUE(Matches({"description='cache mount /root/.npm'"}));
}

TEST(Filter, PartOfAnIdWillDo) {
  EXPECT_TRUE(Matches({"id=abc"}));
  EXPECT_TRUE(Matches({"id~=f.1$"}));
  EXPECT_FALSE(Matches({"id=abd"}));
  EXPECT_FALSE(Matches({"id!=abcdef.1"}));
}

TEST(Filter, FlagsHoldByPresence) {
  EXPECT_TRUE(Matches({"mutable"}));
  EXPECT_FALSE(Matches({"immutable"}));
  EXPECT_TRUE(Matches({"private"}));
  EXPECT_FALSE(Matches({"shared"}));
  EXPECT_FALSE(Matches({"inuse"}));
  EXPECT_TRUE(Matches({"inuse=false"}));
}

TEST(Filter, AllMustHoldAndOfAPolicysOne) {
  EXPECT_TRUE(Matches({"mutable,type=exec.cachemount", "private"}));
  EXPECT_FALSE(Matches({"mutable", "type=regular"}));
  auto any = Filter::ParseAny({"type==regular", "mutable"});
  ASSERT_TRUE(any);
  EXPECT_TRUE(any->Matches(Row()));
  EXPECT_TRUE(Filter().Matches(Row()));
}

TEST(Filter, UntilIsADurationAndNoCondition) {
  auto filter = Filter::Parse({"until=24h", "mutable"});
  ASSERT_TRUE(filter);
  EXPECT_EQ(filter->until(), Nanos(std::chrono::hours(24)));
  EXPECT_TRUE(filter->Matches(Row()));
  EXPECT_EQ(Filter::Parse({"unused-for=1h"})->until(), Nanos(std::chrono::hours(1)));
  EXPECT_FALSE(Filter::Parse({"until=1h,until=2h"}));
  EXPECT_FALSE(Filter::Parse({"until=soon"}));
}

TEST(Filter, MistakesAreNamedWithWhatThereIs) {
  auto field = Filter::Parse({"tpye=regular"});
  ASSERT_FALSE(field);
  EXPECT_EQ(field.error().message, "filter \"tpye=regular\": there is no field \"tpye\"");
  auto type = Filter::Parse({"type=exec.cachemounts"});
  ASSERT_FALSE(type);
  EXPECT_EQ(type.error().hint, "did you mean exec.cachemount?");
  EXPECT_FALSE(Filter::Parse({"id~=("}));
  EXPECT_FALSE(Filter::Parse({"id~x"}));
}

// Clients of the daemon send patterns too: none fills the stack, or takes longer than the text is long.
TEST(Filter, NoPatternEndsTheProcess) {
  constexpr size_t kLong = 100'000;
  UsageRow row{.description = std::string(kLong, 'a')};
  EXPECT_FALSE(Filter::Parse({"description~=" + std::string(kLong, '(') + std::string(kLong, ')')}));
  EXPECT_FALSE(Filter::Parse({"id=" + std::string(kLong, 'a')}));
  EXPECT_TRUE(Filter::Parse({"description~=" + std::string(500, '(') + std::string(500, ')')}).value().Matches(row));
  for (const std::string pattern : {"(a*)*b", "(a|b)*c", "(a|aa)+$", "^.*b"}) {
    auto filter = Filter::Parse({"description~=" + pattern});
    ASSERT_TRUE(filter) << pattern;
    EXPECT_EQ(filter->Matches(row), pattern == "(a|aa)+$") << pattern;
  }
}

}  // namespace
}  // namespace varve::upkeep
