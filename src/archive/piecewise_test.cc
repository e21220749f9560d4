#include "archive/piecewise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

namespace varve::archive {
namespace {

TEST(PiecewiseWriter, PassesPiecesOnInOrder) {
  std::string passed;
  PiecewiseWriter pieces(
      3, 4,
      [](Piece& piece) {
        piece.out = "<" + piece.chunk + ">";
        piece.used = piece.out.size();
        return Ok();
      },
      [&](const Piece& piece) {
        passed += piece.out;
        return Ok();
      });
  for (const char* text : {"a", "bcde", "", "fghijklmnopq", "r"}) ASSERT_TRUE(pieces.Write(text));
  ASSERT_TRUE(pieces.Finish());
  EXPECT_EQ(passed, "<abc><def><ghi><jkl><mno><pqr>");
}

// A piece of zstd is 4 MB with what comes of it: what is held decides what an export takes.
TEST(PiecewiseWriter, HoldsOnePieceMoreThanThereAreThreads) {
  constexpr size_t kThreads = 4;
  size_t submitted = 0, passed = 0, most = 0;
  PiecewiseWriter pieces(
      1, kThreads, [](Piece&) { return Ok(); },
      [&](const Piece&) {
        ++passed;
        return Ok();
      });
  for (; submitted < 100; ++submitted) {
    ASSERT_TRUE(pieces.Write("x"));
    most = std::max(most, submitted + 1 - passed);
  }
  ASSERT_TRUE(pieces.Finish());
  EXPECT_EQ(passed, 100u);
  EXPECT_EQ(most, kThreads + 2) << "and the one that is being filled";
}

TEST(PiecewiseWriter, ErrorOfAPieceEndsTheStream) {
  std::atomic<int> packed = 0;
  PiecewiseWriter pieces(
      1, 2, [&](Piece&) { return ++packed == 3 ? Status(Internal("the third")) : Ok(); },
      [](const Piece&) { return Ok(); });
  Status status = Ok();
  for (int i = 0; i < 100 && status; ++i) status = pieces.Write("x");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "the third");
}

}  // namespace
}  // namespace varve::archive
