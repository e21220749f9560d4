// Each call of a file step that changes something on the disk failed in turn: an error that says so, or the layer that
// the step makes without a fault. Never a layer that lacks a file, an owner or a time.
#include <errno.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "exec/step_test.h"
#include "sys/testing/faulty_calls.h"

namespace varve::exec {
namespace {

namespace fs = std::filesystem;

class FaultyFileSteps : public StepTest, public testing::WithParamInterface<int> {
 protected:
  // In memory where that is: hundreds of layers are made.
  FaultyFileSteps() {
    if (access("/dev/shm", W_OK) == 0) place_ = "/dev/shm";
  }
  // Everything that a writer of layers does: new and replaced files, large ones and empty ones, links, directories that
  // exist below, removals. `text` makes the layer differ from that of the last time.
  std::vector<FileAction> Actions(const std::string& text) {
    return {
        Copy{
            .input = 1, .from = {.path = "tree"}, .dest = "/etc/new", .owner = graph::Owner{.user = "7", .group = "8"}},
        Copy{.input = 1, .from = {.path = "tree/*", .wildcards = true}, .dest = "/flat/"},
        MakeFile{.path = "/etc/conf", .data = text, .mode = 0640},
        MakeFile{.path = "/large", .data = std::string(300'000, 'l') + text},
        MakeFile{.path = "/empty", .data = ""},
        MakeSymlink{.target = "conf", .path = "/etc/link"},
        MakeDirectory{.path = "/a/b/c", .mode = 0700},
        graph::Remove{.path = "/gone"}};
  }
  cache::Rootfs Base() {
    return Make({MakeDirectory{.path = "/etc", .mode = 0711}, MakeFile{.path = "/etc/conf", .data = "old"},
                 MakeDirectory{.path = "/gone"}, MakeFile{.path = "/gone/file", .data = "x"}});
  }
  // Another thread removes them.
  bool NoDraftIsLeft() {
    auto none = [&] {
      return std::ranges::all_of(fs::directory_iterator(root_ + "/staging"),
                                 [](const auto& of_a_store) { return fs::is_empty(of_a_store); });
    };
    for (int i = 0; i < 10'000 && !none(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return none();
  }
  cache::Rootfs Source() {
    return Make({MakeDirectory{.path = "/tree"}, MakeFile{.path = "/tree/one", .data = "one"},
                 MakeFile{.path = "/tree/two", .data = std::string(20'000, '2')},
                 MakeSymlink{.target = "one", .path = "/tree/link"}, MakeDirectory{.path = "/tree/sub"},
                 MakeFile{.path = "/tree/sub/three", .data = "3"}});
  }
};

TEST_P(FaultyFileSteps, EachWriteThatFailsIsAnErrorOrNoMatter) {
  const cache::Rootfs base = Base(), source = Source();
  const std::string root = fs::canonical(root_).string();
  int failed = 0;
  for (int n = 1;; ++n) {
    ASSERT_LT(n, 2000);
    const auto actions = Actions(std::to_string(n));
    sys::FaultyCalls faults(root, n, GetParam());
    auto made = Do(actions, base, {source});
    faults.Stop();
    SCOPED_TRACE(fmt::format("call {}: {}", n, faults.failed()));
    if (!made) {
      ++failed;
      // SQLite tells a disk that fails from one that is full, and no more.
      const bool index = made.error().message.starts_with("index: ");
      EXPECT_EQ(made.error().code, GetParam() == ENOSPC || index ? Code::kResource : Code::kCorrupt)
          << made.error().ToString();
    }
    // What is there now is whole, and the step can be done after all.
    auto again = Do(actions, base, {source});
    ASSERT_TRUE(again) << again.error().ToString();
    if (made) {
      EXPECT_EQ(*made, *again);
    }
    EXPECT_TRUE(layers_->Verify(again->layers.back(), false).value());
    EXPECT_EQ(At(*again, "etc/conf")->mode & 07777, 0640u);
    EXPECT_FALSE(At(*again, "gone"));
    EXPECT_TRUE(NoDraftIsLeft());
    if (faults.calls() < n) {
      EXPECT_TRUE(made);
      EXPECT_GT(n, 60) << "the interposed calls were not used";
      break;
    }
  }
  EXPECT_GT(failed, 40);
}

INSTANTIATE_TEST_SUITE_P(Errors, FaultyFileSteps, testing::Values(ENOSPC, EIO),
                         [](const auto& error) { return error.param == ENOSPC ? "NoSpace" : "InputOutput"; });

}  // namespace
}  // namespace varve::exec
