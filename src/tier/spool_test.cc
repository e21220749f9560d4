#include "tier/spool.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/thread_pool.h"
#include "sys/tempdir.h"

namespace varve::tier {
namespace {

std::string ReadFrom(const OpenAt& open, uint64_t offset) {
  auto reader = open(offset);
  if (!reader) return reader.error().message;
  std::string text;
  char buffer[7];
  while (true) {
    auto n = (*reader)->Read(buffer);
    if (!n) return n.error().message;
    if (*n == 0) return text;
    text.append(buffer, *n);
  }
}

TEST(Spool, BlobsAreReadFromAnyOffsetAndOutliveIt) {
  sys::TempDir directory = *sys::TempDir::Create(::testing::TempDir(), "spool-");
  std::vector<OpenAt> blobs(40);
  auto text_of = [](size_t i) { return std::string(1000 + i, static_cast<char>('a' + i % 26)); };
  {
    Spool spool(directory.path());
    ASSERT_TRUE(ParallelFor(blobs.size(), 8, [&](size_t i) -> Status {
      TRY_ASSIGN(blobs[i], spool.Add(text_of(i)));
      return Ok();
    }));
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path())) << "the file has no name";
  for (size_t i = 0; i < blobs.size(); ++i) {
    EXPECT_EQ(ReadFrom(blobs[i], 0), text_of(i));
    EXPECT_EQ(ReadFrom(blobs[i], 990), text_of(i).substr(990));
    EXPECT_EQ(ReadFrom(blobs[i], 5000), "");
  }
}

TEST(Spool, ADirectoryThatIsNotThereIsAnError) {
  Spool spool("/nowhere/at/all");
  EXPECT_FALSE(spool.Add("bytes"));
}

}  // namespace
}  // namespace varve::tier
