// The tier in GitHub's cache against varve's own service.
#include <gmock/gmock.h>

#include <fstream>

#include "base/fd.h"
#include "gha_server/testing/service.h"
#include "registry/testing/client_fixture.h"
#include "tier/gha_storage.h"
#include "tier/testing/contract.h"

namespace varve::tier {
namespace {

using testing::MakePlace;
using testing::Place;
using testing::TierContract;

// Each blob in an entry of its own, so that one can be gone without the others.
class GhaPlace final : public Place {
 public:
  explicit GhaPlace(gha::Protocol protocol) : protocol_(protocol) {}
  std::unique_ptr<Tier> Open(PackedOptions options) override {
    options.choose_before_sending = true;
    net::Sleeper& in_time = in_real_time_ ? net::SystemSleeper() : sleeper_;
    GhaOptions gha{.address = service_.Address(protocol_, "refs/heads/main:rw"),
                   .packs = {.pack_size = 1, .max_packs = 1'000'000}};
    return MakePackedTier(MakeGhaStorage(http_, std::move(gha), SystemClock(), in_time), options, clock_);
  }
  void Remove(const Digest& blob) override {
    for (const gha_server::Entry& entry : EntriesOf(blob)) service_.store().Drop(entry.id);
  }
  void Damage(const Digest& blob, size_t) override {
    for (const gha_server::Entry& entry : EntriesOf(blob)) {
      std::fstream(DataOf(entry), std::ios::in | std::ios::out | std::ios::binary).put('#');
    }
  }
  void MergeInRealTime() override { in_real_time_ = true; }
  uint64_t RequestsOfTheList() override { return 3; }  // newest, a later one, its bytes
  uint64_t RequestsOfABlob() override { return 2; }    // pack, bytes

 private:
  std::string DataOf(const gha_server::Entry& entry) {
    return service_.folder() + "/entries/" + std::to_string(entry.id) + ".data";
  }
  std::vector<gha_server::Entry> EntriesOf(const Digest& blob) {
    auto entries = service_.store().List({"refs/heads/main"}, "varve-varve#pack-");
    std::erase_if(entries, [&](const auto& entry) { return Digest::Of(*ReadFile(DataOf(entry))) != blob; });
    return entries;
  }

  const gha::Protocol protocol_;
  bool in_real_time_ = false;
  gha_server::testing::LocalService service_;
  net::HttpClient http_;
  FakeClock clock_;
  registry::testing::RecordingSleeper sleeper_;
};

INSTANTIATE_TEST_SUITE_P(GhaVersion1, TierContract, ::testing::Values(MakePlace([] {
                           return std::unique_ptr<Place>(std::make_unique<GhaPlace>(gha::Protocol::kV1));
                         })));
INSTANTIATE_TEST_SUITE_P(GhaVersion2, TierContract, ::testing::Values(MakePlace([] {
                           return std::unique_ptr<Place>(std::make_unique<GhaPlace>(gha::Protocol::kV2));
                         })));

}  // namespace
}  // namespace varve::tier
