// Each call that writes a directory tier failed in turn: the export says so or has all it says, nobody finds a record
// without its blobs, and the next export mends what the failed one left.
#include <errno.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "sys/testing/faulty_calls.h"
#include "tier/testing/contract.h"

namespace varve::tier {
namespace {

namespace fs = std::filesystem;
using namespace testing;

class DirectoryFaults : public ::testing::TestWithParam<std::tuple<int, bool>> {
 protected:
  std::unique_ptr<Tier> Open() { return MakePackedTier(MakeDirectoryStorage({.path = path_}), {}, clock_); }
  Status Export(const std::vector<std::string>& names) {
    Offer offer = OfferOf(names);
    offer.chunked = std::get<1>(GetParam());
    return Open()->Export(offer, nullptr, {});
  }
  // What a machine that comes anew makes of it: which of the steps it finds, each with the bytes of its layer.
  std::string Usable(const std::vector<std::string>& names) {
    auto tier = Open();
    std::vector<StepKey> keys;
    for (const std::string& name : names) keys.push_back(Key(name));
    tree::MemoryTreeStore trees;
    auto records = tier->GetMany(keys, trees, {});
    if (!records) return "error: " + records.error().ToString();
    std::string usable;
    for (size_t i = 0; i < names.size(); ++i) {
      if (!(*records)[i]) continue;
      EXPECT_EQ((*records)[i]->outputs, RecordOf(names[i]).outputs);
      auto blob = tier->FindLayer(LayerOf(names[i]), {});
      EXPECT_TRUE(blob && *blob) << names[i] << " has no layer";
      if (!blob || !*blob) continue;
      StringWriter out;
      Status fetched = tier->Fetch(**blob, out, {});
      EXPECT_TRUE(fetched) << names[i] << ": " << fetched.error().ToString();
      if (!std::get<1>(GetParam())) {
        EXPECT_EQ(out.text, BlobOf(LayerOf(names[i])));
      }
      usable += (usable.empty() ? "" : " ") + names[i];
    }
    return usable;
  }

  sys::TempDir directory_ =
      *sys::TempDir::Create(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : ::testing::TempDir(), "tier-");
  const std::string base_ = fs::canonical(directory_.path()).string();
  std::string path_;
  FakeClock clock_;
};

TEST_P(DirectoryFaults, AnExportThatFailsHarmsNobody) {
  size_t failed = 0;
  for (int n = 1;; ++n) {
    ASSERT_LT(n, 1000);
    path_ = fmt::format("{}/{}", base_, n);
    ASSERT_TRUE(Export({"before"}));
    sys::FaultyCalls faults(path_, n, std::get<0>(GetParam()));
    Status exported = Export({"a", "b"});
    faults.Stop();
    SCOPED_TRACE(faults.failed());
    const std::string usable = Usable({"before", "a", "b"});
    if (exported) {
      EXPECT_EQ(usable, "before a b");
    } else {
      ++failed;
      EXPECT_NE(exported.error().code, Code::kInternal) << exported.error().ToString();
      EXPECT_TRUE(usable == "before" || usable == "before a b") << usable;
    }
    Status again = Export({"a", "b"});
    EXPECT_TRUE(again) << again.error().ToString();
    EXPECT_EQ(Usable({"before", "a", "b"}), "before a b");
    fs::remove_all(path_);
    if (faults.calls() < n) {
      EXPECT_TRUE(exported);
      EXPECT_GT(n, 10);
      break;
    }
  }
  EXPECT_GT(failed, 5u);
}

INSTANTIATE_TEST_SUITE_P(Errors, DirectoryFaults, ::testing::Combine(::testing::Values(ENOSPC, EIO), ::testing::Bool()),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param) == ENOSPC ? "NoSpace" : "InputOutput") +
                                  (std::get<1>(test.param) ? "OfChunks" : "");
                         });

}  // namespace
}  // namespace varve::tier
