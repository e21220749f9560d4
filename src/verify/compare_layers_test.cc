#include "verify/compare_layers.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "sys/tempdir.h"

namespace varve::verify {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Kind = FileDifference::Kind;

class CompareLayersTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "owners and devices need root";
    root_ = *sys::TempDir::Create(testing::TempDir(), "verify-");
    layers_ = *snapshot::OpenLayerStore(root_.path());
  }

  // The layer that `fill` makes of the same files each time: a, d/b, and a link to a.
  DiffId Layer(const std::function<void(const std::string& upper)>& fill) {
    auto draft = *layers_->NewDraft();
    std::string upper = draft->upper();
    std::ofstream(upper + "/a") << "one\n";
    std::filesystem::create_directory(upper + "/d");
    std::ofstream(upper + "/d/b") << "two\n";
    std::filesystem::create_symlink("a", upper + "/link");
    fill(upper);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(upper)) {
      timespec times[2] = {{mtime_, 0}, {mtime_, 0}};
      utimensat(AT_FDCWD, entry.path().c_str(), times, AT_SYMLINK_NOFOLLOW);
    }
    return layers_->Commit(std::move(draft), {}, {}, {})->diff_id;
  }
  DiffId Layer() {
    return Layer([](const std::string&) {});
  }
  std::vector<std::pair<std::string, Kind>> Compare(const DiffId& a, const DiffId& b, CompareOptions options = {}) {
    auto found = CompareLayers(*layers_, a, b, options, {});
    EXPECT_TRUE(found) << found.error().message;
    std::vector<std::pair<std::string, Kind>> out;
    for (const FileDifference& difference : *found) out.emplace_back(difference.path, difference.kind);
    return out;
  }

  sys::TempDir root_;
  std::unique_ptr<snapshot::LayerStore> layers_;
  time_t mtime_ = 1'700'000'000;
};

TEST_F(CompareLayersTest, EachKindOfDifferenceIsToldApart) {
  DiffId same = Layer();
  auto differs = [&](const std::function<void(const std::string&)>& change) { return Compare(same, Layer(change)); };
  EXPECT_THAT(differs([](const std::string&) {}), IsEmpty());
  EXPECT_THAT(differs([](auto& up) { std::ofstream(up + "/a") << "ONE\n"; }),
              ElementsAre(std::pair("a", Kind::kContent)));
  EXPECT_THAT(differs([](auto& up) { chmod((up + "/d/b").c_str(), 0755); }),
              ElementsAre(std::pair("d/b", Kind::kMode)));
  EXPECT_THAT(differs([](auto& up) { ASSERT_EQ(chown((up + "/d").c_str(), 7, 8), 0); }),
              ElementsAre(std::pair("d", Kind::kOwner)));
  EXPECT_THAT(differs([](auto& up) { std::filesystem::remove(up + "/d/b"); }),
              ElementsAre(std::pair("d/b", Kind::kOnlyFirst)));
  EXPECT_THAT(differs([](auto& up) { std::ofstream(up + "/new") << "x"; }),
              ElementsAre(std::pair("new", Kind::kOnlySecond)));
  EXPECT_THAT(differs([](auto& up) {
                std::filesystem::remove(up + "/link");
                std::filesystem::create_symlink("d", up + "/link");
              }),
              ElementsAre(std::pair("link", Kind::kTarget)));
  EXPECT_THAT(differs([](auto& up) {
                std::filesystem::remove(up + "/a");
                std::filesystem::create_directory(up + "/a");
              }),
              ElementsAre(std::pair("a", Kind::kType)));
  EXPECT_THAT(differs([](auto& up) {
                std::filesystem::remove(up + "/a");
                mknod((up + "/a").c_str(), S_IFCHR, makedev(0, 0));
              }),
              ElementsAre(std::pair("a", Kind::kType)));
}

TEST_F(CompareLayersTest, DevicesLinksAndOpaqueDirectories) {
  DiffId device = Layer([](auto& up) { mknod((up + "/dev").c_str(), S_IFCHR | 0600, makedev(1, 3)); });
  EXPECT_THAT(Compare(device, Layer([](auto& up) { mknod((up + "/dev").c_str(), S_IFCHR | 0600, makedev(1, 5)); })),
              ElementsAre(std::pair("dev", Kind::kDevice)));
  DiffId copy = Layer([](auto& up) { std::filesystem::copy_file(up + "/a", up + "/z"); });
  EXPECT_THAT(Compare(copy, Layer([](auto& up) { std::filesystem::create_hard_link(up + "/a", up + "/z"); })),
              ElementsAre(std::pair("z", Kind::kHardLink)));
  EXPECT_THAT(
      Compare(Layer(), Layer([](auto& up) { setxattr((up + "/d").c_str(), "trusted.overlay.opaque", "y", 1, 0); })),
      ElementsAre(std::pair("d", Kind::kRemoval)));
}

TEST_F(CompareLayersTest, TimesCountOnlyWhenAskedForAndOnlyBelowTheEpoch) {
  DiffId early = Layer();
  mtime_ += 100;
  DiffId late = Layer();
  EXPECT_THAT(Compare(early, late), IsEmpty());
  EXPECT_EQ(Compare(early, late, {.clamp_times = Timestamp{2'000'000'000'000'000'000}}).size(), 4u);
  EXPECT_THAT(Compare(early, late, {.clamp_times = Timestamp{1'600'000'000'000'000'000}}), IsEmpty());
}

TEST_F(CompareLayersTest, TheFirstDifferenceOfALargeFileIsFound) {
  auto large = [&](const char* time) {
    return Layer([&](auto& up) {
      std::ofstream out(up + "/large");
      for (int i = 0; i < 700'000; ++i) out << "line " << i << "\n";
      out << "built " << time << "\n";
    });
  };
  auto found = *CompareLayers(*layers_, large("2026-11-21 10:00:00"), large("2026-11-21 10:00:07"), {}, {});
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].content->cause, Cause::kTime);
  EXPECT_EQ(found[0].first, "built 2026-11-21 10:00:00");
  EXPECT_GT(found[0].content->offset, 8'000'000u);
}

TEST_F(CompareLayersTest, ALayerThatIsGoneIsNotFound) {
  DiffId layer = Layer();
  EXPECT_EQ(CompareLayers(*layers_, layer, DiffId(Digest::Of("x")), {}, {}).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace varve::verify
