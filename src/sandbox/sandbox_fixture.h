// A root file system of busybox, for tests that run something in it with each runtime.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "base/strings.h"
#include "sandbox/sandbox.h"
#include "sys/open.h"
#include "sys/tempdir.h"

namespace varve::sandbox {

inline constexpr const char* kBusybox = "/bin/busybox";

class SandboxTest : public testing::TestWithParam<RuntimeKind> {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (access(kBusybox, X_OK) != 0) GTEST_SKIP() << "needs the package busybox-static";
    const char* name = GetParam() == RuntimeKind::kCrun ? "crun" : "runc";
    auto path = sys::FindProgram(name);
    if (!path) GTEST_SKIP() << "needs " << name;
    runtime_ = {GetParam(), *path};

    auto dir = sys::TempDir::Create(testing::TempDir(), "sandbox-");
    ASSERT_TRUE(dir);
    dir_ = std::move(*dir);
    chmod(dir_.path().c_str(), 0755);
    state_ = dir_.path() + "/state";
    spec_.rootfs = dir_.path() + "/rootfs";
    ASSERT_TRUE(sys::MkdirAll(spec_.rootfs + "/bin"));
    std::filesystem::copy_file(kBusybox, spec_.rootfs + "/bin/busybox");
    for (const char* applet : {"sh", "cat", "ls", "id", "sleep", "mknod", "hostname", "grep", "stty", "mkdir", "rm",
                               "true", "touch", "mount", "ip", "pwd", "dd"}) {
      std::filesystem::create_symlink("busybox", spec_.rootfs + "/bin/" + applet);
    }
  }

  Result<Outcome> Shell(const std::string& script, std::stop_token stop = {}) {
    spec_.args = {"/bin/sh", "-c", script};
    out_.clear();
    err_.clear();
    return RunWith(
        runtime_, spec_, state_,
        [this](sys::Stream stream, std::string_view chunk) { (stream == sys::Stream::kStdout ? out_ : err_) += chunk; },
        stop);
  }

  // Runs and expects success; the output.
  std::string Output(const std::string& script) {
    auto outcome = Shell(script);
    if (!outcome) {
      ADD_FAILURE() << outcome.error().ToString();
      return {};
    }
    EXPECT_EQ(outcome->exit_code, 0) << out_ << err_;
    return out_;
  }

  std::vector<std::string> Names(const std::string& directory) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory)) {
      names.push_back(entry.path().filename());
    }
    std::ranges::sort(names);
    return names;
  }

  // What is left of runs in the state directory and in the runtime's part of it; the compiled
  // system-call filter is no such thing.
  std::vector<std::string> Leftovers() {
    std::vector<std::string> names = Names(state_);
    std::erase(names, "runtime");
    for (std::string& name : Names(state_ + "/runtime")) {
      if (!name.starts_with(".") && !name.starts_with("seccomp-")) names.push_back("runtime/" + name);
    }
    return names;
  }

  // Those that runc made for a process's steps.
  static std::vector<std::string> CgroupsOf(pid_t pid) {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator("/sys/fs/cgroup")) {
      std::string name = entry.path().filename();
      if (name.starts_with("varve-") && name.find(fmt::format("-{}-", pid)) != name.npos) {
        found.push_back(entry.path());
      }
    }
    return found;
  }

  sys::TempDir dir_;
  std::string state_, out_, err_;
  Runtime runtime_;
  Spec spec_;
};

}  // namespace varve::sandbox
