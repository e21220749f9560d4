// What a step of file actions is foreseen to add, against what it does add.
#include "exec/foresee.h"

#include <gmock/gmock.h>

#include <random>

#include "exec/step_test.h"
#include "tree/layer_index.h"
#include "tree/selection.h"

namespace varve::exec {
namespace {

class Foresee : public StepTest {
 protected:
  std::optional<ForeseenFiles> Of(const std::vector<FileAction>& actions, const cache::Rootfs& base,
                                  const std::vector<cache::Rootfs>& more = {}) {
    std::vector<cache::Rootfs> inputs = {base};
    inputs.insert(inputs.end(), more.begin(), more.end());
    auto read = [&](const cache::Rootfs& input, const char* path) -> std::optional<std::string> {
      auto text = ReadFileOf(*layers_, *store_, input, RelPath(path), 1 << 20);
      return text ? std::optional(text->value_or("")) : std::nullopt;
    };
    auto foreseen = ForeseeLayer(*store_, {.base = 0, .actions = actions}, inputs, read);
    EXPECT_TRUE(foreseen) << foreseen.error().ToString();
    return foreseen ? *foreseen : std::nullopt;
  }

  // The layer that was made: alone, and by its index.
  std::pair<Digest, Digest> Made(const cache::Rootfs& rootfs) {
    auto index = layers_->Index(rootfs.layers.back());
    EXPECT_TRUE(index);
    return {*tree::ApplyLayer(*store_, tree::EmptyTree(), *index), Digest::Of(tree::EncodeLayerIndex(*index))};
  }

  std::string Differences(const Digest& foreseen, const Digest& made) {
    std::string text;
    auto differences = *tree::Compare(*store_, foreseen, made, RelPath(), 10);
    for (const tree::Difference& difference : differences) {
      text += fmt::format("\n{} {} {}", difference.path.Absolute(), tree::DifferenceName(difference.kind),
                          difference.detail);
    }
    return text;
  }

  int Below(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  std::string Name() { return std::string(1, static_cast<char>('a' + Below(4))); }
  std::string Path() { return Below(2) == 0 ? Name() : Name() + "/" + Name(); }

  std::vector<FileAction> Files(int count) {
    std::vector<FileAction> actions = {MakeFile{.path = "/etc/passwd", .data = "node:x:1000:1001::/:/bin/sh\n"},
                                       MakeFile{.path = "/etc/group", .data = "staff:x:50:\n"}};
    for (int i = 0; i < count; ++i) {
      std::string path = "/" + Path();
      switch (Below(4)) {
        case 0:
          actions.push_back(MakeDirectory{.path = path, .mode = Below(2) == 0 ? 0755u : 0700u});
          break;
        case 1:
          actions.push_back(MakeSymlink{.target = Below(2) == 0 ? "/" + Name() : Path(), .path = path});
          break;
        default:
          actions.push_back(
              MakeFile{.path = path, .data = Name(), .mode = 0640, .owner = {.user = Below(3) == 0 ? "7" : ""}});
      }
    }
    return actions;
  }

  // Whatever of the actions can be done.
  cache::Rootfs Tree(int count) {
    cache::Rootfs rootfs = scratch_;
    for (FileAction& action : Files(count)) {
      if (auto made = Do(WithParents({std::move(action)}), rootfs)) rootfs = *made;
    }
    return rootfs;
  }

  FileAction Action() {
    const char* const owners[] = {"", "", "", "7", "node", "nobody-knows"};
    const char* const modes[] = {"", "", "755", "u+x,go-w"};
    graph::Owner owner{.user = owners[Below(6)], .group = Below(4) == 0 ? "staff" : ""};
    if (Below(5) == 0) return MakeFile{.path = "/" + Path(), .data = Name(), .mode = 0600, .owner = owner};
    if (Below(5) == 0) return MakeDirectory{.path = "/" + Path(), .mode = 0711, .owner = owner};
    if (Below(8) == 0) return MakeSymlink{.target = Path(), .path = "/" + Path(), .owner = owner};
    Copy copy{.input = 1,
              .from = {.path = Below(3) == 0 ? "" : Path()},
              .dest = "/" + Path() + (Below(2) == 0 ? "/" : ""),
              .owner = owner,
              .mode = modes[Below(4)],
              .contents_only = Below(4) != 0};
    if (Below(4) == 0) copy.from = {.path = "*", .wildcards = true, .allow_empty = true};
    if (Below(4) == 0) copy.from.exclude = {Name(), "**/" + Name()};
    if (Below(5) == 0) copy.from.parents = true;
    if (Below(4) == 0) copy.dest = "/";
    copy.follow_dest_links = Below(4) != 0;
    return copy;
  }

  std::mt19937_64 random_{1};
};

TEST_F(Foresee, WhatAStepWillAddIsToldEntryByEntry) {
  int told = 0, failed = 0;
  for (int round = 0; round < 60; ++round) {
    random_.seed(static_cast<uint64_t>(round));
    cache::Rootfs base = Tree(Below(6)), source = Tree(Below(8));
    std::vector<FileAction> actions;
    for (int n = 1 + Below(2); n > 0; --n) actions.push_back(Action());
    if (Below(3) != 0) actions = WithParents(actions);
    auto foreseen = Of(actions, base, {source});
    auto made = Do(actions, base, {source});
    if (!made) {
      EXPECT_FALSE(foreseen) << "round " << round << ": " << made.error().ToString();
      ++failed;
      continue;
    }
    std::string what = fmt::format("round {}", round);
    for (const FileAction& action : actions) {
      if (const auto* copy = std::get_if<Copy>(&action))
        what += fmt::format(" COPY {} {}", copy->from.path, copy->dest);
      if (const auto* file = std::get_if<MakeFile>(&action)) what += " FILE " + file->path;
      if (const auto* directory = std::get_if<MakeDirectory>(&action)) what += " MKDIR " + directory->path;
      if (const auto* link = std::get_if<MakeSymlink>(&action))
        what += fmt::format(" LINK {} {}", link->path, link->target);
    }
    if (!foreseen) {
      ADD_FAILURE() << "round " << round << " was not foreseen";
      continue;
    }
    ++told;
    auto [alone, index] = Made(*made);
    EXPECT_EQ(*foreseen->content.tree, alone) << what << Differences(*foreseen->content.tree, alone);
    EXPECT_EQ(foreseen->tree_root, made->tree_root) << what;
    EXPECT_EQ(foreseen->content.digest, index) << what;
  }
  EXPECT_GT(told, 20);
  EXPECT_GT(failed, 2);
}

TEST_F(Foresee, WhatNeedsTheFilesIsNotTold) {
  auto source = Make({MakeFile{.path = "/f", .data = "x"}});
  EXPECT_FALSE(Of({Copy{.input = 1, .from = {.path = "f"}, .dest = "/", .unpack = true}}, scratch_, {source}));
  EXPECT_FALSE(Of({graph::Remove{.path = "/f"}}, source));
  EXPECT_FALSE(Of({Copy{.input = 1, .from = {.path = "f"}, .dest = "/"}}, {{}, Digest()}, {source}));
  EXPECT_TRUE(Of({Copy{.input = 1, .from = {.path = "f"}, .dest = "/"}}, scratch_, {source}));
}

TEST_F(Foresee, NamesAreNotLookedUpInALayerThatIsNotHere) {
  auto source =
      Make({MakeFile{.path = "/f", .data = "x"}, MakeFile{.path = "/etc/passwd", .data = "node:x:5:6::/:/bin/sh\n"},
            MakeFile{.path = "/etc/group", .data = ""}});
  Copy named{.input = 1, .from = {.path = "f"}, .dest = "/", .owner = {.user = "node"}};
  EXPECT_TRUE(Of({named}, source, {source}));
  cache::Rootfs elsewhere = source;
  elsewhere.layers = {DiffId(Digest::Of("elsewhere"))};
  EXPECT_FALSE(Of({named}, elsewhere, {source}));
  named.owner.user = "7";
  EXPECT_TRUE(Of({named}, elsewhere, {source}));
}

}  // namespace
}  // namespace varve::exec
