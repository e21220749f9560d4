#include "exec/emulation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/strings.h"

namespace varve::exec {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// As Debian's qemu-user-static registers itself: the exact bytes of its binfmt.d files.
sys::BinfmtHandler Handler(const std::string& name, const std::string& machine_bytes, bool big = false,
                           bool narrow = false) {
  std::string text = "enabled\ninterpreter /usr/bin/" + name + "-static\nflags: POF\noffset 0\nmagic ";
  text += std::string("7f454c46") + (narrow ? "01" : "02") + (big ? "02" : "01") + "01" + "000000000000000000" +
          (big ? "0002" : "0200") + machine_bytes;
  text += std::string("\nmask ffffffffffffff00ffffffffffffffff") + (big ? "fffe" : "feff") + "ffff\n";
  auto handler = sys::ParseBinfmtHandler(name, text);
  EXPECT_TRUE(handler) << text;
  return *handler;
}

sys::BinfmtMisc Registered(std::vector<sys::BinfmtHandler> handlers) {
  return {.supported = true, .enabled = true, .handlers = std::move(handlers)};
}

oci::Platform Of(const std::string& text) { return *oci::ParsePlatform(text); }

class EmulationTest : public testing::Test {
 protected:
  void SetUp() override {
    if (oci::HostPlatform().architecture != "amd64") GTEST_SKIP() << "written for an amd64 machine";
  }
};

TEST_F(EmulationTest, WhatRunsNativelyNeedsNothing) {
  for (const char* name : {"linux/amd64", "linux/amd64/v3", "linux/386"}) {
    EXPECT_TRUE(RunsNatively(Of(name))) << name;
    auto emulation = EmulationFor(Of(name), {});
    ASSERT_TRUE(emulation) << name;
    EXPECT_TRUE(emulation->interpreters.empty());
  }
}

TEST_F(EmulationTest, WhatIsForeignDoesNotRunNatively) {
  for (const char* name : {"linux/arm64", "linux/arm/v5", "windows/amd64", "freebsd/amd64"}) {
    EXPECT_FALSE(RunsNatively(Of(name))) << name;
  }
}

TEST_F(EmulationTest, EachHandlerIsRecognisedByTheProgramsThatItTakes) {
  struct Case {
    const char* platform;
    sys::BinfmtHandler handler;
  };
  std::vector<Case> cases = {{"linux/arm64", Handler("qemu-aarch64", "b700")},
                             {"linux/arm/v7", Handler("qemu-arm", "2800", false, true)},
                             {"linux/riscv64", Handler("qemu-riscv64", "f300")},
                             {"linux/ppc64le", Handler("qemu-ppc64le", "1500")},
                             {"linux/s390x", Handler("qemu-s390x", "0016", true)}};
  for (const Case& given : cases) {
    for (const Case& asked : cases) {
      bool same = &given == &asked;
      EXPECT_EQ(EmulationFor(Of(asked.platform), Registered({given.handler})).has_value(), same)
          << given.handler.name << " for " << asked.platform;
    }
  }
}

TEST_F(EmulationTest, AnInterpreterWithoutFlagFIsShownToTheStep) {
  sys::BinfmtHandler handler = Handler("qemu-aarch64", "b700");
  EXPECT_TRUE(EmulationFor(Of("linux/arm64"), Registered({handler}))->interpreters.empty());
  handler.fixed = false;
  handler.interpreter = "/bin/busybox";  // any static program
  EXPECT_THAT(EmulationFor(Of("linux/arm64"), Registered({handler}))->interpreters, ElementsAre("/bin/busybox"));
  handler.interpreter = "/bin/ls";
  auto dynamic = EmulationFor(Of("linux/arm64"), Registered({handler}));
  ASSERT_FALSE(dynamic);
  EXPECT_THAT(dynamic.error().message, HasSubstr("needs libraries of this machine"));
  handler.interpreter = "/nowhere/qemu";
  auto missing = EmulationFor(Of("linux/arm64"), Registered({handler}));
  ASSERT_FALSE(missing);
  EXPECT_THAT(missing.error().message, HasSubstr("/nowhere/qemu, which is not there"));
}

TEST_F(EmulationTest, ARefusalSaysWhatRunsAndWhatToDo) {
  auto refused = [](const std::string& platform, const sys::BinfmtMisc& binfmt) {
    auto emulation = EmulationFor(Of(platform), binfmt);
    return emulation ? "accepted" : emulation.error().message + " / " + emulation.error().hint;
  };
  EXPECT_THAT(refused("linux/mips64le", Registered({Handler("qemu-aarch64", "b700")})),
              HasSubstr("programs of linux/mips64le (it runs linux/amd64, linux/386, linux/arm64)"));
  EXPECT_THAT(refused("linux/loong64", Registered({})), HasSubstr("FROM --platform=$BUILDPLATFORM"));
  EXPECT_THAT(refused("linux/arm64", {}), HasSubstr("binfmt_misc cannot be read"));
  sys::BinfmtMisc off = Registered({Handler("qemu-aarch64", "b700")});
  off.handlers[0].enabled = false;
  EXPECT_THAT(refused("linux/arm64", off), HasSubstr("echo 1 > /proc/sys/fs/binfmt_misc/qemu-aarch64"));
  off.enabled = false;
  EXPECT_THAT(refused("linux/arm64", off), HasSubstr("echo 1 > /proc/sys/fs/binfmt_misc/status"));
  EXPECT_THAT(refused("windows/amd64", Registered({})), HasSubstr("windows/amd64"));
}

}  // namespace
}  // namespace varve::exec
