#include "chunk/cutter.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>
#include <random>
#include <set>

#include "base/digest.h"
#include "base/fd.h"

namespace varve::chunk {
namespace {

std::string Random(size_t size, uint32_t seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

// Sizes of the chunks; objects end where `ends` says.
std::vector<size_t> Cut(const std::string& data, size_t step, const std::vector<size_t>& ends = {},
                        std::string* joined = nullptr) {
  std::vector<size_t> sizes;
  Cutter cutter({}, [&](std::string_view chunk) -> Status {
    sizes.push_back(chunk.size());
    if (joined != nullptr) *joined += chunk;
    return Ok();
  });
  auto write = [&](std::string_view piece) {
    for (; !piece.empty(); piece.remove_prefix(std::min(step, piece.size()))) {
      EXPECT_TRUE(cutter.Write(piece.substr(0, step)));
    }
  };
  size_t at = 0;
  for (size_t end : ends) {
    write(std::string_view(data).substr(at, end - at));
    EXPECT_TRUE(cutter.EndOfObject());
    at = end;
  }
  write(std::string_view(data).substr(at));
  EXPECT_TRUE(cutter.Finish());
  return sizes;
}

std::set<Digest> DigestsOf(const std::string& data, const std::vector<size_t>& ends = {}) {
  std::set<Digest> digests;
  size_t at = 0;
  for (size_t size : Cut(data, 1 << 20, ends)) {
    digests.insert(Digest::Of(std::string_view(data).substr(at, size)));
    at += size;
  }
  return digests;
}

size_t Common(const std::set<Digest>& a, const std::set<Digest>& b) {
  return static_cast<size_t>(std::ranges::count_if(a, [&](const Digest& d) { return b.contains(d); }));
}

TEST(Cutter, ChunksJoinToTheStreamAndKeepTheirBounds) {
  std::string data = Random(5'000'000, 1), joined;
  auto sizes = Cut(data, 1 << 20, {}, &joined);
  EXPECT_EQ(joined, data);
  sizes.pop_back();
  for (size_t size : sizes) {
    EXPECT_GE(size, Sizes().min);
    EXPECT_LE(size, Sizes().max);
  }
  double mean = static_cast<double>(data.size()) / static_cast<double>(sizes.size());
  EXPECT_GT(mean, 50'000) << "around the normal size";
  EXPECT_LT(mean, 100'000);
}

TEST(Cutter, TheSizesOfTheWritesDoNotMatter) {
  std::string data = Random(1'000'000, 2);
  std::vector<size_t> ends = {10, 5'000, 70'000, 70'000, 400'000};
  auto whole = Cut(data, data.size(), ends);
  for (size_t step : {1, 7, 4096, 100'000}) EXPECT_EQ(Cut(data, step, ends), whole) << step;
}

TEST(Cutter, AnInsertionChangesTheChunksAroundItAlone) {
  std::string before = Random(8'000'000, 3);
  std::string after = before;
  after.insert(3'000'000, "a few bytes more");
  auto old_ones = DigestsOf(before), new_ones = DigestsOf(after);
  EXPECT_LE(new_ones.size() - Common(old_ones, new_ones), 3u);
}

TEST(Cutter, BytesThatNeverCutAreCutAtTheLargestSize) {
  // Zeros: the hash settles on one value that is no cut.
  std::string zeros(1'000'000, '\0');
  auto sizes = Cut(zeros, 1 << 20);
  for (size_t i = 0; i + 1 < sizes.size(); ++i) EXPECT_EQ(sizes[i], Sizes().max);
}

TEST(Cutter, AChangedFileChangesLittleMoreThanItself) {
  // Files of 8 KB, of which every hundredth changes, and one comes in: a hundred kilobytes are new.
  constexpr size_t kFile = 8'000, kFiles = 1000;
  std::string before, after;
  std::vector<size_t> ends_before, ends_after;
  size_t changed = 0;
  for (uint32_t i = 0; i < kFiles; ++i) {
    std::string file = Random(kFile, 100 + i);
    before += file;
    ends_before.push_back(before.size());
    if (i == 500) {
      after += Random(kFile, 99'999);
      ends_after.push_back(after.size());
      changed += kFile;
    }
    if (i % 100 == 0) {
      file = Random(kFile, 50'000 + i);
      changed += kFile;
    }
    after += file;
    ends_after.push_back(after.size());
  }
  auto old_ones = DigestsOf(before, ends_before);
  size_t at = 0, fresh = 0;
  for (size_t size : Cut(after, 1 << 20, ends_after)) {
    if (!old_ones.contains(Digest::Of(std::string_view(after).substr(at, size)))) fresh += size;
    at += size;
  }
  EXPECT_GE(fresh, changed);
  EXPECT_LT(fresh, 4 * changed);
}

// Cuts are part of the format: other ones would send every layer again.
TEST(CutterGolden, Cuts) {
  std::string data = Random(3'000'000, 4);
  std::string text;
  for (size_t size : Cut(data, 1 << 20, {20'000, 21'000, 21'500, 40'000, 1'000'000})) {
    text += std::to_string(size) + "\n";
  }
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/chunk/cuts.txt";
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  auto golden = ReadFile(path);
  ASSERT_TRUE(golden) << "run once with VARVE_ACCEPT=1";
  EXPECT_EQ(text, *golden);
}

}  // namespace
}  // namespace varve::chunk
