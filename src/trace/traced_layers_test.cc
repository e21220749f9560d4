// Real mounts, real programs: what the kernel asks of a traced layer below an overlay.
#include "trace/traced_layers.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/strings.h"
#include "sys/namespace.h"
#include "sys/overlay.h"
#include "sys/tempdir.h"

namespace varve::trace {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using tree::FacetNames;
using tree::kAbsent;
using tree::kContent;
using tree::kStat;
using tree::Question;

class PrivateMounts : public testing::Environment {
  void SetUp() override { (void)sys::EnterPrivateMountNamespace().has_value(); }
};
[[maybe_unused]] const auto* const kPrivate = testing::AddGlobalTestEnvironment(new PrivateMounts);

struct TracedLayersTest : testing::Test {
  void SetUp() override {
    if (!sys::CanMount() || access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "FUSE cannot be mounted here";
    for (const char* name : {"base", "layer", "top", "fuse", "upper", "work", "merged"})
      Shell(std::string("mkdir ") + name);
    Shell(
        "mkdir -p layer/app/lib layer/app/docs && cd layer/app && printf a > a.txt && printf b > b.txt && "
        "printf c > lib/c.txt && printf d > docs/d.txt && : > empty && ln -s a.txt link && "
        "printf '#!/bin/sh\\necho ran\\n' > tool && chmod 755 tool && cp /bin/busybox bb 2>/dev/null || true");
    Shell("mkdir -p base/etc && echo base > base/etc/base.txt");
  }
  void TearDown() override { merged_ = sys::Mount(); }

  void Shell(const std::string& command) {
    std::string whole = "cd " + root() + " && " + command;
    EXPECT_EQ(std::system(whole.c_str()), 0) << command;
  }
  std::string root() const { return directory_.path(); }
  std::string merged() const { return root() + "/merged"; }

  void Stack(bool has_xattrs = false) {
    auto traced = TracedLayers::Mount({{root() + "/layer", has_xattrs}}, root() + "/fuse");
    ASSERT_TRUE(traced) << traced.error().ToString();
    traced_ = std::move(*traced);
    sys::OverlaySpec spec{.lowers = {root() + "/top", traced_->Directory(0), root() + "/base"},
                          .upper = root() + "/upper",
                          .work = root() + "/work",
                          .volatile_upper = true};
    spec.xino = true;
    auto mount = sys::MountOverlay(spec, merged());
    ASSERT_TRUE(mount) << mount.error().ToString();
    merged_ = std::move(*mount);
  }

  // What was asked below app/, as "path: facets".
  std::vector<std::string> Finish() {
    EXPECT_TRUE(merged_.Unmount());
    auto asked = traced_->Finish();
    EXPECT_TRUE(asked) << asked.error().ToString();
    std::vector<std::string> lines;
    for (const Question& question : asked ? (*asked)[0] : std::vector<Question>()) {
      if (question.path.starts_with("app/") || (question.path == "app" && question.facets != kStat)) {
        lines.push_back(question.path + ": " + FacetNames(question.facets));
      }
    }
    return lines;
  }
  std::vector<std::string> AskedBy(const std::string& command) {
    Stack();
    Shell("cd merged && " + command);
    return Finish();
  }

  sys::TempDir directory_ = *sys::TempDir::Create(testing::TempDir(), "traced-");
  std::unique_ptr<TracedLayers> traced_;
  sys::Mount merged_;
};

TEST_F(TracedLayersTest, MountingAloneAsksNothingBelow) { EXPECT_THAT(AskedBy("true"), IsEmpty()); }

TEST_F(TracedLayersTest, AReadIsTheContent) {
  EXPECT_THAT(AskedBy("test \"$(cat app/a.txt)\" = a"), ElementsAre("app/a.txt: stat, content"));
}

TEST_F(TracedLayersTest, TheContentOfAnEmptyFileIsItsSize) {
  EXPECT_THAT(AskedBy("cat app/empty"), ElementsAre("app/empty: stat"));
}

TEST_F(TracedLayersTest, ATestIsAStatAndAMissingNameIsAbsent) {
  EXPECT_THAT(AskedBy("test -f app/a.txt; ! test -e app/none; ! test -e app/lib/none/deeper"),
              ElementsAre("app/a.txt: stat", "app/lib: stat", "app/lib/none: absent", "app/none: absent"));
}

// As many questions as the server answers one by one.
constexpr const char* kAskMuch = "find app/many -size +1k > /dev/null; ";

TEST_F(TracedLayersTest, OfAStepThatAsksMuchAListingIsAStatOfAllThatItNames) {
  Shell("mkdir layer/app/many && cd layer/app/many && seq 2100 | xargs touch");
  std::vector<std::string> lines = AskedBy(std::string(kAskMuch) + "ls -U app/docs > /dev/null");
  EXPECT_THAT(lines, AllOf(Contains("app/many/2100: stat"), Contains("app/docs: stat, list"),
                           Contains("app/docs/d.txt: stat")));
  EXPECT_THAT(lines, Not(Contains("app/lib/c.txt: stat")));
}

TEST_F(TracedLayersTest, OfAStepThatAsksMuchAReadIsOneOfTheFilesBehindIt) {
  Shell("mkdir layer/app/many && cd layer/app/many && seq 2100 | xargs touch");
  Shell("mkdir layer/app/texts && cd layer/app/texts && for i in 1 2 3 4 5 6 7 8 9; do echo text $i > t$i; done");
  std::vector<std::string> lines =
      AskedBy(std::string(kAskMuch) + "ls -U app/texts > /dev/null; cat app/texts/t2 > /dev/null");
  EXPECT_THAT(lines, IsSupersetOf({"app/texts/t2: stat, content", "app/texts/t3: stat, content",
                                   "app/texts/t6: stat, content"}));
  EXPECT_THAT(lines, IsSupersetOf({"app/texts/t1: stat", "app/texts/t7: stat"})) << "four at first";
}

// Reads that wait for their answer while the same page is given unasked.
TEST_F(TracedLayersTest, ManyReadersOfManyFilesReadWhatIsThere) {
  Shell(
      "mkdir layer/app/many && cd layer/app/many && for d in a b c d; do mkdir $d && "
      "for i in $(seq 600); do echo \"$d $i\" > $d/$i; done; done; find . -type f | sort | xargs cat | sort | md5sum > "
      "../../../expected");
  Stack();
  Shell("cd merged/app/many && find . -type f | xargs -n 7 -P 8 cat | sort | md5sum | cmp - ../../../expected");
  std::vector<std::string> lines = Finish();
  EXPECT_EQ(std::ranges::count_if(lines, [](const auto& line) { return line.ends_with(": stat, content"); }), 2400);
}

TEST_F(TracedLayersTest, OfAStepThatAsksMuchNothingIsMissing) {
  Shell("mkdir layer/app/many && cd layer/app/many && seq 2100 | xargs touch");
  EXPECT_THAT(AskedBy(std::string(kAskMuch) +
                      "ls -lU app/docs app > /dev/null; cat app/docs/d.txt app/lib/c.txt app/link > /dev/null; "
                      "! test -e app/docs/none; ! test -e app/lib/none; test -x app/tool"),
              IsSupersetOf({"app/a.txt: stat, content", "app/docs/d.txt: stat, content", "app/docs/none: absent",
                            "app/lib/c.txt: stat, content", "app/lib/none: absent", "app/link: stat, link",
                            "app/tool: stat, content"}));
}

TEST_F(TracedLayersTest, AListingIsTheNamesAndNothingOfWhatTheyName) {
  EXPECT_THAT(AskedBy("/bin/ls -U app > /dev/null"), ElementsAre("app: stat, list"));
}

// For stable inode numbers (xino) overlayfs looks up what it lists in a directory of several layers.
TEST_F(TracedLayersTest, AListingOfSeveralLayersLooksUpWhatItLists) {
  Shell("mkdir -p top/app base/app && : > top/app/from-top && : > base/app/from-base");
  Stack();
  Shell("for f in a.txt from-top from-base; do ls merged/app | grep -qx $f || exit 1; done");
  std::vector<std::string> asked = Finish();
  EXPECT_THAT(asked,
              AllOf(Contains("app: stat, list"), Contains("app/a.txt: exists"), Contains("app/from-base: absent")));
}

// What has been looked up for that may be asked for its size later.
TEST_F(TracedLayersTest, AStatAfterSuchAListingIsNoted) {
  Shell("mkdir -p base/app");
  Stack();
  Shell("ls merged/app > /dev/null; test -s merged/app/a.txt; cat merged/app/b.txt > /dev/null");
  EXPECT_THAT(Finish(),
              AllOf(Contains("app/a.txt: stat"), Contains("app/b.txt: stat, content"), Contains("app/empty: exists")));
}

TEST_F(TracedLayersTest, ALinkIsReadWhenItIsFollowed) {
  EXPECT_THAT(AskedBy("test \"$(cat app/link)\" = a"),
              ElementsAre("app/a.txt: stat, content", "app/link: exists, link"));
}

TEST_F(TracedLayersTest, ExecutingReadsTheProgram) {
  EXPECT_THAT(AskedBy("test \"$(app/tool)\" = ran"), ElementsAre("app/tool: stat, content"));
}

TEST_F(TracedLayersTest, AMappedFileIsRead) {
  Stack();
  int fd = open((merged() + "/app/b.txt").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  void* page = mmap(nullptr, 1, PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(page, MAP_FAILED);
  EXPECT_EQ(*static_cast<volatile char*>(page), 'b');
  munmap(page, 1);
  close(fd);
  EXPECT_THAT(Finish(), ElementsAre("app/b.txt: stat, content"));
}

TEST_F(TracedLayersTest, AnOpenWithoutAReadIsNoRead) {
  Stack();
  close(open((merged() + "/app/b.txt").c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_THAT(Finish(), ElementsAre("app/b.txt: stat"));
}

TEST_F(TracedLayersTest, ACopyUpReadsTheFile) {
  EXPECT_THAT(AskedBy("chmod 600 app/a.txt"), ElementsAre("app/a.txt: stat, content"));
}

TEST_F(TracedLayersTest, AppendingReadsTheFileAndReplacingItDoesNot) {
  EXPECT_THAT(AskedBy("echo more >> app/a.txt; : > app/b.txt"),
              ElementsAre("app/a.txt: stat, content", "app/b.txt: stat"));
}

TEST_F(TracedLayersTest, RemovingATreeListsItAndReadsNothing) {
  std::vector<std::string> asked = AskedBy("rm -r app/lib && ! test -e app/lib");
  EXPECT_THAT(asked, Contains("app/lib: stat, list"));
  EXPECT_THAT(asked, Not(Contains("app/lib/c.txt: stat, content")));
}

TEST_F(TracedLayersTest, ANewFileAsksWhetherItIsThere) {
  EXPECT_THAT(AskedBy("echo x > app/new"), ElementsAre("app/new: absent"));
}

TEST_F(TracedLayersTest, AMovedDirectoryIsReadWhole) {
  EXPECT_THAT(AskedBy("mv app/lib moved"),
              AllOf(Contains("app/lib: stat, list"), Contains("app/lib/c.txt: stat, content")));
}

TEST_F(TracedLayersTest, ExtendedAttributesAreAskedForWhereThereAreSome) {
  Shell("setfattr -n user.note -v hi layer/app/a.txt 2>/dev/null || true");
  char value[8];
  if (getxattr((root() + "/layer/app/a.txt").c_str(), "user.note", value, sizeof(value)) != 2) {
    ASSERT_EQ(setxattr((root() + "/layer/app/a.txt").c_str(), "user.note", "hi", 2, 0), 0);
  }
  Stack(true);
  EXPECT_EQ(getxattr((merged() + "/app/a.txt").c_str(), "user.note", value, sizeof(value)), 2);
  EXPECT_THAT(Finish(), ElementsAre("app/a.txt: stat, xattrs"));
}

TEST_F(TracedLayersTest, ALayerWithoutAttributesIsAskedForNone) {
  Stack(false);
  char value[8];
  EXPECT_EQ(getxattr((merged() + "/app/a.txt").c_str(), "user.note", value, sizeof(value)), -1);
  EXPECT_THAT(Finish(), ElementsAre("app/a.txt: stat"));
}

// io_uring never enters the system calls that other tracers watch. One ring, one openat, by hand.
TEST_F(TracedLayersTest, ALookUpThroughIoUringIsNoted) {
  io_uring_params params = {};
  int ring = static_cast<int>(syscall(SYS_io_uring_setup, 4, &params));
  if (ring < 0) GTEST_SKIP() << "no io_uring here";
  Stack();
  size_t sq_size = params.sq_off.array + params.sq_entries * sizeof(uint32_t);
  size_t cq_size = params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe);
  auto* rings = static_cast<char*>(mmap(nullptr, std::max(sq_size, cq_size), PROT_READ | PROT_WRITE,
                                        MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQ_RING));
  auto* sqes =
      static_cast<io_uring_sqe*>(mmap(nullptr, params.sq_entries * sizeof(io_uring_sqe), PROT_READ | PROT_WRITE,
                                      MAP_SHARED | MAP_POPULATE, ring, IORING_OFF_SQES));
  ASSERT_NE(static_cast<void*>(rings), MAP_FAILED);
  ASSERT_NE(static_cast<void*>(sqes), MAP_FAILED);
  std::string there = merged() + "/app/b.txt", missing = merged() + "/app/nope";
  auto submit = [&](const std::string& path) {
    auto* tail = reinterpret_cast<uint32_t*>(rings + params.sq_off.tail);
    uint32_t mask = *reinterpret_cast<uint32_t*>(rings + params.sq_off.ring_mask), at = *tail & mask;
    sqes[at] = {};
    sqes[at].opcode = IORING_OP_OPENAT;
    sqes[at].fd = AT_FDCWD;
    sqes[at].addr = reinterpret_cast<uint64_t>(path.c_str());
    sqes[at].open_flags = O_RDONLY | O_CLOEXEC;
    reinterpret_cast<uint32_t*>(rings + params.sq_off.array)[at] = at;
    __atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
    ASSERT_EQ(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, nullptr, 0), 1);
    auto* head = reinterpret_cast<uint32_t*>(rings + params.cq_off.head);
    auto* cqes = reinterpret_cast<io_uring_cqe*>(rings + params.cq_off.cqes);
    int result = cqes[*head & *reinterpret_cast<uint32_t*>(rings + params.cq_off.ring_mask)].res;
    if (result >= 0) close(result);
    __atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
  };
  submit(there);
  submit(missing);
  munmap(rings, std::max(sq_size, cq_size));
  munmap(sqes, params.sq_entries * sizeof(io_uring_sqe));
  close(ring);
  EXPECT_THAT(Finish(), ElementsAre("app/b.txt: stat", "app/nope: absent"));
}

TEST_F(TracedLayersTest, FilesLargerThanAnAnswerComeWhole) {
  Shell("head -c 5000001 /dev/urandom > layer/app/large");
  Stack();
  Shell("cmp layer/app/large merged/app/large");
  EXPECT_THAT(Finish(), ElementsAre("app/large: stat, content"));
}

TEST_F(TracedLayersTest, DirectoriesLargerThanAnAnswerComeWhole) {
  Shell(
      "mkdir layer/app/many && cd layer/app/many && seq -f 'a-rather-long-name-for-a-file-%05g' 1 5000 | xargs touch");
  Stack();
  Shell("test $(ls merged/app/many | wc -l) = 5000 && test $(/bin/ls -U merged/app/many | sort -u | wc -l) = 5000");
  EXPECT_THAT(Finish(), ElementsAre("app/many: stat, list"));
}

TEST_F(TracedLayersTest, ManyReadersAtOnceGetTheRightBytes) {
  Shell("for i in $(seq 200); do seq $i 4000 > layer/app/f$i; done");
  Stack();
  Shell("seq 200 | xargs -P 8 -I{} cmp layer/app/f{} merged/app/f{}");
  EXPECT_EQ(Finish().size(), 200u);
}

TEST_F(TracedLayersTest, TwoLayersHaveNotesOfTheirOwn) {
  auto traced = TracedLayers::Mount({{root() + "/layer", false}, {root() + "/base", false}}, root() + "/fuse");
  ASSERT_TRUE(traced) << traced.error().ToString();
  Shell("cat fuse/1/etc/base.txt > /dev/null; ! test -e fuse/0/etc");
  auto asked = (*traced)->Finish();
  ASSERT_TRUE(asked);
  EXPECT_THAT((*asked)[0], Contains(Question{"etc", kAbsent}));
  EXPECT_THAT((*asked)[1], Contains(Question{"etc/base.txt", kStat | kContent}));
}

TEST_F(TracedLayersTest, AFileThatCannotBeServedSpoilsTheNotes) {
  Stack();
  Shell("ls merged/app > /dev/null; rm layer/app/b.txt; ! cat merged/app/b.txt 2> /dev/null");
  EXPECT_TRUE(merged_.Unmount());
  EXPECT_FALSE(traced_->Finish());
}

TEST_F(TracedLayersTest, AStepThatHoldsAFileOpenDoesNotHoldTheServer) {
  Stack();
  int fd = open((merged() + "/app/b.txt").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_TRUE(merged_.Unmount());
  EXPECT_TRUE(traced_->Finish());
  close(fd);
}

}  // namespace
}  // namespace varve::trace
