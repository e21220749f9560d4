#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "archive/codec.h"
#include "archive/tar.h"

namespace varve::archive {
namespace {

std::string SomeText(size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::string text;
  while (text.size() < size) text += fmt::format("line {} of {}\n", random() % 1000, random());
  text.resize(size);
  return text;
}

std::string Compress(const std::string& text, Compression compression, std::optional<int> level = {},
                     size_t threads = 2, size_t step = 100'000) {
  StringWriter out;
  auto writer = *MakeCompressor(out, compression, level, threads);
  for (size_t at = 0; at < text.size(); at += step) {
    EXPECT_TRUE(writer->Write(std::string_view(text).substr(at, step)));
  }
  EXPECT_TRUE(writer->Finish());
  return out.text;
}

Result<std::string> Decompress(const std::string& data) {
  StringReader in(data);
  TRY_ASSIGN(auto reader, MakeDecompressor(in));
  return ReadAll(*reader, 1 << 30);
}

TEST(Codec, RoundTripsAtEverySizeAndLevel) {
  for (size_t size : {0u, 1u, 1000u, 1u << 20, (1u << 20) + 1, 3'500'000u}) {
    std::string text = SomeText(size);
    for (int level : {0, 1, 3, 6, 9}) {
      EXPECT_EQ(*Decompress(Compress(text, Compression::kGzip, level)), text) << size << " " << level;
    }
    EXPECT_EQ(*Decompress(Compress(text, Compression::kZstd)), text) << size;
    EXPECT_EQ(*Decompress(Compress(text, Compression::kNone)), text) << size;
  }
}

TEST(Codec, OutputDependsNeitherOnThreadsNorOnWrites) {
  std::string text = SomeText(5'000'000);
  for (Compression compression : {Compression::kGzip, Compression::kZstd}) {
    EXPECT_EQ(Compress(text, compression, {}, 1, 1000), Compress(text, compression, {}, 4, 1 << 20));
  }
}

TEST(Codec, SeveralMembersAreOneStream) {
  std::string both = Compress("one", Compression::kGzip) + Compress("two", Compression::kGzip);
  EXPECT_EQ(*Decompress(both), "onetwo");
  EXPECT_EQ(*Decompress(both + std::string(20, '\0')), "onetwo");
  EXPECT_EQ(Decompress(both + "trash").error().code, Code::kCorrupt);
}

TEST(Codec, DamageIsFound) {
  std::string text = SomeText(300'000);
  for (Compression compression : {Compression::kGzip, Compression::kZstd}) {
    std::string data = Compress(text, compression);
    EXPECT_EQ(Decompress(data.substr(0, data.size() - 1)).error().code, Code::kCorrupt);
    EXPECT_EQ(Decompress(data.substr(0, data.size() / 2)).error().code, Code::kCorrupt);
    data[data.size() - 3] ^= 1;
    EXPECT_EQ(Decompress(data).error().code, Code::kCorrupt);
  }
}

std::string Tar(const std::vector<std::pair<TarEntry, std::string>>& entries) {
  StringWriter out;
  TarWriter writer(out);
  for (const auto& [entry, content] : entries) {
    TarEntry with_size = entry;
    with_size.size = content.size();
    EXPECT_TRUE(writer.Add(with_size));
    EXPECT_TRUE(writer.Content(content));
  }
  EXPECT_TRUE(writer.Finish());
  return out.text;
}

TEST(Tar, EntriesRoundTrip) {
  std::string long_name = "d/" + std::string(150, 'n') + "/é";
  std::string tar = Tar({
      {{.name = "dir/", .type = EntryType::kDirectory, .mode = 01777, .mtime = {5'000'000'000}}, ""},
      {{.name = "dir/file", .mode = 04755, .uid = 5'000'000, .gid = 7}, "content"},
      {{.name = "dir/hard", .type = EntryType::kHardLink, .link = "dir/file"}, ""},
      {{.name = "link", .type = EntryType::kSymlink, .mode = 0777, .link = std::string(120, 't')}, ""},
      {{.name = "null", .type = EntryType::kCharDevice, .mode = 0666, .major = 1, .minor = 3}, ""},
      {{.name = long_name, .xattrs = {{"security.capability", std::string("\1\0\2", 3)}}}, ""}});
  EXPECT_EQ(tar.size() % 512, 0u);
  StringReader in(tar);
  TarReader reader(in);
  TarEntry dir = **reader.Next();
  EXPECT_EQ(dir.type, EntryType::kDirectory);
  EXPECT_EQ(dir.mode, 01777u);
  EXPECT_EQ(dir.mtime.seconds(), 5);
  TarEntry file = **reader.Next();
  EXPECT_EQ(file.uid, 5'000'000u);
  EXPECT_EQ(file.mode, 04755u);
  EXPECT_EQ(*ReadAll(reader.content(), 100), "content");
  EXPECT_EQ((**reader.Next()).link, "dir/file");
  EXPECT_EQ((**reader.Next()).link, std::string(120, 't'));
  TarEntry device = **reader.Next();
  EXPECT_EQ(device.major, 1u);
  EXPECT_EQ(device.minor, 3u);
  TarEntry last = **reader.Next();
  EXPECT_EQ(last.name, long_name);
  EXPECT_EQ(last.xattrs["security.capability"], std::string("\1\0\2", 3));
  EXPECT_FALSE(*reader.Next());
}

// The header of a plain file, as Go's archive/tar writes it with Format: FormatPAX.
TEST(Tar, HeaderBytesArePinned) {
  std::string tar = Tar({{{.name = "f", .mode = 0644, .mtime = {1'700'000'000'000'000'000}}, "x"}});
  ASSERT_EQ(tar.size(), 4 * 512u);
  EXPECT_EQ(tar.substr(100, 57), std::string("0000644\0" "0000000\0" "0000000\0" "00000000001\0"
                                             "14524770400\0" "007406\0 0", 57));
  EXPECT_EQ(tar.substr(257, 8), std::string("ustar\0" "00", 8));
  EXPECT_EQ(tar.substr(329, 16), std::string("0000000\0" "0000000\0", 16));
}

TEST(Tar, EmptyArchiveIsTheWellKnownLayer) {
  EXPECT_EQ(Digest::Of(Tar({})).ToString(),
            "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
}

TEST(Tar, DamagedInputIsCorrupt) {
  std::string tar = Tar({{{.name = "f"}, std::string(2000, 'x')}});
  for (std::string bad : {std::string(5000, 'x'), tar.substr(0, 700), std::string("no tar")}) {
    StringReader in(bad);
    TarReader reader(in);
    Status status = [&]() -> Status {
      while (true) {
        TRY_ASSIGN(auto entry, reader.Next());
        if (!entry) return Ok();
        TRY(ReadAll(reader.content(), 1 << 20));
      }
    }();
    EXPECT_FALSE(status) << bad.size();
  }
}

}  // namespace
}  // namespace varve::archive
