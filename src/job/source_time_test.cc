#include "job/source_time.h"

#include <gtest/gtest.h>

#include "archive/codec.h"
#include "archive/tar.h"

namespace varve::job {
namespace {

using archive::EntryType;

std::string Tar(const std::vector<archive::TarEntry>& entries) {
  StringWriter out;
  archive::TarWriter writer(out);
  for (const archive::TarEntry& entry : entries) EXPECT_TRUE(writer.Add(entry));
  EXPECT_TRUE(writer.Finish());
  return out.text;
}

archive::TarEntry At(const std::string& name, int64_t seconds, EntryType type = EntryType::kFile) {
  return {.name = name, .type = type, .mode = 0644, .mtime = {seconds * 1'000'000'000}};
}

std::optional<int64_t> Newest(const std::string& bytes) {
  StringReader in(bytes);
  auto time = NewestFileTime(in, {});
  EXPECT_TRUE(time) << time.error().ToString();
  return time.value_or(std::nullopt);
}

TEST(NewestFileTime, IsOfTheRegularFilesAlone) {
  std::string tar = Tar({At("a", 100), At("b", 300), At("c", 200), At("d/", 900, EntryType::kDirectory)});
  EXPECT_EQ(Newest(tar), 300);
  StringWriter packed;
  auto gzip = *archive::MakeCompressor(packed, archive::Compression::kGzip);
  ASSERT_TRUE(gzip->Write(tar));
  ASSERT_TRUE(gzip->Finish());
  EXPECT_EQ(Newest(packed.text), 300);
  EXPECT_EQ(Newest(packed.text.substr(0, packed.text.size() / 2)), std::nullopt);
}

TEST(NewestFileTime, OtherFilesHaveNone) {
  EXPECT_EQ(Newest("FROM scratch\n"), std::nullopt);
  EXPECT_EQ(Newest(""), std::nullopt);
  EXPECT_EQ(Newest(Tar({At("d/", 900, EntryType::kDirectory)})), std::nullopt);
}

}  // namespace
}  // namespace varve::job
