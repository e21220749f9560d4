#include "sandbox/user.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/open.h"
#include "sys/tempdir.h"

namespace varve::sandbox {
namespace {

using ::testing::HasSubstr;

constexpr const char* kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "# comment\n"
    "broken line\n"
    "nonumber:x:a:b::/:\n"
    "app:x:1000:1001:App:/home/app:/bin/sh\n"
    "\n"
    "4000:x:7:8::/:\n"
    "short:x:9:10";
constexpr const char* kGroup =
    "root:x:0:\n"
    "wheel:x:10:root,app\n"
    "app:x:1001:\n"
    "video:x:44:app\n"
    "dup:x:10:app\n";

Result<User> Exec(std::string_view spec) { return ResolveExecUser(spec, kPasswd, kGroup); }

TEST(Passwd, BadLinesAreSkipped) {
  auto users = ParsePasswd(kPasswd);
  ASSERT_EQ(users.size(), 4u);
  EXPECT_EQ(users[1].name, "app");
  EXPECT_EQ(users[1].home, "/home/app");
  EXPECT_EQ(users[3].name, "short");
  EXPECT_EQ(HomeOf(1000, kPasswd), "/home/app");
  EXPECT_EQ(HomeOf(5, kPasswd), "");
}

TEST(ExecUser, EmptyIsRootWithItsGroups) {
  EXPECT_EQ(*Exec(""), (User{0, 0, {0, 10}}));
  EXPECT_EQ(*Exec("root"), (User{0, 0, {0, 10}}));
}

TEST(ExecUser, NamesBringGroups) { EXPECT_EQ(*Exec("app"), (User{1000, 1001, {10, 44, 1001}})); }

TEST(ExecUser, NumberAloneIsLookedUp) {
  EXPECT_EQ(*Exec("1000"), (User{1000, 1001, {10, 44, 1001}}));
  EXPECT_EQ(*Exec("555"), (User{555, 0, {0}}));
}

TEST(ExecUser, TwoNumbersAreUsedAsTheyAre) {
  EXPECT_EQ(*Exec("1000:5"), (User{1000, 5, {5}}));
  EXPECT_EQ(*ResolveExecUser("3:4", "", ""), (User{3, 4, {4}}));
}

TEST(ExecUser, GivenGroupReplacesAllOthers) {
  EXPECT_EQ(*Exec("app:video"), (User{1000, 44, {44}}));
  EXPECT_EQ(*Exec("app:7"), (User{1000, 7, {7}}));
  EXPECT_EQ(*Exec("555:wheel"), (User{555, 10, {10}}));
}

TEST(ExecUser, GroupAloneIsRootsGroup) { EXPECT_EQ(*Exec(":44"), (User{0, 44, {44}})); }

TEST(ExecUser, DigitsAreANumberNotAName) { EXPECT_EQ(Exec("4000")->uid, 4000u); }

TEST(ExecUser, UnknownNamesAreErrors) {
  auto user = Exec("nobody");
  ASSERT_FALSE(user);
  EXPECT_EQ(user.error().code, Code::kInvalid);
  EXPECT_THAT(user.error().message, HasSubstr("nobody"));
  EXPECT_FALSE(Exec("app:nogroup"));
  EXPECT_FALSE(Exec("-1"));
  EXPECT_FALSE(Exec("4294967295"));
  EXPECT_FALSE(Exec("a:b:c"));
}

TEST(ChownUser, NumberAloneIsBoth) {
  EXPECT_EQ(*ResolveChownUser("1000", kPasswd, kGroup), (User{1000, 1000, {}}));
  EXPECT_EQ(*ResolveChownUser("1000:44", kPasswd, kGroup), (User{1000, 44, {}}));
  EXPECT_EQ(*ResolveChownUser(":44", kPasswd, kGroup), (User{0, 44, {}}));
}

TEST(ChownUser, NamesComeFromTheFiles) {
  EXPECT_EQ(*ResolveChownUser("app", kPasswd, kGroup), (User{1000, 1001, {}}));
  EXPECT_EQ(*ResolveChownUser("app:video", kPasswd, kGroup), (User{1000, 44, {}}));
  EXPECT_EQ(*ResolveChownUser("55:wheel", kPasswd, kGroup), (User{55, 10, {}}));
}

TEST(ChownUser, UnknownNamesBecomeZeroAndAreReported) {
  std::optional<std::string> unknown;
  EXPECT_EQ(*ResolveChownUser("ghost", kPasswd, kGroup, &unknown), (User{0, 0, {}}));
  EXPECT_EQ(unknown, "ghost");
  unknown.reset();
  EXPECT_EQ(*ResolveChownUser("app:ghosts", "", "", &unknown), (User{0, 0, {}}));
  EXPECT_EQ(unknown, "app");
  unknown.reset();
  EXPECT_EQ(*ResolveChownUser("root:root", "", "", &unknown), (User{0, 0, {}}));
  EXPECT_EQ(unknown, std::nullopt);
  EXPECT_EQ(*ResolveChownUser("root:staff", "", "", &unknown), (User{0, 0, {}}));
  EXPECT_EQ(unknown, "staff");
  EXPECT_FALSE(ResolveChownUser("", kPasswd, kGroup));
}

TEST(RootFile, SymlinksStayInsideAndOddFilesAreEmpty) {
  auto dir = sys::TempDir::Create(testing::TempDir(), "user-");
  ASSERT_TRUE(dir);
  auto root = sys::OpenDir(dir->path());
  ASSERT_TRUE(root);
  EXPECT_EQ(*ReadRootFile(root->get(), "etc/passwd"), "");
  ASSERT_TRUE(sys::MkdirAll(dir->path() + "/etc"));
  ASSERT_TRUE(sys::MkdirAll(dir->path() + "/usr"));
  ASSERT_TRUE(WriteFileAtomically(dir->path() + "/usr/passwd", "u:x:5:6::/:\n"));
  ASSERT_EQ(symlink("/usr/passwd", (dir->path() + "/etc/passwd").c_str()), 0);
  ASSERT_EQ(mkfifo((dir->path() + "/etc/group").c_str(), 0644), 0);
  EXPECT_EQ(*ReadRootFile(root->get(), "etc/group"), "");
  EXPECT_EQ(*ResolveExecUser(root->get(), "u"), (User{5, 6, {6}}));
  EXPECT_EQ(*ResolveChownUser(root->get(), "u"), (User{5, 6, {}}));
}

TEST(RootFile, HugeFileIsRefused) {
  auto dir = sys::TempDir::Create(testing::TempDir(), "user-");
  ASSERT_TRUE(dir);
  auto root = sys::OpenDir(dir->path());
  auto file = OpenFile(dir->path() + "/passwd", O_CREAT | O_WRONLY);
  ASSERT_TRUE(root && file);
  ASSERT_EQ(ftruncate(file->get(), 100 << 20), 0);
  EXPECT_EQ(ReadRootFile(root->get(), "passwd").error().code, Code::kInvalid);
}

}  // namespace
}  // namespace varve::sandbox
