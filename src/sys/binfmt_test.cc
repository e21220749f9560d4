#include "sys/binfmt.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sys/process.h"

namespace varve::sys {
namespace {

using ::testing::HasSubstr;

// As kernel 6.1 prints Debian's entry.
constexpr std::string_view kAarch64 =
    "enabled\n"
    "interpreter /usr/libexec/qemu-binfmt/aarch64-binfmt-P\n"
    "flags: POF\n"
    "offset 0\n"
    "magic 7f454c460201010000000000000000000200b700\n"
    "mask ffffffffffffff00fffffffffffffffffeffffff\n";

TEST(Binfmt, AnEntrySaysWhatItTakesAndWhereItsInterpreterIs) {
  BinfmtHandler handler = *ParseBinfmtHandler("qemu-aarch64", kAarch64);
  EXPECT_TRUE(handler.enabled);
  EXPECT_TRUE(handler.fixed);
  EXPECT_EQ(handler.interpreter, "/usr/libexec/qemu-binfmt/aarch64-binfmt-P");
  std::string program(
      "\x7f"
      "ELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0",
      20);
  EXPECT_TRUE(handler.Takes(program));
  program[16] = 3;  // position independent: the mask lets it through
  EXPECT_TRUE(handler.Takes(program));
  program[18] = '\x3e';
  EXPECT_FALSE(handler.Takes(program));
  EXPECT_FALSE(
      handler.Takes("\x7f"
                    "ELF"));
}

TEST(Binfmt, EntriesWithoutMaskFlagsOrMagicAreRead) {
  BinfmtHandler plain = *ParseBinfmtHandler("x", "disabled\ninterpreter /bin/x\nflags: \noffset 2\nmagic 4142\n");
  EXPECT_FALSE(plain.enabled);
  EXPECT_FALSE(plain.fixed);
  EXPECT_TRUE(plain.Takes("..AB"));
  EXPECT_FALSE(plain.Takes("AB.."));
  BinfmtHandler extension = *ParseBinfmtHandler("x", "enabled\ninterpreter /bin/x\nflags: \nextension .exe\n");
  EXPECT_FALSE(extension.Takes("MZ"));
  EXPECT_FALSE(ParseBinfmtHandler("x", "nonsense"));
  EXPECT_FALSE(ParseBinfmtHandler("x", ""));
  EXPECT_FALSE(ParseBinfmtHandler("x", "enabled\nmagic 4142\nmask ff\n"));
  EXPECT_FALSE(ParseBinfmtHandler("x", "enabled\nmagic 4z\n"));
}

TEST(Binfmt, TheKernelsOwnListCanBeReadWithoutAMountPoint) {
  if (geteuid() != 0) GTEST_SKIP() << "opening binfmt_misc needs root";
  BinfmtMisc misc = ReadBinfmtMisc();
  if (!misc.supported) GTEST_SKIP() << "this kernel has no binfmt_misc";
  EXPECT_TRUE(misc.enabled);
  for (const BinfmtHandler& handler : misc.handlers) EXPECT_THAT(handler.interpreter, HasSubstr("/"));
}

TEST(Binfmt, ALoaderIsWhatMakesAProgramDynamic) {
  EXPECT_TRUE(*IsDynamicallyLinked("/bin/ls"));
  EXPECT_FALSE(*IsDynamicallyLinked("/bin/busybox"));
  EXPECT_FALSE(IsDynamicallyLinked("/etc/passwd"));
  EXPECT_FALSE(IsDynamicallyLinked("/nowhere"));
}

}  // namespace
}  // namespace varve::sys
