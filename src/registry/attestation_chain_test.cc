#include "registry/attestation_chain.h"

#include <gmock/gmock.h>

#include "registry/testing/client_fixture.h"

namespace varve::registry {
namespace {

using testing::FakeRegistry;

constexpr char kProvenance[] = "https://slsa.dev/provenance/v1";

class AttestationChainTest : public testing::ClientTest {
 protected:
  // An index of an image with attestations of two types, and one without; signed by `signers`.
  void Push(const std::vector<std::string>& signers) {
    Client& client = Use();
    image_ = server_.AddImage("app", "", "linux/amd64", {"layer"});
    image_.platform = oci::Platform{"linux", "amd64"};
    oci::Descriptor bare = server_.AddImage("app", "", "linux/arm64", {"other layer"});
    bare.platform = oci::Platform{"linux", "arm64"};
    oci::Manifest attested{.config = Json_("{}")};
    for (const char* type : {kProvenance, "https://spdx.dev/Document"}) {
      attested.layers.push_back(Json_(std::string("statement of ") + type));
      attested.layers.back().annotations = {{"in-toto.io/predicate-type", type}};
    }
    attestation_ = PushManifest(client, attested);
    for (const std::string& type : signers) {
      oci::Manifest signature{.artifact_type = type, .config = Json_("{}")};
      signature.layers.push_back(Json_("signed by " + type));
      signature.subject = attestation_;
      PushManifest(client, signature);
    }
    oci::Index index{.manifests = {image_, bare, attestation_}};
    index.manifests.back().annotations = {{"vnd.docker.reference.digest", image_.digest.ToString()},
                                          {"vnd.docker.reference.type", "attestation-manifest"}};
    server_.AddManifest("app", "v1", std::string(oci::kOciIndex), oci::Serialise(index));
  }
  oci::Descriptor Json_(const std::string& content) {
    server_.AddBlob("app", content);
    oci::Descriptor d = Blob(content);
    d.media_type = oci::kInToto;
    return d;
  }
  oci::Descriptor PushManifest(Client& client, const oci::Manifest& manifest) {
    auto pushed =
        client.PushManifest(Ref(server_.Address() + "/app"), manifest.media_type, oci::Serialise(manifest), {});
    EXPECT_TRUE(pushed) << pushed.error().ToString();
    return *pushed;
  }
  auto Resolve(const std::string& tag, const oci::Platform& platform, const std::vector<std::string>& types = {}) {
    return ResolveAttestationChain(*client_, Ref(server_.Address() + "/app:" + tag), platform, types, {});
  }
  static std::vector<std::string> Texts(const AttestationChain& chain) {
    std::vector<std::string> texts;
    for (const Document& document : chain.documents) {
      EXPECT_EQ(Digest::Of(document.text), document.descriptor.digest);
      if (!document.text.starts_with('{')) texts.push_back(document.text);
    }
    return texts;
  }

  FakeRegistry server_;
  oci::Descriptor image_, attestation_;
};

TEST_F(AttestationChainTest, LeadsFromTheIndexToTheStatementsThatAreAskedFor) {
  Push({});
  auto chain = Resolve("v1", {"linux", "amd64"}, {kProvenance});
  ASSERT_TRUE(chain && *chain) << chain.error().ToString();
  EXPECT_EQ((*chain)->image_manifest, image_.digest);
  EXPECT_EQ((*chain)->attestation_manifest, attestation_.digest);
  EXPECT_TRUE((*chain)->signature_manifest.empty());
  EXPECT_EQ((*chain)->documents.size(), 3u);
  EXPECT_EQ((*chain)->documents[0].descriptor.digest, (*chain)->root);
  EXPECT_THAT(Texts(**chain), ::testing::ElementsAre(std::string("statement of ") + kProvenance));
}

TEST_F(AttestationChainTest, PrefersASigstoreBundleAmongSignatures) {
  const std::string bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
  Push({"application/vnd.dev.cosign.artifact.sig.v1+json", "x/other", bundle});
  auto chain = Resolve("v1", {"linux", "amd64"});
  ASSERT_TRUE(chain && *chain);
  EXPECT_FALSE((*chain)->signature_manifest.empty());
  EXPECT_THAT(Texts(**chain), ::testing::ElementsAre("signed by " + bundle));
}

TEST_F(AttestationChainTest, EndsWhereNothingIsAttested) {
  Push({});
  auto bare = Resolve("v1", {"linux", "arm64"}, {kProvenance});
  ASSERT_TRUE(bare && *bare);
  EXPECT_TRUE((*bare)->attestation_manifest.empty());
  EXPECT_EQ((*bare)->documents.size(), 1u);
  server_.AddImage("app", "v2", "linux/amd64", {"layer"});
  auto single = Resolve("v2", {"linux", "amd64"});
  ASSERT_TRUE(single);
  EXPECT_FALSE(single->has_value());
  EXPECT_EQ(Resolve("v1", {"linux", "s390x"}).error().code, Code::kNotFound);
  EXPECT_EQ(Resolve("v9", {"linux", "amd64"}).error().code, Code::kNotFound);
}

}  // namespace
}  // namespace varve::registry
