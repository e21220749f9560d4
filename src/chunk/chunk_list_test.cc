#include "chunk/chunk_list.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/fd.h"

namespace varve::chunk {
namespace {

ChunkList TheList() {
  ChunkList list{.digest = Digest::Of("stream"), .size = 0};
  list.packs = {{Digest::Of("pack 1"), 900}, {Digest::Of("pack 2"), 70'000}};
  list.frames = {{.pack = 0, .offset = 100, .packed = 300, .raw = 5'000},
                 {.pack = 0, .offset = 400, .packed = 500, .raw = 9'000},
                 {.pack = 1, .offset = 0, .packed = 60'000, .raw = 200'000}};
  list.chunks = {{Digest::Of("a"), 1'000, 0, 0},
                 {Digest::Of("b"), 2'000, 0, 3'000},
                 {Digest::Of("c"), 9'000, 1, 0},
                 {Digest::Of("d"), 100'000, 2, 100'000}};
  list.headers = {0, 3};
  list.contents = {1, 2, 1, 3};
  for (uint32_t i : list.headers) list.size += list.chunks[i].size;
  for (uint32_t i : list.contents) list.size += list.chunks[i].size;
  return list;
}

TEST(ChunkList, IsReadAsItWasWritten) {
  auto read = DecodePlain(EncodePlain(TheList()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, TheList());
  auto packed = Encode(TheList());
  ASSERT_TRUE(packed);
  EXPECT_EQ(*Decode(*packed), TheList());
  EXPECT_EQ(*DecodePlain(EncodePlain(ChunkList())), ChunkList());
}

TEST(ChunkList, OneThatIsCutOffOrTooLongIsCorrupt) {
  std::string text = EncodePlain(TheList());
  for (size_t i = 0; i < text.size(); ++i) {
    auto read = DecodePlain(text.substr(0, i));
    ASSERT_FALSE(read) << i;
    EXPECT_EQ(read.error().code, Code::kCorrupt);
  }
  EXPECT_FALSE(DecodePlain(text + "x"));
}

TEST(ChunkList, PlacesOutsideOfTheirFrameOrPackAreCorrupt) {
  auto refused = [](const std::function<void(ChunkList&)>& change) {
    ChunkList list = TheList();
    change(list);
    return !DecodePlain(EncodePlain(list));
  };
  EXPECT_TRUE(refused([](ChunkList& list) { list.frames[1].packed = 501; }));
  EXPECT_TRUE(refused([](ChunkList& list) { list.frames[2].pack = 2; }));
  EXPECT_TRUE(refused([](ChunkList& list) { list.frames[2].raw = kMaxFrame + 1; }));
  EXPECT_TRUE(refused([](ChunkList& list) { list.chunks[3].offset = 100'001; }));
  EXPECT_TRUE(refused([](ChunkList& list) { list.chunks[3].frame = 3; }));
  EXPECT_TRUE(refused([](ChunkList& list) { list.contents[0] = 4; }));
  EXPECT_TRUE(refused([](ChunkList& list) { list.size += 1; }));
}

TEST(ChunkListGolden, Bytes) {
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/chunk/list.bin";
  std::string text = EncodePlain(TheList());
  if (std::getenv("VARVE_ACCEPT") != nullptr) {
    ASSERT_TRUE(WriteFileAtomically(path, text));
  }
  auto golden = ReadFile(path);
  ASSERT_TRUE(golden) << "run once with VARVE_ACCEPT=1";
  EXPECT_EQ(text, *golden);
}

}  // namespace
}  // namespace varve::chunk
