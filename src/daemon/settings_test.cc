#include "daemon/settings.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/fd.h"
#include "sys/tempdir.h"

namespace varve::daemon {
namespace {

struct SettingsTest : ::testing::Test {
  sys::TempDir directory = std::move(*sys::TempDir::Create("/tmp", "varved-settings-"));
  Flags flags{.root = directory.path() + "/root"};

  SettingsTest() {
    unsetenv("VARVE_LOG");
    unsetenv("VARVE_REGISTRIES");
  }
  void File(const std::string& text) {
    flags.config = directory.path() + "/b.toml";
    ASSERT_TRUE(WriteFileAtomically(flags.config, text));
  }
  Settings Read(const std::string& name = "varved") {
    auto settings = ReadSettings(name, flags);
    EXPECT_TRUE(settings) << settings.error().ToString();
    return settings ? std::move(*settings) : Settings();
  }
  std::string ErrorOf() {
    auto settings = ReadSettings("varved", flags);
    return settings ? "" : settings.error().ToString();
  }
};

TEST_F(SettingsTest, DefaultsFollowTheName) {
  flags.root.clear();
  Settings buildkitd = Read("buildkitd");
  EXPECT_EQ(buildkitd.server.addresses[0].path, "/run/buildkit/buildkitd.sock");
  EXPECT_EQ(buildkitd.server.policy.root, "/var/lib/buildkit");
  EXPECT_TRUE(buildkitd.collect);
  EXPECT_EQ(buildkitd.log_level, LogLevel::kInfo);
  EXPECT_TRUE(Read().server.addresses[0].path.ends_with("/varve/varved.sock"));
}

TEST_F(SettingsTest, StepsHaveTheNameServersThatAreConfigured) {
  EXPECT_EQ(Read().server.policy.steps.resolv_conf, "");
  File(R"(
[dns]
nameservers = ["192.0.2.1", "192.0.2.2"]
searchDomains = ["example.com", "example.org"]
options = ["edns0"]
)");
  const std::string text = Read().server.policy.steps.resolv_conf;
  EXPECT_TRUE(
      text.ends_with("nameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch example.com example.org\noptions edns0\n"))
      << text;
  // Nothing of this machine's is left of the same kinds.
  EXPECT_EQ(text.find("nameserver"), text.find("nameserver 192.0.2.1")) << text;
  EXPECT_EQ(text.find("search"), text.find("search example.com")) << text;
}

TEST_F(SettingsTest, SoManyStepsRunAtOnceAsTheFlagOrTheFileSays) {
  EXPECT_EQ(Read().server.policy.steps.slots, nullptr);
  File("[worker.oci]\nmax-parallelism = 2\n");
  auto slots = Read().server.policy.steps.slots;
  ASSERT_NE(slots, nullptr);
  auto one = slots->Take({}), two = slots->Take({});
  ASSERT_TRUE(one && two);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(slots->Take(stop.get_token()).error().code, Code::kCancelled);
  one->reset();
  EXPECT_TRUE(slots->Take({}));
  flags.parallelism = 0;
  EXPECT_EQ(Read().server.policy.steps.slots, nullptr);
  flags.parallelism = -1;
  EXPECT_EQ(ErrorOf(), "--oci-max-parallelism -1: a number from 0 on expected");
}

TEST_F(SettingsTest, FrontEndsAreThoseOfTheRepositoriesThatTheFileNames) {
  File("[frontend.\"gateway.v0\"]\nallowedRepositories = [\"a/b:tag\", \"r.example/c\"]\n");
  EXPECT_EQ(Read().server.policy.allowed_frontends, (std::set<std::string>{"docker.io/a/b", "r.example/c"}));
}

TEST_F(SettingsTest, SeveralAuthoritiesOfARegistryBecomeOneFile) {
  const std::string a = directory.path() + "/a.pem", b = directory.path() + "/b.pem";
  ASSERT_TRUE(WriteFileAtomically(a, "first"));
  ASSERT_TRUE(WriteFileAtomically(b, "second"));
  File(fmt::format("[registry.\"r.example\"]\nca = [\"{}\", \"{}\"]\n", a, b));
  Settings settings = Read();
  ASSERT_EQ(settings.files.size(), 1u);
  EXPECT_EQ(settings.files.begin()->second, "first\nsecond\n");
  EXPECT_EQ(settings.server.policy.registries->Origin("r.example").tls.ca, settings.files.begin()->first);
  File(fmt::format("[registry.\"r.example\"]\nca = [\"{}\", \"/none/of/these\"]\n", a));
  EXPECT_NE(ErrorOf().find("registry.\"r.example\".ca"), std::string::npos) << ErrorOf();
}

TEST_F(SettingsTest, ADirectoryOfCertificatesIsReadAsDockersIs) {
  const std::string& at = directory.path();
  for (const char* name : {"one.crt", "two.crt", "me.cert", "me.key", "notes.txt"}) {
    ASSERT_TRUE(WriteFileAtomically(at + "/" + name, name));
  }
  const std::string registry = fmt::format("[registry.\"r.example\"]\ntlsconfigdir = [\"{}\", \"/none/here\"]\n", at);
  File(registry);
  Settings settings = Read();
  const net::Tls tls = settings.server.policy.registries->Origin("r.example").tls;
  EXPECT_EQ(tls.certificate, at + "/me.cert");
  EXPECT_EQ(tls.key, at + "/me.key");
  EXPECT_EQ(settings.files.at(tls.ca), "one.crt\ntwo.crt\n");

  File(registry + fmt::format("keypair = [{{cert = \"{0}/me.cert\", key = \"{0}/me.key\"}}]\n", at));
  EXPECT_EQ(ErrorOf(), "registry.\"r.example\".keypair: 2 certificates of the client, where one can be shown");
  std::filesystem::remove(at + "/me.key");
  File(registry);
  EXPECT_NE(ErrorOf().find("me.key"), std::string::npos) << ErrorOf();
}

TEST_F(SettingsTest, TheFileSaysHowMuchIsLogged) {
  File("[log]\nlevel = \"warn\"\n");
  EXPECT_EQ(Read().log_level, LogLevel::kWarn);
  flags.debug = true;
  EXPECT_EQ(Read().log_level, LogLevel::kDebug);
  File("[log]\nlevel = \"loud\"\n");
  EXPECT_EQ(ErrorOf(), "log level loud: error, warn, info, debug or trace expected");
}

TEST_F(SettingsTest, FlagsWinOverTheFile) {
  File(R"(
root = "/of/the/file"
insecure-entitlements = ["device"]
debug = true
[log]
format = "json"
[grpc]
address = ["unix:///of/the/file.sock"]
debugAddress = "127.0.0.1:1"
gid = 5
[worker.oci]
labels = { a = "file", b = "file" }
platforms = ["linux/s390x"]
reservedSpace = "1GB"
)");
  flags.addresses = {"unix:///of/a/flag.sock"};
  flags.entitlements = {"network.host"};
  flags.log_format = "text";
  flags.debug_address = "127.0.0.1:2";
  flags.group = "7";
  flags.labels = {"a=flag"};
  flags.platforms = {"linux/arm64"};
  flags.keep_storage = "2GB";
  Settings settings = Read();
  EXPECT_EQ(settings.server.addresses.size(), 1u);
  EXPECT_EQ(settings.server.addresses[0].path, "/of/a/flag.sock");
  EXPECT_EQ(settings.server.policy.root, flags.root);
  EXPECT_EQ(settings.server.policy.entitlements, (std::set<std::string>{"device", "network.host"}));
  EXPECT_EQ(settings.log_format, LogFormat::kText);
  EXPECT_EQ(settings.log_level, LogLevel::kDebug);
  EXPECT_EQ(settings.server.debug_address, "127.0.0.1:2");
  EXPECT_EQ(settings.server.group, "7");
  EXPECT_EQ(settings.server.worker_labels, (std::map<std::string, std::string>{{"a", "flag"}, {"b", "file"}}));
  EXPECT_EQ(settings.server.worker_platforms, std::vector<std::string>{"linux/arm64"});
  EXPECT_EQ(settings.gc_policies, R"({"reservedSpace":"2GB"})");
}

TEST_F(SettingsTest, TheFileCountsWhereNoFlagIsGiven) {
  File(
      "[grpc]\nuid = 3\ngid = 5\n[worker.oci]\ngc = false\n[history]\nmaxEntries = 4\n[log]\nformat = \"json\"\n"
      "[frontend.\"gateway.v0\"]\nenabled = false\n[registry.\"r.example.com\"]\nmirrors = [\"m.example.com\"]\n");
  Settings settings = Read();
  EXPECT_EQ(settings.server.owner, 3u);
  EXPECT_EQ(settings.server.group, "5");
  EXPECT_FALSE(settings.collect);
  EXPECT_EQ(settings.server.records.entries, 4u);
  EXPECT_EQ(settings.log_format, LogFormat::kJson);
  EXPECT_TRUE(settings.server.policy.disabled_frontends.contains("gateway.v0"));
  ASSERT_TRUE(settings.server.policy.registries);
  EXPECT_EQ(settings.server.policy.registries->Endpoints("r.example.com")[0].host, "m.example.com");
}

TEST_F(SettingsTest, WhatHasNoEffectIsSaidWithItsPlace) {
  File("\n[worker.oci]\nsnapshotter = \"native\"\n");
  EXPECT_EQ(Read().warnings, std::vector<std::string>{
                                 flags.config + ": line 3: worker.oci.snapshotter has no effect here: layers are kept "
                                                "as overlayfs has them"});
}

TEST_F(SettingsTest, MistakesNameTheFileOrTheFlag) {
  File("root = 7\n");
  EXPECT_NE(ErrorOf().find("line 1: root is not a string"), std::string::npos) << ErrorOf();
  EXPECT_NE(ErrorOf().find(flags.config), std::string::npos) << ErrorOf();
  flags.config = directory.path() + "/absent.toml";
  EXPECT_NE(ErrorOf().find("absent.toml"), std::string::npos) << ErrorOf();
  flags.config.clear();
  flags.log_format = "xml";
  EXPECT_EQ(ErrorOf(), "log format xml: text or json expected");
  flags.log_format.clear();
  flags.tls_key = "k.pem";
  EXPECT_EQ(ErrorOf(), "--tlscert and --tlskey belong together");
}

}  // namespace
}  // namespace varve::daemon
