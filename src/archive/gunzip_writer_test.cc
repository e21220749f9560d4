#include "archive/gunzip_writer.h"

#include <gtest/gtest.h>

#include "archive/codec.h"

namespace varve::archive {
namespace {

std::string Gzip(std::string_view text) {
  StringWriter out;
  auto compressor = MakeCompressor(out, Compression::kGzip).value();
  EXPECT_TRUE(compressor->Write(text));
  EXPECT_TRUE(compressor->Finish());
  return out.text;
}

// What it unpacks to when it comes in pieces of that size, or the error.
std::string Unpacked(std::string_view packed, size_t piece) {
  StringWriter out;
  GunzipWriter gunzip(out);
  for (size_t at = 0; at < packed.size(); at += piece) {
    if (Status written = gunzip.Write(packed.substr(at, piece)); !written) return written.error().message;
  }
  Status finished = gunzip.Finish();
  return finished ? out.text : finished.error().message;
}

TEST(GunzipWriter, UnpacksPiecesOfAnySize) {
  std::string text;
  for (int i = 0; i < 50'000; ++i) text += std::to_string(i) + " ";
  text += std::string(1'000'000, 'x');
  const std::string packed = Gzip(text);
  for (size_t piece : {size_t{1}, size_t{1000}, packed.size()}) EXPECT_TRUE(Unpacked(packed, piece) == text) << piece;
}

TEST(GunzipWriter, SeveralMembersAreOneStream) {
  for (size_t piece : {1, 7, 1000}) EXPECT_EQ(Unpacked(Gzip("one ") + Gzip("") + Gzip("two"), piece), "one two");
}

TEST(GunzipWriter, WhatIsCutOrNoGzipIsCorrupt) {
  const std::string packed = Gzip("some text");
  EXPECT_EQ(Unpacked(packed.substr(0, packed.size() - 1), 5), "its gzip ends too early");
  EXPECT_EQ(Unpacked("", 5), "its gzip ends too early");
  EXPECT_EQ(Unpacked("plain text", 5), "it is no gzip, or damaged");
  EXPECT_EQ(Unpacked(packed + "trailer", 100), "it is no gzip, or damaged");
}

}  // namespace
}  // namespace varve::archive
