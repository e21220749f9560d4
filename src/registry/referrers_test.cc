#include <gmock/gmock.h>

#include "registry/testing/client_fixture.h"

namespace varve::registry {
namespace {

using testing::FakeRegistry;
using testing::RegistryOptions;

class ReferrersTest : public testing::ClientTest {
 protected:
  // Pushes three manifests about `subject`, two of them of the type "x/sbom".
  void PushReferrers(Client& client, const std::string& repository, const oci::Descriptor& subject) {
    for (const char* type : {"x/sbom", "x/other", "x/sbom"}) {
      oci::Manifest manifest{.artifact_type = type, .config = Blob("{}")};
      manifest.subject = subject;
      manifest.annotations = {{"n", std::to_string(count_++)}};
      auto pushed = client.PushManifest(Ref(repository), manifest.media_type, oci::Serialise(manifest), {});
      ASSERT_TRUE(pushed) << pushed.error().ToString();
    }
  }

  int count_ = 0;
};

TEST_F(ReferrersTest, AreListedWithAndWithoutTheApi) {
  for (bool api : {true, false}) {
    FakeRegistry server({.referrers_api = api});
    oci::Descriptor subject = server.AddImage("app", "v1", "linux/amd64", {"layer"});
    std::string repository = server.Address() + "/app";
    Client& client = Use();
    PushReferrers(client, repository, subject);
    auto all = client.Referrers(Ref(repository), subject.digest, "", {});
    ASSERT_TRUE(all) << all.error().ToString();
    EXPECT_EQ(all->size(), 3u) << api;
    auto some = client.Referrers(Ref(repository), subject.digest, "x/sbom", {});
    ASSERT_TRUE(some);
    EXPECT_EQ(some->size(), 2u);
    EXPECT_EQ((*some)[0].artifact_type, "x/sbom");
    std::string tag = "sha256-" + subject.digest.Hex();
    EXPECT_EQ(server.Manifest("app", tag).has_value(), !api);
  }
}

TEST_F(ReferrersTest, NoneIsAnEmptyList) {
  for (bool api : {true, false}) {
    FakeRegistry server({.referrers_api = api});
    auto none = Use().Referrers(Ref(server.Address() + "/app"), Digest::Of("x"), "", {});
    ASSERT_TRUE(none) << none.error().ToString();
    EXPECT_TRUE(none->empty());
  }
}

TEST_F(ReferrersTest, ARegistryThatIsDownIsNotAnEmptyList) {
  FakeRegistry server;
  server.Fail({.pattern = "", .status = 502});
  auto none = Use().Referrers(Ref(server.Address() + "/app"), Digest::Of("x"), "", {});
  EXPECT_EQ(none.error().code, Code::kUnavailable);
}

}  // namespace
}  // namespace varve::registry
