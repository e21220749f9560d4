// Layers and cache mounts as chunks: what is sent, what is fetched, and what happens when it is not there.
#include "tier/chunked.h"

#include <gmock/gmock.h>

#include <cstring>

#include "archive/tar.h"
#include "sys/tempdir.h"
#include "tier/directory_storage.h"
#include "tier/packed_tier.h"
#include "tier/shrink.h"

namespace varve::tier {
namespace {

using ::testing::HasSubstr;

// Bytes that do not compress (splitmix64).
std::string Noise(size_t size, uint64_t seed) {
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

// Files that do not compress; those whose number is a multiple of `step` are of version `version`.
std::string TarOf(size_t files, int version = 0, size_t step = 100, size_t size = 8'000) {
  StringWriter out;
  archive::TarWriter tar(out);
  for (size_t i = 0; i < files; ++i) {
    std::string content = Noise(size, (i << 32) + (i % step == 0 ? static_cast<uint64_t>(version) : 0));
    EXPECT_TRUE(tar.Add({.name = "lib/" + std::to_string(i),
                         .mode = 0644,
                         .size = content.size(),
                         .mtime = Timestamp{(version + 1) * int64_t{1'000'000'000}}}));
    EXPECT_TRUE(tar.Content(content));
  }
  EXPECT_TRUE(tar.Finish());
  return out.text;
}

DiffId IdOf(const std::string& tar) { return DiffId(Digest::Of(tar)); }

Offer OfferOf(const std::vector<std::string>& tars, const std::string& slot = "slot") {
  Offer offer;
  offer.chunked = true;
  for (const std::string& tar : tars) {
    cache::StepRecord record;
    record.preimage = IdOf(tar).ToString();
    record.key = StepKey(Digest::Of(record.preimage));
    record.outputs = {{{IdOf(tar)}, tree::EmptyTree()}};
    record.slot = slot;
    record.created = Timestamp{1};
    offer.records.push_back({record, false});
    offer.layers.insert(IdOf(tar));
  }
  offer.write_tar = [tars](const DiffId& layer, Writer& out, std::stop_token) -> Status {
    for (const std::string& tar : tars) {
      if (IdOf(tar) == layer) return out.Write(tar);
    }
    return NotFound("no such layer");
  };
  return offer;
}

Offer::Mount MountOf(const std::string& key, const std::string& tar, int64_t created = 1) {
  return {.key = key,
          .id = key,
          .created = Timestamp{created},
          .changed = true,
          .write = [tar](Writer& out, std::stop_token) { return out.Write(tar); }};
}

struct ChunkedTier : ::testing::Test {
  std::unique_ptr<Tier> Open(PackedOptions options = {}) {
    options.local.scratch = directory.path();
    return MakePackedTier(MakeDirectoryStorage({.path = directory.path() + "/cache"}), std::move(options), clock);
  }
  // What a fresh machine reads of the layer, and what that cost.
  std::string Read(const std::string& tar, Traffic* traffic = nullptr, PackedOptions options = {}) {
    auto tier = Open(std::move(options));
    auto blob = tier->FindLayer(IdOf(tar), {});
    if (!blob || !*blob) return "absent";
    uint64_t before = tier->traffic().bytes_read;
    StringWriter out;
    Status fetched = tier->Fetch(**blob, out, {});
    if (traffic != nullptr) *traffic = tier->traffic(), traffic->bytes_read -= before;
    return fetched ? out.text : fetched.error().message;
  }
  uint64_t Send(const Offer& offer, PackedOptions options = {}) {
    auto tier = Open(std::move(options));
    Status exported = tier->Export(offer, nullptr, {});
    EXPECT_TRUE(exported) << exported.error().message;
    return tier->traffic().bytes_written;
  }
  std::string ReadMount(const std::string& key) {
    auto tier = Open();
    auto blob = tier->FindMount(key, {});
    if (!blob || !*blob) return "absent";
    StringWriter out;
    Status fetched = tier->Fetch(**blob, out, {});
    return fetched ? out.text : fetched.error().message;
  }

  sys::TempDir directory = *sys::TempDir::Create(::testing::TempDir(), "chunked-");
  FakeClock clock;
};

TEST_F(ChunkedTier, OnePerCentChangedIsLessThanTwoPerCentSent) {
  std::string before = TarOf(1000, 0, 100, 25'000), after = TarOf(1000, 1, 100, 25'000);
  uint64_t all = Send(OfferOf({before}));
  EXPECT_GT(all, 1000 * 25'000u);
  // Ten files changed, and all of them have new times.
  uint64_t more = Send(OfferOf({after}));
  EXPECT_GT(more, 10 * 25'000u);
  EXPECT_LT(more, all / 50);
  EXPECT_TRUE(Read(before) == before);
  EXPECT_TRUE(Read(after) == after);
}

TEST_F(ChunkedTier, WhatAnOlderLayerHereHasIsNotFetched) {
  std::string before = TarOf(800), after = TarOf(800, 1);
  Send(OfferOf({before}));
  Send(OfferOf({after}));
  Traffic cold, warm;
  EXPECT_TRUE(Read(after, &cold) == after);
  PackedOptions options;
  options.local.earlier = [&](const std::string& slot, std::stop_token) {
    EXPECT_EQ(slot, "slot");
    return std::vector<DiffId>{IdOf(after), IdOf(before)};
  };
  options.local.write_tar = [&](const DiffId& layer, Writer& out, std::stop_token) -> Status {
    EXPECT_EQ(layer, IdOf(before)) << "not itself";
    return out.Write(before);
  };
  EXPECT_TRUE(Read(after, &warm, options) == after);
  EXPECT_LT(warm.bytes_read, cold.bytes_read / 20);
}

TEST_F(ChunkedTier, AnOlderLayerThatCannotBeReadIsDoneWithout) {
  std::string tar = TarOf(500);
  Send(OfferOf({tar}));
  PackedOptions options;
  options.local.earlier = [&](const std::string&, std::stop_token) { return std::vector<DiffId>{IdOf("gone")}; };
  options.local.write_tar = [&](const DiffId&, Writer& out, std::stop_token) -> Status {
    TRY(out.Write(tar.substr(0, 1'500'000)));
    return Corrupt("the layer changed");
  };
  EXPECT_TRUE(Read(tar, nullptr, options) == tar);
}

TEST_F(ChunkedTier, LayersThatAreAlikeShareTheirChunks) {
  std::string one = TarOf(1000), other = TarOf(1000, 1);
  uint64_t both = Send(OfferOf({one, other}));
  EXPECT_LT(both, 1100 * 8'000u);
  EXPECT_TRUE(Read(one) == one);
  EXPECT_TRUE(Read(other) == other);
}

TEST_F(ChunkedTier, PlainAndChunkedLayersLieInOneTier) {
  std::string plain = TarOf(10), chunked = TarOf(20);
  Offer offer = OfferOf({plain});
  offer.chunked = false;
  offer.make_blob = [&](const DiffId&, std::stop_token) -> Result<Offer::Blob> {
    Offer::Blob blob;
    blob.descriptor = {.media_type = std::string(oci::kOciLayer), .digest = Digest::Of(plain), .size = plain.size()};
    blob.open = [&](uint64_t offset) -> Result<std::unique_ptr<Reader>> {
      return std::make_unique<StringReader>(std::string_view(plain).substr(offset));
    };
    return blob;
  };
  Send(offer);
  Send(OfferOf({plain, chunked}));
  EXPECT_TRUE(Read(plain) == plain) << "what is there stays as it is";
  EXPECT_TRUE(Read(chunked) == chunked);
  Traffic traffic;
  Read(plain, &traffic);
  EXPECT_EQ(traffic.bytes_read, plain.size());
}

TEST_F(ChunkedTier, ABudgetCountsOnlyTheChunksThatAreNew) {
  std::string before = TarOf(400), after = TarOf(400, 1), other = TarOf(400, 7, 1);
  ASSERT_GT(other.size(), 3'000'000u);
  Send(OfferOf({before}));
  // Four files of eight kilobytes, and the headers, are new of the one; all of the other.
  Offer offer = OfferOf({after, other}, "again");
  offer.max_bytes = 1'000'000;
  auto tier = Open();
  ASSERT_TRUE(tier->Export(offer, nullptr, {}));
  EXPECT_LT(tier->traffic().bytes_written, 1'000'000u);
  EXPECT_EQ(tier->traffic().left_out, 1u);
  EXPECT_TRUE(Read(after) == after);
  EXPECT_EQ(Read(other), "absent");
}

TEST_F(ChunkedTier, WhatIsCutWhenTheTimeIsOverIsNotNamed) {
  std::string first = TarOf(100), second = TarOf(100, 1, 1);
  Offer offer = OfferOf({first, second});
  offer.records[0].record.wall = std::chrono::seconds(60);
  offer.records[1].record.wall = std::chrono::seconds(1);
  offer.max_time = std::chrono::seconds(30);
  auto write = offer.write_tar;
  offer.write_tar = [&](const DiffId& layer, Writer& out, std::stop_token stop) -> Status {
    if (layer == IdOf(second)) {
      TRY(out.Write(std::string_view(second).substr(0, 300'000)));
      clock.Advance(std::chrono::seconds(40));
      return out.Write(std::string_view(second).substr(300'000));
    }
    return write(layer, out, stop);
  };
  auto tier = Open();
  ASSERT_TRUE(tier->Export(offer, nullptr, {}));
  EXPECT_EQ(tier->traffic().left_out, 1u);
  EXPECT_TRUE(Read(first) == first);
  EXPECT_EQ(Read(second), "absent");
}

TEST_F(ChunkedTier, ManyChangesMakeFewPacks) {
  std::string tar;
  for (int version = 0; version < 50; ++version) {
    tar = TarOf(60, version, 10);
    Send(OfferOf({tar}));
  }
  Traffic traffic;
  EXPECT_TRUE(Read(tar, &traffic) == tar);
  EXPECT_LE(traffic.requests, 60u);
}

TEST_F(ChunkedTier, MountsTravelAndTheNewestCounts) {
  std::string before = TarOf(1000), after = TarOf(1000, 1);
  Offer offer = OfferOf({});
  offer.mounts = {MountOf("ns/npm", before, 1)};
  uint64_t all = Send(offer);
  EXPECT_TRUE(ReadMount("ns/npm") == before);
  EXPECT_EQ(ReadMount("npm"), "absent");
  EXPECT_EQ(Send(offer), 0u) << "nothing changed";
  offer.mounts[0].changed = false;
  offer.mounts[0].write = [](Writer&, std::stop_token) -> Status { return Internal("read in vain"); };
  EXPECT_EQ(Send(offer), 0u) << "no step that uses it ran";
  offer.mounts = {MountOf("ns/npm", after, 2)};
  uint64_t more = Send(offer);
  EXPECT_LT(more, all / 25);
  EXPECT_TRUE(ReadMount("ns/npm") == after);
  offer.mounts = {MountOf("other", "not the same", 1)};
  Send(offer);
  EXPECT_TRUE(ReadMount("ns/npm") == after) << "exporters of other mounts change nothing";
}

TEST_F(ChunkedTier, AMountThatCannotBeReadIsALine) {
  Offer offer = OfferOf({TarOf(5)});
  offer.mounts = {MountOf("good", "content")};
  offer.mounts.push_back(MountOf("bad", ""));
  offer.mounts[1].write = [](Writer& out, std::stop_token) -> Status {
    TRY(out.Write("some of it"));
    return Corrupt("a file became shorter");
  };
  auto tier = Open();
  ASSERT_TRUE(tier->Export(offer, nullptr, {}));
  auto notices = tier->TakeNotices();
  ASSERT_EQ(notices.size(), 1u);
  EXPECT_THAT(notices[0], HasSubstr("cache mount bad was not sent: a file became shorter"));
  EXPECT_EQ(ReadMount("good"), "content");
  EXPECT_EQ(ReadMount("bad"), "absent");
  EXPECT_TRUE(Read(TarOf(5)) == TarOf(5));
}

TEST_F(ChunkedTier, OldMountsGoFirstWhenTheTierIsFull) {
  Offer offer = OfferOf({TarOf(20)});
  offer.mounts = {MountOf("old", TarOf(40, 1, 1), 1), MountOf("new", TarOf(40, 2, 1), 2)};
  Send(offer);
  Offer more = OfferOf({TarOf(20, 3, 1)});
  more.mounts = {MountOf("newest", TarOf(40, 4, 1), 3)};
  Send(more, {.max_size = 1'000'000});
  EXPECT_EQ(ReadMount("old"), "absent");
  EXPECT_TRUE(ReadMount("newest") == TarOf(40, 4, 1));
}

TEST_F(ChunkedTier, MountsTakeHalfThoughThereIsRoom) {
  Offer offer = OfferOf({});
  offer.mounts = {MountOf("old", TarOf(40, 1, 1), 1)};
  Send(offer, {.max_size = 1'000'000});
  offer.mounts = {MountOf("new", TarOf(40, 2, 1), 2)};
  Send(offer, {.max_size = 1'000'000});
  EXPECT_EQ(ReadMount("old"), "absent") << "320 kB each";
  EXPECT_TRUE(ReadMount("new") == TarOf(40, 2, 1));
}

// --- Shrinking ---------------------------------------------------------------------------------------

TEST(ShrinkChunks, APackThatAnotherLayerNeedsFreesNothing) {
  auto pack = [](const std::string& name) {
    return oci::Descriptor{.media_type = std::string(chunk::kPackMediaType), .digest = Digest::Of(name), .size = 1000};
  };
  auto layer = [&](const std::string& name, std::vector<oci::Descriptor> packs) {
    return StoredLayer{
        .layer = DiffId(Digest::Of(name)),
        .blob = {.media_type = std::string(chunk::kListMediaType), .digest = Digest::Of("list " + name), .size = 10},
        .tar_size = 1,
        .packs = std::move(packs)};
  };
  Group group{.layers = {layer("a", {pack("1"), pack("2")}), layer("b", {pack("1"), pack("3")}),
                         layer("c", {pack("1"), pack("4")})}};
  for (const StoredLayer& stored : group.layers) {
    cache::StepRecord record;
    record.key = StepKey(stored.layer.value);
    record.slot = stored.layer.ToString();
    record.outputs = {{{stored.layer}, tree::EmptyTree()}};
    record.wall = Nanos(1'000'000'000);
    group.records.push_back(record);
  }
  EXPECT_EQ(BytesOf({group}), 4030u);
  Shrink(group, 2500, Timestamp{1}, {});
  EXPECT_EQ(group.layers.size(), 1u) << "two packs and a list";
  EXPECT_LE(BytesOf({group}), 2500u);
  EXPECT_EQ(group.records.size(), 1u);
}

TEST(ShrinkChunks, MountsMakeRoomForLayersThatStay) {
  auto stored = [](const std::string& name, uint64_t size) {
    return StoredLayer{
        .layer = DiffId(Digest::Of(name)),
        .blob = {.media_type = std::string(chunk::kListMediaType), .digest = Digest::Of("list " + name), .size = size},
        .tar_size = 1};
  };
  Group group{.layers = {stored("layer", 700)}};
  cache::StepRecord record;
  record.key = StepKey(Digest::Of("key"));
  record.outputs = {{{group.layers[0].layer}, tree::EmptyTree()}};
  group.records = {record};
  group.mounts = {{"old", Timestamp{1}, stored("old", 250)}, {"new", Timestamp{2}, stored("new", 250)}};
  Shrink(group, 1000, Timestamp{3}, {record.key});
  EXPECT_EQ(group.layers.size(), 1u);
  ASSERT_EQ(group.mounts.size(), 1u);
  EXPECT_EQ(group.mounts[0].key, "new");
  EXPECT_LE(BytesOf({group}), 1000u);
}

}  // namespace
}  // namespace varve::tier
