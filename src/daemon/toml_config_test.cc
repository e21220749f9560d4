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

TEST(TomlConfig, ListsKeysThatChangeNothing) {
  TomlConfig config = Parsed("trace = true\n[otel]\nsocketPath = \"/run/o\"\n[worker.oci]\nsnapshotter = \"native\"\n");
  EXPECT_EQ(config.unused, (std::vector<std::string>{"otel.socketPath", "trace", "worker.oci.snapshotter"}));
}

TEST(TomlConfig, SaysInWhichLineWhatIsWrong) {
  EXPECT_EQ(ErrorOf("debug = true\nroot = 7\n"), "line 2: root is not a string");
  EXPECT_EQ(ErrorOf("\n[grpc]\naddress = \"tcp://x:1\"\n"), "line 3: grpc.address is not a list of strings");
  EXPECT_EQ(ErrorOf("[worker]\noci = 1\n"), "line 2: worker.oci is not a table");
  EXPECT_EQ(ErrorOf("[registry.\"r\"]\nhttp = \"yes\"\n"), "line 2: registry.\"r\".http is not true or false");
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
