#include "base/background_writer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>

namespace varve {
namespace {

TEST(BackgroundWriter, PassesEverythingOnInOrder) {
  std::mt19937 random(1);
  std::string all;
  StringWriter out;
  BackgroundWriter background(out, 1000);
  for (int i = 0; i < 500; ++i) {
    std::string piece(random() % 400, static_cast<char>('a' + i % 26));
    all += piece;
    ASSERT_TRUE(background.Write(piece));
  }
  ASSERT_TRUE(background.Finish());
  EXPECT_EQ(out.text, all);
}

TEST(BackgroundWriter, NothingWrittenIsNothingPassedOn) {
  StringWriter out;
  BackgroundWriter background(out);
  ASSERT_TRUE(background.Finish());
  EXPECT_EQ(out.text, "");
}

TEST(BackgroundWriter, ErrorOfTheOtherSideEndsTheWritesAndTheFinish) {
  struct Full final : Writer {
    Status Write(std::string_view) override {
      ++calls;
      return Resource("disk full");
    }
    std::atomic<int> calls = 0;
  } full;
  BackgroundWriter background(full, 80);
  Status status = Ok();
  for (int i = 0; i < 1000 && status; ++i) status = background.Write("0123456789");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "disk full");
  EXPECT_EQ(background.Finish().error().message, "disk full");
  EXPECT_EQ(full.calls, 1);
}

TEST(BackgroundWriter, DestructorDropsTheRest) {
  struct Slow final : Writer {
    Status Write(std::string_view) override {
      ++calls;
      return Ok();
    }
    std::atomic<int> calls = 0;
  } slow;
  {
    BackgroundWriter background(slow);
    ASSERT_TRUE(background.Write("never passed on"));
  }
  EXPECT_EQ(slow.calls, 0);
}

}  // namespace
}  // namespace varve
