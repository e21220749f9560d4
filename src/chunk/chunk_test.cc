// Streams through a packer and back.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <map>
#include <random>

#include "archive/tar.h"
#include "base/guarded.h"
#include "chunk/assemble.h"
#include "chunk/encoder.h"
#include "chunk/packer.h"

namespace varve::chunk {
namespace {

// Bytes that do not compress (splitmix64).
std::string Random(size_t size, uint64_t seed) {
  std::string text(size + 8, '\0');
  for (size_t i = 0; i < size; i += 8) {
    uint64_t z = seed += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    z ^= z >> 31;
    std::memcpy(text.data() + i, &z, 8);
  }
  text.resize(size);
  return text;
}

// A tar of many files; `changed` of them are others than with 0, and all have the time `seconds`.
std::string TarOf(size_t files, size_t changed, int64_t seconds, size_t size = 3'000) {
  StringWriter out;
  archive::TarWriter tar(out);
  for (size_t i = 0; i < files; ++i) {
    bool other = changed > 0 && i % (files / changed) == 0;
    std::string content = Random(size + i % 7, (i << 32) + (other ? 1 : 0));
    EXPECT_TRUE(tar.Add({.name = "node_modules/package/" + std::to_string(i) + ".js",
                         .mode = 0644,
                         .size = content.size(),
                         .mtime = Timestamp{seconds * 1'000'000'000}}));
    EXPECT_TRUE(tar.Content(content));
  }
  EXPECT_TRUE(tar.Finish());
  return out.text;
}

// Packs that were put, and the lists of streams in them.
struct Place {
  std::map<Digest, std::string> packs;
  uint64_t sent = 0;

  Result<ChunkList> Send(const std::string& stream, const std::vector<ChunkList>& known, PackOptions options = {}) {
    Guarded<int> lock;
    Packer packer(options, [&](const Pack& pack, std::string bytes) -> Status {
      auto locked = lock.Lock();
      EXPECT_EQ(Digest::Of(bytes), pack.digest);
      packs[pack.digest] = bytes;
      sent += bytes.size();
      return Ok();
    });
    for (const ChunkList& list : known) {
      packer.Know(list, [&](const Pack& pack) { return packs.contains(pack.digest); });
    }
    Encoder encoder(packer);
    TRY(encoder.Write(stream));
    TRY_ASSIGN(Stream encoded, encoder.Finish(Digest::Of(stream)));
    TRY(packer.Finish());
    return packer.ListOf(encoded);
  }

  Status Fetch(Assembly& assembly, const ChunkList& list, uint64_t* bytes = nullptr) {
    for (const Range& range : assembly.Missing()) {
      std::string part = packs[list.packs[range.pack].digest].substr(range.offset, range.size);
      if (bytes != nullptr) *bytes += part.size();
      TRY(assembly.Unpack(range, part));
    }
    return Ok();
  }

  std::string Read(const ChunkList& list) {
    auto assembly = Assembly::Start(list, ::testing::TempDir());
    EXPECT_TRUE(assembly);
    Status fetched = Fetch(**assembly, list);
    StringWriter out;
    if (fetched) fetched = (*assembly)->Join(out);
    return fetched ? out.text : "error: " + fetched.error().message;
  }
};

TEST(Chunks, AStreamComesBackAsItWas) {
  Place place;
  for (const std::string& stream :
       {TarOf(300, 0, 1), std::string(), std::string("x"), Random(2'000'000, 1), TarOf(3, 0, 1, 900'000),
        TarOf(20, 0, 1).substr(0, 33'333), std::string(700'000, '\0')}) {
    auto list = place.Send(stream, {});
    ASSERT_TRUE(list) << list.error().message;
    EXPECT_TRUE(place.Read(*list) == stream) << stream.size();
    auto decoded = Decode(*Encode(*list));
    ASSERT_TRUE(decoded);
    EXPECT_EQ(*decoded, *list);
  }
}

TEST(Chunks, TheSameStreamIsTheSameBytes) {
  Place a, b;
  std::string stream = TarOf(2000, 0, 1);
  EXPECT_EQ(*a.Send(stream, {}), *b.Send(stream, {}));
  EXPECT_EQ(a.packs, b.packs);
}

TEST(Chunks, OnlyWhatChangedIsPackedAgain) {
  Place place;
  std::string before = TarOf(4000, 0, 1), after = TarOf(4000, 40, 1);
  auto old_list = place.Send(before, {});
  uint64_t all = std::exchange(place.sent, 0);
  auto list = place.Send(after, {*old_list});
  ASSERT_TRUE(list);
  EXPECT_TRUE(place.Read(*list) == after);
  EXPECT_LT(place.sent, all / 20) << "1 % of the files changed, each shares its chunk with a few";
  place.sent = 0;
  ASSERT_TRUE(place.Send(after, {*list}));
  EXPECT_EQ(place.sent, 0u);
}

TEST(Chunks, NewTimesCostTheHeadersAlone) {
  Place place;
  auto old_list = place.Send(TarOf(4000, 0, 1), {});
  uint64_t all = std::exchange(place.sent, 0);
  std::string after = TarOf(4000, 0, 1'700'000'000);
  auto list = place.Send(after, {*old_list});
  EXPECT_TRUE(place.Read(*list) == after);
  EXPECT_LT(place.sent, all / 50);
}

TEST(Chunks, WhatLayInPacksThatAreGoneIsPackedAgain) {
  Place place;
  std::string stream = TarOf(1000, 0, 1);
  auto list = place.Send(stream, {});
  place.packs.clear();
  auto again = place.Send(stream, {*list});
  ASSERT_TRUE(again);
  EXPECT_TRUE(place.Read(*again) == stream);
}

TEST(Chunks, ManyPacksAndFramesHoldOneStream) {
  Place place;
  std::string stream = TarOf(3000, 0, 1);
  auto list = place.Send(stream, {}, {.frame = 64 << 10, .pack = 1 << 20});
  ASSERT_TRUE(list);
  EXPECT_GT(list->packs.size(), 5u);
  EXPECT_GT(list->frames.size(), 100u);
  EXPECT_TRUE(place.Read(*list) == stream);
}

TEST(Chunks, WhatAnOlderStreamHasIsNotFetched) {
  Place place;
  std::string before = TarOf(4000, 0, 1), after = TarOf(4000, 40, 1);
  auto list = place.Send(after, {});
  auto assembly = *Assembly::Start(*list, ::testing::TempDir());
  auto taking = assembly->TakeFrom();
  ASSERT_TRUE(taking->Write(before));
  ASSERT_TRUE(taking->Finish());
  EXPECT_LT(assembly->missing(), after.size() / 20);
  uint64_t fetched = 0;
  ASSERT_TRUE(place.Fetch(*assembly, *list, &fetched));
  StringWriter out;
  ASSERT_TRUE(assembly->Join(out));
  EXPECT_TRUE(out.text == after);
}

TEST(Chunks, DamageIsNoticed) {
  Place place;
  std::string stream = TarOf(500, 0, 1);
  auto list = place.Send(stream, {});
  const Place whole = place;
  std::mt19937 random(5);
  for (int i = 0; i < 50; ++i) {
    place = whole;
    std::string& pack = place.packs.begin()->second;
    pack[random() % pack.size()] ^= static_cast<char>(1 + random() % 255);
    std::string read = place.Read(*list);
    EXPECT_TRUE(read == stream || read.starts_with("error: ")) << i;
    pack.resize(random() % pack.size());
    EXPECT_TRUE(place.Read(*list).starts_with("error: ")) << i;
  }
}

TEST(Chunks, AListThatDoesNotFitTogetherIsCorrupt) {
  Place place;
  auto list = place.Send(TarOf(50, 0, 1, 90'000), {});
  ASSERT_GT(list->contents.size(), 3u);
  list->contents.pop_back();
  EXPECT_TRUE(place.Read(*list).starts_with("error: "));
}

TEST(Chunks, AFailedPutIsTheErrorOfTheStream) {
  Packer packer({}, [](const Pack&, std::string) -> Status { return Unavailable("down"); });
  Encoder encoder(packer);
  ASSERT_TRUE(encoder.Write(TarOf(10, 0, 1)));
  ASSERT_TRUE(encoder.Finish(Digest::Of("x")));
  Status finished = packer.Finish();
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().code, Code::kUnavailable);
}

TEST(Chunks, AfterAFailedPutNothingIsNamed) {
  std::atomic<int> puts = 0;
  Packer packer({.frame = 1 << 10, .pack = 1 << 10}, [&](const Pack&, std::string) -> Status {
    return puts++ == 0 ? Status(Resource("the disk is full")) : Ok();
  });
  Encoder lost(packer);
  ASSERT_FALSE(lost.Write(TarOf(8'000, 0, 1)));
  Status finished = packer.Finish();
  ASSERT_FALSE(finished) << "the pack that was not put is not there";
  EXPECT_EQ(finished.error().code, Code::kResource);
}

TEST(Chunks, StreamsWithAPackEndBetweenThemShareNone) {
  std::map<Digest, std::string> packs;
  Guarded<int> lock;
  Packer packer({}, [&](const Pack& pack, std::string bytes) -> Status {
    auto locked = lock.Lock();
    packs[pack.digest] = std::move(bytes);
    return Ok();
  });
  std::vector<Stream> streams;
  for (int i = 0; i < 2; ++i) {
    const std::string tar = Random(30'000, 7 + static_cast<uint64_t>(i));
    Encoder encoder(packer);
    ASSERT_TRUE(encoder.Write(tar));
    streams.push_back(*encoder.Finish(Digest::Of(tar)));
    ASSERT_TRUE(packer.EndOfPack());
  }
  ASSERT_TRUE(packer.Finish());
  EXPECT_EQ(packs.size(), 2u);
  for (const Stream& stream : streams) EXPECT_EQ(packer.ListOf(stream).packs.size(), 1u);
}

}  // namespace
}  // namespace varve::chunk
