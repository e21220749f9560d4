#include "graph/source_name.h"

#include <gtest/gtest.h>

namespace varve::graph {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');
const std::string kCommit(40, 'a');

SourceName Again(const SourceName& name) {
  auto op = ParseSource(name);
  EXPECT_TRUE(op) << op.error().message;
  return op ? NameOfSource(*op) : SourceName();
}

TEST(SourceName, SaysAllOfASource) {
  for (const SourceName& name : std::vector<SourceName>{
           {"docker-image://docker.io/library/alpine:3", {{"image.resolvemode", "pull"}}},
           {"docker-image://docker.io/library/alpine:3", {{"image.checksum", kDigest}, {"image.layerlimit", "2"}}},
           {"docker-image+blob://example.com/app@" + kDigest, {{"http.filename", "b"}, {"http.gid", "7"}}},
           {"oci-layout+blob://example.com/app@" + kDigest, {{"oci.session", "s1"}, {"oci.store", "s"}}},
           {"local://context", {{"local.excludepatterns", "[\"*.o\"]"}, {"local.session", "s1"}}},
           {"git://host/p.git#v1:src", {{"git.fullurl", "ssh://git@host/p.git"}, {"git.keepgitdir", "true"}}},
           {"git://host/p.git#v1", {{"git.checkoutbundle", "true"}, {"git.fullurl", "https://host/p.git"}}},
           {"git://host/p.git#v1",
            {{"git.bundle", "docker-image+blob://example.com/app@" + kDigest},
             {"git.checksum", kCommit},
             {"git.fullurl", "https://host/p.git"}}},
           {"git://host/p.git#v1",
            {{"git.bundle", "oci-layout+blob://docker.io/not/real@" + kDigest},
             {"git.checksum", kCommit},
             {"git.fullurl", "https://host/p.git"},
             {"oci.session", "s1"},
             {"oci.store", "s"}}},
           {"https://host/a", {{"http.filename", "b"}, {"http.perm", "0644"}, {"http.uid", "7"}}},
           {"oci-layout://docker.io/library/layout:1", {{"oci.layerlimit", "1"}, {"oci.store", "s"}}}}) {
    EXPECT_EQ(Again(name), name) << name.identifier;
  }
}

TEST(SourceName, AttributesOfItsOwnFamilyThatNobodyKnowsAreRefused) {
  auto op = ParseSource({"https://host/a", {{"http.magic", "1"}}});
  ASSERT_FALSE(op);
  EXPECT_EQ(op.error().message, "attribute http.magic of the source https://host/a is not supported");
}

TEST(SourceName, AGitBundleIsABlobWithTheCommitThatTheChecksumSays) {
  auto refused = [](std::map<std::string, std::string> attributes, const std::string& place = "") {
    auto op = ParseSource({"git://host/p.git" + place, std::move(attributes)});
    return op ? "" : op.error().message;
  };
  const std::string bundle = "docker-image+blob://example.com/app@" + kDigest;
  EXPECT_EQ(refused({{"git.bundle", bundle}}), "git.bundle requires git.checksum to be set");
  EXPECT_EQ(refused({{"git.bundle", "https://host/b"}, {"git.checksum", kCommit}}),
            "git.bundle is \"https://host/b\"; it may be docker-image+blob://… or oci-layout+blob://…");
  EXPECT_EQ(refused({{"git.bundle", bundle}, {"git.checksum", kCommit}}, "#" + std::string(40, 'b')),
            "expected checksum to match " + kCommit + ", got " + std::string(40, 'b'));
  EXPECT_EQ(refused({{"git.checkoutbundle", "true"}, {"git.keepgitdir", "true"}}),
            "git.checkoutbundle is incompatible with git.keepgitdir");
  EXPECT_EQ(refused({{"git.checkoutbundle", "true"}}, "#v1:sub"), "git.checkoutbundle is incompatible with git.subdir");
}

TEST(SourceName, AttributesOfNoFamilyMeanNothing) {
  EXPECT_TRUE(ParseSource({"https://host/a", {{"note", "1"}, {"com.example.reviewed", "yes"}}}));
}

}  // namespace
}  // namespace varve::graph
