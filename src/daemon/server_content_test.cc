// What a build reads from and writes to the content stores of its client.
#include "base/hex.h"
#include "base/strings.h"
#include "daemon/server_fixture.h"
#include "oci/manifest.h"
#include "sys/process.h"

namespace varve::daemon {
namespace {

using Blobs = session::testing::ContentStores::Blobs;

struct ContentTest : ServerTest {
  std::string Text(Blobs& blobs, const Digest& digest) {
    auto all = blobs.Lock();
    auto at = all->find(digest.ToString());
    EXPECT_NE(at, all->end()) << digest.ToString();
    return at == all->end() ? "" : at->second;
  }
  static std::string Member(const Answer& answer, const std::string& key) {
    auto at = answer.response.exporter_response().find(key);
    return at == answer.response.exporter_response().end() ? "" : at->second;
  }
  static oci::Descriptor DescriptorOf(const std::string& json) {
    auto parsed = Json::Parse(json);
    EXPECT_TRUE(parsed) << json;
    auto descriptor = oci::DescriptorFromJson(*parsed);
    EXPECT_TRUE(descriptor) << json;
    return *descriptor;
  }
  // Builds an image into the client's store "export", and says what it is.
  oci::Descriptor ExportImage() {
    auto request = Request("s");
    auto* exporter = request.add_exporters();
    exporter->set_type("oci");
    (*exporter->mutable_attrs())["tar"] = "false";
    (*exporter->mutable_attrs())["name"] = "example.com/a:1,example.com/b";
    Answer answer = Solve(request);
    EXPECT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(Member(answer, "image.name"), "example.com/a:1,example.com/b:latest");
    std::string json;
    EXPECT_TRUE(Base64Decode(Member(answer, "containerimage.descriptor"), &json));
    return DescriptorOf(json);
  }
  // An image of one file, "a", in the client's store of this name; the daemon from then on knows nothing of it.
  oci::Descriptor PutLayout(const std::string& store) {
    Blobs& exported = content.Add("export");
    Blobs& layout = content.Add(store);
    Write("Dockerfile", "FROM scratch\nCOPY a.txt /a\n");
    Write("a.txt", "text");
    auto session = OpenSession("s");
    const oci::Descriptor image = ExportImage();
    *layout.Lock() = *exported.Lock();
    session.reset();
    StartServerOfANewRoot();
    return image;
  }
  Answer BuildWithCache(const std::string& from, const std::string& to) {
    auto request = Request("s");
    if (!from.empty()) {
      auto* entry = request.mutable_cache()->add_imports();
      entry->set_type("local");
      (*entry->mutable_attrs())["src"] = "the cache";
      (*entry->mutable_attrs())["digest"] = from;
    }
    if (!to.empty()) {
      auto* entry = request.mutable_cache()->add_exports();
      entry->set_type("local");
      (*entry->mutable_attrs())["dest"] = to;
      (*entry->mutable_attrs())["mode"] = "max";
      (*entry->mutable_attrs())["ignore-error"] = "false";
    }
    return Solve(request);
  }
  size_t GroupsIn(Blobs& blobs, const oci::Descriptor& list) {
    auto index = oci::ParseIndex(Text(blobs, list.digest));
    EXPECT_TRUE(index);
    return index->manifests.size();
  }
};

TEST_F(ContentTest, AnOutputWithoutATarIsBlobsInTheClientsStore) {
  Blobs& blobs = content.Add("export");
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  auto session = OpenSession("s");
  const oci::Descriptor image = ExportImage();
  EXPECT_TRUE(takes.taken.Lock()->empty());
  EXPECT_NE(image.Annotation("org.opencontainers.image.created"), nullptr);
  auto manifest = oci::ParseManifest(Text(blobs, image.digest));
  ASSERT_TRUE(manifest);
  ASSERT_EQ(manifest->layers.size(), 1u);
  EXPECT_EQ(Text(blobs, manifest->layers[0].digest).size(), manifest->layers[0].size);
  EXPECT_EQ(Text(blobs, manifest->config.digest).size(), manifest->config.size);
  EXPECT_EQ(blobs.Lock()->size(), 3u);
}

TEST_F(ContentTest, ALayoutOfTheClientIsABaseImage) {
  const oci::Descriptor image = PutLayout("oci:base");
  auto session = OpenSession("s");
  Write("Dockerfile", "FROM base\nCOPY a.txt /b\n");
  auto request = Request("s");
  (*request.mutable_frontend_attrs())["context:base"] = "oci-layout://base:1@" + image.digest.ToString();
  request.add_exporters()->set_type("tar");
  Answer answer = Solve(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(NamesIn((*takes.taken.Lock())["0"]), (std::vector<std::string>{"a", "b"}));
}

TEST_F(ContentTest, ALayoutIsNamedByADigestThatItHas) {
  content.Add("oci:base");
  Write("Dockerfile", "FROM base\n");
  auto session = OpenSession("s");
  auto message = [&](const std::string& context) {
    auto request = Request("s");
    (*request.mutable_frontend_attrs())["context:base"] = context;
    return Solve(request).status.error_message();
  };
  EXPECT_NE(message("oci-layout://base:1").find("oci-layout reference \"base\" has no digest"), std::string::npos);
  const std::string absent = Digest::Of("absent").ToString();
  EXPECT_NE(message("oci-layout://base@" + absent).find("the OCI layout has no blob " + absent), std::string::npos);
  EXPECT_NE(message("oci-layout://other@" + absent).find("unknown store"), std::string::npos);
}

TEST_F(ContentTest, ADefinitionReadsABlobOfTheClient) {
  const std::string text = "the text of a blob";
  (*content.Add("oci:blobs").Lock())[Digest::Of(text).ToString()] = text;
  auto session = OpenSession("s");
  auto build = [&](const std::string& blob) {
    graph::Graph graph;
    graph.Add({.op = graph::BlobSource{.repository = "example.com/any",
                                       .digest = Digest::Of(blob),
                                       .layout = true,
                                       .store = "blobs",
                                       .filename = "read.me",
                                       .mode = 0640,
                                       .uid = 12,
                                       .gid = 34},
               .platform = oci::HostPlatform()});
    auto request = Request("s");
    request.clear_frontend();
    *request.mutable_definition() = llb::Encode(graph, graph::Ref{0, 0});
    request.add_exporters()->set_type("tar");
    return Solve(request);
  };
  const Answer answer = build(text);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  StringReader in((*takes.taken.Lock())["0"]);
  archive::TarReader reader(in);
  auto entry = reader.Next();
  ASSERT_TRUE(entry && *entry);
  EXPECT_EQ((*entry)->name, "read.me");
  EXPECT_EQ((*entry)->mode & 07777, 0640u);
  EXPECT_EQ((*entry)->uid, 12u);
  EXPECT_EQ(*ReadAll(reader.content(), 1 << 20), text);
  EXPECT_NE(build("another").status.error_message().find("has no blob " + Digest::Of("another").ToString()),
            std::string::npos);
}

TEST_F(ContentTest, AGitSourceTakesItsCommitFromABundleOfTheClient) {
  if (!sys::FindProgram("git")) GTEST_SKIP() << "the program git is missing";
  const std::string script =
      "set -e; git init -q -b main; echo hello >file; git add file;"
      "git -c user.name=a -c user.email=a@example.com commit -q -m one;"
      "git bundle create -q b main; git rev-parse HEAD";
  auto head = sys::RunAndRead({.argv = {"/bin/sh", "-c", script}, .cwd = directory.path()});
  ASSERT_TRUE(head) << head.error().ToString();
  const std::string bundle = *ReadFile(directory.path() + "/b");
  const Digest digest = Digest::Of(bundle);
  (*content.Add("oci:bundles").Lock())[digest.ToString()] = bundle;
  auto session = OpenSession("s");
  graph::Graph graph;
  graph.Add({.op = graph::GitSource{.remote = "https://git.invalid/project.git",
                                    .ref = "main",
                                    .checksum = std::string(TrimSpace(*head)),
                                    .bundle = graph::BlobSource{.repository = "docker.io/not/real",
                                                                .digest = digest,
                                                                .layout = true,
                                                                .store = "bundles"}},
             .platform = oci::HostPlatform()});
  auto request = Request("s");
  request.clear_frontend();
  *request.mutable_definition() = llb::Encode(graph, graph::Ref{0, 0});
  request.add_exporters()->set_type("tar");
  const Answer answer = Solve(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  StringReader in((*takes.taken.Lock())["0"]);
  archive::TarReader reader(in);
  auto entry = reader.Next();
  ASSERT_TRUE(entry && *entry);
  EXPECT_EQ((*entry)->name, "file");
  EXPECT_EQ(*ReadAll(reader.content(), 100), "hello\n");
}

TEST_F(ContentTest, ADefinitionReadsTheLowestLayersOfALayout) {
  content.Add("oci:layout");
  Blobs& exported = content.Add("export");
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /a\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  auto session = OpenSession("s");
  const oci::Descriptor image = ExportImage();
  *content.Add("oci:layout").Lock() = *exported.Lock();
  for (uint32_t limit : {1, 2, 3}) {
    graph::Graph graph;
    graph.Add({.op = graph::OciLayoutSource{.path = "layout", .digest = image.digest, .layer_limit = limit},
               .platform = oci::HostPlatform()});
    auto request = Request("s");
    request.clear_frontend();
    *request.mutable_definition() = llb::Encode(graph, graph::Ref{0, 0});
    request.add_exporters()->set_type("tar");
    const Answer answer = Solve(request);
    ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
    EXPECT_EQ(NamesIn((*takes.taken.Lock())["0"]),
              limit == 1 ? std::vector<std::string>{"a"} : (std::vector<std::string>{"a", "b"}));
  }
}

TEST_F(ContentTest, ADefinitionReadsALayoutOfTheClient) {
  const oci::Descriptor image = PutLayout("oci:layout");
  auto session = OpenSession("s");
  graph::Graph graph;
  graph.Add({.op = graph::OciLayoutSource{.path = "layout", .digest = image.digest}, .platform = oci::HostPlatform()});
  auto request = Request("s");
  request.clear_frontend();
  *request.mutable_definition() = llb::Encode(graph, graph::Ref{0, 0});
  request.add_exporters()->set_type("tar");
  Answer answer = Solve(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(NamesIn((*takes.taken.Lock())["0"]), (std::vector<std::string>{"a"}));
}

TEST_F(ContentTest, ALocalCacheIsTheClientsAndMeansTheSameOnAnotherMachine) {
  Blobs& blobs = content.Add("local:the cache");
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  auto session = OpenSession("s");
  Answer first = BuildWithCache("", "the cache");
  ASSERT_TRUE(first.status.ok()) << first.status.error_message();
  const oci::Descriptor list = DescriptorOf(Member(first, "cache.manifest"));
  EXPECT_EQ(Text(blobs, list.digest).size(), list.size);
  EXPECT_EQ(GroupsIn(blobs, list), 1u);

  session.reset();
  StartServerOfANewRoot();
  session = OpenSession("s");
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\nCOPY a.txt /c\n");
  Answer second = BuildWithCache(list.digest.ToString(), "the cache");
  ASSERT_TRUE(second.status.ok()) << second.status.error_message();
  EXPECT_TRUE(Find(second.events, "COPY a.txt /b")->cached());
  EXPECT_FALSE(Find(second.events, "COPY a.txt /c")->cached());
  // What was there stays.
  EXPECT_EQ(GroupsIn(blobs, DescriptorOf(Member(second, "cache.manifest"))), 2u);
}

// The client has one descriptor for all layouts that it lists.
TEST_F(ContentTest, TwoLocalCachesOfOneBuildHoldWhatIsListedInBoth) {
  Blobs& old = content.Add("local:the cache");
  Blobs& fresh = content.Add("local:another");
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\n");
  Write("a.txt", "text");
  auto session = OpenSession("s");
  Answer first = BuildWithCache("", "the cache");
  ASSERT_TRUE(first.status.ok()) << first.status.error_message();
  const std::string before = DescriptorOf(Member(first, "cache.manifest")).digest.ToString();
  Write("Dockerfile", "FROM scratch\nCOPY a.txt /b\nCOPY a.txt /c\n");
  auto request = Request("s");
  auto* from = request.mutable_cache()->add_imports();
  from->set_type("local");
  (*from->mutable_attrs())["src"] = "the cache";
  (*from->mutable_attrs())["digest"] = before;
  for (const char* name : {"the cache", "another"}) {
    auto* to = request.mutable_cache()->add_exports();
    to->set_type("local");
    (*to->mutable_attrs())["dest"] = name;
  }
  Answer second = Solve(request);
  ASSERT_TRUE(second.status.ok()) << second.status.error_message();
  const oci::Descriptor list = DescriptorOf(Member(second, "cache.manifest"));
  for (Blobs* blobs : {&old, &fresh}) {
    auto index = oci::ParseIndex(Text(*blobs, list.digest));
    ASSERT_TRUE(index);
    for (const oci::Descriptor& group : index->manifests) {
      auto manifest = oci::ParseManifest(Text(*blobs, group.digest));
      ASSERT_TRUE(manifest);
      for (const oci::Descriptor& layer : manifest->layers) Text(*blobs, layer.digest);
      Text(*blobs, manifest->config.digest);
    }
  }
}

TEST_F(ContentTest, ACacheOfAnotherBuilderIsNotReadAndIsReplaced) {
  Blobs& blobs = content.Add("local:the cache");
  const std::string foreign = R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",)"
                              R"("config":{"mediaType":"application/vnd.buildkit.cacheconfig.v0","digest":"sha256:)" +
                              std::string(64, '0') + R"(","size":2},"layers":[]})";
  (*blobs.Lock())[Digest::Of(foreign).ToString()] = foreign;
  Write("Dockerfile", "FROM scratch\nCOPY Dockerfile /b\n");
  auto session = OpenSession("s");
  Answer answer = BuildWithCache(Digest::Of(foreign).ToString(), "the cache");
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  ASSERT_EQ(answer.events.warnings_size(), 1) << answer.events.DebugString();
  EXPECT_NE(answer.events.warnings(0).short_().find("is not used: what is there is no cache of varve's"),
            std::string::npos);
  EXPECT_EQ(GroupsIn(blobs, DescriptorOf(Member(answer, "cache.manifest"))), 1u);
}

TEST_F(ContentTest, ALocalCacheThatCannotBeNamedInAHeaderIsAnError) {
  Write("Dockerfile", "FROM scratch\nCOPY Dockerfile /b\n");
  auto session = OpenSession("s");
  Answer answer = BuildWithCache("", "\303\251");
  EXPECT_NE(answer.status.error_message().find("contains value with non-printable ASCII characters"), std::string::npos)
      << answer.status.error_message();
}

}  // namespace
}  // namespace varve::daemon
