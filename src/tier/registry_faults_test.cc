// Registries that break off what is read, and that take a token back.
#include <gmock/gmock.h>

#include "tier/testing/registry_place.h"

namespace varve::tier {
namespace {

using namespace testing;

struct RegistryFaults : ::testing::Test {
  tree::MemoryTreeStore trees;
};

TEST_F(RegistryFaults, AReadThatBreaksAtAnyRequestIsRepeatedOrSaid) {
  // The list, its groups' records, the layer.
  for (const char* pattern : {"GET .*/manifests/cache", "GET .*/manifests/sha256", "GET .*/blobs/"}) {
    for (int times : {1, 1 << 30}) {
      RegistryPlace other;
      ASSERT_TRUE(other.Open({})->Export(OfferOf({"a"}), nullptr, {}));
      other.server().Fail({.pattern = pattern, .times = times, .cut_after = 7});
      auto tier = other.Open({});
      auto read = [&]() -> Result<std::string> {
        TRY_ASSIGN(auto records, tier->GetMany({Key("a")}, trees, {}));
        if (!records[0]) return std::string("absent");
        TRY_ASSIGN(auto blob, tier->FindLayer(LayerOf("a"), {}));
        StringWriter out;
        TRY(tier->Fetch(*blob, out, {}));
        return out.text;
      };
      auto got = read();
      if (got) {
        EXPECT_EQ(*got, BlobOf(LayerOf("a"))) << pattern << " " << times;
      } else {
        EXPECT_EQ(got.error().code, Code::kUnavailable) << got.error().message;
        EXPECT_NE(times, 1) << pattern;
      }
    }
  }
}

TEST_F(RegistryFaults, ATokenThatIsRevokedWithinAnExportIsBoughtAgain) {
  RegistryPlace other({.bearer = "anonymous"});
  auto tier = other.Open({});
  Offer offer = OfferOf({"a", "b"});
  offer.make_blob = [&, make = offer.make_blob](const DiffId& layer, std::stop_token stop) {
    other.server().RevokeTokens();
    return make(layer, stop);
  };
  ASSERT_TRUE(tier->Export(offer, nullptr, {}));
  auto records = other.Open({})->GetMany({Key("a"), Key("b")}, trees, {});
  ASSERT_TRUE(records);
  EXPECT_TRUE((*records)[0] && (*records)[1]);
}

}  // namespace
}  // namespace varve::tier
