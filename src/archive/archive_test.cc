#include <bzlib.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <lzma.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "archive/codec.h"
#include "archive/foreign.h"
#include "archive/tar.h"
#include "base/fd.h"

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
    for (int level : {1, 3, 5, 6, 19}) {
      EXPECT_EQ(*Decompress(Compress(text, Compression::kZstd, level)), text) << size << " " << level;
    }
    EXPECT_EQ(*Decompress(Compress(text, Compression::kNone)), text) << size;
  }
}

TEST(Codec, OutputDependsNeitherOnThreadsNorOnWrites) {
  std::string text = SomeText(5'000'000);
  for (Compression compression : {Compression::kGzip, Compression::kZstd}) {
    for (std::optional<int> level : {std::optional<int>(), std::optional(1), std::optional(9)}) {
      EXPECT_EQ(Compress(text, compression, level, 1, 1000), Compress(text, compression, level, 4, 1 << 20));
    }
  }
}

// What a layer's blob is made of at the usual level: the bytes that a second machine must give, too.
TEST(Codec, ZstdFramesAreOfTwoMebibytesEach) {
  std::string text = SomeText(5'000'000), data = Compress(text, Compression::kZstd);
  std::string parts;
  for (size_t at = 0; at < text.size(); at += 2 << 20) {
    parts += Compress(text.substr(at, 2 << 20), Compression::kZstd);
  }
  EXPECT_EQ(data, parts);
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
  std::string tar =
      Tar({{{.name = "dir/", .type = EntryType::kDirectory, .mode = 01777, .mtime = {5'000'000'000}}, ""},
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
  EXPECT_EQ(tar.substr(100, 57), std::string("0000644\0"
                                             "0000000\0"
                                             "0000000\0"
                                             "00000000001\0"
                                             "14524770400\0"
                                             "007406\0 0",
                                             57));
  EXPECT_EQ(tar.substr(257, 8), std::string("ustar\0"
                                            "00",
                                            8));
  EXPECT_EQ(tar.substr(329, 16), std::string("0000000\0"
                                             "0000000\0",
                                             16));
}

TEST(Tar, EmptyArchiveIsTheWellKnownLayer) {
  EXPECT_EQ(Digest::Of(Tar({})).ToString(), "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
}

TEST(Tar, DamagedInputIsCorrupt) {
  std::string tar = Tar({{{.name = "f"}, std::string(2000, 'x')}});
  for (const std::string& bad : {std::string(5000, 'x'), tar.substr(0, 700), std::string("no tar")}) {
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

Result<std::vector<std::pair<TarEntry, std::string>>> ReadTar(const std::string& tar, TarReader::Limits limits = {}) {
  StringReader in(tar);
  TarReader reader(in, limits);
  std::vector<std::pair<TarEntry, std::string>> out;
  while (true) {
    TRY_ASSIGN(auto entry, reader.Next());
    if (!entry) return out;
    TRY_ASSIGN(std::string text, ReadAll(reader.content(), 1 << 24));
    out.emplace_back(*entry, text);
  }
}

// A header block by hand: what other programs write and ours does not.
std::string Block(const std::string& name, char type, const std::string& size_octal,
                  const std::vector<std::pair<size_t, std::string>>& more = {},
                  std::string_view magic = std::string_view("ustar\0"
                                                            "00",
                                                            8)) {
  std::string block(512, '\0');
  auto put = [&](size_t at, std::string_view text) { block.replace(at, text.size(), text); };
  put(0, name);
  put(100, "0000644");
  put(108, "0000000");
  put(116, "0000000");
  put(124, size_octal);
  put(136, "00000000001");
  block[156] = type;
  put(257, magic);
  for (const auto& [at, text] : more) put(at, text);
  put(148, "        ");
  unsigned sum = 0;
  for (unsigned char c : block) sum += c;
  put(148, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  return block;
}

std::string Padded(std::string text) {
  text.resize((text.size() + 511) / 512 * 512);
  return text;
}

const std::string kEnd(1024, '\0');
constexpr std::string_view kGnuMagic("ustar  \0", 8);

TEST(Tar, GnuLongNamesAndLinksAreRead) {
  std::string name = std::string(200, 'n') + "/file", link = std::string(150, 'l');
  std::string tar = Block("././@LongLink", 'L', fmt::format("{:011o}", name.size() + 1), {}, kGnuMagic) +
                    Padded(name + '\0') +
                    Block("././@LongLink", 'K', fmt::format("{:011o}", link.size() + 1), {}, kGnuMagic) +
                    Padded(link + '\0') + Block("short", '2', "0", {{157, "short"}}, kGnuMagic) + kEnd;
  auto entries = ReadTar(tar);
  ASSERT_TRUE(entries) << entries.error().ToString();
  EXPECT_EQ((*entries)[0].first.name, name);
  EXPECT_EQ((*entries)[0].first.link, link);
}

TEST(Tar, GnuSparseFilesAreRead) {
  // Segments 1024+5 and 4096+3 of a file of 5000 bytes; the second in an extension block.
  std::string header =
      Block("sparse", 'S', "00000000010",
            {{386, "00000002000"}, {398, "00000000005"}, {482, "\1"}, {483, "00000011610"}}, kGnuMagic);
  std::string extension(512, '\0');
  extension.replace(0, 11, "00000010000").replace(12, 11, "00000000003");
  auto entries = ReadTar(header + extension + Padded("ABCDEFGH") + kEnd);
  ASSERT_TRUE(entries) << entries.error().ToString();
  std::string expected(5000, '\0');
  expected.replace(1024, 5, "ABCDE").replace(4096, 3, "FGH");
  EXPECT_EQ((*entries)[0].second, expected);
  EXPECT_EQ((*entries)[0].first.size, 5000u);
}

std::string Pax(char type, const std::vector<std::pair<std::string, std::string>>& records) {
  std::string data;
  for (const auto& [key, value] : records) {
    size_t size = key.size() + value.size() + 3;
    while (fmt::format("{} {}={}\n", size, key, value).size() != size) ++size;
    data += fmt::format("{} {}={}\n", size, key, value);
  }
  return Block("pax", type, fmt::format("{:011o}", data.size())) + Padded(data);
}

TEST(Tar, PaxSparseFilesAreRead) {
  std::string expected = std::string(10, '\0') + "AB" + std::string(8, '\0') + "C" + std::string(9, '\0');
  std::string v00 = Pax('x', {{"GNU.sparse.size", "30"},
                              {"GNU.sparse.numblocks", "2"},
                              {"GNU.sparse.offset", "10"},
                              {"GNU.sparse.numbytes", "2"},
                              {"GNU.sparse.offset", "20"},
                              {"GNU.sparse.numbytes", "1"}}) +
                    Block("f", '0', "00000000003") + Padded("ABC");
  std::string v01 = Pax('x', {{"GNU.sparse.name", "f"},
                              {"GNU.sparse.size", "30"},
                              {"GNU.sparse.map", "10,2,20,1"},
                              {"GNU.sparse.numblocks", "2"}}) +
                    Block("GNUSparseFile.0/f", '0', "00000000003") + Padded("ABC");
  std::string v10 = Pax('x', {{"GNU.sparse.major", "1"},
                              {"GNU.sparse.minor", "0"},
                              {"GNU.sparse.name", "f"},
                              {"GNU.sparse.realsize", "30"}}) +
                    Block("GNUSparseFile.0/f", '0', "00000001003") + Padded("2\n10\n2\n20\n1\n") + Padded("ABC");
  for (const std::string& tar : {v00, v01, v10}) {
    auto entries = ReadTar(tar + kEnd);
    ASSERT_TRUE(entries) << entries.error().ToString();
    EXPECT_EQ((*entries)[0].first.name, "f");
    EXPECT_EQ((*entries)[0].second, expected);
  }
}

TEST(Tar, SparseMapsThatLieAreCorrupt) {
  for (const char* map : {"20,1,10,2", "10,2,11,1", "29,2,0,1", "10,3", "0,1,5", "x,3", "9223372036854775807,3"}) {
    std::string tar = Pax('x', {{"GNU.sparse.name", "f"}, {"GNU.sparse.size", "30"}, {"GNU.sparse.map", map}}) +
                      Block("f", '0', "00000000003") + Padded("ABC") + kEnd;
    auto entries = ReadTar(tar);
    if (std::string_view(map) == "10,3") {
      EXPECT_TRUE(entries);
    } else {
      ASSERT_FALSE(entries) << map;
      EXPECT_EQ(entries.error().code, Code::kCorrupt) << map;
    }
  }
}

TEST(Tar, GlobalAndLocalPaxRecords) {
  std::string tar = Pax('g', {{"uid", "77"}, {"path", "ignored"}, {"comment", "c"}}) + Block("a", '0', "0") +
                    Pax('x', {{"uid", "88"}, {"mtime", "-1.25"}, {"gid", ""}}) + Block("b", '0', "0") +
                    Block("c", '0', "0") + kEnd;
  auto entries = *ReadTar(tar);
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].first.name, "a");
  EXPECT_EQ(entries[0].first.uid, 77u);
  EXPECT_EQ(entries[1].first.uid, 88u);
  EXPECT_EQ(entries[1].first.mtime.nanos, -1'250'000'000);
  EXPECT_EQ(entries[2].first.uid, 77u);
}

TEST(Tar, OldAndOddHeadersAreRead) {
  std::string big("\x80\0\0\0\0\0\0\0\0\0\0\x03", 12);  // base-256
  std::string tar = Block("v7dir/", '\0', "0", {}, "\0") + Block("v7", '\0', "00000000003", {}, "\0") + Padded("abc") +
                    Block("b", '0', big, {}) + Padded("xyz") + Block("odd", 'Z', "00000000002") + Padded("zz") +
                    Block("file", '0', "0", {{345, "pre/fix"}}) + Block("cont", '7', "00000000001") + Padded("c");
  auto entries = ReadTar(tar);  // no end marker, as Go accepts
  ASSERT_TRUE(entries) << entries.error().ToString();
  ASSERT_EQ(entries->size(), 5u) << "the unknown type is skipped";
  EXPECT_EQ((*entries)[0].first.type, EntryType::kDirectory);
  EXPECT_EQ((*entries)[1].second, "abc");
  EXPECT_EQ((*entries)[2].second, "xyz");
  EXPECT_EQ((*entries)[3].first.name, "pre/fix/file");
  EXPECT_EQ((*entries)[4].second, "c");
}

TEST(Tar, HostileHeadersAreRefused) {
  std::string negative("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
  std::string huge("\x80\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 12);
  std::string flipped = Block("f", '0', "0");
  flipped[5] ^= 1;
  for (const std::string& tar : {Block("f", '0', negative), Block("f", '0', huge), Block("f", '0', "notoctal"), flipped,
                                 Pax('x', {{"size", "99999999999999999999"}}) + Block("f", '0', "0"),
                                 Pax('x', {{"path", std::string("a\0b", 3)}}) + Block("f", '0', "0"),
                                 Pax('x', {{"uid", "-1"}}) + Block("f", '0', "0"), Pax('x', {{"path", "x"}}),
                                 Block("p", 'x', "00000000010") + Padded("99 a=b\n\n") + Block("f", '0', "0"),
                                 std::string(512, '\0') + Block("f", '0', "0"), Block("", '0', "0")}) {
    auto entries = ReadTar(tar + kEnd);
    ASSERT_FALSE(entries);
    EXPECT_EQ(entries.error().code, Code::kCorrupt) << entries.error().ToString();
  }
  EXPECT_EQ(ReadTar(Block("p", 'x', "77777777777") + kEnd).error().code, Code::kInvalid);
}

TEST(Tar, LimitsStopBombs) {
  std::string tar = Tar({{{.name = "f"}, std::string(100'000, '\0')}, {{.name = "g"}, "x"}});
  EXPECT_EQ(ReadTar(tar, {.bytes = 50'000}).error().code, Code::kInvalid);
  EXPECT_EQ(ReadTar(tar, {.entries = 1}).error().code, Code::kInvalid);
  // A sparse file of an exabyte in a few blocks.
  std::string sparse =
      Pax('x', {{"GNU.sparse.name", "f"}, {"GNU.sparse.size", "1000000000000000000"}, {"GNU.sparse.map", "0,3"}}) +
      Block("f", '0', "00000000003") + Padded("ABC") + kEnd;
  EXPECT_EQ(ReadTar(sparse).error().code, Code::kInvalid);
}

TEST(Tar, RawHeaderIsWhatTheWriterWrites) {
  TarEntry entry{.name = "d/" + std::string(120, 'n'),
                 .mode = 0600,
                 .uid = 1 << 22,
                 .size = 3,
                 .mtime = {9'000'000'000},
                 .xattrs = {{"security.capability", "c"}}};
  std::string tar = EncodeTarHeader(entry) + Padded("abc") + kEnd;
  StringReader in(tar);
  TarReader reader(in);
  TarEntry read = **reader.Next();
  EXPECT_EQ(reader.raw_header(), EncodeTarHeader(read));
  ASSERT_FALSE(*reader.Next());
  EXPECT_TRUE(*reader.Drain());
}

// Whiteouts with long names, as Go writes them when no format is asked for.
TEST(Tar, LongWhiteoutsUseTheUstarPrefixWhereTheyFit) {
  std::string name = std::string(90, 'p') + "/.wh." + std::string(50, 'n');
  std::string header = EncodeTarHeader({.name = name}, LongNames::kUstarIfFits);
  ASSERT_EQ(header.size(), 512u);
  EXPECT_EQ(header.substr(0, 55), ".wh." + std::string(50, 'n') + std::string(1, '\0'));
  EXPECT_EQ(header.substr(345, 91), std::string(90, 'p') + std::string(1, '\0'));
  EXPECT_EQ((*ReadTar(header + kEnd))[0].first.name, name);
  std::string unsplittable(150, 'u');
  EXPECT_EQ(EncodeTarHeader({.name = unsplittable}, LongNames::kUstarIfFits), EncodeTarHeader({.name = unsplittable}));
}

// Every kind of entry; the file is checked with GNU tar when it is made anew.
TEST(Tar, BytesAreThoseOfTheGoldenFile) {
  std::string tar = Tar(
      {{{.name = "dir/", .type = EntryType::kDirectory, .mode = 0755, .mtime = {1'700'000'000'000'000'000}}, ""},
       {{.name = "dir/file", .mode = 04755, .uid = 1000, .gid = 1000, .mtime = {1'700'000'000'500'000'000}}, "hi\n"},
       {{.name = "dir/hard", .type = EntryType::kHardLink, .mode = 04755, .link = "dir/file"}, ""},
       {{.name = "dir/sym", .type = EntryType::kSymlink, .mode = 0777, .link = "/target"}, ""},
       {{.name = "dir/null", .type = EntryType::kCharDevice, .mode = 0666, .major = 1, .minor = 3}, ""},
       {{.name = "dir/fifo", .type = EntryType::kFifo, .mode = 0600}, ""},
       {{.name = "dir/.wh.gone", .mode = 0}, ""},
       {{.name = "dir/é", .mode = 0644, .mtime = {-5'000'000'000}}, "non-ASCII"},
       {{.name = "dir/" + std::string(100, 'l') + "/", .type = EntryType::kDirectory, .mode = 0700}, ""},
       {{.name = "dir/ping",
         .mode = 0755,
         .uid = 3'000'000,
         .xattrs = {{"security.capability", std::string("\1\0\0\2\0\x20\0\0", 8)}}},
        "elf"}});
  std::string path = std::string(VARVE_GOLDEN_DIR) + "/archive/every_kind.tar";
  if (std::getenv("VARVE_ACCEPT")) {
    ASSERT_TRUE(WriteFileAtomically(path, tar));
  }
  auto golden = ReadFile(path);
  ASSERT_TRUE(golden) << golden.error().ToString();
  EXPECT_TRUE(tar == *golden) << "tars have other bytes than before: every diff id changes";
}

// --- compression ---

TEST(Codec, GzipIsReadInPiecesOfAnySize) {
  std::string text = SomeText(50'000);
  std::string data = Compress(text, Compression::kGzip) + Compress("tail", Compression::kGzip);
  struct Dribble final : Reader {
    Dribble(std::string_view d, size_t n) : rest(d), step(n) {}
    Result<size_t> Read(std::span<char> out) override {
      size_t n = std::min({step, out.size(), rest.size()});
      rest.copy(out.data(), n);
      rest.remove_prefix(n);
      return n;
    }
    std::string_view rest;
    size_t step;
  };
  for (size_t step : {1u, 2u, 3u, 7u, 8u, 9u, 64u, 4096u}) {
    Dribble in(data, step);
    auto reader = *MakeDecompressor(in);
    auto back = ReadAll(*reader, 1 << 20);
    ASSERT_TRUE(back) << step << back.error().ToString();
    EXPECT_EQ(*back, text + "tail") << step;
  }
}

TEST(Codec, ZstdFramesAndSkippableFramesAreOneStream) {
  std::string skippable("\x51\x2a\x4d\x18\x03\0\0\0abc", 11);
  std::string data = skippable + Compress("one", Compression::kZstd) + skippable + Compress("two", Compression::kZstd);
  EXPECT_EQ(*Decompress(data), "onetwo");
  EXPECT_EQ(Decompress(data + "trash").error().code, Code::kCorrupt);
}

TEST(Codec, ExpansionIsLimited) {
  std::string data = Compress(std::string(100 << 20, '\0'), Compression::kZstd);
  auto read = [&](ExpansionLimits limits) {
    StringReader in(data);
    auto reader = *MakeDecompressor(in, limits);
    NullWriter out;
    return Copy(*reader, out);
  };
  EXPECT_EQ(*read({}), 100u << 20);
  EXPECT_EQ(read({.bytes = 1 << 20}).error().code, Code::kInvalid);
  EXPECT_EQ(read({.ratio = 100}).error().code, Code::kInvalid);
}

TEST(Codec, LevelsAndFormatsThatDoNotExistAreRefused) {
  NullWriter out;
  EXPECT_EQ(MakeCompressor(out, Compression::kGzip, 10).error().code, Code::kInvalid);
  EXPECT_EQ(MakeCompressor(out, Compression::kZstd, 23).error().code, Code::kInvalid);
  EXPECT_EQ(MakeCompressor(out, Compression::kXz).error().code, Code::kInvalid);
}

// --- what ADD meets ---

// printf 'hello\n' | xz, | bzip2
const std::string kXzHello(
    "\xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x16\x00\x00\x00\x74\x2f\xe5"
    "\xa3"
    "\x01\x00\x05\x68\x65\x6c\x6c\x6f\x0a\x00\x00\x00\xa5\x60\x97\xf1\x94\xf6\xfd\xe0\x00\x01\x1e"
    "\x06"
    "\xc1\x2f\xa4\x1d\x1f\xb6\xf3\x7d\x01\x00\x00\x00\x00\x04\x59\x5a",
    64);
const std::string kBzip2Hello(
    "\x42\x5a\x68\x39\x31\x41\x59\x26\x53\x59\xc1\xc0\x80\xe2\x00\x00\x01\x41\x00\x00\x10\x02\x44"
    "\xa0"
    "\x00\x30\xcd\x00\xc3\x46\x29\x97\x17\x72\x45\x38\x50\x90\xc1\xc0\x80\xe2",
    42);

TEST(Foreign, XzAndBzip2AreReadAndDamageIsFound) {
  for (const std::string& data : {kXzHello, kBzip2Hello}) {
    EXPECT_EQ(*Decompress(data), "hello\n");
    std::string bad = data;
    bad[30] ^= 4;
    EXPECT_EQ(Decompress(bad).error().code, Code::kCorrupt);
    EXPECT_EQ(Decompress(data.substr(0, data.size() / 2)).error().code, Code::kCorrupt);
  }
}

TEST(Foreign, XzAndBzip2StreamsFollowOneAnother) {
  std::string half;
  for (int i = 0; half.size() < 3 << 20; ++i) half += std::to_string(i * 7919) + " ";
  unsigned size = half.size();
  std::string bzip2(size, '\0');
  ASSERT_EQ(BZ2_bzBuffToBuffCompress(bzip2.data(), &size, half.data(), half.size(), 9, 0, 0), BZ_OK);
  bzip2.resize(size);
  size_t end = 0;
  std::string xz(half.size(), '\0');
  ASSERT_EQ(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC64, nullptr, reinterpret_cast<const uint8_t*>(half.data()),
                                    half.size(), reinterpret_cast<uint8_t*>(xz.data()), &end, xz.size()),
            LZMA_OK);
  xz.resize(end);
  for (const std::string& one : {bzip2, xz}) {
    EXPECT_EQ(*Decompress(one + one), half + half);
    EXPECT_EQ(Decompress(one + one.substr(0, one.size() - 1)).error().code, Code::kCorrupt);
    EXPECT_EQ(Decompress(one + "rubbish").error().code, Code::kCorrupt);
  }
}

TEST(Foreign, TarsAreRecognisedByContent) {
  std::string tar = Tar({{{.name = "f"}, "x"}});
  auto is_tar = [](const std::string& data) {
    StringReader in(data);
    return *IsTar(in);
  };
  EXPECT_TRUE(is_tar(tar));
  EXPECT_TRUE(is_tar(Compress(tar, Compression::kGzip)));
  EXPECT_TRUE(is_tar(Compress(tar, Compression::kZstd)));
  EXPECT_FALSE(is_tar(""));
  EXPECT_FALSE(is_tar("text"));
  EXPECT_FALSE(is_tar(kEnd)) << "moby asks for a first header";
  EXPECT_FALSE(is_tar(std::string(2000, 'x')));
  EXPECT_FALSE(is_tar(Compress("no tar", Compression::kGzip)));
  EXPECT_FALSE(is_tar(kBzip2Hello));
  EXPECT_FALSE(is_tar(tar.substr(0, 300)));
}

TEST(Foreign, ErrorsOfTheSourceAreNoAnswer) {
  struct Failing final : Reader {
    Result<size_t> Read(std::span<char>) override { return Unavailable("gone"); }
  } in;
  EXPECT_EQ(IsTar(in).error().code, Code::kUnavailable);
}

TEST(Foreign, CompressedTarsAreOneStreamOfEntries) {
  std::string data = Compress(Tar({{{.name = "f"}, "x"}, {{.name = "g"}, "yy"}}), Compression::kGzip);
  StringReader in(data);
  auto archive = *ForeignArchive::Open(in);
  EXPECT_EQ((**archive->tar().Next()).name, "f");
  EXPECT_EQ((**archive->tar().Next()).name, "g");
  EXPECT_EQ(*ReadAll(archive->tar().content(), 10), "yy");
  EXPECT_FALSE(*archive->tar().Next());
}

}  // namespace
}  // namespace varve::archive
