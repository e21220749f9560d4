// A layer that is streamed while it is copied is the layer that Commit would have read back.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "exec/layer_writer.h"
#include "exec/tree_copy.h"
#include "snapshot/layer_stream.h"
#include "source/context.h"
#include "sys/open.h"
#include "sys/tempdir.h"
#include "tree/layer_tree.h"

namespace varve::exec {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class CopyStreamTest : public ::testing::Test {
 protected:
  struct Source {
    std::string path, dest;
    bool parents = false;
  };
  struct Made {
    cache::Rootfs rootfs;
    bool streamed = false;
    bool index_in_file = false;  // a part of it
    uint64_t linked = 0;
  };

  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "owners and devices need root";
    directory_ = *sys::TempDir::Create(testing::TempDir(), "copy-stream-");
    layers_ = *snapshot::OpenLayerStore(directory_.path() + "/store");
    context_ = directory_.path() + "/context";
    fs::create_directories(context_);
  }

  void Write(const std::string& path, const std::string& text) {
    fs::create_directories((fs::path(context_) / path).parent_path());
    std::ofstream(context_ + "/" + path) << text;
  }

  // Between the walk that names the files and the copy.
  std::function<void()> meanwhile = [] {};

  size_t index_in_memory = 150;  // bytes of a streamed layer's index: what is more goes through a file

  Result<Made> Copy(const cache::Rootfs& base, const std::vector<Source>& sources, const DiffId* earlier,
                    bool with_stream, TreeCopy::Files files = TreeCopy::Files::kWhole) {
    Made made{.rootfs = base};
    TRY_ASSIGN(auto context, source::WalkContext({.directory = context_}, trees_, {}));
    meanwhile();
    TRY_ASSIGN(Fd root, sys::OpenDir(context_));
    TRY_ASSIGN(auto draft, layers_->NewDraft());
    std::optional<SimilarLayer> similar;
    if (earlier != nullptr) {
      TRY_ASSIGN(std::string index, layers_->EncodedIndex(*earlier));
      TRY_ASSIGN(auto earlier_files, layers_->Files(*earlier));
      similar = SimilarLayer{std::move(earlier_files), std::move(index)};
    }
    tree::LayerTree tree(trees_, base.tree_root);
    snapshot::LayerStream stream(
        [&](snapshot::StreamedEntry entry) { return tree.Add(std::move(entry.index), entry.fresh); },
        {.path = draft->work() + "/index", .from = index_in_memory});
    {
      LayerWriter writer(*layers_, trees_, base, *draft);
      TreeCopy copy(writer, trees_, similar ? &*similar : nullptr, with_stream ? &stream : nullptr, files, {});
      for (const Source& source : sources) {
        graph::Copy action{.from = {.path = source.path,
                                    .wildcards = source.path.find('*') != source.path.npos,
                                    .parents = source.parents},
                           .dest = source.dest};
        TRY(copy.Copy({.root = root.get(), .tree_root = context.root}, action, {}, FileMode()));
      }
      TRY(copy.Finish());
      TRY(writer.Finish());
      made.linked = copy.linked_files();
    }
    made.streamed = with_stream && !stream.broken();
    snapshot::Layer layer;
    bool lazy = files == TreeCopy::Files::kLazy;
    if (lazy && !made.streamed) return made;
    if (made.streamed) {
      TRY_ASSIGN(auto written, stream.Finish());
      if (lazy) written.rest = similar->files.whole;
      made.index_in_file = !written.index_file.empty();
      TRY_ASSIGN(layer, layers_->CommitWritten(std::move(draft), std::move(written), {}));
      TRY_ASSIGN(made.rootfs.tree_root, tree.Finish());
    } else {
      TRY_ASSIGN(layer, layers_->Commit(std::move(draft), {}, {}, {}));
      TRY_ASSIGN(auto index, layers_->Index(layer.diff_id));
      TRY_ASSIGN(made.rootfs.tree_root, tree::ApplyLayer(trees_, base.tree_root, index));
    }
    made.rootfs.layers.push_back(layer.diff_id);
    return made;
  }

  // Lazily first, then, with that layer removed, whole: the same layer, and its files are the same.
  Made CopyLazily(const cache::Rootfs& base, const std::vector<Source>& sources, const DiffId& earlier) {
    auto lazy = Copy(base, sources, &earlier, true, TreeCopy::Files::kLazy);
    EXPECT_TRUE(lazy) << lazy.error().ToString();
    if (!lazy || !lazy->streamed) return {};
    DiffId layer = lazy->rootfs.layers.back();
    EXPECT_TRUE(*layers_->RestOf(layer));
    EXPECT_TRUE(*layers_->Verify(layer, false)) << "the tar of its sources is another";
    auto index = layers_->EncodedIndex(layer);
    EXPECT_TRUE(layers_->Directory(layer)) << layers_->Directory(layer).error().ToString();
    EXPECT_TRUE(*layers_->Verify(layer, false)) << "the tar of its files is another";
    EXPECT_TRUE(layers_->Remove(layer));
    auto whole = Copy(base, sources, &earlier, true);
    EXPECT_TRUE(whole) << whole.error().ToString();
    if (!whole) return {};
    EXPECT_EQ(lazy->rootfs.layers, whole->rootfs.layers);
    EXPECT_EQ(lazy->rootfs.tree_root, whole->rootfs.tree_root);
    EXPECT_EQ(*index, *layers_->EncodedIndex(layer));
    EXPECT_EQ(lazy->linked, whole->linked);
    EXPECT_TRUE(layers_->Remove(layer));
    lazy = Copy(base, sources, &earlier, true, TreeCopy::Files::kLazy);
    EXPECT_TRUE(lazy) << lazy.error().ToString();
    return lazy ? *lazy : Made();
  }

  // Streamed first, then, with that layer removed, read back.
  Made CopyBothWays(const cache::Rootfs& base, const std::vector<Source>& sources, const DiffId* earlier = nullptr) {
    auto streamed = Copy(base, sources, earlier, true);
    EXPECT_TRUE(streamed) << streamed.error().ToString();
    if (!streamed) return {};
    DiffId layer = streamed->rootfs.layers.back();
    EXPECT_TRUE(*layers_->Verify(layer, false)) << "the tar of its files is another";
    auto index = layers_->EncodedIndex(layer);
    EXPECT_TRUE(index) << index.error().ToString();
    EXPECT_TRUE(layers_->Remove(layer));
    auto read = Copy(base, sources, earlier, false);
    EXPECT_TRUE(read) << read.error().ToString();
    if (!read) return {};
    EXPECT_EQ(streamed->rootfs.layers, read->rootfs.layers);
    EXPECT_EQ(streamed->rootfs.tree_root, read->rootfs.tree_root);
    EXPECT_EQ(*index, *layers_->EncodedIndex(layer));
    EXPECT_EQ(streamed->linked, read->linked);
    return *streamed;
  }

  sys::TempDir directory_;
  std::unique_ptr<snapshot::LayerStore> layers_;
  tree::MemoryTreeStore trees_;
  cache::Rootfs scratch_{{}, tree::EmptyTree()};
  std::string context_;
};

TEST_F(CopyStreamTest, ATreeOfManyKindsOfEntries) {
  for (int i = 0; i < 700; ++i) Write(fmt::format("s/d{}/f{}", i / 7, i), std::to_string(i * i));
  Write("s/empty", "");
  Write("s/block", std::string(512, 'x'));
  Write("s/large", std::string(3'000'001, 'y'));
  Write("s/d1-1/sorts", "behind d1/");
  Write("s/" + std::string(120, 'n') + "/" + std::string(130, 'm'), "pax");
  fs::create_directories(context_ + "/s/bare/in/bare");
  fs::create_symlink("d1", context_ + "/s/link");
  ASSERT_EQ(chmod((context_ + "/s/bare").c_str(), 01777), 0);
  ASSERT_EQ(chown((context_ + "/s/d3").c_str(), 5, 6), 0);
  ASSERT_EQ(chmod((context_ + "/s/empty").c_str(), 04755), 0);
  Made made = CopyBothWays(scratch_, {{"s", "/"}});
  EXPECT_TRUE(made.streamed);
  EXPECT_TRUE(*tree::Lookup(trees_, made.rootfs.tree_root, RelPath("bare/in/bare")));
}

TEST_F(CopyStreamTest, IndexIsTheSameWhetherItWasKeptInMemoryOrNot) {
  for (int i = 0; i < 600; ++i) Write(fmt::format("s/d{}/f{}", i / 9, i), std::to_string(i));
  auto index_of = [&](size_t in_memory, bool in_file) {
    index_in_memory = in_memory;
    auto made = Copy(scratch_, {{"s", "/"}}, nullptr, true);
    EXPECT_TRUE(made && made->streamed);
    EXPECT_EQ(made->index_in_file, in_file);
    const DiffId layer = made->rootfs.layers.back();
    EXPECT_TRUE(*layers_->Verify(layer, true));
    EXPECT_FALSE(fs::exists(directory_.path() + "/store/layers/" + layer.Hex() + "/work"));
    std::string index = layers_->EncodedIndex(layer).value();
    EXPECT_TRUE(layers_->Remove(layer));
    return index;
  };
  const std::string in_memory = index_of(1 << 20, false);
  EXPECT_EQ(index_of(20'000, true), in_memory);
  EXPECT_EQ(index_of(0, true), in_memory) << "nothing is left for memory";
}

TEST_F(CopyStreamTest, DirectoriesOfTheBaseAreCopiedUpAndMerged) {
  Write("base/usr/bin/a", "1");
  Write("base/usr/lib/b", "2");
  Write("s/bin/c", "3");
  Write("s/new/d", "4");
  auto base = Copy(scratch_, {{"base", "/"}}, nullptr, true);
  ASSERT_TRUE(base);
  Made made = CopyBothWays(base->rootfs, {{"s", "/usr/"}});
  EXPECT_TRUE(made.streamed);
  for (const char* path : {"usr/bin/a", "usr/lib/b", "usr/bin/c", "usr/new/d"}) {
    EXPECT_TRUE(*tree::Lookup(trees_, made.rootfs.tree_root, RelPath(path))) << path;
  }
}

TEST_F(CopyStreamTest, SourcesInTheOrderOfAWalkAreStreamed) {
  for (const char* name : {"a.js", "b.js", "c.txt", "in/x.js", "in/y.js"}) Write(name, name);
  ASSERT_TRUE(Copy(scratch_, {{"*.js", "/d/"}}, nullptr, true)->streamed);
  EXPECT_TRUE(Copy(scratch_, {{"a.js", "/d/"}, {"b.js", "/d/"}}, nullptr, true)->streamed);
}

TEST_F(CopyStreamTest, SourcesInAnotherOrderAreReadBack) {
  Write("a", "1");
  Write("b", "2");
  Write("d/a", "3");
  utimensat(AT_FDCWD, (context_ + "/d").c_str(), nullptr, 0);
  auto out_of_order = Copy(scratch_, {{"b", "/"}, {"a", "/"}}, nullptr, true);
  ASSERT_TRUE(out_of_order);
  EXPECT_FALSE(out_of_order->streamed);
  auto replaced = Copy(scratch_, {{"a", "/"}, {"d", "/"}}, nullptr, true);
  ASSERT_TRUE(replaced);
  EXPECT_FALSE(replaced->streamed);
  EXPECT_EQ((*tree::Lookup(trees_, replaced->rootfs.tree_root, RelPath("a")))->digest, Digest::Of("3"));
}

TEST_F(CopyStreamTest, HardLinksAndDevicesAreReadBack) {
  Write("links/a", "1");
  fs::create_hard_link(context_ + "/links/a", context_ + "/links/b");
  EXPECT_FALSE(CopyBothWays(scratch_, {{"links", "/"}}).streamed);
  Write("devices/a", "1");
  ASSERT_EQ(mknod((context_ + "/devices/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  EXPECT_FALSE(CopyBothWays(scratch_, {{"devices", "/"}}).streamed);
}

TEST_F(CopyStreamTest, AFileWithALinkElsewhereIsStreamed) {
  Write("s/a", "1");
  fs::create_hard_link(context_ + "/s/a", context_ + "/outside");
  EXPECT_TRUE(CopyBothWays(scratch_, {{"s", "/"}}).streamed);
}

TEST_F(CopyStreamTest, FilesOfAnEarlierLayerAreLinked) {
  for (int i = 0; i < 50; ++i) Write(fmt::format("s/d{}/f{}", i % 5, i), std::to_string(i));
  auto first = Copy(scratch_, {{"s", "/"}}, nullptr, true);
  ASSERT_TRUE(first);
  Write("s/d0/f5", "changed");
  Write("s/d0/more", "added");
  fs::remove(context_ + "/s/d1/f1");
  Made second = CopyBothWays(scratch_, {{"s", "/"}}, &first->rootfs.layers[0]);
  EXPECT_TRUE(second.streamed);
  EXPECT_EQ(second.linked, 48u);
  EXPECT_TRUE(*layers_->Verify(first->rootfs.layers[0], false));
}

TEST_F(CopyStreamTest, WhatWasOneFileInTheEarlierLayerIsReadBack) {
  Write("s/a", "1");
  fs::create_hard_link(context_ + "/s/a", context_ + "/s/b");
  auto first = Copy(scratch_, {{"s", "/"}}, nullptr, true);
  ASSERT_TRUE(first);
  // Two files now, which nothing but their inodes tells from what was there.
  timespec time[2] = {{1'600'000'000, 0}, {1'600'000'000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, (context_ + "/s/a").c_str(), time, 0), 0);
  first = Copy(scratch_, {{"s", "/"}}, nullptr, true);
  ASSERT_TRUE(first);
  fs::remove(context_ + "/s/b");
  Write("s/b", "1");
  ASSERT_EQ(utimensat(AT_FDCWD, (context_ + "/s/b").c_str(), time, 0), 0);
  Write("s/c", "so that it is another layer");
  Made second = CopyBothWays(scratch_, {{"s", "/"}}, &first->rootfs.layers[0]);
  EXPECT_EQ(second.linked, 2u);
  EXPECT_FALSE(second.streamed);
}

TEST_F(CopyStreamTest, AFileThatChangedSinceTheWalkIsAnErrorWithOrWithoutAStream) {
  for (size_t size : {10, 1'000'000}) {
    for (bool with_stream : {true, false}) {
      Write("s/f", std::string(size, 'a'));
      meanwhile = [&] { Write("s/f", std::string(size, 'b')); };
      auto changed = Copy(scratch_, {{"s", "/"}}, nullptr, with_stream);
      ASSERT_FALSE(changed);
      EXPECT_THAT(changed.error().message, HasSubstr("f changed while the build was reading it"));
      meanwhile = [&] { Write("s/f", std::string(size + 1, 'a')); };
      Write("s/f", std::string(size, 'a'));
      EXPECT_FALSE(Copy(scratch_, {{"s", "/"}}, nullptr, with_stream));
    }
  }
}

TEST_F(CopyStreamTest, ALazyLayerIsTheLayerThatItWouldBe) {
  for (int i = 0; i < 700; ++i) Write(fmt::format("s/d{}/e/f{}", i / 7, i), std::to_string(i * i));
  fs::create_symlink("f1", context_ + "/s/d0/e/link");
  fs::create_directories(context_ + "/s/empty");
  DiffId first = CopyBothWays(scratch_, {{"s", "/app"}}).rootfs.layers.back();
  Write("s/d3/e/f22", "changed");
  Write("s/new/deep/er/f", "new");
  fs::remove(context_ + "/s/d5/e/f35");
  fs::remove_all(context_ + "/s/d6");
  fs::remove(context_ + "/s/d7/e/f49");
  fs::create_directories(context_ + "/s/d7/e/f49");
  chmod((context_ + "/s/d8/e/f56").c_str(), 0600);
  Made second = CopyLazily(scratch_, {{"s", "/app"}}, first);
  EXPECT_TRUE(second.streamed);
  EXPECT_EQ(second.linked, 700u - 1 - 1 - 7 - 1 - 1);

  // A lazy layer after a lazy one refers to the whole one and shares what the other has of its own.
  Write("s/d9/e/f63", "changed");
  Write("s/new/deep/er/f", "newer");
  DiffId lazy = second.rootfs.layers.back();
  Made third = CopyLazily(scratch_, {{"s", "/app"}}, lazy);
  ASSERT_TRUE(third.streamed);
  EXPECT_EQ(**layers_->RestOf(third.rootfs.layers.back()), first);
  auto files = layers_->Files(third.rootfs.layers.back());
  ASSERT_TRUE(files);
  EXPECT_EQ(files->own_paths,
            (std::set<std::string, std::less<>>{"app/d3/e/f22", "app/d8/e/f56", "app/d9/e/f63", "app/new/deep/er/f"}));
  struct stat mine, theirs;
  ASSERT_EQ(fstatat(files->own.get(), "app/d3/e/f22", &mine, 0), 0);
  ASSERT_EQ(fstatat(layers_->Files(lazy)->own.get(), "app/d3/e/f22", &theirs, 0), 0);
  EXPECT_EQ(mine.st_ino, theirs.st_ino);

  // Nothing but the one that is left is needed.
  ASSERT_TRUE(layers_->Remove(first));
  ASSERT_TRUE(layers_->Remove(lazy));
  EXPECT_TRUE(*layers_->Verify(third.rootfs.layers.back(), false));
}

TEST_F(CopyStreamTest, ALazyLayerOverFoldersOfTheBase) {
  for (int i = 0; i < 30; ++i) Write(fmt::format("s/d{}/f{}", i / 3, i), std::to_string(i));
  Write("base/d1/f3", "of the base");
  Write("base/d1/kept", "kept");
  auto base = Copy(scratch_, {{"base", "/app"}}, nullptr, false);
  ASSERT_TRUE(base);
  DiffId first = CopyBothWays(base->rootfs, {{"s", "/app"}}).rootfs.layers.back();
  Write("s/d1/f4", "changed");
  Made second = CopyLazily(base->rootfs, {{"s", "/app"}}, first);
  EXPECT_TRUE(second.streamed);
  EXPECT_EQ(second.linked, 29u);
}

TEST_F(CopyStreamTest, WhatALazyLayerCannotHaveBreaksIt) {
  for (int i = 0; i < 30; ++i) Write(fmt::format("s/f{}", i), std::to_string(i));
  DiffId first = CopyBothWays(scratch_, {{"s", "/app"}}).rootfs.layers.back();
  auto broken = [&] {
    auto made = Copy(scratch_, {{"s", "/app"}}, &first, true, TreeCopy::Files::kLazy);
    EXPECT_TRUE(made) << made.error().ToString();
    return made && !made->streamed;
  };
  EXPECT_FALSE(broken());
  fs::create_hard_link(context_ + "/s/f1", context_ + "/s/g1");
  EXPECT_TRUE(broken()) << "hard links";
  fs::remove(context_ + "/s/g1");
  ASSERT_EQ(mkfifo((context_ + "/s/fifo").c_str(), 0600), 0);
  EXPECT_TRUE(broken()) << "a device";
  fs::remove(context_ + "/s/fifo");
  // Two sources of which the second lands in what the first has left elsewhere.
  Write("t/f1", "of t");
  auto made = Copy(scratch_, {{"s", "/app"}, {"t", "/app"}}, &first, true, TreeCopy::Files::kLazy);
  ASSERT_TRUE(made) << made.error().ToString();
  EXPECT_FALSE(made->streamed);
}

}  // namespace
}  // namespace varve::exec
