#include "sys/direct_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/fd.h"
#include "sys/tempdir.h"

namespace varve::sys {
namespace {

std::string Bytes(size_t size) {
  std::string bytes(size, '\0');
  uint64_t state = 1;
  for (char& byte : bytes) {
    state = state * 6364136223846793005 + 1442695040888963407;
    byte = static_cast<char>(state >> 56);
  }
  return bytes;
}

// Writes in pieces of `piece` bytes and reads the file.
std::string WrittenInPieces(const std::string& path, std::string_view bytes, size_t piece) {
  Fd fd = *OpenFile(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  DirectWriter out(fd.get());
  for (; !bytes.empty(); bytes.remove_prefix(std::min(piece, bytes.size()))) {
    EXPECT_TRUE(out.Write(bytes.substr(0, piece)));
  }
  EXPECT_TRUE(out.Finish());
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & O_DIRECT, 0);
  return *ReadFile(path, 1 << 30);
}

class DirectWriterTest : public testing::TestWithParam<const char*> {};

// /dev/shm is a tmpfs, which some kernels refuse to write to directly.
INSTANTIATE_TEST_SUITE_P(FileSystems, DirectWriterTest, testing::Values("/var/tmp", "/dev/shm"));

TEST_P(DirectWriterTest, FilesOfAnySizeArriveWhole) {
  auto directory = TempDir::Create(GetParam(), "direct-");
  if (!directory) GTEST_SKIP() << GetParam() << ": " << directory.error().message;
  const std::string bytes = Bytes(20 << 20);
  std::string path = directory->path() + "/file";
  for (size_t size : {size_t{0}, size_t{1}, size_t{4096}, size_t{2 << 20}, size_t{8 << 20}, size_t{(8 << 20) + 1},
                      size_t{(10 << 20) + 4096}, size_t{(12 << 20) - 1}, bytes.size()}) {
    EXPECT_TRUE(WrittenInPieces(path, std::string_view(bytes).substr(0, size), 700'001) == bytes.substr(0, size))
        << size;
  }
}

TEST_P(DirectWriterTest, PiecesMayBeLargerThanItsBuffer) {
  auto directory = TempDir::Create(GetParam(), "direct-");
  if (!directory) GTEST_SKIP() << GetParam() << ": " << directory.error().message;
  const std::string bytes = Bytes((17 << 20) + 123);
  EXPECT_TRUE(WrittenInPieces(directory->path() + "/file", bytes, bytes.size()) == bytes);
}

TEST(DirectWriter, FailsAsWriteDoes) {
  Fd full = *OpenFile("/dev/full", O_WRONLY);
  DirectWriter out(full.get());
  Status status = out.Write(Bytes(3 << 20));
  EXPECT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kResource);
}

}  // namespace
}  // namespace varve::sys
