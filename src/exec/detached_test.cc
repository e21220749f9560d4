#include "exec/detached.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "exec/step_test.h"

namespace varve::exec {
namespace {

using graph::Remove;

class Detached : public StepTest {
 protected:
  cache::Rootfs Diff(const cache::Rootfs& lower, const cache::Rootfs& upper) {
    auto diff = DiffInputs(*job_, Input(lower), Input(upper), {});
    EXPECT_TRUE(diff) << diff.error().ToString();
    return diff ? *diff : scratch_;
  }
  cache::Rootfs Merge(const std::vector<cache::Rootfs>& parts) {
    std::vector<engine::RunInput> inputs;
    for (const cache::Rootfs& part : parts) inputs.push_back(Input(part));
    auto merged = MergeInputs(*job_, inputs, {});
    EXPECT_TRUE(merged) << merged.error().ToString();
    return merged ? *merged : scratch_;
  }
  // The layer of a step that has removed /d and made it anew with one file.
  cache::Rootfs Remade(const cache::Rootfs& base, const char* file) {
    return Make({Remove{.path = "/d"}, MakeDirectory{.path = "/d"}, MakeFile{.path = file, .data = "x"}}, base);
  }
  // What a mount of it shows, and whether all of it can be opened: a whiteout that is seen cannot.
  std::set<std::string> Shown(const cache::Rootfs& rootfs) {
    auto files = OpenLayers(*job_, rootfs.layers);
    EXPECT_TRUE(files) << files.error().ToString();
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(files->path)) {
      struct stat st;
      EXPECT_EQ(lstat(entry.path().c_str(), &st), 0) << entry.path();
      names.insert(entry.path().string().substr(files->path.size() + 1));
    }
    return names;
  }

 private:
  static engine::RunInput Input(const cache::Rootfs& rootfs) { return {.step = 0, .rootfs = rootfs}; }
};

using Names = std::set<std::string>;

TEST_F(Detached, ALayerThatSaysOnlyWhatDiffersIsTheDiff) {
  auto base = Make({MakeFile{.path = "/a", .data = "x"}});
  auto made = Make({MakeFile{.path = "/b", .data = "y"}}, base);
  auto diff = Diff(base, made);
  EXPECT_EQ(diff.layers, std::vector<DiffId>{made.layers.back()});
  EXPECT_EQ(Merge({base, diff}).layers, made.layers);
}

TEST_F(Detached, WhatWasWrittenAgainUnchangedIsInNoDiff) {
  auto base = Make({MakeFile{.path = "/d/a", .data = "x"}});
  auto made =
      Make({Remove{.path = "/d/a"}, MakeFile{.path = "/d/a", .data = "x"}, MakeFile{.path = "/b", .data = "y"}}, base);
  EXPECT_EQ(Shown(Diff(base, made)), Names{"b"});
}

TEST_F(Detached, WhatOneLayerMadeAndALaterOneRemovedIsRemovedByTheDiffToo) {
  auto base = Make({MakeFile{.path = "/a", .data = "x"}, MakeFile{.path = "/c", .data = "x"}});
  auto made = Make({MakeFile{.path = "/d", .data = "x"}}, base);
  // A layer that says again what is there, between the two.
  auto merged = Merge({made, Make({MakeFile{.path = "/a", .data = "x"}})});
  auto diff = Diff(base, Make({Remove{.path = "/d"}}, merged));
  EXPECT_EQ(Shown(diff), Names{});
  EXPECT_EQ(Shown(Merge({Make({MakeFile{.path = "/a", .data = "y"}, MakeFile{.path = "/d", .data = "y"}}), diff})),
            Names{"a"});
}

TEST_F(Detached, ADirectoryThatWasMadeAnewHidesOnlyWhatItHid) {
  auto base = Make({MakeFile{.path = "/d/a", .data = "x"}});
  auto other = Make({MakeFile{.path = "/d/a", .data = "other"}, MakeFile{.path = "/d/b", .data = "x"}});
  const Names expected{"d", "d/b", "d/e"};
  auto made = Remade(base, "/d/e");
  auto diffed = Merge({other, Diff(base, made)});
  EXPECT_EQ(Shown(diffed), expected);
  EXPECT_TRUE(At(diffed, "d/b"));
  EXPECT_FALSE(At(diffed, "d/a"));
  // The same as a layer of an input.
  EXPECT_EQ(Shown(Merge({other, made})), expected);
}

TEST_F(Detached, RemovalsAreSeenByNobody) {
  auto base = Make({MakeFile{.path = "/d/a", .data = "x"}, MakeFile{.path = "/b", .data = "x"}});
  auto diff = Diff(base, Make({Remove{.path = "/d/a"}, Remove{.path = "/b"}}, base));
  EXPECT_EQ(Shown(diff), Names{"d"});
  // They act where there is something to remove, and leave the layers alone there.
  auto merged = Merge({base, diff});
  EXPECT_EQ(Shown(merged), Names{"d"});
  EXPECT_EQ(merged.layers.size(), base.layers.size() + 1);
  auto other = Make({MakeFile{.path = "/c", .data = "x"}});
  EXPECT_EQ(Shown(Merge({other, diff})), (Names{"c", "d"}));
}

TEST_F(Detached, RemovalsInADirectoryReplaceALinkOfItsName) {
  auto base = Make({MakeFile{.path = "/d/a", .data = "x"}});
  auto diff = Diff(base, Make({Remove{.path = "/d/a"}}, base));
  auto other = Make({MakeFile{.path = "/e/a", .data = "x"}, MakeSymlink{.target = "e", .path = "/d"}});
  auto merged = Merge({other, diff});
  EXPECT_EQ(Shown(merged), (Names{"d", "e", "e/a"}));
  EXPECT_TRUE(At(merged, "d")->IsDirectory());
}

TEST_F(Detached, ADiffToNothingRemovesAllAndShowsNothing) {
  auto base = Make({MakeFile{.path = "/a", .data = "x"}});
  auto diff = Diff(base, scratch_);
  EXPECT_EQ(Shown(diff), Names{});
  EXPECT_EQ(Merge({base, diff}).tree_root, tree::EmptyTree());
}

}  // namespace
}  // namespace varve::exec
