#include "graph/source_name.h"

#include <gtest/gtest.h>

namespace varve::graph {
namespace {

const std::string kDigest = "sha256:" + std::string(64, 'a');

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

TEST(SourceName, AttributesOfNoFamilyMeanNothing) {
  EXPECT_TRUE(ParseSource({"https://host/a", {{"note", "1"}, {"com.example.reviewed", "yes"}}}));
}

}  // namespace
}  // namespace varve::graph
