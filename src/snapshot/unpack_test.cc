// Foreign and hostile layers.
#include <gmock/gmock.h>

#include "base/strings.h"
#include "snapshot/test_layers.h"
#include "snapshot/upper_walk.h"
#include "sys/xattrs.h"

namespace varve::snapshot {
namespace {

using archive::EntryType;
using testing::HasSubstr;

struct UnpackTest : LayersTest {
  // Unpacks, and gives the layer's directory.
  std::string Fs(const std::vector<Member>& members, const std::vector<DiffId>& below = {}) {
    auto layer = UnpackTar(MakeTar(members), below);
    EXPECT_TRUE(layer) << layer.error().ToString();
    if (!layer) return "/nonexistent";
    last_ = layer->diff_id;
    return store_->Directory(last_).value();
  }
  Error Refused(const std::vector<Member>& members) {
    auto layer = UnpackTar(MakeTar(members));
    EXPECT_FALSE(layer);
    return layer ? Error() : layer.error();
  }
  static struct stat Stat(const std::string& path) {
    struct stat st {};
    EXPECT_EQ(lstat(path.c_str(), &st), 0) << path;
    return st;
  }
  static Member Dir(const std::string& name) { return {{.name = name, .type = EntryType::kDirectory}}; }
  static Member File(const std::string& name, const std::string& text) { return {{.name = name}, text}; }
  static Member Link(const std::string& name, const std::string& to) {
    return {{.name = name, .type = EntryType::kSymlink, .link = to}};
  }
  static Member Hard(const std::string& name, const std::string& to) {
    return {{.name = name, .type = EntryType::kHardLink, .link = to}};
  }
  DiffId last_;
};

TEST_F(UnpackTest, NamesStayInside) {
  std::string fs = Fs({File("/../up", "1"), File("/abs/f", "2"), File("./a/../b/./c", "3")});
  EXPECT_EQ(Get(fs + "/up"), "1");
  for (const char* name : {"..", "../up", "a/../../up"}) {
    EXPECT_EQ(Refused({File(name, "x")}).code, Code::kInvalid) << name;
  }
  EXPECT_EQ(Get(fs + "/abs/f"), "2");
  EXPECT_EQ(Get(fs + "/b/c"), "3");
  EXPECT_FALSE(std::filesystem::exists(root() + "/layers/up"));
}

TEST_F(UnpackTest, ParentsThatAreSymlinksResolveInsideTheLayer) {
  std::string outside = dir_.path() + "/outside";
  ASSERT_EQ(mkdir(outside.c_str(), 0755), 0);
  std::string fs =
      Fs({Link("abs", outside), File("abs/f", "1"), Dir("real"), Link("rel", "real"), File("rel/g", "2"),
          Link("up", "../../../../../.."), File("up/h", "3"), Link("chain", "rel/../rel"), File("chain/i", "4")});
  EXPECT_TRUE(std::filesystem::is_empty(outside));
  EXPECT_EQ(Get(fs + outside + "/f"), "1");
  EXPECT_EQ(Get(fs + "/real/g"), "2");
  EXPECT_EQ(Get(fs + "/h"), "3");
  EXPECT_EQ(Get(fs + "/real/i"), "4");
  EXPECT_FALSE(*store_->Reproducible(last_));
}

TEST_F(UnpackTest, SymlinkLoopsAreRefused) {
  Error error = Refused({Link("a", "b"), Link("b", "a"), File("a/f", "x")});
  EXPECT_EQ(error.code, Code::kInvalid);
  EXPECT_THAT(error.message, HasSubstr("too many levels"));
}

TEST_F(UnpackTest, SymlinksThatGrowAreRefused) {
  EXPECT_EQ(Refused({Link("a", "a/a/a/a/a/a/a/a"), File("a/f", "x")}).code, Code::kInvalid);
}

TEST_F(UnpackTest, AFileIsNoParent) {
  Error error = Refused({File("f", "x"), File("f/g", "y")});
  EXPECT_EQ(error.code, Code::kInvalid);
  EXPECT_THAT(error.message, HasSubstr("/f is not a directory"));
}

TEST_F(UnpackTest, LaterEntriesWin) {
  std::string fs = Fs({File("f", "old"),
                       File("f", "new"),
                       Dir("d"),
                       File("d/x", "x"),
                       File("d", "file"),
                       File("e", "file"),
                       Dir("e"),
                       File("e/y", "y"),
                       Link("s", "e"),
                       File("s", "plain"),
                       Dir("m"),
                       File("m/kept", "k"),
                       {{.name = "m/", .type = EntryType::kDirectory, .mode = 0700}}});
  EXPECT_EQ(Get(fs + "/f"), "new");
  EXPECT_EQ(Get(fs + "/d"), "file");
  EXPECT_EQ(Get(fs + "/e/y"), "y");
  EXPECT_EQ(Get(fs + "/s"), "plain");
  EXPECT_EQ(Get(fs + "/m/kept"), "k");
  EXPECT_EQ(Stat(fs + "/m").st_mode & 07777, 0700u);
  auto index = *store_->Index(last_);
  EXPECT_EQ(Find(index, "f")->node.digest, Digest::Of("new"));
  EXPECT_EQ(Find(index, "d/x"), nullptr);
  EXPECT_EQ(index.size(), 7u);
}

TEST_F(UnpackTest, HardLinksShareTheFileAndNothingOutside) {
  std::string fs =
      Fs({Dir("d"), File("d/a", "text"), Hard("b", "/d/a"), Hard("c", "b"), Link("l", "d"), Hard("via", "l/a")});
  EXPECT_EQ(Stat(fs + "/d/a").st_nlink, 4u);
  EXPECT_EQ(Get(fs + "/via"), "text");
  EXPECT_EQ(Find(*store_->Index(last_), "c")->node.digest, Digest::Of("text"));

  for (const char* target : {"missing", "/etc/passwd", "../../../etc/passwd", "no/such/dir"}) {
    Error error = Refused({File("x", target), Hard("h", target)});
    EXPECT_EQ(error.code, Code::kCorrupt) << target;
    EXPECT_THAT(error.message, HasSubstr("hard link leads to"));
  }
  EXPECT_EQ(Refused({Dir("d"), Hard("h", "d")}).code, Code::kInvalid);
  EXPECT_EQ(Refused({Hard("self", "self")}).code, Code::kCorrupt);
}

TEST_F(UnpackTest, AHardLinkToAFileOfALowerLayerBringsItUp) {
  auto draft = *store_->NewDraft();
  Put(draft->upper() + "/usr/bin/tool", "text", 0755);
  ASSERT_EQ(chmod((draft->upper() + "/usr/bin").c_str(), 0711), 0);
  ASSERT_EQ(chown((draft->upper() + "/usr/bin/tool").c_str(), 7, 8), 0);
  ASSERT_EQ(chmod((draft->upper() + "/usr/bin/tool").c_str(), 04755), 0);
  ASSERT_EQ(symlink("usr/bin", (draft->upper() + "/bin").c_str()), 0);
  Layer base = Commit(std::move(draft));
  Layer middle = CommitFiles({{"other", "x"}});

  std::string fs = Fs({Hard("a", "usr/bin/tool"), Hard("sub/b", "/bin/tool")}, {base.diff_id, middle.diff_id});
  for (const char* name : {"/a", "/sub/b", "/usr/bin/tool"}) {
    EXPECT_EQ(Get(fs + name), "text") << name;
    EXPECT_EQ(Stat(fs + name).st_ino, Stat(fs + "/a").st_ino) << name;
    EXPECT_EQ(Stat(fs + name).st_mode & 07777, 04755u) << name;
    EXPECT_EQ(Stat(fs + name).st_uid, 7u) << name;
  }
  EXPECT_EQ(Stat(fs + "/usr/bin").st_mode & 07777, 0711u) << "the parent looks as below";
  auto index = *store_->Index(last_);
  EXPECT_EQ(Find(index, "a")->node, Find(index, "usr/bin/tool")->node);
  EXPECT_EQ(Find(index, "sub/b")->node.digest, Digest::Of("text"));
  EXPECT_FALSE(*store_->Reproducible(last_));
}

TEST_F(UnpackTest, AHardLinkDoesNotReachWhatAnUpperLayerHides) {
  Layer base = CommitFiles({{"gone", "1"}, {"d/f", "2"}, {"kept", "3"}});
  Layer upper = CommitFiles({{"gone", "<whiteout>"}});
  std::vector<DiffId> below = {base.diff_id, upper.diff_id};
  EXPECT_EQ(UnpackTar(MakeTar({Hard("h", "gone")}), below).error().code, Code::kCorrupt);
  EXPECT_EQ(UnpackTar(MakeTar({Hard("h", "d")}), below).error().code, Code::kInvalid);
  EXPECT_EQ(UnpackTar(MakeTar({File(".wh.d", ""), Hard("h", "d/f")}), below).error().code, Code::kCorrupt);
  EXPECT_EQ(UnpackTar(MakeTar({File("d/.wh..wh..opq", ""), Hard("h", "d/f")}), below).error().code, Code::kCorrupt);
  EXPECT_EQ(UnpackTar(MakeTar({File(".wh.kept", ""), Hard("h", "kept")}), below).error().code, Code::kCorrupt);
  // Linked first and removed then: the link stays, as it does when overlayfs is written to.
  std::string fs = Fs({Hard("h", "kept"), File(".wh.kept", ""), Hard("i", "d/f"), File("d/.wh..wh..opq", "")}, below);
  EXPECT_EQ(Get(fs + "/h"), "3");
  EXPECT_TRUE(S_ISCHR(Stat(fs + "/kept").st_mode));
  EXPECT_EQ(Get(fs + "/i"), "2");
  EXPECT_FALSE(std::filesystem::exists(fs + "/d/f"));
  EXPECT_EQ(Get(Fs({Hard("kept", "kept")}, below) + "/kept"), "3");
}

TEST_F(UnpackTest, AHardLinkToASymlinkIsTheSymlink) {
  std::string fs = Fs({Link("s", "/etc/passwd"), Hard("t", "s")});
  EXPECT_EQ(std::filesystem::read_symlink(fs + "/t"), "/etc/passwd");
}

TEST_F(UnpackTest, WhiteoutsBecomeDevices) {
  std::string fs = Fs({Dir("d"), File("d/.wh.gone", ""), File(".wh.top", ""), Dir("o"), File("o/.wh..wh..opq", ""),
                       File("o/new", "n"), File("opaque-first/.wh..wh..opq", "")});
  struct stat st = Stat(fs + "/d/gone");
  EXPECT_TRUE(S_ISCHR(st.st_mode));
  EXPECT_EQ(st.st_rdev, 0u);
  EXPECT_TRUE(S_ISCHR(Stat(fs + "/top").st_mode));
  EXPECT_EQ(**sys::GetXattr(fs + "/o", OverlayXattr("opaque")), "y");
  auto index = *store_->Index(last_);
  EXPECT_TRUE(Find(index, "d/gone")->whiteout);
  EXPECT_TRUE(Find(index, "o")->opaque);
  EXPECT_TRUE(Find(index, "opaque-first")->opaque);
  EXPECT_FALSE(std::filesystem::exists(fs + "/o/.wh..wh..opq"));
}

TEST_F(UnpackTest, AWhiteoutHidesOnlyLayersBelow) {
  // In both orders, for a file and for a directory.
  std::string fs =
      Fs({File("f1", "1"), File(".wh.f1", ""), File(".wh.f2", ""), File("f2", "2"), Dir("d1"), File("d1/x", "x"),
          File(".wh.d1", ""), File(".wh.d2", ""), Dir("d2"), File(".wh.d3", ""), File("d3/y", "y")});
  EXPECT_EQ(Get(fs + "/f1"), "1");
  EXPECT_EQ(Get(fs + "/f2"), "2");
  auto index = *store_->Index(last_);
  for (const char* name : {"d1", "d2", "d3"}) {
    EXPECT_TRUE(Find(index, name)->opaque) << name;
    EXPECT_EQ(*sys::GetXattr(fs + "/" + name, OverlayXattr("opaque")), "y") << name;
  }
  EXPECT_EQ(Get(fs + "/d1/x"), "x");
}

TEST_F(UnpackTest, BadWhiteoutsAreRefused) {
  for (const char* name : {".wh.", "d/.wh..", "d/.wh...", ".wh.x/y"}) {
    EXPECT_EQ(Refused({File(name, "")}).code, Code::kInvalid) << name;
  }
}

TEST_F(UnpackTest, AufsLeftoversAreSkipped) {
  std::string fs = Fs({Dir(".wh..wh.plnk"), File(".wh..wh.plnk/1.2", "x"), File("f", "y")});
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(fs), {}), 1);
  EXPECT_EQ(Refused({File(".wh..wh.plnk/1.2", "x"), Hard("h", ".wh..wh.plnk/1.2")}).code, Code::kCorrupt);
}

TEST_F(UnpackTest, AttributesAreSet) {
  Timestamp time{1'500'000'000'123'000'000};
  std::string fs = Fs({{{.name = "d/",
                         .type = EntryType::kDirectory,
                         .mode = 02775,
                         .uid = 1,
                         .gid = 2,
                         .mtime = {1'400'000'000'000'000'000}}},
                       {{.name = "d/f",
                         .mode = 06755,
                         .uid = 70'000,
                         .gid = 4'000'000'000,
                         .mtime = time,
                         .xattrs = {{kCapability, Capability()}, {"user.note", "hi"}}},
                        "x"},
                       {{.name = "d/tty", .type = EntryType::kCharDevice, .mode = 0620, .major = 5}},
                       {{.name = "d/loop", .type = EntryType::kBlockDevice, .mode = 0660, .major = 7, .minor = 300}},
                       {{.name = "d/p", .type = EntryType::kFifo, .mode = 0640, .uid = 9}}});
  struct stat st = Stat(fs + "/d");
  EXPECT_EQ(st.st_mode & 07777, 02775u);
  EXPECT_EQ(st.st_uid, 1u);
  EXPECT_EQ(st.st_mtim.tv_sec, 1'400'000'000) << "set after the files were made";
  st = Stat(fs + "/d/f");
  EXPECT_EQ(st.st_mode & 07777, 06755u);
  EXPECT_EQ(st.st_uid, 70'000u);
  EXPECT_EQ(st.st_gid, 4'000'000'000u);
  EXPECT_EQ(**sys::GetXattr(fs + "/d/f", kCapability), Capability());
  EXPECT_EQ(**sys::GetXattr(fs + "/d/f", "user.note"), "hi");
  st = Stat(fs + "/d/loop");
  EXPECT_TRUE(S_ISBLK(st.st_mode));
  EXPECT_EQ(st.st_rdev, makedev(7, 300));
  EXPECT_TRUE(S_ISFIFO(Stat(fs + "/d/p").st_mode));
  EXPECT_EQ(Stat(fs + "/d/tty").st_mode & 07777, 0620u);
  EXPECT_EQ(Find(*store_->Index(last_), "d/f")->node.xattrs.size(), 2u);
  EXPECT_FALSE(*store_->Reproducible(last_)) << "user.note would be lost";
}

TEST_F(UnpackTest, OverlayAttributesCannotBeSmuggledIn) {
  std::string fs = Fs(
      {{{.name = "d/",
         .type = EntryType::kDirectory,
         .xattrs = {
             {"trusted.overlay.opaque", "y"}, {"trusted.overlay.redirect", "/etc"}, {"user.overlay.opaque", "y"}}}}});
  EXPECT_TRUE(sys::ListXattrs(fs + "/d")->empty());
  EXPECT_FALSE(Find(*store_->Index(last_), "d")->opaque);
}

TEST_F(UnpackTest, ZeroDevicesAreRefused) {
  EXPECT_EQ(Refused({{{.name = "w", .type = EntryType::kCharDevice}}}).code, Code::kInvalid);
}

TEST_F(UnpackTest, NamesThatLinuxCannotHaveAreRefused) {
  EXPECT_EQ(Refused({File(std::string(256, 'n'), "")}).code, Code::kInvalid);
  std::string deep;
  for (int i = 0; i < 3000; ++i) deep += "d/";
  EXPECT_EQ(Refused({File(deep + "f", "")}).code, Code::kInvalid);
  EXPECT_EQ(Refused({{{.name = "f", .uid = 1ull << 32}}}).code, Code::kInvalid);
}

TEST_F(UnpackTest, TheDigestDecides) {
  std::string tar = MakeTar({File("f", "x")});
  StringReader in(tar);
  DiffId other(Digest::Of("other"));
  EXPECT_EQ(store_->Unpack(other, {}, in, {}).error().code, Code::kCorrupt);
  EXPECT_FALSE(*store_->Has(other));
  EXPECT_FALSE(*store_->Has(DiffId(Digest::Of(tar))));
}

TEST_F(UnpackTest, WhatFollowsTheEndMarkerBelongsToTheDigest) {
  std::string tar = MakeTar({File("f", "x")}) + std::string(8704, '\0');
  ASSERT_TRUE(UnpackTar(tar));
  EXPECT_FALSE(*store_->Reproducible(DiffId(Digest::Of(tar))));
  EXPECT_EQ(store_->Stat(DiffId(Digest::Of(tar)))->tar_size, tar.size());
}

TEST_F(UnpackTest, TruncatedAndDamagedLayersLeaveNothing) {
  std::string tar = MakeTar({File("big", std::string(3 << 20, 'b')), File("f", "x")});
  for (size_t size : {100u, 700u, 1u << 20, 3u << 20}) {
    EXPECT_EQ(UnpackTar(tar.substr(0, size)).error().code, Code::kCorrupt) << size;
  }
  std::string bad = tar;
  bad[(3 << 20) + 512 + 30] ^= 1;  // the second header
  EXPECT_EQ(UnpackTar(bad).error().code, Code::kCorrupt);
  size_t seen = 0;
  EXPECT_TRUE(store_->ForEach([&](const Layer&) {
    ++seen;
    return Ok();
  }));
  EXPECT_EQ(seen, 0u);
}

TEST_F(UnpackTest, ReadErrorsOfTheStreamAreTheResult) {
  struct Failing final : Reader {
    Result<size_t> Read(std::span<char>) override { return Unavailable("the network is gone"); }
  } in;
  EXPECT_EQ(store_->Unpack(DiffId(Digest::Of("x")), {}, in, {}).error().code, Code::kUnavailable);
}

TEST_F(UnpackTest, WhatWeWouldWriteOtherwiseIsNotReproducible) {
  // Each differs from the canonical form in one thing.
  std::vector<std::vector<Member>> tars = {
      {File("b", "1"), File("a", "2")},  // order
      {File("d/f", "1")},                // implicit parent
      {File("./f", "1")},                // name
      {Dir("./"), File("f", "1")},       // root entry
      {Dir("d"), File("d/f", "1")},      // directory without a slash
      {{{.name = "f", .xattrs = {{"user.a", "b"}}}, "x"}},
      {{{.name = ".wh.f", .mode = 0600}}},
      {File("a-b", ""), File("a/c", "")},
  };
  for (const auto& members : tars) {
    auto layer = UnpackTar(MakeTar(members));
    ASSERT_TRUE(layer) << layer.error().ToString();
    EXPECT_FALSE(*store_->Reproducible(layer->diff_id)) << members[0].entry.name;
    NullWriter out;
    Status written = store_->WriteTar(layer->diff_id, out, {});
    EXPECT_EQ(written.error().code, Code::kInvalid);
    EXPECT_THAT(written.error().hint, HasSubstr("blob"));
  }
}

TEST_F(UnpackTest, ImplicitParentsLookAsBelow) {
  auto draft = *store_->NewDraft();
  ASSERT_EQ(mkdir((draft->upper() + "/usr").c_str(), 0755), 0);
  ASSERT_EQ(mkdir((draft->upper() + "/usr/bin").c_str(), 0755), 0);
  ASSERT_EQ(chmod((draft->upper() + "/usr/bin").c_str(), 02711), 0);
  ASSERT_EQ(chown((draft->upper() + "/usr/bin").c_str(), 11, 12), 0);
  ASSERT_EQ(chmod((draft->upper() + "/usr/bin").c_str(), 02711), 0);
  Layer base = Commit(std::move(draft));
  std::string fs = Fs({File("usr/bin/x", "x"), File("new/y", "y")}, {base.diff_id});
  struct stat st = Stat(fs + "/usr/bin");
  EXPECT_EQ(st.st_mode & 07777, 02711u);
  EXPECT_EQ(st.st_uid, 11u);
  EXPECT_EQ(Stat(fs + "/new").st_mode & 07777, 0755u);
  auto index = *store_->Index(last_);
  EXPECT_TRUE(Find(index, "usr/bin")->implicit);
  EXPECT_TRUE(Find(index, "new")->implicit);
  EXPECT_FALSE(Find(index, "usr/bin/x")->implicit);
}

TEST_F(UnpackTest, ALayerThatIsThereIsNotReadAgain) {
  std::string tar = MakeTar({File("f", "x")});
  ASSERT_TRUE(UnpackTar(tar));
  struct Untouched final : Reader {
    Result<size_t> Read(std::span<char>) override { return Internal("read"); }
  } in;
  EXPECT_TRUE(store_->Unpack(DiffId(Digest::Of(tar)), {}, in, {}));
}

TEST_F(UnpackTest, HardLinksToFilesStillBeingWritten) {
  std::vector<Member> members = {Dir("d/")};
  for (int i = 0; i < 500; ++i) {
    members.push_back(File(fmt::format("d/f{:03}", i), std::string(static_cast<size_t>(i) * 50, 'x')));
    if (i % 5 == 0) members.push_back(Hard(fmt::format("d/f{:03}l", i), fmt::format("d/f{:03}", i)));
  }
  std::string fs = Fs(members);
  EXPECT_EQ(Stat(fs + "/d/f495l").st_nlink, 2u);
  EXPECT_EQ(Get(fs + "/d/f495l"), std::string(495 * 50, 'x'));
  EXPECT_TRUE(*store_->Reproducible(last_));
  EXPECT_EQ(TarOf(*store_, last_), MakeTar(members));
}

}  // namespace
}  // namespace varve::snapshot
