#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <thread>

#include "snapshot/layer_meta.h"
#include "snapshot/test_layers.h"
#include "snapshot/upper_walk.h"
#include "sys/open.h"
#include "sys/xattrs.h"
#include "tree/tree.h"

namespace varve::snapshot {
namespace {

using archive::EntryType;
using testing::ElementsAre;

struct LayerStoreTest : LayersTest {
  // name, type and link of the entries of a layer's tar.
  std::vector<std::string> Listing(const std::string& tar) {
    std::vector<std::string> out;
    StringReader in(tar);
    archive::TarReader reader(in);
    while (true) {
      auto entry = reader.Next();
      EXPECT_TRUE(entry) << entry.error().ToString();
      if (!entry || !*entry) return out;
      const archive::TarEntry& e = **entry;
      std::string line = e.name;
      if (e.type == EntryType::kHardLink) line += " = " + e.link;
      if (e.type == EntryType::kSymlink) line += " -> " + e.link;
      if (e.type == EntryType::kCharDevice) line += fmt::format(" c{}:{}", e.major, e.minor);
      if (e.type == EntryType::kFifo) line += " fifo";
      for (const auto& [name, value] : e.xattrs) line += " " + name;
      out.push_back(line);
    }
  }
};

TEST_F(LayerStoreTest, EmptyDraftIsTheWellKnownEmptyLayer) {
  Layer layer = CommitFiles({});
  EXPECT_EQ(layer.diff_id.ToString(), "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef");
  EXPECT_EQ(layer.tar_size, 1024u);
  EXPECT_EQ(TarOf(*store_, layer.diff_id), std::string(1024, '\0'));
  EXPECT_TRUE(store_->Index(layer.diff_id)->empty());
}

TEST_F(LayerStoreTest, CommitWritesWhatTheFieldWrites) {
  auto draft = *store_->NewDraft();
  std::string upper = draft->upper();
  Put(upper + "/dir/b", "bb");
  Put(upper + "/dir/sub/x", "x");
  Put(upper + "/dir-after", "");
  Put(upper + "/setuid", "s", 04755);
  ASSERT_EQ(link((upper + "/dir/b").c_str(), (upper + "/dir/z-link").c_str()), 0);
  ASSERT_EQ(symlink("/etc/nowhere", (upper + "/sym").c_str()), 0);
  ASSERT_EQ(mknod((upper + "/null").c_str(), S_IFCHR | 0666, makedev(1, 3)), 0);
  ASSERT_EQ(mknod((upper + "/dir/gone").c_str(), S_IFCHR, 0), 0);
  ASSERT_EQ(mkfifo((upper + "/pipe").c_str(), 0600), 0);
  ASSERT_TRUE(sys::SetXattr(upper + "/setuid", kCapability, Capability()));
  ASSERT_TRUE(sys::SetXattr(upper + "/dir-after", "user.note", "lost"));
  ASSERT_TRUE(sys::SetXattr(upper + "/dir", OverlayXattr("opaque"), "y"));
  ASSERT_TRUE(sys::SetXattr(upper + "/dir/sub", "trusted.overlay.origin", "o"));
  int sock = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{.sun_family = AF_UNIX};
  std::string socket_path = upper + "/socket";
  ASSERT_LT(socket_path.size(), sizeof(address.sun_path));
  socket_path.copy(address.sun_path, socket_path.size());
  ASSERT_EQ(bind(sock, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(sock);

  Layer layer = Commit(std::move(draft));
  std::string tar = TarOf(*store_, layer.diff_id);
  EXPECT_THAT(Listing(tar), ElementsAre("dir/", "dir/.wh..wh..opq", "dir/b", "dir/.wh.gone", "dir/sub/", "dir/sub/x",
                                        "dir/z-link = dir/b", "dir-after", "null c1:3", "pipe fifo",
                                        "setuid security.capability", "sym -> /etc/nowhere"));
  EXPECT_EQ(tar.size(), layer.tar_size);
  EXPECT_EQ(DiffId(Digest::Of(tar)), layer.diff_id);
  auto index = *store_->Index(layer.diff_id);
  EXPECT_EQ(index.size(), layer.entries);
  EXPECT_TRUE(Find(index, "dir")->opaque);
  EXPECT_EQ(Find(index, "dir/z-link")->node.digest, Digest::Of("bb"));
  EXPECT_EQ(Find(index, "dir/b")->node.size, 2u);
  EXPECT_EQ(Find(index, "setuid")->node.mode, 04755u);
  EXPECT_EQ(Find(index, "setuid")->node.xattrs.at(0).second, Capability());
  EXPECT_TRUE(Find(index, "dir-after")->node.xattrs.empty());
  EXPECT_EQ(Find(index, "socket"), nullptr);
  EXPECT_EQ(index[1].path.str(), "dir/gone") << "whiteouts come first in their directory";
}

TEST_F(LayerStoreTest, UnpackingTheTarGivesTheSameLayer) {
  auto draft = *store_->NewDraft();
  std::string upper = draft->upper();
  Put(upper + "/a/deep/file", std::string(3 << 20, 'q'), 0600);
  Put(upper + "/a/" + std::string(120, 'n') + "é", "long");
  Put(upper + "/empty", "");
  ASSERT_EQ(chown((upper + "/empty").c_str(), 5000, 6000), 0);
  ASSERT_EQ(link((upper + "/a/deep/file").c_str(), (upper + "/hard").c_str()), 0);
  ASSERT_EQ(symlink("x", (upper + "/s1").c_str()), 0);
  ASSERT_EQ(link((upper + "/s1").c_str(), (upper + "/s2").c_str()), 0);
  ASSERT_EQ(mknod((upper + "/a/w").c_str(), S_IFCHR, 0), 0);
  ASSERT_EQ(chmod((upper + "/a").c_str(), 01777), 0);
  ASSERT_TRUE(sys::SetXattr(upper + "/hard", kCapability, Capability()));
  ASSERT_TRUE(sys::SetXattr(upper + "/a/deep", OverlayXattr("opaque"), "y"));
  Layer layer = Commit(std::move(draft));
  std::string tar = TarOf(*store_, layer.diff_id);
  auto index = *store_->Index(layer.diff_id);

  ASSERT_TRUE(store_->Remove(layer.diff_id));
  EXPECT_FALSE(*store_->Has(layer.diff_id));
  auto again = UnpackTar(tar);
  ASSERT_TRUE(again) << again.error().ToString();
  EXPECT_EQ(again->diff_id, layer.diff_id);
  EXPECT_EQ(again->tar_size, layer.tar_size);
  EXPECT_EQ(again->entries, layer.entries);
  EXPECT_TRUE(*store_->Reproducible(layer.diff_id));
  EXPECT_EQ(tree::EncodeLayerIndex(*store_->Index(layer.diff_id)), tree::EncodeLayerIndex(index));
  EXPECT_EQ(TarOf(*store_, layer.diff_id), tar);
}

TEST_F(LayerStoreTest, SparseFilesStaySparse) {
  auto draft = *store_->NewDraft();
  std::string file = draft->upper() + "/sparse";
  Put(file, "head");
  ASSERT_EQ(truncate(file.c_str(), 64 << 20), 0);
  Layer layer = Commit(std::move(draft));
  EXPECT_EQ(layer.tar_size, (64u << 20) + 512 + 1024);
  std::string tar = TarOf(*store_, layer.diff_id);
  ASSERT_TRUE(store_->Remove(layer.diff_id));
  ASSERT_TRUE(UnpackTar(tar));
  struct stat st;
  ASSERT_EQ(stat((store_->Directory(layer.diff_id).value() + "/sparse").c_str(), &st), 0);
  EXPECT_EQ(st.st_size, 64 << 20);
  EXPECT_LT(st.st_blocks * 512, 4 << 20);
  EXPECT_EQ(TarOf(*store_, layer.diff_id), tar);
}

TEST_F(LayerStoreTest, DirectoriesThatAreTheSameBelowAreDropped) {
  auto draft = *store_->NewDraft();
  std::string upper = draft->upper();
  for (const char* name : {"same/deeper", "changed", "opaque", "filled", "fresh"}) {
    std::filesystem::create_directories(upper + "/" + name);
  }
  Put(upper + "/filled/new", "x");
  ASSERT_EQ(chmod((upper + "/changed").c_str(), 0700), 0);
  ASSERT_TRUE(sys::SetXattr(upper + "/opaque", OverlayXattr("opaque"), "y"));
  draft->is_below = [](const RelPath& path, const tree::Node& directory) -> Result<bool> {
    return path.str() != "fresh" && directory.mode == 0755;
  };
  Layer layer = Commit(std::move(draft));
  EXPECT_THAT(Listing(TarOf(*store_, layer.diff_id)),
              ElementsAre("changed/", "filled/", "filled/new", "fresh/", "opaque/", "opaque/.wh..wh..opq"));
  EXPECT_FALSE(std::filesystem::exists(store_->Directory(layer.diff_id).value() + "/same"));
}

TEST_F(LayerStoreTest, AMarkThatHidesNothingIsTakenOff) {
  auto draft = *store_->NewDraft();
  std::string upper = draft->upper();
  for (const char* name : {"hides", "new"}) {
    std::filesystem::create_directories(upper + "/" + name);
    ASSERT_TRUE(sys::SetXattr(upper + "/" + name, OverlayXattr("opaque"), "y"));
  }
  draft->has_directory = [](const RelPath& path) -> Result<bool> { return path.str() == "hides"; };
  Layer layer = Commit(std::move(draft));
  // The tar is made again from the files, and checked against the diff id.
  EXPECT_THAT(Listing(TarOf(*store_, layer.diff_id)), ElementsAre("hides/", "hides/.wh..wh..opq", "new/"));
}

TEST_F(LayerStoreTest, WhatADirectoryWasDroppedFromKeepsItsTime) {
  auto draft = *store_->NewDraft();
  std::string upper = draft->upper();
  std::filesystem::create_directories(upper + "/kept/same");
  Put(upper + "/kept/new", "x");
  timespec times[2] = {{1'000'000'000, 5}, {1'000'000'000, 5}};
  ASSERT_EQ(utimensat(AT_FDCWD, (upper + "/kept").c_str(), times, 0), 0);
  draft->is_below = [](const RelPath& path, const tree::Node&) -> Result<bool> { return path.str() == "kept/same"; };
  Layer layer = Commit(std::move(draft));
  // The tar is made again from the files, and checked against the diff id.
  EXPECT_THAT(Listing(TarOf(*store_, layer.diff_id)), ElementsAre("kept/", "kept/new"));
}

TEST_F(LayerStoreTest, KnownDigestsAreTakenAsTheyAre) {
  auto draft = *store_->NewDraft();
  Put(draft->upper() + "/d/known", "k");
  Put(draft->upper() + "/d/other", "o");
  Layer layer = Commit(std::move(draft), {{"d/known", Digest::Of("said so")}});
  auto index = *store_->Index(layer.diff_id);
  EXPECT_EQ(Find(index, "d/known")->node.digest, Digest::Of("said so"));
  EXPECT_EQ(Find(index, "d/other")->node.digest, Digest::Of("o"));
}

TEST_F(LayerStoreTest, MtimeIsTruncatedInTheTarAndKeptOnDisk) {
  auto draft = *store_->NewDraft();
  std::string file = draft->upper() + "/f";
  Put(file, "x");
  timespec times[2] = {{1'600'000'000, 999'999'999}, {1'600'000'000, 999'999'999}};
  ASSERT_EQ(utimensat(AT_FDCWD, file.c_str(), times, 0), 0);
  Layer layer = Commit(std::move(draft));
  std::string tar = TarOf(*store_, layer.diff_id);
  StringReader in(tar);
  archive::TarReader reader(in);
  EXPECT_EQ((**reader.Next()).mtime.nanos, 1'600'000'000'000'000'000);
}

TEST_F(LayerStoreTest, ManyFilesOfAllSizesKeepTheirOrderAndContent) {
  auto draft = *store_->NewDraft();
  std::vector<std::pair<std::string, size_t>> files;
  for (size_t i = 0; i < 600; ++i) {
    size_t size = i % 50 == 7 ? 700'000 + i : i * 13 % 5000;
    files.emplace_back(fmt::format("d{}/f{}", i % 7, i), size);
    Put(draft->upper() + "/" + files.back().first, std::string(size, static_cast<char>('a' + i % 26)));
  }
  Layer layer = Commit(std::move(draft));
  auto index = *store_->Index(layer.diff_id);
  for (size_t i = 0; i < files.size(); ++i) {
    const tree::LayerEntry* entry = Find(index, files[i].first);
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->node.digest, Digest::Of(std::string(files[i].second, static_cast<char>('a' + i % 26))));
  }
  std::string tar = TarOf(*store_, layer.diff_id);
  EXPECT_EQ(DiffId(Digest::Of(tar)), layer.diff_id);
}

TEST_F(LayerStoreTest, ReservedNamesAreRefused) {
  auto draft = *store_->NewDraft();
  Put(draft->upper() + "/d/.wh.x", "");
  auto layer = store_->Commit(std::move(draft), {}, {}, {});
  ASSERT_FALSE(layer);
  EXPECT_EQ(layer.error().code, Code::kInvalid);
  EXPECT_THAT(layer.error().message, testing::HasSubstr("/d/.wh.x"));
}

TEST_F(LayerStoreTest, DroppedDraftsLeaveNothing) {
  {
    auto draft = *store_->NewDraft();
    Put(draft->upper() + "/f", "x");
  }
  auto draft = *store_->NewDraft();
  std::string staging = std::filesystem::path(draft->upper()).parent_path().parent_path();
  auto left = [&] { return sys::ListDirectory(sys::OpenDir(staging)->get())->size(); };
  // Another thread removes it.
  for (int i = 0; i < 1000 && left() > 1; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(left(), 1u);
  // With the store everything goes, whether that thread came to it or not.
  { auto last = std::move(draft); }
  store_.reset();
  EXPECT_FALSE(std::filesystem::exists(staging));
}

TEST_F(LayerStoreTest, EqualLayersCommittedAtOnceAreOne) {
  std::vector<std::unique_ptr<LayerDraft>> drafts;
  timespec times[2] = {{7, 0}, {7, 0}};
  for (int i = 0; i < 6; ++i) {
    drafts.push_back(*store_->NewDraft());
    std::string file = drafts.back()->upper() + "/f";
    Put(file, "same");
    utimensat(AT_FDCWD, file.c_str(), times, 0);
  }
  std::vector<Layer> layers(drafts.size());
  {
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < drafts.size(); ++i) {
      threads.emplace_back([&, i] { layers[i] = Commit(std::move(drafts[i])); });
    }
  }
  for (const Layer& layer : layers) EXPECT_EQ(layer.diff_id, layers[0].diff_id);
  size_t seen = 0;
  EXPECT_TRUE(store_->ForEach([&](const Layer&) {
    ++seen;
    return Ok();
  }));
  EXPECT_EQ(seen, 1u);
}

TEST_F(LayerStoreTest, ChangedFilesAreFoundWhenTheTarIsWritten) {
  Layer layer = CommitFiles({{"f", "before"}});
  Put(store_->Directory(layer.diff_id).value() + "/f", "behind");
  NullWriter out;
  EXPECT_EQ(store_->WriteTar(layer.diff_id, out, {}).error().code, Code::kCorrupt);
}

TEST_F(LayerStoreTest, AbsentLayersAreNotFound) {
  DiffId absent(Digest::Of("absent"));
  EXPECT_FALSE(*store_->Has(absent));
  EXPECT_EQ(store_->Stat(absent).error().code, Code::kNotFound);
  EXPECT_EQ(store_->Index(absent).error().code, Code::kNotFound);
  EXPECT_EQ(store_->Reproducible(absent).error().code, Code::kNotFound);
  NullWriter out;
  EXPECT_EQ(store_->WriteTar(absent, out, {}).error().code, Code::kNotFound);
  EXPECT_TRUE(store_->Remove(absent));
}

TEST_F(LayerStoreTest, CancelledCommitLeavesNoLayer) {
  auto draft = *store_->NewDraft();
  Put(draft->upper() + "/f", "x");
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(store_->Commit(std::move(draft), {}, {}, stop.get_token()).error().code, Code::kCancelled);
  size_t seen = 0;
  EXPECT_TRUE(store_->ForEach([&](const Layer&) {
    ++seen;
    return Ok();
  }));
  EXPECT_EQ(seen, 0u);
}

// --- processes that die, machines that stop ---

TEST_F(LayerStoreTest, LeftoversOfTheKilledGoAndThoseOfTheLivingStay) {
  auto living = *store_->NewDraft();
  Put(living->upper() + "/mine", "x");
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  pid_t child = fork();
  if (child == 0) {
    auto store = LocalLayerStore::Open(root(), "boot-1");
    auto draft = store ? (*store)->NewDraft() : Result<std::unique_ptr<LayerDraft>>(Error());
    std::string path = draft ? (*draft)->upper() : "";
    if (!path.empty()) Put(path + "/half", "x");
    (void)!write(ready[1], path.data(), path.size());
    close(ready[1]);
    pause();
    _exit(0);
  }
  close(ready[1]);
  char buffer[4096];
  ssize_t n = read(ready[0], buffer, sizeof(buffer));
  close(ready[0]);
  ASSERT_GT(n, 0);
  std::string theirs(buffer, static_cast<size_t>(n));
  auto second = OpenStore();
  EXPECT_EQ(Get(theirs + "/half"), "x") << "its process lives";
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  auto third = OpenStore();
  EXPECT_FALSE(std::filesystem::exists(theirs));
  EXPECT_EQ(Get(living->upper() + "/mine"), "x");
  EXPECT_FALSE(Commit(std::move(living)).diff_id.empty());
}

TEST_F(LayerStoreTest, LayersAreCheckedOnceAfterTheMachineStopped) {
  Layer good = CommitFiles({{"d/f", "good"}}), bad = CommitFiles({{"d/f", "lost"}});
  std::string foreign_tar = MakeTar({{{.name = "usr/bin/x", .uid = 3}, "x"}});
  Layer foreign = *UnpackTar(foreign_tar);
  std::string other_tar = MakeTar({{{.name = "usr/bin/y"}, "y"}});
  Layer foreign_bad = *UnpackTar(other_tar);
  // As after a power failure: the size is there, the blocks are not.
  Put(store_->Directory(bad.diff_id).value() + "/d/f", std::string(4, '\0'));
  Put(store_->Directory(foreign_bad.diff_id).value() + "/usr/bin/y", "z");
  EXPECT_TRUE(*store_->Has(bad.diff_id)) << "same boot: not looked at";

  auto later = OpenStore("boot-2");
  EXPECT_TRUE(*later->Has(good.diff_id));
  EXPECT_FALSE(*later->Has(bad.diff_id));
  EXPECT_TRUE(later->Stat(foreign.diff_id));
  EXPECT_EQ(later->Index(foreign_bad.diff_id).error().code, Code::kNotFound);
  EXPECT_FALSE(std::filesystem::exists(store_->Directory(bad.diff_id).value()));
  // Once is enough.
  Put(store_->Directory(good.diff_id).value() + "/d/f", "evil");
  EXPECT_TRUE(*OpenStore("boot-3")->Has(good.diff_id));
}

TEST_F(LayerStoreTest, SyncedLayersNeedNoCheck) {
  Layer layer = CommitFiles({{"f", "x"}});
  ASSERT_TRUE(store_->Sync());
  Put(store_->Directory(layer.diff_id).value() + "/f", "y");
  EXPECT_TRUE(*OpenStore("boot-2")->Has(layer.diff_id));
}

TEST_F(LayerStoreTest, ALostLayerCanBeMadeAgain) {
  Layer layer = CommitFiles({{"d/", ""}});
  std::string tar = TarOf(*store_, layer.diff_id);
  std::ofstream(root() + "/layers/" + layer.diff_id.Hex() + "/index", std::ios::trunc) << "";
  store_ = OpenStore("boot-2");
  ASSERT_TRUE(UnpackTar(tar));
  EXPECT_EQ(TarOf(*store_, layer.diff_id), tar);
}

TEST_F(LayerStoreTest, ALayerWhoseSizeIsDamagedIsFoundOutByVerify) {
  Layer layer = CommitFiles({{"f", "x"}});
  std::ofstream(root() + "/layers/" + layer.diff_id.Hex() + "/size", std::ios::trunc) << "20p8\n";
  store_ = OpenStore("boot-1");
  EXPECT_EQ(store_->Stat(layer.diff_id)->tar_size, layer.tar_size);  // `meta` has it too
  EXPECT_FALSE(*store_->Verify(layer.diff_id, /*quick=*/true));
}

TEST_F(LayerStoreTest, ALayerOfAnEarlierVersionWhoseSizeIsDamagedIsDroppedAndMadeAgain) {
  Layer layer = CommitFiles({{"f", "x"}});
  std::string tar = TarOf(*store_, layer.diff_id);
  std::string directory = root() + "/layers/" + layer.diff_id.Hex();
  LayerMeta meta = ReadMeta(directory).value();
  meta.tar_size.reset();
  ASSERT_TRUE(WriteMeta(directory, meta));
  store_ = OpenStore("boot-1");
  EXPECT_EQ(store_->Stat(layer.diff_id)->tar_size, layer.tar_size);
  std::ofstream(directory + "/size", std::ios::trunc) << "20p8\n";
  store_ = OpenStore("boot-1");
  EXPECT_FALSE(*store_->Has(layer.diff_id));
  ASSERT_TRUE(UnpackTar(tar));
  EXPECT_EQ(TarOf(*store_, layer.diff_id), tar);
}

// Each bit: a count of no entries, for one, would leave the layer out of every root file system.
TEST_F(LayerStoreTest, AMetaInWhichABitFlippedIsCorrupt) {
  Layer layer = CommitFiles({{"f", "x"}});
  std::string directory = root() + "/layers/" + layer.diff_id.Hex();
  const std::string text = ReadFile(directory + "/meta").value();
  ASSERT_EQ(ReadMeta(directory)->entries, 1);
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string flipped = text;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    std::ofstream(directory + "/meta", std::ios::trunc) << flipped;
    auto meta = ReadMeta(directory);
    ASSERT_FALSE(meta) << "bit " << bit;
    EXPECT_EQ(meta.error().code, Code::kCorrupt);
  }
}

// The bit that flipped leaves an index that can be read: another mode, another digest.
TEST_F(LayerStoreTest, AnIndexThatIsNotTheLayersIsCorrupt) {
  Layer layer = CommitFiles({{"f", "x"}});
  std::string path = root() + "/layers/" + layer.diff_id.Hex() + "/index";
  std::string text = ReadFile(path).value();
  text.back() = static_cast<char>(text.back() ^ 1);
  std::ofstream(path, std::ios::trunc) << text;
  EXPECT_EQ(store_->Index(layer.diff_id).error().code, Code::kCorrupt);
}

}  // namespace
}  // namespace varve::snapshot
