// Steps that graphs from LLB clients have and no Dockerfile: times, owners looked up elsewhere, what a copy
// wants to be there, and what differs between any two file systems.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>
#include <set>

#include "exec/diff_step.h"
#include "exec/step_test.h"

namespace varve::exec {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class FileSteps : public StepTest {
 protected:
  cache::Rootfs DiffOf(const cache::Rootfs& lower, const cache::Rootfs& upper) {
    auto diff = RunDiffStep(*job_, {.step = 0, .rootfs = lower}, {.step = 0, .rootfs = upper}, {});
    EXPECT_TRUE(diff) << diff.error().ToString();
    return diff ? *diff : scratch_;
  }
  // `diff` on top of `lower`.
  Digest Merged(const cache::Rootfs& lower, const cache::Rootfs& diff) {
    cache::Rootfs out = lower;
    for (const DiffId& layer : diff.layers) out = *WithLayer(*job_, out, layer);
    return out.tree_root;
  }
};

constexpr Timestamp kThen{1'000'000'000'000'000'000};

TEST_F(FileSteps, EveryActionTakesTheTimeThatItWasGiven) {
  auto source = Make({MakeFile{.path = "/d/f", .data = "x"}, MakeSymlink{.target = "f", .path = "/d/l"}});
  auto made = Make({MakeFile{.path = "/file", .data = "x", .timestamp = kThen},
                    MakeDirectory{.path = "/directory", .timestamp = kThen},
                    MakeSymlink{.target = "file", .path = "/link", .timestamp = kThen},
                    Copy{.input = 1, .from = {.path = "d"}, .dest = "/new/copy", .timestamp = kThen},
                    MakeFile{.path = "/now", .data = "x"}},
                   scratch_, {source});
  for (const char* path : {"file", "directory", "link", "new/copy", "new/copy/f", "new/copy/l", "new"}) {
    EXPECT_EQ(TimeOf(made, path), kThen.seconds()) << path;
  }
  EXPECT_EQ(TimeOf(made, "now"), clock_.Now().seconds());
}

TEST_F(FileSteps, ALayerOfCopiesAloneTakesTheTimeThatTheyWereGiven) {
  auto source = Make({MakeFile{.path = "/d/f", .data = "x"}, MakeFile{.path = "/d/e/g", .data = "y"}});
  auto made = Make({Copy{.input = 1, .from = {.path = "d"}, .dest = "/c", .timestamp = kThen}}, scratch_, {source});
  for (const char* path : {"c", "c/f", "c/e", "c/e/g"}) EXPECT_EQ(TimeOf(made, path), kThen.seconds()) << path;
}

// The digests of what was copied are not computed again; each must be of what came last.
TEST_F(FileSteps, TheLastThatIsWrittenToAPathCounts) {
  auto source = Make({MakeFile{.path = "/a/f", .data = "first"}, MakeFile{.path = "/b/f", .data = "second"}});
  Copy all{.input = 1, .from = {.path = "*", .wildcards = true}, .dest = "/"};
  auto made = Make({all, MakeDirectory{.path = "/d"}}, scratch_, {source});
  EXPECT_EQ(At(made, "f")->digest, Digest::Of("second"));
  made = Make({all, MakeFile{.path = "/f", .data = "third"}}, scratch_, {source});
  EXPECT_EQ(At(made, "f")->digest, Digest::Of("third"));
}

TEST_F(FileSteps, NamesAreLookedUpInTheInputThatTheOwnerNames) {
  auto names = Make({MakeFile{.path = "/etc/passwd", .data = "node:x:1000:1001::/:/bin/sh\n"},
                     MakeFile{.path = "/etc/group", .data = "staff:x:50:\n"}});
  auto made =
      Make({MakeFile{.path = "/f", .owner = {"node", "staff", 1}}, MakeFile{.path = "/g", .owner = {"node", "", 1}}},
           scratch_, {names});
  EXPECT_EQ(At(made, "f")->uid, 1000u);
  EXPECT_EQ(At(made, "f")->gid, 50u);
  EXPECT_EQ(At(made, "g")->gid, 1001u);
}

TEST_F(FileSteps, ACopyFailsWithoutThePathsThatItRequires) {
  auto source = Make({MakeFile{.path = "/d/f.c", .data = "x"}});
  Copy copy{.input = 1, .from = {.path = "", .include = {"d/*.c"}}, .dest = "/", .required = {"/d/f.c"}};
  EXPECT_TRUE(At(Make({copy}, scratch_, {source}), "d/f.c"));
  copy.required = {"/d/other"};
  EXPECT_THAT(Do({copy}, scratch_, {source}).error().message, HasSubstr("\"/d/other\": not found"));
}

TEST_F(FileSteps, ACopyMayWantItsParentDirectoryToExist) {
  auto source = Make({MakeFile{.path = "/f", .data = "x"}});
  Copy copy{.input = 1, .from = {.path = "f"}, .dest = "/no/f", .create_dest_path = false};
  EXPECT_THAT(Do({copy}, scratch_, {source}).error().message, HasSubstr("its parent directory does not exist"));
  EXPECT_TRUE(At(Make({MakeDirectory{.path = "/no"}, copy}, scratch_, {source}), "no/f"));
}

TEST_F(FileSteps, FilesAndLinksAreMadeInDirectoriesThatAreThere) {
  EXPECT_EQ(Do({MakeFile{.path = "/no/f", .data = "x"}}, scratch_).error().message,
            "mkfile /no/f: its parent directory does not exist");
  EXPECT_EQ(Do({MakeSymlink{.target = "f", .path = "/no/l"}}, scratch_).error().message,
            "symlink /no/l: its parent directory does not exist");
  auto base = Make({MakeDirectory{.path = "/d", .mode = 0700}});
  auto made = Make({MakeFile{.path = "/d/f", .data = "x", .owner = {.user = "7"}}}, base);
  EXPECT_EQ(At(made, "d/f")->uid, 7u);
  EXPECT_EQ(At(made, "d")->uid, 0u);
  EXPECT_EQ(At(made, "d")->mode, 0700u);
}

TEST_F(FileSteps, ACopyWithParentsMakesItsDestinationWhereNothingMatches) {
  auto source = Make({MakeFile{.path = "/a/f", .data = "x"}});
  Copy copy{.input = 1, .from = {.path = "a/./g*", .wildcards = true, .allow_empty = true}, .dest = "/new/out/"};
  EXPECT_FALSE(At(Make({copy}, scratch_, {source}), "new"));
  copy.from.parents = true;
  copy.owner = {.user = "7", .group = "8"};
  auto made = Make({copy}, scratch_, {source});
  ASSERT_TRUE(At(made, "new/out"));
  EXPECT_EQ(At(made, "new/out")->mode, 0755u);
  EXPECT_EQ(At(made, "new/out")->uid, 7u);
  // What is there already stays as it is.
  auto base = Make({MakeDirectory{.path = "/new/out", .mode = 0700}});
  EXPECT_EQ(At(Make({copy}, base, {source}), "new/out")->mode, 0700u);
}

TEST_F(FileSteps, OnlyPlainLayersAreBuiltOnForWindows) {
  platform_ = {.os = "windows", .architecture = "amd64"};
  auto plain = Make({MakeFile{.path = "/Files", .data = "a file of this name"}});
  EXPECT_TRUE(At(Make({MakeFile{.path = "/new", .data = "x"}}, plain), "new"));
  auto theirs = Make({MakeDirectory{.path = "/Files"}, MakeDirectory{.path = "/Hives"}});
  EXPECT_THAT(Do({MakeFile{.path = "/new", .data = "x"}}, theirs).error().message, HasSubstr("made on Windows"));
}

TEST_F(FileSteps, ACopyMayReplaceWhatIsOfAnotherType) {
  auto base = Make({MakeFile{.path = "/t/a/in", .data = "x"}, MakeFile{.path = "/t/b", .data = "x"},
                    MakeSymlink{.target = "a", .path = "/t/c"}, MakeFile{.path = "/t/same/kept", .data = "x"}});
  auto source = Make({MakeFile{.path = "/s/a", .data = "file"}, MakeFile{.path = "/s/b/in", .data = "x"},
                      MakeFile{.path = "/s/c/in", .data = "x"}, MakeFile{.path = "/s/same/new", .data = "x"}});
  Copy copy{.input = 1, .from = {.path = "s"}, .dest = "/t"};
  EXPECT_THAT(Do({copy}, base, {source}).error().message, HasSubstr("cannot replace to directory /t/a"));
  copy.replace = true;
  auto made = Make({copy}, base, {source});
  EXPECT_EQ(At(made, "t/a")->type, tree::NodeType::kFile);
  EXPECT_TRUE(At(made, "t/b/in"));
  EXPECT_TRUE(At(made, "t/c/in"));
  EXPECT_TRUE(At(made, "t/same/kept"));
  EXPECT_TRUE(At(made, "t/same/new"));
}

TEST_F(FileSteps, MkdirOfWhatExistsIsDone) {
  auto base = Make({MakeDirectory{.path = "/d", .mode = 0700}});
  auto made = Make({MakeDirectory{.path = "/d", .mode = 0755, .make_parents = false}}, base);
  EXPECT_EQ(At(made, "d")->mode, 0700u);
  EXPECT_THAT(Do({MakeDirectory{.path = "/no/d", .make_parents = false}}, base).error().message,
              HasSubstr("its parent directory does not exist"));
}

TEST_F(FileSteps, ADiffMakesTheLowerFileSystemIntoTheUpper) {
  auto lower = Make({MakeFile{.path = "/same/f", .data = "x"}, MakeFile{.path = "/gone/f", .data = "x"},
                     MakeFile{.path = "/changed", .data = "old"}, MakeFile{.path = "/dir/in", .data = "x"},
                     MakeFile{.path = "/file", .data = "x"}, MakeDirectory{.path = "/mode", .mode = 0700}});
  auto upper = Make({MakeFile{.path = "/same/f", .data = "x"}, MakeFile{.path = "/changed", .data = "new"},
                     MakeFile{.path = "/dir", .data = "now a file"}, MakeFile{.path = "/file/in", .data = "x"},
                     MakeDirectory{.path = "/mode", .mode = 0755}, MakeFile{.path = "/new/deep/f", .data = "x"},
                     MakeSymlink{.target = "f", .path = "/new/link"}});
  auto diff = DiffOf(lower, upper);
  EXPECT_EQ(diff.layers.size(), 1u);
  EXPECT_EQ(Merged(lower, diff), upper.tree_root);
  EXPECT_FALSE(At(diff, "same"));
  EXPECT_TRUE(At(diff, "new/deep/f"));
  EXPECT_EQ(Merged(upper, DiffOf(upper, lower)), lower.tree_root);
}

TEST_F(FileSteps, ADiffToNothingRemovesAll) {
  auto lower = Make({MakeFile{.path = "/a/b", .data = "x"}, MakeFile{.path = "/c", .data = "x"}});
  EXPECT_EQ(Merged(lower, DiffOf(lower, scratch_)), tree::EmptyTree());
}

// Inputs whose layers are elsewhere: as in a cache, from which they are brought when they are asked for.
class PartialInputs : public FileSteps {
 protected:
  // Takes the layers off this machine.
  void SendAway(const cache::Rootfs& rootfs) {
    for (const DiffId& layer : rootfs.layers) {
      StringWriter tar;
      ASSERT_TRUE(layers_->WriteTar(layer, tar, {}));
      away_[layer] = std::move(tar.text);
      ASSERT_TRUE(layers_->Remove(layer));
    }
    job_->bring_layer = [this](const cache::Rootfs& stack, size_t n, engine::StepSink&,
                               std::stop_token stop) -> Status {
      const DiffId& layer = stack.layers[n];
      if (lost_.contains(layer)) return NotFound("nobody has it");
      StringReader tar(away_.at(layer));
      std::vector<DiffId> below(stack.layers.begin(), stack.layers.begin() + static_cast<ptrdiff_t>(n));
      TRY(layers_->Unpack(layer, below, tar, stop));
      brought_.push_back(layer);
      return Ok();
    };
  }

  // Copies /lib of `source` onto `base`, neither of which need be here.
  engine::RunResult CopyLib(const cache::Rootfs& base, const cache::Rootfs& source,
                            std::vector<std::optional<graph::StepIndex>> base_added_by = {},
                            std::map<RelPath, Timestamp> known = {}) {
    graph::FileOp copy{.base = 0, .actions = {Copy{.input = 1, .from = {.path = "lib"}, .dest = "/app/lib"}}};
    graph::StepIndex step = graph_.Add({.op = std::move(copy)});
    engine::RunRequest request{.graph = graph_, .step = step, .key = {}, .inputs = {}, .similar = {}};
    request.inputs.push_back({.step = 0,
                              .rootfs = base,
                              .here = false,
                              .added_by = std::move(base_added_by),
                              .directories = std::move(known)});
    request.inputs.push_back({.step = 0, .rootfs = source, .here = false});
    LogSink sink;
    auto result = RunFileStep(*job_, request, sink, {});
    EXPECT_TRUE(result) << result.error().ToString();
    return result ? *result : engine::RunResult{};
  }

  graph::Graph graph_;
  std::map<DiffId, std::string> away_;
  std::set<DiffId> lost_;
  std::vector<DiffId> brought_;
};

TEST_F(PartialInputs, OnlyTheLayersThatHoldWhatIsCopiedAreBrought) {
  auto low = Make({MakeFile{.path = "/big", .data = "big"}});
  auto source = Make({MakeFile{.path = "/lib/b", .data = "b"}}, Make({MakeFile{.path = "/lib/a", .data = "a"}}, low));
  auto whole = Make({Copy{.input = 1, .from = {.path = "lib"}, .dest = "/app/lib"}}, scratch_, {source});
  SendAway(source);
  engine::RunResult made = CopyLib(scratch_, source);
  ASSERT_EQ(made.outputs.size(), 1u);
  EXPECT_EQ(made.outputs[0].tree_root, whole.tree_root);
  EXPECT_THAT(brought_, ElementsAre(source.layers[2], source.layers[1]));
}

TEST_F(PartialInputs, OfTheBaseTheLayerWithTheDirectoryIsBrought) {
  auto source = Make({MakeFile{.path = "/lib/a", .data = "a"}});
  graph_.Add({.op = graph::FileOp{.actions = {MakeDirectory{.path = "/app"}}}});
  graph_.Add({.op = graph::FileOp{.actions = {MakeFile{.path = "/other", .data = "o"}}}});
  auto below = Make({MakeDirectory{.path = "/app", .timestamp = kThen}}, Make({MakeFile{.path = "/big", .data = "b"}}));
  auto base = Make({MakeFile{.path = "/other", .data = "o"}}, below);
  SendAway(base);
  engine::RunResult made = CopyLib(base, source, {std::nullopt, 0, 1});
  ASSERT_EQ(made.outputs.size(), 1u);
  // What the topmost step has written is not there, and what is lowest does not show.
  EXPECT_THAT(brought_, ElementsAre(base.layers[1]));
  EXPECT_EQ(TimeOf(made.outputs[0], "app"), kThen.seconds());
}

TEST_F(PartialInputs, WhatAnEarlierRunFoundInTheBaseNeedsNoLayerOfIt) {
  auto source = Make({MakeFile{.path = "/lib/a", .data = "a"}});
  auto base = Make({MakeDirectory{.path = "/app", .timestamp = kThen}}, Make({MakeFile{.path = "/big", .data = "b"}}));
  SendAway(base);
  engine::RunResult first = CopyLib(base, source);
  EXPECT_THAT(brought_, ElementsAre(base.layers[1]));
  ASSERT_TRUE(first.directories.contains(RelPath("app")));
  EXPECT_EQ(first.directories.at(RelPath("app")), kThen);
  EXPECT_FALSE(first.directories.contains(RelPath("app/lib"))) << "it is the copy's own";
  ASSERT_TRUE(layers_->Remove(base.layers[1]));
  brought_.clear();
  engine::RunResult again = CopyLib(base, source, {}, first.directories);
  EXPECT_THAT(brought_, IsEmpty());
  EXPECT_EQ(again.outputs, first.outputs);
  EXPECT_EQ(again.directories, first.directories);
}

TEST_F(PartialInputs, ALayerThatNobodyHasMakesTheStepAskForAllOfThem) {
  auto source = Make({MakeFile{.path = "/lib/a", .data = "a"}});
  SendAway(source);
  lost_.insert(source.layers[0]);
  EXPECT_TRUE(CopyLib(scratch_, source).inputs_missing);
}

TEST_F(PartialInputs, ATreeThatIsKnownInPartMakesTheStepAskForAllOfThem) {
  auto source = Make({MakeFile{.path = "/lib/a", .data = "a"}});
  source.tree_root = Digest::Of("never stored");
  EXPECT_TRUE(CopyLib(scratch_, source).inputs_missing);
}

}  // namespace
}  // namespace varve::exec
