// Layers that have their files elsewhere until somebody asks for them (lazy_layers.h).
#include "snapshot/lazy_layers.h"

#include <gmock/gmock.h>

#include <thread>

#include "snapshot/test_layers.h"
#include "snapshot/upper_walk.h"

namespace varve::snapshot {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

struct LazyLayersTest : LayersTest {
  using Files = std::vector<std::pair<std::string, std::string>>;  // "name" → content; "name@" → target

  static std::string Where(const DiffId& layer) { return "/layers/" + layer.Hex(); }
  std::string PathOf(const DiffId& layer) const { return root() + Where(layer); }
  std::string RemainsOf(const DiffId& layer) const { return root() + "/remains/" + layer.Hex(); }
  bool Exists(const std::string& path) const { return fs::exists(fs::symlink_status(path)); }

  static void Fill(const std::string& upper, const Files& files) {
    for (const auto& [name, text] : files) {
      if (name.ends_with('@')) {
        std::string path = upper + "/" + name.substr(0, name.size() - 1);
        fs::create_directories(fs::path(path).parent_path());
        ASSERT_EQ(symlink(text.c_str(), path.c_str()), 0);
      } else {
        Put(upper + "/" + name, text);
      }
    }
    // Times that depend on the names alone, children before parents.
    std::vector<fs::path> paths;
    for (const auto& entry : fs::recursive_directory_iterator(upper)) paths.push_back(entry.path());
    for (auto path = paths.rbegin(); path != paths.rend(); ++path) {
      std::string name = path->string().substr(upper.size());
      timespec time{1'600'000'000 + static_cast<time_t>(name.size()), static_cast<long>(name.size()) * 1000};
      timespec times[2] = {time, time};
      ASSERT_EQ(utimensat(AT_FDCWD, path->c_str(), times, AT_SYMLINK_NOFOLLOW), 0);
    }
  }

  Layer CommitWhole(LayerStore& store, const Files& files) {
    auto draft = *store.NewDraft();
    Fill(draft->upper(), files);
    auto layer = store.Commit(std::move(draft), {}, {}, {});
    EXPECT_TRUE(layer) << layer.error().ToString();
    return layer ? *layer : Layer();
  }

  // What the layer is when it is made whole, in a store of its own.
  struct Model {
    std::unique_ptr<LocalLayerStore> store;
    Layer layer;
    std::string tar;
  };
  Model WholeOf(const Files& files) {
    Model made;
    made.store = *LocalLayerStore::Open(dir_.path() + "/model-" + std::to_string(models_++), "boot-1");
    made.layer = CommitWhole(*made.store, files);
    made.tar = TarOf(*made.store, made.layer.diff_id);
    return made;
  }

  // The same as a lazy layer: `own` are those of the files that `rest` does not have.
  Layer CommitLazy(const Model& of, const DiffId& base, const Files& own) {
    auto draft = *store_->NewDraft();
    Fill(draft->upper(), own);
    auto entries = WalkUpper(of.store->Directory(of.layer.diff_id).value(), {});
    EXPECT_TRUE(entries);
    WrittenLayer written{.diff_id = of.layer.diff_id,
                         .tar_size = of.layer.tar_size,
                         .entries = entries->size(),
                         .index = {""},
                         .times = {""},
                         .rest = base};
    auto index = of.store->Index(of.layer.diff_id);
    for (size_t i = 0; i < entries->size(); ++i) {
      tree::AppendLayerEntry(written.index[0], (*index)[i]);
      int64_t nanos = (*entries)[i].mtime.nanos;
      written.times[0].append(reinterpret_cast<const char*>(&nanos), sizeof(nanos));
    }
    auto layer = store_->CommitWritten(std::move(draft), std::move(written), {});
    EXPECT_TRUE(layer) << layer.error().ToString();
    return layer ? *layer : Layer();
  }

  // A whole layer of four files, and a lazy one in which one is new, one changed and one gone.
  void SetUp() override {
    LayersTest::SetUp();
    if (HasFatalFailure()) return;
    rest = CommitWhole(*store_, {{"d/a", "a"}, {"d/b", "b"}, {"d/gone", "x"}, {"e/f", "f"}}).diff_id;
    model = WholeOf({{"d/a", "a"}, {"d/b", "changed"}, {"d/to@", "a"}, {"e/f", "f"}, {"new/n", "n"}});
    lazy = CommitLazy(model, rest, {{"d/b", "changed"}, {"new/n", "n"}}).diff_id;
  }

  // name, mode, owner, time and target of all that a layer has.
  std::vector<std::string> Listing(LayerStore& store, const DiffId& layer) {
    std::vector<std::string> out;
    auto directory = store.Directory(layer);
    EXPECT_TRUE(directory) << directory.error().ToString();
    auto entries = directory ? WalkUpper(*directory, {}) : Result<std::vector<UpperEntry>>(Internal(""));
    if (!entries) return out;
    for (const UpperEntry& entry : *entries) {
      const tree::Node& node = entry.index.node;
      out.push_back(fmt::format("{} {} {:o} {}:{} {} {} {}", entry.path, static_cast<int>(node.type), node.mode,
                                node.uid, node.gid, entry.mtime.nanos, node.target, entry.hard_link_to));
    }
    return out;
  }

  ino_t InodeOf(const std::string& path) {
    struct stat st;
    EXPECT_EQ(lstat(path.c_str(), &st), 0) << path;
    return st.st_ino;
  }

  int models_ = 0;
  DiffId rest, lazy;
  Model model;
};

TEST_F(LazyLayersTest, HasNoFilesUntilTheyAreAskedFor) {
  EXPECT_FALSE(Exists(PathOf(lazy) + "/fs"));
  EXPECT_TRUE(*store_->Has(lazy));
  EXPECT_EQ(store_->Stat(lazy)->entries, model.layer.entries);
  EXPECT_EQ(*store_->EncodedIndex(lazy), *model.store->EncodedIndex(lazy));
  EXPECT_FALSE(Exists(PathOf(lazy) + "/fs"));

  EXPECT_EQ(Listing(*store_, lazy), Listing(*model.store, lazy));
  EXPECT_EQ(Get(PathOf(lazy) + "/fs/d/b"), "changed");
  EXPECT_EQ(InodeOf(PathOf(lazy) + "/fs/d/a"), InodeOf(PathOf(rest) + "/fs/d/a"));
  for (const char* name : {"/lazy", "/own", "/times"}) EXPECT_FALSE(Exists(PathOf(lazy) + name)) << name;
  EXPECT_FALSE(*store_->RestOf(lazy));
  EXPECT_THAT(*store_->UsersOf(rest), IsEmpty());
  EXPECT_TRUE(*store_->Verify(lazy, false));
}

TEST_F(LazyLayersTest, ItsTarIsWrittenWithoutMakingIt) {
  EXPECT_EQ(TarOf(*store_, lazy), model.tar);
  EXPECT_TRUE(*store_->Verify(lazy, true));
  EXPECT_TRUE(*store_->Verify(lazy, false));
  EXPECT_FALSE(Exists(PathOf(lazy) + "/fs"));
}

TEST_F(LazyLayersTest, SaysWhatIsAtAPathWithoutMakingIt) {
  EXPECT_EQ((*store_->Find(lazy, RelPath("new")))->type, tree::NodeType::kDirectory);
  EXPECT_EQ((*store_->Find(lazy, RelPath("d/to")))->type, tree::NodeType::kSymlink);
  EXPECT_EQ((*store_->Find(lazy, RelPath("d/a")))->mtime.nanos, 1'600'000'004'000'004'000);
  EXPECT_FALSE(*store_->Find(lazy, RelPath("d/gone"))) << "the rest has it, this layer has not";
  EXPECT_FALSE(Exists(PathOf(lazy) + "/fs"));
  ASSERT_TRUE(store_->Directory(lazy));
  EXPECT_EQ((*store_->Find(lazy, RelPath("d/to")))->type, tree::NodeType::kSymlink);
  EXPECT_EQ((*store_->Find(lazy, RelPath("d/a")))->mtime.nanos, 1'600'000'004'000'004'000);
  EXPECT_FALSE(*store_->Find(lazy, RelPath("d/gone")));
}

TEST_F(LazyLayersTest, TheFilesOfARemovedLayerRemainAsLongAsTheyAreNeeded) {
  ASSERT_TRUE(store_->Remove(rest));
  EXPECT_FALSE(*store_->Has(rest));
  EXPECT_FALSE(Exists(PathOf(rest)));
  EXPECT_TRUE(Exists(RemainsOf(rest)));
  EXPECT_EQ(TarOf(*store_, lazy), model.tar);
  EXPECT_TRUE(*OpenStore("boot-2")->Has(lazy)) << "a check after a crash finds them, too";
  ASSERT_TRUE(store_->Remove(lazy));
  EXPECT_FALSE(Exists(RemainsOf(rest)));
}

TEST_F(LazyLayersTest, AndGoWhenTheLastLayerThatNeedsThemIsMadeWhole) {
  Model second = WholeOf({{"d/a", "a"}, {"d/b", "b"}});
  DiffId other = CommitLazy(second, rest, {}).diff_id;
  EXPECT_EQ(store_->UsersOf(rest)->size(), 2u);
  ASSERT_TRUE(store_->Remove(rest));
  ASSERT_TRUE(store_->Directory(lazy));
  EXPECT_TRUE(Exists(RemainsOf(rest)));
  EXPECT_EQ(Listing(*store_, other), Listing(*second.store, other));
  EXPECT_FALSE(Exists(RemainsOf(rest)));
  EXPECT_EQ(TarOf(*store_, lazy), model.tar);
}

TEST_F(LazyLayersTest, ALayerThatComesAgainAndGoesAgainIsOneRest) {
  ASSERT_TRUE(store_->Remove(rest));
  ASSERT_EQ(CommitWhole(*store_, {{"d/a", "a"}, {"d/b", "b"}, {"d/gone", "x"}, {"e/f", "f"}}).diff_id, rest);
  Model second = WholeOf({{"d/a", "a"}, {"d/b", "b"}});
  DiffId other = CommitLazy(second, rest, {}).diff_id;
  ASSERT_TRUE(store_->Remove(rest));
  ASSERT_TRUE(store_->Remove(lazy));
  EXPECT_EQ(TarOf(*store_, other), second.tar);
  ASSERT_TRUE(store_->Remove(other));
  EXPECT_FALSE(Exists(RemainsOf(rest)));
}

TEST_F(LazyLayersTest, WhatIsGoneFromTheRestIsDamage) {
  ASSERT_EQ(unlink((PathOf(rest) + "/fs/e/f").c_str()), 0);
  EXPECT_FALSE(*store_->Verify(lazy, true));
  EXPECT_FALSE(*store_->Verify(lazy, false));
  EXPECT_EQ(store_->Directory(lazy).error().code, Code::kCorrupt);
  StringWriter out;
  EXPECT_EQ(store_->WriteTar(lazy, out, {}).error().code, Code::kCorrupt);
  EXPECT_FALSE(*OpenStore("boot-2")->Has(lazy));
  EXPECT_FALSE(Exists(PathOf(lazy)));
}

TEST_F(LazyLayersTest, WhatIsAnotherFileInTheRestIsDamage) {
  std::string file = PathOf(rest) + "/fs/e/f";
  Put(file, "F");
  EXPECT_FALSE(*store_->Verify(lazy, false));
  fs::remove_all(PathOf(rest));
  EXPECT_EQ(store_->Files(lazy).error().code, Code::kCorrupt);
  EXPECT_EQ(store_->Directory(lazy).error().code, Code::kCorrupt);
}

TEST_F(LazyLayersTest, DamagedTimesAreNoticed) {
  std::string path = PathOf(lazy) + "/times";
  std::string times = Get(path);
  times[3] = static_cast<char>(times[3] ^ 1);
  Put(path, times);
  EXPECT_FALSE(*store_->Verify(lazy, true));
  EXPECT_EQ(store_->Directory(lazy).error().code, Code::kCorrupt);
}

TEST_F(LazyLayersTest, ARestThatIsGoneCannotBeReferredTo) {
  ASSERT_TRUE(store_->Remove(lazy));
  ASSERT_TRUE(store_->Remove(rest));
  auto draft = *store_->NewDraft();
  WrittenLayer written{.diff_id = lazy, .tar_size = 1024, .entries = 0, .index = {}, .times = {}, .rest = rest};
  auto layer = store_->CommitWritten(std::move(draft), std::move(written), {});
  ASSERT_FALSE(layer);
  EXPECT_EQ(layer.error().code, Code::kNotFound);
  EXPECT_FALSE(*store_->Has(lazy));
}

TEST_F(LazyLayersTest, WhoReadsItsFilesKeepsThem) {
  LayerFiles files = store_->Files(lazy).value();
  EXPECT_THAT(files.own_paths, ElementsAre("d/b", "new/n"));
  ASSERT_TRUE(store_->Directory(lazy));
  ASSERT_TRUE(store_->Remove(rest));
  for (const char* path : {"d/a", "d/b"}) {
    EXPECT_EQ(faccessat(files.RootOf(path), path, F_OK, 0), 0) << path;
  }
  ASSERT_TRUE(store_->RemoveUnused());
  EXPECT_TRUE(Exists(RemainsOf(rest)));
  files = LayerFiles();
  ASSERT_TRUE(store_->RemoveUnused());
  EXPECT_FALSE(Exists(RemainsOf(rest)));
  EXPECT_FALSE(Exists(PathOf(lazy) + "/own"));
  EXPECT_EQ(TarOf(*store_, lazy), model.tar);
}

// A process that is killed leaves one of these states behind.
TEST_F(LazyLayersTest, KilledBetweenTheNoteAndTheLayer) {
  Put(PathOf(rest) + "/users/" + std::string(64, 'a'), "");
  ASSERT_TRUE(store_->Remove(lazy));
  ASSERT_TRUE(store_->Remove(rest));
  EXPECT_FALSE(Exists(RemainsOf(rest))) << "nobody came of the note";
}

TEST_F(LazyLayersTest, KilledBehindTheRenameThatShowsTheFiles) {
  fs::copy(PathOf(lazy), dir_.path() + "/before", fs::copy_options::recursive);
  ASSERT_TRUE(store_->Directory(lazy));
  for (const char* name : {"/lazy", "/own", "/times"}) {
    fs::rename(dir_.path() + "/before" + name, PathOf(lazy) + name);
  }
  Put(PathOf(rest) + "/users/" + lazy.Hex(), "");
  EXPECT_TRUE(*store_->Verify(lazy, false));
  EXPECT_TRUE(*store_->Verify(lazy, true));
  ASSERT_TRUE(store_->Remove(rest));
  ASSERT_TRUE(store_->RemoveUnused());
  EXPECT_FALSE(Exists(RemainsOf(rest)));
  EXPECT_FALSE(Exists(PathOf(lazy) + "/lazy"));
  EXPECT_EQ(Listing(*store_, lazy), Listing(*model.store, lazy));
}

TEST_F(LazyLayersTest, KilledBeforeWhatRemainedWentWithItsLastUser) {
  ASSERT_TRUE(store_->Remove(rest));
  fs::remove_all(PathOf(lazy));
  EXPECT_TRUE(Exists(RemainsOf(rest)));
  ASSERT_TRUE(store_->RemoveUnused());
  EXPECT_FALSE(Exists(RemainsOf(rest)));
}

TEST_F(LazyLayersTest, FilesThatWereMadeAreCheckedAfterACrash) {
  ASSERT_TRUE(store_->Sync());
  ASSERT_TRUE(store_->Directory(lazy));
  Put(PathOf(lazy) + "/fs/new/n", "?");
  EXPECT_FALSE(*OpenStore("boot-2")->Has(lazy)) << "what was synced had no files yet";
}

TEST_F(LazyLayersTest, ManyWhoAskAtOnceGetTheSameFiles) {
  for (int round = 0; round < 20; ++round) {
    auto other = OpenStore();
    std::vector<std::jthread> threads;
    for (int i = 0; i < 6; ++i) {
      threads.emplace_back([&, i] {
        LayerStore& store = i % 2 == 0 ? *store_ : *other;
        auto directory = i == 5 ? Result<std::string>(TarOf(store, lazy)) : store.Directory(lazy);
        EXPECT_TRUE(directory) << directory.error().ToString();
      });
    }
    threads.clear();
    ASSERT_EQ(Listing(*store_, lazy), Listing(*model.store, lazy));
    ASSERT_TRUE(store_->Remove(lazy));
    ASSERT_EQ(CommitLazy(model, rest, {{"d/b", "changed"}, {"new/n", "n"}}).diff_id, lazy);
  }
}

// Layers come, are read, made whole and removed by several at once; nobody ever misses a file.
TEST_F(LazyLayersTest, ComeAndGoUnderEachOther) {
  for (int round = 0; round < 20; ++round) {
    std::vector<std::jthread> threads;
    threads.emplace_back([&] { EXPECT_TRUE(store_->Remove(rest)); });
    threads.emplace_back([&] { EXPECT_EQ(TarOf(*store_, lazy), model.tar); });
    threads.emplace_back([&] {
      auto directory = store_->Directory(lazy);
      EXPECT_TRUE(directory) << directory.error().ToString();
    });
    threads.emplace_back([&] { EXPECT_TRUE(store_->RemoveUnused()); });
    threads.clear();
    ASSERT_TRUE(store_->RemoveUnused());
    ASSERT_FALSE(Exists(RemainsOf(rest)));
    ASSERT_TRUE(*store_->Verify(lazy, false));
    ASSERT_TRUE(store_->Remove(lazy));
    CommitWhole(*store_, {{"d/a", "a"}, {"d/b", "b"}, {"d/gone", "x"}, {"e/f", "f"}});
    CommitLazy(model, rest, {{"d/b", "changed"}, {"new/n", "n"}});
  }
}

}  // namespace
}  // namespace varve::snapshot
