#include "compose/template.h"

#include <gtest/gtest.h>

#include <map>

namespace varve::compose {
namespace {

std::string Expand(std::string_view text) {
  const std::map<std::string, std::string> values = {{"A", "a"}, {"EMPTY", ""}, {"B_2", "b"}};
  auto lookup = [&](const std::string& name) -> std::optional<std::string> {
    auto it = values.find(name);
    return it == values.end() ? std::nullopt : std::optional(it->second);
  };
  auto result = Interpolate(text, lookup);
  return result ? *result : "ERROR " + result.error().message;
}

TEST(Template, PutsValuesInTheirPlaces) {
  EXPECT_EQ(Expand("x $A ${A}${B_2} $A."), "x a ab a.");
  EXPECT_EQ(Expand("$NOT${NOT}"), "");
}

TEST(Template, DoubledDollarIsOne) { EXPECT_EQ(Expand("$$A $${A} $$$A"), "$A ${A} $a"); }

TEST(Template, DollarBeforeSomethingElseStays) { EXPECT_EQ(Expand("$1 $ $- 5$"), "$1 $ $- 5$"); }

TEST(Template, EveryOperator) {
  EXPECT_EQ(Expand("${A:-d} ${EMPTY:-d} ${NOT:-d}"), "a d d");
  EXPECT_EQ(Expand("${A-d} ${EMPTY-d} ${NOT-d}"), "a  d");
  EXPECT_EQ(Expand("${A:+x} ${EMPTY:+x} ${NOT:+x}"), "x  ");
  EXPECT_EQ(Expand("${A+x} ${EMPTY+x} ${NOT+x}"), "x x ");
  EXPECT_EQ(Expand("${A:?bad} ${EMPTY?bad}"), "a ");
  EXPECT_EQ(Expand("${EMPTY:?say why}"), "ERROR required variable EMPTY is missing a value: say why");
  EXPECT_EQ(Expand("${NOT?}"), "ERROR required variable NOT is missing a value");
}

TEST(Template, DefaultsMayNest) {
  EXPECT_EQ(Expand("${NOT:-${ALSO_NOT:-${A}}}!"), "a!");
  EXPECT_EQ(Expand("${NOT:-a:-b?c}"), "a:-b?c");
}

TEST(Template, OpenAndNamelessBracesAreErrors) {
  for (const char* text : {"${", "${A", "${}", "${1}", "${A!}", "${A:}", "${NOT:-${A}"}) {
    EXPECT_TRUE(Expand(text).starts_with("ERROR invalid interpolation format")) << text;
  }
}

}  // namespace
}  // namespace varve::compose
