#include "chunk/tar_seam.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "archive/tar.h"
#include "base/io.h"

namespace varve::chunk {
namespace {

struct Parts {
  std::string headers, contents;
  size_t objects = 0;
};

Parts Split(std::string_view tar, size_t step = 1 << 20) {
  Parts parts;
  TarSeam seam;
  while (!tar.empty()) {
    std::string_view piece = tar.substr(0, step);
    size_t n;
    if (seam.contents() > 0) {
      n = std::min<uint64_t>(seam.contents(), piece.size());
      parts.contents += piece.substr(0, n);
      seam.TakeContents(n);
      if (seam.contents() == 0) ++parts.objects;
    } else {
      n = seam.TakeHeaders(piece);
      parts.headers += piece.substr(0, n);
    }
    tar.remove_prefix(n);
  }
  return parts;
}

std::string Tar(const std::vector<std::pair<archive::TarEntry, std::string>>& files) {
  StringWriter out;
  archive::TarWriter tar(out);
  for (const auto& [entry, content] : files) {
    EXPECT_TRUE(tar.Add(entry));
    EXPECT_TRUE(tar.Content(content));
  }
  EXPECT_TRUE(tar.Finish());
  return out.text;
}

TEST(TarSeam, ContentsAreApartFromHeadersAndPadding) {
  std::string tar = Tar({{{.name = "a", .mode = 0644, .size = 3}, "one"},
                         {{.name = "d/", .type = archive::EntryType::kDirectory, .mode = 0755}, ""},
                         {{.name = "empty", .mode = 0644}, ""},
                         {{.name = "b", .mode = 0644, .size = 600}, std::string(600, 'x')}});
  Parts parts = Split(tar);
  EXPECT_EQ(parts.contents, "one" + std::string(600, 'x'));
  EXPECT_EQ(parts.objects, 2u);
  EXPECT_EQ(parts.headers.size() + parts.contents.size(), tar.size());
}

TEST(TarSeam, PayloadsOfLongNamesAreHeaders) {
  std::string name(300, 'n');
  Parts parts = Split(Tar({{{.name = name, .mode = 0644, .size = 3}, "abc"}}));
  EXPECT_EQ(parts.contents, "abc");
  EXPECT_NE(parts.headers.find(name), std::string::npos);
}

TEST(TarSeam, TheSizesOfThePiecesDoNotMatter) {
  std::string tar = Tar({{{.name = std::string(200, 'n'), .mode = 0644, .size = 1000}, std::string(1000, 'y')},
                         {{.name = "b", .mode = 0644, .size = 2}, "no"}});
  Parts whole = Split(tar);
  for (size_t step : {1, 3, 511, 512, 513}) {
    Parts parts = Split(tar, step);
    EXPECT_EQ(parts.headers, whole.headers) << step;
    EXPECT_EQ(parts.contents, whole.contents) << step;
  }
}

TEST(TarSeam, WhatIsNoTarIsAllHeaders) {
  std::mt19937 random(1);
  std::string noise(10'000, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  EXPECT_EQ(Split(noise).headers, noise);
  EXPECT_EQ(Split(Tar({{{.name = "a", .mode = 0644, .size = 3}, "one"}}) + noise).contents, "one");
}

}  // namespace
}  // namespace varve::chunk
