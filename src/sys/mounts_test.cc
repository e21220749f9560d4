#include "sys/mounts.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <latch>
#include <thread>

#include "sys/namespace.h"
#include "sys/open.h"
#include "sys/overlay.h"
#include "sys/probe.h"
#include "sys/process.h"
#include "sys/remove.h"
#include "sys/tempdir.h"

namespace varve::sys {
namespace {

// Empty: a child of this test can enter a user namespace.
std::string WhyNoUserNamespace() {
#ifdef __SANITIZE_THREAD__
  return "a process with threads, here ThreadSanitizer's, cannot enter a user namespace";
#else
  return UserNamespacesUsable() ? "" : "needs user namespaces";
#endif
}

// Each test mounts in a child process with a private mount namespace, whatever the machine allows
// the test itself.
void InPrivateNamespace(const std::function<void()>& body) {
  pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    Status entered = EnterPrivateMountNamespace();
    EXPECT_TRUE(entered) << entered.error().ToString();
    body();
    _exit(testing::Test::HasFailure() ? 1 : 0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0) << "see the failures above";
}

class MountsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!CanMount()) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
    auto dir = TempDir::Create(testing::TempDir(), "mounts-");
    ASSERT_TRUE(dir);
    dir_ = std::move(*dir);
    for (const char* name : {"upper", "work", "target", "source"}) ASSERT_TRUE(MkdirAll(Path(name)));
  }
  std::string Path(const std::string& name) { return dir_.path() + "/" + name; }
  std::string Lower(int i) {
    std::string path = Path("lower" + std::to_string(i));
    EXPECT_TRUE(MkdirAll(path));
    EXPECT_TRUE(WriteFileAtomically(fmt::format("{}/f{}", path, i), std::to_string(i)));
    EXPECT_TRUE(WriteFileAtomically(path + "/shared", std::to_string(i)));
    return path;
  }
  bool Writable(const std::string& directory) { return OpenFile(directory + "/probe", O_CREAT | O_WRONLY).has_value(); }
  TempDir dir_;
};

TEST_F(MountsTest, AChildThatFollowsSeesWhatIsMountedLaterBelowASharedMount) {
  InPrivateNamespace([&] {
    auto shared = MountTmpfs(Path("target"));
    ASSERT_TRUE(shared) << shared.error().ToString();
    ASSERT_TRUE(ShareMount(Path("target")));
    ASSERT_TRUE(MkdirAll(Path("target/later")));
    int lines[2];
    ASSERT_EQ(pipe2(lines, O_CLOEXEC), 0);
    for (bool follows : {true, false}) {
      SpawnSpec spec{.argv = {"sh", "-c", fmt::format("read x; ls {0}; read x; ls {0}", Path("target/later"))}};
      spec.stdin_fd = lines[0];
      spec.new_namespaces = CLONE_NEWNS;
      spec.follow_mounts = follows;
      auto child = PipedChild::Start(spec);
      ASSERT_TRUE(child) << child.error().ToString();
      auto later = MountTmpfs(Path("target/later"));
      ASSERT_TRUE(later) << later.error().ToString();
      ASSERT_TRUE(OpenFile(Path("target/later/there"), O_CREAT | O_WRONLY));
      ASSERT_EQ(write(lines[1], "\n", 1), 1);
      std::string text;
      bool asked = false;
      auto on_output = [&](Stream, std::string_view chunk) {
        text += chunk;
        if (std::exchange(asked, true)) return;
        EXPECT_TRUE(later->Unmount());
        EXPECT_EQ(write(lines[1], "\n", 1), 1);
      };
      if (!follows) {
        ASSERT_EQ(write(lines[1], "\n", 1), 1);  // it has nothing to say
      }
      ASSERT_TRUE(child->Follow(on_output));
      EXPECT_EQ(text, follows ? "there\n" : "");
    }
  });
}

TEST_F(MountsTest, BindIsReadOnlyWhenAskedAndUnmountsWithItsOwner) {
  InPrivateNamespace([&] {
    ASSERT_TRUE(WriteFileAtomically(Path("source/f"), "x"));
    {
      BindOptions options;
      options.read_only = true;
      auto mount = BindMount(Path("source"), Path("target"), options);
      ASSERT_TRUE(mount) << mount.error().ToString();
      EXPECT_EQ(*ReadFile(Path("target/f")), "x");
      EXPECT_FALSE(Writable(Path("target")));
      EXPECT_TRUE(Writable(Path("source")));
    }
    EXPECT_FALSE(std::filesystem::exists(Path("target/f")));
  });
}

TEST_F(MountsTest, RecursiveReadOnlyCoversInnerMounts) {
  InPrivateNamespace([&] {
    ASSERT_TRUE(MkdirAll(Path("source/inner")));
    auto inner = MountTmpfs(Path("source/inner"));
    ASSERT_TRUE(inner);
    BindOptions options;
    options.read_only = options.recursive = true;
    auto mount = BindMount(Path("source"), Path("target"), options);
    ASSERT_TRUE(mount) << mount.error().ToString();
    EXPECT_FALSE(Writable(Path("target/inner")));
    EXPECT_TRUE(Writable(Path("source/inner")));
  });
}

TEST_F(MountsTest, RemoveAllStopsAtAMount) {
  InPrivateNamespace([&] {
    ASSERT_TRUE(MkdirAll(Path("source/inner")));
    auto inner = MountTmpfs(Path("source/inner"));
    ASSERT_TRUE(inner);
    ASSERT_TRUE(WriteFileAtomically(Path("source/inner/keep"), "x"));
    EXPECT_FALSE(RemoveAll(Path("source")));
    EXPECT_TRUE(std::filesystem::exists(Path("source/inner/keep")));
  });
}

class OverlayTest : public MountsTest, public testing::WithParamInterface<OverlayApi> {
 protected:
  OverlaySpec Stack(int lowers, bool writable) {
    OverlaySpec spec;
    for (int i = 0; i < lowers; ++i) spec.lowers.push_back(Lower(i));
    if (writable) {
      spec.upper = Path("upper");
      spec.work = Path("work");
    }
    spec.api = GetParam();
    return spec;
  }
  // fsconfig's lowerdir+ is newer than some kernels that varve runs on.
  bool Unsupported() { return GetParam() == OverlayApi::kFsconfig && GetKernelVersion() < KernelVersion{6, 5}; }
};

TEST_P(OverlayTest, TopmostLayerWinsAndWritesGoToUpper) {
  if (Unsupported()) GTEST_SKIP() << "needs Linux 6.5";
  InPrivateNamespace([&] {
    auto mount = MountOverlay(Stack(3, true), Path("target"));
    ASSERT_TRUE(mount) << mount.error().ToString();
    EXPECT_EQ(*ReadFile(Path("target/shared")), "0");
    EXPECT_EQ(*ReadFile(Path("target/f2")), "2");
    EXPECT_TRUE(Writable(Path("target")));
    EXPECT_TRUE(std::filesystem::exists(Path("upper/probe")));
    ASSERT_EQ(unlink(Path("target/f1").c_str()), 0);
    struct stat st;
    ASSERT_EQ(lstat(Path("upper/f1").c_str(), &st), 0);
    EXPECT_TRUE(S_ISCHR(st.st_mode) && st.st_rdev == 0);
  });
}

TEST_P(OverlayTest, WithoutUpperItIsReadOnly) {
  if (Unsupported()) GTEST_SKIP() << "needs Linux 6.5";
  InPrivateNamespace([&] {
    auto mount = MountOverlay(Stack(2, false), Path("target"));
    ASSERT_TRUE(mount) << mount.error().ToString();
    EXPECT_EQ(*ReadFile(Path("target/f1")), "1");
    EXPECT_FALSE(Writable(Path("target")));
  });
}

TEST_P(OverlayTest, HundredsOfLayers) {
  if (Unsupported()) GTEST_SKIP() << "needs Linux 6.5";
  const int count = GetParam() == OverlayApi::kOptions ? 150 : 400;
  InPrivateNamespace([&] {
    auto mount = MountOverlay(Stack(count, true), Path("target"));
    ASSERT_TRUE(mount) << mount.error().ToString();
    EXPECT_EQ(*ReadFile(fmt::format("{}/f{}", Path("target"), count - 1)), std::to_string(count - 1));
    EXPECT_EQ(*ReadFile(Path("target/shared")), "0");
  });
}

TEST_P(OverlayTest, DegenerateStacks) {
  if (Unsupported()) GTEST_SKIP() << "needs Linux 6.5";
  InPrivateNamespace([&] {
    {
      auto one = MountOverlay(Stack(1, false), Path("target"));
      ASSERT_TRUE(one) << one.error().ToString();
      EXPECT_EQ(*ReadFile(Path("target/f0")), "0");
      EXPECT_FALSE(Writable(Path("target")));
    }
    {
      auto none = MountOverlay(Stack(0, false), Path("target"));
      ASSERT_TRUE(none) << none.error().ToString();
      EXPECT_TRUE(std::filesystem::is_empty(Path("target")));
      EXPECT_FALSE(Writable(Path("target")));
    }
    auto upper_only = MountOverlay(Stack(0, true), Path("target"));
    ASSERT_TRUE(upper_only) << upper_only.error().ToString();
    EXPECT_TRUE(Writable(Path("target")));
    EXPECT_TRUE(std::filesystem::exists(Path("upper/probe")));
  });
}

TEST_P(OverlayTest, VolatileMountWorksAndMissingLayerIsNamed) {
  if (Unsupported()) GTEST_SKIP() << "needs Linux 6.5";
  InPrivateNamespace([&] {
    OverlaySpec spec = Stack(2, true);
    spec.volatile_upper = true;
    {
      auto mount = MountOverlay(spec, Path("target"));
      ASSERT_TRUE(mount) << mount.error().ToString();
    }
    spec = Stack(2, false);
    spec.lowers.push_back(Path("absent"));
    auto mount = MountOverlay(spec, Path("target"));
    ASSERT_FALSE(mount);
    EXPECT_THAT(mount.error().message, testing::HasSubstr("absent"));
  });
}

INSTANTIATE_TEST_SUITE_P(Apis, OverlayTest, testing::Values(OverlayApi::kFsconfig, OverlayApi::kOptions),
                         [](const testing::TestParamInfo<OverlayApi>& api) {
                           return api.param == OverlayApi::kFsconfig ? "fsconfig" : "options";
                         });

TEST_F(MountsTest, OverlayLimitIsAnError) {
  OverlaySpec spec;
  spec.lowers.assign(kMaxOverlayLowers + 1, "/");
  auto mount = MountOverlay(spec, Path("target"));
  ASSERT_FALSE(mount);
  EXPECT_EQ(mount.error().code, Code::kInvalid);
}

TEST_F(MountsTest, ADeferredNamespaceIsOfTheThreadThatEntersAndOfThoseThatItStarts) {
  if (!CanMount()) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    const std::string target = Path("target");
    auto can_mount = [&] { return MountTmpfs(target, 4096, 0755, {}).has_value(); };
    DeferPrivateMountNamespace();
    bool good = !can_mount();
    std::latch entered(1);
    bool could_outside = true;
    std::thread outside([&] {
      entered.wait();
      could_outside = can_mount();
    });
    good = good && EnterDeferredMountNamespace() && EnterDeferredMountNamespace() && can_mount();
    bool could_inside = false;
    std::thread([&] { could_inside = can_mount(); }).join();
    entered.count_down();
    outside.join();
    _exit(good && could_inside && !could_outside ? 0 : 1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(MountsTest, UserNamespaceCanMount) {
  if (!WhyNoUserNamespace().empty()) GTEST_SKIP() << WhyNoUserNamespace();
  pid_t pid = fork();
  if (pid == 0) {
    Status entered = EnterUserNamespace();
    bool good = entered && InUserNamespace() && CanMount() && MountTmpfs(Path("target")).has_value();
    _exit(good ? 0 : 1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(SubordinateIds, AreTheUsersRangesByNameOrNumber) {
  constexpr std::string_view kText =
      "root:1:1\nada:100000:65536\n\n# no comment exists\n1001:200000:10\nada:bad:1\nada:5\n"
      "adab:9:9\nada:300000:0\n ada:400000:5 \n";
  EXPECT_EQ(ParseSubordinateIds(kText, "ada", 1001),
            (std::vector<IdRange>{{100000, 65536}, {200000, 10}, {400000, 5}}));
  EXPECT_TRUE(ParseSubordinateIds(kText, "nobody", 65534).empty());
  EXPECT_TRUE(ParseSubordinateIds("", "ada", 1001).empty());
}

TEST(OwnerError, IsAnOrdinaryErrorOnTheHost) {
  if (InUserNamespace()) GTEST_SKIP() << "is in a user namespace";
  EXPECT_EQ(OwnerError(EPERM, "chown x", 1, 1).message, ErrnoError(EPERM, "chown x").message);
}

TEST_F(MountsTest, AnOwnerThatANamespaceLacksIsSaidSo) {
  if (!WhyNoUserNamespace().empty()) GTEST_SKIP() << WhyNoUserNamespace();
  pid_t pid = fork();
  if (pid == 0) {
    bool dropped =
        setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0;
    bool entered = EnterUserNamespace().has_value();
    Error error = OwnerError(EINVAL, "chown x", 5, 6);
    _exit(dropped && entered && geteuid() == 0 && MappedIds() >= 1 && error.code == Code::kInvalid &&
                  error.message.find("5:6") != error.message.npos && !error.hint.empty()
              ? 0
              : 1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST_F(MountsTest, OverlayProbeLeavesNothing) {
  InPrivateNamespace([&] {
    (void)OverlayUsable(Path("source"));
    EXPECT_TRUE(std::filesystem::is_empty(Path("source")));
  });
}

}  // namespace
}  // namespace varve::sys
