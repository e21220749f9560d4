#include "tier/action_result.h"

#include <gmock/gmock.h>

namespace varve::tier {
namespace {

using namespace std::string_literals;

TEST(ActionResult, ATextIsTheStandardOutputOfAnAction) {
  // As protoc --encode has stdout_raw: "{}".
  EXPECT_EQ(AsActionResult("{}"), "\x2a\x02{}");
  EXPECT_EQ(AsActionResult(std::string(300, 'x')), "\x2a\xac\x02" + std::string(300, 'x'));
  for (const std::string& text : {""s, "{}"s, std::string(70000, '\xff')}) {
    EXPECT_EQ(*TextOfActionResult(AsActionResult(text)), text);
  }
}

TEST(ActionResult, WhatAServerAddsIsPassedOver) {
  // exit_code: 7, stdout_raw: "text", execution_metadata { worker: "127.0.0.1:9" }, and a field of each other type
  // that a later version may have.
  std::string entry = "\x20\x07"s + AsActionResult("text") + "\x4a\x0d\x0a\x0b" + "127.0.0.1:9" + "\xa1\x06" +
                      std::string(8, '\x01') + "\xa5\x06" + std::string(4, '\x01');
  EXPECT_EQ(*TextOfActionResult(entry), "text");
}

TEST(ActionResult, WhatIsNoneIsRefused) {
  std::string whole = AsActionResult(std::string(300, 'x'));
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(TextOfActionResult(whole.substr(0, size))) << size;
  }
  EXPECT_FALSE(TextOfActionResult("{\"schemaVersion\":2}"));
  EXPECT_FALSE(TextOfActionResult("\x20\x07")) << "no standard output";
  EXPECT_FALSE(TextOfActionResult("\x2a" + std::string(9, '\xff') + "\x01x")) << "longer than anything";
  EXPECT_FALSE(TextOfActionResult("\x2a" + std::string(20, '\xff'))) << "a number without an end";
}

}  // namespace
}  // namespace varve::tier
