// File actions, copies and archives on a real layer store; processes are tested in module sandbox and
// end to end.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "archive/tar.h"
#include "exec/file_mode.h"
#include "exec/layer_writer.h"
#include "exec/secrets.h"
#include "exec/tree_copy.h"
#include "exec/unpack.h"
#include "source/context.h"
#include "sys/open.h"
#include "sys/tempdir.h"

namespace varve::exec {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

uint32_t Chmod(const char* text, uint32_t mode, bool directory = false) {
  auto parsed = FileMode::Parse(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? parsed->Apply(mode, directory) : 0;
}

TEST(FileMode, OctalReplacesEverything) {
  EXPECT_EQ(Chmod("0755", 0600), 0755u);
  EXPECT_EQ(Chmod("4711", 0), 04711u);
  EXPECT_EQ(Chmod("", 0640), 0640u);
}

TEST(FileMode, SymbolicClausesAreChmods) {
  EXPECT_EQ(Chmod("u=rw,go=r", 0777), 0644u);
  EXPECT_EQ(Chmod("+x", 0644), 0755u);
  EXPECT_EQ(Chmod("go-w", 0666), 0644u);
  EXPECT_EQ(Chmod("a+X", 0644), 0644u);
  EXPECT_EQ(Chmod("a+X", 0744), 0755u);
  EXPECT_EQ(Chmod("a+X", 0644, true), 0755u);
  EXPECT_EQ(Chmod("g=u", 0640), 0660u);
  EXPECT_EQ(Chmod("u+s", 0755), 04755u);
  EXPECT_EQ(Chmod("+t", 0755, true), 01755u);
}

TEST(FileMode, MadeDirectoriesGetAnOctalModeWhole) {
  EXPECT_EQ(FileMode().OfMadeDirectories(), 0755u);
  EXPECT_EQ(FileMode::Parse("600")->OfMadeDirectories(), 0600u);
  EXPECT_EQ(FileMode::Parse("4777")->OfMadeDirectories(), 0777u);
  EXPECT_EQ(FileMode::Parse("go-rwx")->OfMadeDirectories(), 0755u);
}

TEST(FileMode, NonsenseIsRefusedWithTheForms) {
  for (const char* bad : {"8", "99999", "u", "u~x", "rw", "u=q"}) {
    auto mode = FileMode::Parse(bad);
    ASSERT_FALSE(mode) << bad;
    EXPECT_THAT(mode.error().hint, HasSubstr("0755"));
  }
}

struct CollectSink final : engine::StepSink {
  void Log(int, std::string_view data) override { text += data; }
  void Progress(const std::string&, uint64_t, uint64_t, bool) override {}
  std::string text;
};

TEST(MaskingSink, AValueIsMaskedHoweverItIsCut) {
  CollectSink out;
  MaskingSink mask(out, {"topsecret\n"});
  mask.Log(1, "the value is top");
  EXPECT_EQ(out.text, "");
  mask.Log(1, "secret, yes\nnext");
  EXPECT_EQ(out.text, "the value is *****, yes\n");
  mask.Flush();
  EXPECT_EQ(out.text, "the value is *****, yes\nnext");
}

TEST(MaskingSink, ShortValuesDoNotEatOrdinaryText) {
  CollectSink out;
  MaskingSink mask(out, {"a"});
  mask.Log(1, "banana");
  EXPECT_EQ(out.text, "banana");
}

class LayerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "owners and devices need root";
    directory = *sys::TempDir::Create(testing::TempDir(), "exec-");
    layers = *snapshot::OpenLayerStore(directory.path() + "/store");
    context = directory.path() + "/context";
    fs::create_directories(context);
  }

  // Runs `fill` on a new layer over `base`; the file system with that layer on top.
  cache::Rootfs Layer(const cache::Rootfs& base, const std::function<Status(LayerWriter&)>& fill) {
    auto draft = *layers->NewDraft();
    {
      LayerWriter writer(*layers, trees, base, *draft);
      Status filled = fill(writer);
      EXPECT_TRUE(filled) << filled.error().message;
      EXPECT_TRUE(writer.Finish());
    }
    auto layer = layers->Commit(std::move(draft), {}, {}, {});
    EXPECT_TRUE(layer) << layer.error().message;
    cache::Rootfs out = base;
    out.layers.push_back(layer->diff_id);
    out.tree_root = *tree::ApplyLayer(trees, base.tree_root, *layers->Index(layer->diff_id));
    return out;
  }

  // COPY `path` of the context to `dest` on `base`.
  Status CopyInto(LayerWriter& writer, const std::string& path, const std::string& dest,
                  const SimilarLayer* similar = nullptr, uint64_t* linked = nullptr, bool parents = false) {
    TRY_ASSIGN(auto tree, source::WalkContext({.directory = context}, trees, {}));
    TRY_ASSIGN(Fd root, sys::OpenDir(context));
    TreeCopy copy(writer, trees, similar, nullptr, TreeCopy::Files::kWhole, {});
    graph::Copy action{.from = {.path = path, .wildcards = path.find('*') != path.npos, .parents = parents},
                       .dest = dest};
    TRY(copy.Copy({.root = root.get(), .tree_root = tree.root}, action, {}, FileMode()));
    TRY(copy.Finish());
    if (linked != nullptr) *linked = copy.linked_files();
    return Ok();
  }

  std::optional<tree::Node> At(const cache::Rootfs& rootfs, const std::string& path) {
    return *tree::Lookup(trees, rootfs.tree_root, RelPath(path));
  }
  void Write(const std::string& path, const std::string& text) {
    fs::create_directories((fs::path(context) / path).parent_path());
    std::ofstream(context + "/" + path) << text;
  }

  sys::TempDir directory;
  std::unique_ptr<snapshot::LayerStore> layers;
  tree::MemoryTreeStore trees;
  cache::Rootfs scratch{{}, tree::EmptyTree()};
  std::string context;
};

TEST_F(LayerTest, ADirectorysContentsAreCopiedAndMerged) {
  Write("src/a", "1");
  Write("src/deep/b", "2");
  auto base = Layer(scratch, [&](LayerWriter& w) { return CopyInto(w, "src", "/app/"); });
  EXPECT_TRUE(At(base, "app/a"));
  EXPECT_EQ(At(base, "app/deep/b")->digest, Digest::Of("2"));
  Write("src/deep/c", "3");
  auto next = Layer(base, [&](LayerWriter& w) { return CopyInto(w, "src", "/app/"); });
  EXPECT_TRUE(At(next, "app/deep/b") && At(next, "app/deep/c"));
}

TEST_F(LayerTest, TheDestinationIsMadePlainAndTakesTheTimeOfTheSource) {
  Write("src/in/f", "1");
  ASSERT_EQ(chmod((context + "/src").c_str(), 01777), 0);
  ASSERT_EQ(chmod((context + "/src/in").c_str(), 01777), 0);
  timespec times[2] = {{1'000'000'000, 0}, {1'000'000'000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, (context + "/src").c_str(), times, 0), 0);
  auto base = Layer(scratch, [&](LayerWriter& w) -> Status {
    TRY(w.Directory(RelPath("old"), {.mode = 0700}));
    return Ok();
  });
  auto next = Layer(base, [&](LayerWriter& w) -> Status {
    TRY(CopyInto(w, "src", "/new/made"));
    return CopyInto(w, "src", "/old");
  });
  EXPECT_EQ(At(next, "new/made")->mode, 0755u);
  EXPECT_EQ(At(next, "new/made/in")->mode, 01777u);
  EXPECT_EQ(At(next, "old")->mode, 0700u);
  for (const char* name : {"/new/made", "/old"}) {
    struct stat st;
    ASSERT_EQ(stat((layers->Directory(next.layers.back()).value() + name).c_str(), &st), 0);
    EXPECT_EQ(st.st_mtim.tv_sec, 1'000'000'000) << name;
  }
}

TEST_F(LayerTest, ParentsThatAreTakenAlongAreAsInTheSource) {
  Write("a/b/f", "1");
  ASSERT_EQ(chmod((context + "/a").c_str(), 0700), 0);
  ASSERT_EQ(chmod((context + "/a/b").c_str(), 02750), 0);
  auto made = Layer(scratch, [&](LayerWriter& w) -> Status {
    TRY(w.Directory(RelPath("old/a"), {.mode = 0711}));
    TRY(CopyInto(w, "a/b/f", "/p/", nullptr, nullptr, true));
    return CopyInto(w, "a/b/f", "/old/", nullptr, nullptr, true);
  });
  EXPECT_EQ(At(made, "p")->mode, 0755u);
  EXPECT_EQ(At(made, "p/a")->mode, 0700u);
  EXPECT_EQ(At(made, "p/a/b")->mode, 02750u);
  EXPECT_EQ(At(made, "old/a")->mode, 0711u) << "what exists stays as it is";
  EXPECT_TRUE(At(made, "old/a/b/f"));
}

TEST_F(LayerTest, HardLinksHoldWithinOneSource) {
  Write("d/a", "1");
  fs::create_hard_link(context + "/d/a", context + "/d/b");
  auto inode = [&](const cache::Rootfs& rootfs, const char* name) {
    struct stat st {};
    EXPECT_EQ(stat((layers->Directory(rootfs.layers.back()).value() + name).c_str(), &st), 0);
    return st.st_ino;
  };
  auto one = Layer(scratch, [&](LayerWriter& w) { return CopyInto(w, "d", "/d"); });
  EXPECT_EQ(inode(one, "/d/a"), inode(one, "/d/b"));
  auto two = Layer(scratch, [&](LayerWriter& w) { return CopyInto(w, "d/*", "/d/"); });
  EXPECT_NE(inode(two, "/d/a"), inode(two, "/d/b"));
}

TEST_F(LayerTest, ArchiveEntriesReplaceWhatIsInTheWay) {
  auto base = Layer(scratch, [&](LayerWriter& w) -> Status {
    TRY(w.Directory(RelPath("t/folder/inner"), {}));
    TRY(w.Directory(RelPath("real"), {}));
    return w.PutSymlink(RelPath("t/link"), {}, "/real");
  });
  Write("m/folder", "now a file");
  Write("m/link/in", "x");
  ASSERT_EQ(mknod((context + "/m/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  ASSERT_EQ(system(("tar -C " + context + "/m -cf " + context + "/t.tar .").c_str()), 0);
  auto next = Layer(base, [&](LayerWriter& w) -> Status {
    TRY_ASSIGN(Fd root, sys::OpenDir(context));
    TRY_ASSIGN(bool unpacked, UnpackArchive(root.get(), RelPath("t.tar"), w, RelPath("t"), {}, {}));
    EXPECT_TRUE(unpacked);
    return Ok();
  });
  EXPECT_EQ(At(next, "t/folder")->digest, Digest::Of("now a file"));
  EXPECT_EQ(At(next, "t/link")->type, tree::NodeType::kDirectory);
  EXPECT_EQ(At(next, "t/link/in")->digest, Digest::Of("x"));
  EXPECT_FALSE(At(next, "real/in"));
  EXPECT_EQ(At(next, "t/null")->type, tree::NodeType::kCharDevice);
}

TEST_F(LayerTest, ExistingParentsAreCopiedUpWithTheirAttributes) {
  auto base = Layer(scratch, [&](LayerWriter& w) -> Status {
    TRY(w.Directory(RelPath("opt/private"), {.mode = 0700, .uid = 5, .gid = 6}));
    return Ok();
  });
  Write("f", "x");
  auto next = Layer(base, [&](LayerWriter& w) { return CopyInto(w, "f", "/opt/private/f"); });
  EXPECT_EQ(At(next, "opt/private")->mode, 0700u);
  EXPECT_EQ(At(next, "opt/private")->uid, 5u);
  struct stat st;
  ASSERT_EQ(stat((layers->Directory(next.layers.back()).value() + "/opt/private").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700u);
}

TEST_F(LayerTest, LinksInTheDestinationAreFollowedInsideTheImage) {
  auto base = Layer(scratch, [&](LayerWriter& w) -> Status {
    TRY(w.Directory(RelPath("real"), {}));
    return w.PutSymlink(RelPath("link"), {}, "/real");
  });
  Write("f", "x");
  auto next = Layer(base, [&](LayerWriter& w) { return CopyInto(w, "f", "/link/"); });
  EXPECT_TRUE(At(next, "real/f"));
  EXPECT_EQ(At(next, "link")->type, tree::NodeType::kSymlink);
}

TEST_F(LayerTest, FileAndDirectoryDoNotReplaceEachOther) {
  Write("f", "x");
  Write("d/f", "x");
  auto base = Layer(scratch, [&](LayerWriter& w) -> Status {
    TRY(w.Directory(RelPath("dir/f"), {}));
    return w.PutText(RelPath("file"), {}, "x");
  });
  auto draft = *layers->NewDraft();
  LayerWriter writer(*layers, trees, base, *draft);
  EXPECT_THAT(CopyInto(writer, "f", "/dir/").error().message, HasSubstr("cannot replace to directory"));
  EXPECT_THAT(CopyInto(writer, "d", "/file").error().message, HasSubstr("cannot copy to non-directory"));
  Write("two/1/n", "a file");
  Write("two/2/n/in", "a directory");
  EXPECT_THAT(CopyInto(writer, "two/*", "/both/").error().message, HasSubstr("cannot copy to non-directory: /both/n"));
}

TEST_F(LayerTest, RemovingLeavesAWhiteoutAndMakingAgainHidesTheOldContent) {
  auto base = Layer(scratch, [&](LayerWriter& w) -> Status {
    TRY(w.Directory(RelPath("dir"), {}));
    return w.PutText(RelPath("dir/old"), {}, "x");
  });
  auto gone = Layer(base, [&](LayerWriter& w) -> Status {
    TRY_ASSIGN(bool removed, w.Remove(RelPath("dir")));
    EXPECT_TRUE(removed);
    return Ok();
  });
  EXPECT_FALSE(At(gone, "dir"));
  auto again = Layer(base, [&](LayerWriter& w) -> Status {
    TRY(w.Remove(RelPath("dir")));
    TRY(w.Directory(RelPath("dir"), {}));
    return w.PutText(RelPath("dir/new"), {}, "y");
  });
  EXPECT_TRUE(At(again, "dir/new"));
  EXPECT_FALSE(At(again, "dir/old"));
}

TEST_F(LayerTest, UnchangedFilesAreLinkedToTheEarlierLayer) {
  for (int i = 0; i < 20; ++i) Write("d/f" + std::to_string(i), std::to_string(i));
  auto first = Layer(scratch, [&](LayerWriter& w) { return CopyInto(w, "d", "/app/"); });
  Write("d/f7", "changed");
  SimilarLayer similar{*layers->Files(first.layers[0]), *layers->EncodedIndex(first.layers[0])};
  uint64_t linked = 0;
  auto second = Layer(scratch, [&](LayerWriter& w) { return CopyInto(w, "d", "/app/", &similar, &linked); });
  EXPECT_EQ(linked, 19u);
  EXPECT_EQ(At(second, "app/f7")->digest, Digest::Of("changed"));
  EXPECT_EQ(At(first, "app/f7")->digest, Digest::Of("7"));
  // Linked or not, the layer is the same one.
  auto plain = Layer(scratch, [&](LayerWriter& w) { return CopyInto(w, "d", "/app/"); });
  EXPECT_EQ(plain.layers, second.layers);
}

TEST_F(LayerTest, OneWildcardManyFiles) {
  for (const char* name : {"a.json", "b.json", "c.txt"}) Write(name, name);
  auto made = Layer(scratch, [&](LayerWriter& w) { return CopyInto(w, "*.json", "/conf/"); });
  EXPECT_TRUE(At(made, "conf/a.json") && At(made, "conf/b.json"));
  EXPECT_FALSE(At(made, "conf/c.txt"));
}

TEST_F(LayerTest, ArchivesAreExtractedAndOtherFilesAreNot) {
  StringWriter tar;
  archive::TarWriter writer(tar);
  ASSERT_TRUE(writer.Add({.name = "d/f", .mode = 0640, .uid = 7, .gid = 8, .size = 1}));
  ASSERT_TRUE(writer.Content("x"));
  ASSERT_TRUE(writer.Finish());
  Write("a.tar", tar.text);
  Write("plain", "no archive");
  Fd root = *sys::OpenDir(context);
  auto made = Layer(scratch, [&](LayerWriter& w) -> Status {
    TRY_ASSIGN(bool unpacked, UnpackArchive(root.get(), RelPath("a.tar"), w, RelPath("opt"), {}, {}));
    EXPECT_TRUE(unpacked);
    TRY_ASSIGN(bool plain, UnpackArchive(root.get(), RelPath("plain"), w, RelPath("opt"), {}, {}));
    EXPECT_FALSE(plain);
    return Ok();
  });
  EXPECT_EQ(At(made, "opt/d/f")->uid, 7u);
  EXPECT_EQ(At(made, "opt/d/f")->mode, 0640u);
}

TEST_F(LayerTest, HostileArchivesAreRefused) {
  for (const archive::TarEntry& entry :
       {archive::TarEntry{.name = "../out"}, archive::TarEntry{.name = "in/../../out"}}) {
    StringWriter tar;
    archive::TarWriter writer(tar);
    ASSERT_TRUE(writer.Add(entry));
    ASSERT_TRUE(writer.Finish());
    Write("a.tar", tar.text);
    Fd root = *sys::OpenDir(context);
    auto draft = *layers->NewDraft();
    LayerWriter layer(*layers, trees, scratch, *draft);
    auto unpacked = UnpackArchive(root.get(), RelPath("a.tar"), layer, RelPath("opt"), {}, {});
    ASSERT_FALSE(unpacked) << entry.name;
    EXPECT_EQ(unpacked.error().code, Code::kInvalid);
    EXPECT_FALSE(unpacked.error().hint.empty());
  }
}

}  // namespace
}  // namespace varve::exec
