#include "daemon/toml_config.h"

#include <gtest/gtest.h>

#include "base/fd.h"
#include "sys/tempdir.h"

namespace varve::daemon {
namespace {

TomlConfig Parsed(std::string_view text) {
  auto config = ParseTomlConfig(text);
  EXPECT_TRUE(config) << config.error().ToString();
  return config ? *config : TomlConfig();
}

std::string ErrorOf(std::string_view text) {
  auto config = ParseTomlConfig(text);
  return config ? "" : config.error().ToString();
}

TEST(TomlConfig, ReadsWhatADaemonIsStartedWith) {
  TomlConfig config = Parsed(R"(
root = "/srv/build"
debug = true
insecure-entitlements = ["network.host", "device"]
provenanceEnvDir = "/etc/prov"
[grpc]
  address = ["tcp://127.0.0.1:1234", "unix:///run/b.sock"]
  [grpc.tls]
    cert = "c.pem"
    key = "k.pem"
    ca = "ca.pem"
[worker.oci]
  gc = false
  labels = { rack = "7" }
)");
  EXPECT_EQ(config.root, "/srv/build");
  EXPECT_TRUE(config.debug);
  EXPECT_EQ(config.entitlements, (std::vector<std::string>{"network.host", "device"}));
  EXPECT_EQ(config.provenance_directory, "/etc/prov");
  EXPECT_EQ(config.addresses, (std::vector<std::string>{"tcp://127.0.0.1:1234", "unix:///run/b.sock"}));
  EXPECT_EQ(config.tls_certificate, "c.pem");
  EXPECT_EQ(config.tls_key, "k.pem");
  EXPECT_EQ(config.tls_ca, "ca.pem");
  EXPECT_FALSE(config.collect);
  EXPECT_EQ(config.labels.at("rack"), "7");
  EXPECT_TRUE(config.unused.empty());
}

TEST(TomlConfig, ReadsRegistries) {
  TomlConfig config = Parsed(R"(
[registry."docker.io"]
  mirrors = ["localhost:5001", "mirror.example.com"]
[registry."localhost:6000"]
  http = true
  insecure = true
  ca = ["/etc/ssl/own.pem"]
)");
  const registry::HostOptions& hub = config.registries.at("docker.io");
  EXPECT_EQ(*hub.mirrors, (std::vector<std::string>{"localhost:5001", "mirror.example.com"}));
  EXPECT_FALSE(hub.plain_http || hub.insecure || hub.ca);
  const registry::HostOptions& own = config.registries.at("localhost:6000");
  EXPECT_TRUE(*own.plain_http);
  EXPECT_TRUE(*own.insecure);
  EXPECT_EQ(*own.ca, "/etc/ssl/own.pem");
}

TEST(TomlConfig, ReadsTheCertificatesOfRegistries) {
  TomlConfig config = Parsed(R"(
[registry."r"]
  ca = ["/a.pem", "/b.pem"]
  tlsconfigdir = ["/etc/certs.d/r"]
  [[registry."r".keypair]]
    key = "/k.pem"
    cert = "/c.pem"
)");
  const RegistryCertificates& certificates = config.certificates.at("r");
  EXPECT_EQ(certificates.authorities, (std::vector<std::string>{"/a.pem", "/b.pem"}));
  EXPECT_EQ(certificates.directories, std::vector<std::string>{"/etc/certs.d/r"});
  ASSERT_EQ(certificates.pairs.size(), 1u);
  EXPECT_EQ(certificates.pairs[0].certificate, "/c.pem");
  EXPECT_EQ(certificates.pairs[0].key, "/k.pem");
  EXPECT_TRUE(config.unused.empty());
}

TEST(TomlConfig, ReadsWhatOperatorsTune) {
  TomlConfig config = Parsed(R"(
trace = true
[log]
  format = "json"
[grpc]
  debugAddress = "0.0.0.0:6060"
  uid = 0
  gid = 1000
[worker.oci]
  platforms = ["linux/amd64", "linux/arm64"]
  reservedSpace = "30%"
  [[worker.oci.gcpolicy]]
    filters = ["type==source.local"]
    keepDuration = "48h"
    maxUsedSpace = "512MB"
  [[worker.oci.gcpolicy]]
    all = true
    keepBytes = 1024000000
[history]
  maxAge = 172800
  maxEntries = 5
[frontend."dockerfile.v0"]
  enabled = true
[frontend."gateway.v0"]
  enabled = false
)");
  EXPECT_TRUE(config.trace);
  EXPECT_EQ(config.log_format, "json");
  EXPECT_EQ(config.debug_address, "0.0.0.0:6060");
  EXPECT_EQ(config.owner, 0);
  EXPECT_EQ(config.group, 1000);
  EXPECT_EQ(config.platforms, (std::vector<std::string>{"linux/amd64", "linux/arm64"}));
  EXPECT_EQ(config.gc_policies,
            R"({"gcpolicy":[{"filters":["type==source.local"],"keepDuration":"48h","maxUsedSpace":"512MB"},)"
            R"({"all":true,"keepBytes":1024000000}],"reservedSpace":"30%"})");
  EXPECT_EQ(config.history_age, Nanos(std::chrono::hours(48)));
  EXPECT_EQ(config.history_entries, 5);
  EXPECT_EQ(config.disabled_frontends, std::set<std::string>{"gateway.v0"});
  EXPECT_TRUE(config.unused.empty());
  EXPECT_EQ(Parsed("[history]\nmaxAge = \"1h\"\n").history_age, Nanos(std::chrono::hours(1)));
}

TEST(TomlConfig, ListsKeysThatChangeNothing) {
  TomlConfig config = Parsed(
      "tarce = true\n[otel]\nsocketPath = \"/run/o\"\n[worker.oci]\nsnapshotter = \"native\"\n"
      "[worker.containerd]\nenabled = true\nnamespace = \"x\"\n");
  EXPECT_EQ(config.unused,
            (std::vector<std::string>{
                "line 1: tarce is a key that nobody knows",
                "line 3: otel.socketPath has no effect here: set OTEL_EXPORTER_OTLP_ENDPOINT",
                "line 5: worker.oci.snapshotter has no effect here: layers are kept as overlayfs has them",
                "line 7: worker.containerd.enabled has no effect here: there is one worker, oci",
                "line 8: worker.containerd.namespace has no effect here: there is one worker, oci"}));
}

TEST(TomlConfig, SaysInWhichLineWhatIsWrong) {
  EXPECT_EQ(ErrorOf("debug = true\nroot = 7\n"), "line 2: root is not a string");
  EXPECT_EQ(ErrorOf("\n[grpc]\naddress = \"tcp://x:1\"\n"), "line 3: grpc.address is not a list of strings");
  EXPECT_EQ(ErrorOf("[worker]\noci = 1\n"), "line 2: worker.oci is not a table");
  EXPECT_EQ(ErrorOf("[registry.\"r\"]\nhttp = \"yes\"\n"), "line 2: registry.\"r\".http is not true or false");
  EXPECT_EQ(ErrorOf("[grpc]\nuid = -1\n"), "line 2: grpc.uid is not a number from 0 on");
  EXPECT_EQ(ErrorOf("[history]\nmaxAge = \"long\"\n"), "line 2: history.maxAge is not a duration: seconds, or \"48h\"");
  EXPECT_EQ(ErrorOf("[worker.oci]\nmax-parallelism = -1\n"),
            "line 2: worker.oci.max-parallelism is not a number from 0 on");
  EXPECT_EQ(ErrorOf("[[registry.\"r\".keypair]]\ncert = \"c\"\n"),
            "line 1: registry.\"r\".keypair is not a table with cert and key");
  EXPECT_TRUE(ErrorOf("a = \n").starts_with("line 1: ")) << ErrorOf("a = \n");
}

TEST(TomlConfig, WhatTheLibraryAssertsIsAnError) {
  auto config = ParseTomlConfig("[@worker]\n");
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, Code::kInvalid);
}

TEST(ProvenanceEnvironment, IsWhatTheFilesSayTogether) {
  auto scratch = sys::TempDir::Create(::testing::TempDir(), "provenance-");
  ASSERT_TRUE(scratch);
  const std::string directory = scratch->path();
  ASSERT_TRUE(WriteFileAtomically(directory + "/1.json", R"({"region": "north", "rack": 7})"));
  ASSERT_TRUE(WriteFileAtomically(directory + "/2.json", R"({"region": "south"})"));
  ASSERT_TRUE(WriteFileAtomically(directory + "/note.txt", "no JSON"));
  auto environment = ReadProvenanceEnvironment(directory);
  ASSERT_TRUE(environment) << environment.error().ToString();
  EXPECT_EQ(environment->Dump(), R"({"region":"south","rack":7})");
  EXPECT_TRUE(ReadProvenanceEnvironment(directory + "/absent")->is_null());
  ASSERT_TRUE(WriteFileAtomically(directory + "/3.json", "[]"));
  EXPECT_EQ(ReadProvenanceEnvironment(directory).error().message, directory + "/3.json is no JSON object");
}

}  // namespace
}  // namespace varve::daemon
