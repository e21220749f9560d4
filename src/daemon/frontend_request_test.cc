#include "daemon/frontend_request.h"

#include <gtest/gtest.h>

#include "daemon/context_paths.h"

namespace varve::daemon {
namespace {

using moby::buildkit::v1::SolveRequest;

TEST(FrontendRequest, ReadsWhatBuildxSends) {
  auto request = ParseFrontendRequest({{"filename", "app.Dockerfile"},
                                       {"target", "build"},
                                       {"build-arg:A", "1"},
                                       {"label:l", "v"},
                                       {"platform", "linux/amd64,linux/arm64"},
                                       {"image-resolve-mode", "pull"},
                                       {"add-hosts", "a=1.2.3.4,b=5.6.7.8"},
                                       {"ulimit", "nofile=1:2"},
                                       {"force-network-mode", "none"},
                                       {"shm-size", "1024"},
                                       {"memory", "2g"},
                                       {"no-cache", ""},
                                       {"sharedkey:localdir:context", "/src"},
                                       {"context:deps", "local:deps2"},
                                       {"context:base", "docker-image:alpine"},
                                       {"vcs:source", "ignored"}},
                                      {"network.host"});
  ASSERT_TRUE(request) << request.error().message;
  const job::BuildFlags& flags = request->flags;
  EXPECT_EQ(request->filename, "app.Dockerfile");
  EXPECT_EQ(flags.target, "build");
  EXPECT_EQ(flags.build_args, (std::vector<std::pair<std::string, std::string>>{{"A", "1"}}));
  EXPECT_EQ(flags.labels.size(), 1u);
  EXPECT_EQ(flags.platforms, (std::vector<std::string>{"linux/amd64", "linux/arm64"}));
  EXPECT_TRUE(flags.pull);
  EXPECT_EQ(flags.extra_hosts.size(), 2u);
  EXPECT_EQ(flags.ulimits.size(), 1u);
  EXPECT_EQ(flags.network, graph::NetworkMode::kNone);
  EXPECT_EQ(flags.shm_size, 1024u);
  EXPECT_EQ(flags.resources.at("memory"), "2g");
  EXPECT_TRUE(flags.no_cache);
  EXPECT_EQ(flags.allow, (std::vector<std::string>{"network.host"}));
  EXPECT_EQ(request->shared_keys.at("context"), "/src");
  EXPECT_EQ(request->local_contexts.at("deps"), "deps2");
  EXPECT_EQ(request->context_mount, "context");
  EXPECT_EQ(request->context, "");
}

TEST(FrontendRequest, CachesOfACallOfTheBridgeAreRead) {
  moby::buildkit::v1::frontend::SolveRequest request;
  EXPECT_FALSE(WithCacheImports({}, request).contains("cache-imports"));
  auto* entry = request.add_cache_imports();
  entry->set_type("registry");
  (*entry->mutable_attrs())["ref"] = "example.com/cache:1";
  auto specs = ParseCacheImports({}, WithCacheImports({{"target", "a"}}, request));
  ASSERT_TRUE(specs);
  ASSERT_EQ(specs->size(), 1u);
  EXPECT_EQ((*specs)[0].place, "example.com/cache:1");
}

TEST(FrontendRequest, NoCacheOfStagesIsAFilter) {
  auto request = ParseFrontendRequest({{"no-cache", "a,b"}}, {});
  ASSERT_TRUE(request);
  EXPECT_FALSE(request->flags.no_cache);
  EXPECT_EQ(request->flags.no_cache_filter, (std::vector<std::string>{"a", "b"}));
}

TEST(FrontendRequest, AContextIsAUrlOrAMountAndNeverADirectoryHere) {
  EXPECT_EQ(ParseFrontendRequest({{"context", "https://host/a.git#main"}}, {})->context, "https://host/a.git#main");
  auto mount = ParseFrontendRequest({{"context", "/etc"}}, {});
  ASSERT_TRUE(mount);
  EXPECT_EQ(mount->context, "");
  EXPECT_EQ(mount->context_mount, "/etc");  // a name that the client may serve
  auto elsewhere = ParseFrontendRequest({{"contextsubdir", "a/b"}, {"local-sessionid:context", "other"}}, {});
  ASSERT_TRUE(elsewhere);
  EXPECT_EQ(elsewhere->context_subdir, "a/b");
  EXPECT_EQ(elsewhere->sessions, (Attributes{{"context", "other"}}));
  auto named = ParseFrontendRequest({{"context:x", "/etc"}}, {});
  ASSERT_FALSE(named);
  EXPECT_EQ(named.error().message, "unsupported context source /etc for x");
}

TEST(FrontendRequest, AttestationsAreAskedForByAttributesAndBuildArguments) {
  auto request = ParseFrontendRequest({{"attest:provenance", "mode=min,version=v0.2"}, {"attest:sbom", ""}}, {});
  ASSERT_TRUE(request) << request.error().message;
  EXPECT_FALSE(request->flags.attest.provenance->max);
  EXPECT_FALSE(request->flags.attest.provenance->v1);
  EXPECT_TRUE(request->flags.attest.sbom);
  EXPECT_EQ(request->attributes.at("attest:sbom"), "");
  EXPECT_FALSE(ParseFrontendRequest({{"attest:provenance", "disabled=true"}}, {})->flags.attest.Any());
  EXPECT_TRUE(ParseAttestations({{"build-arg:BUILDKIT_ATTEST_SBOM", "true"}})->sbom);
  EXPECT_TRUE(ParseAttestations({{"attest:provenance", ""}})->provenance->max);
}

TEST(FrontendRequest, AHostnameIsThatOfTheBuildArgumentFirst) {
  using Args = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(ParseFrontendRequest({{"hostname", "a"}}, {})->flags.build_args,
            (Args{{"BUILDKIT_SANDBOX_HOSTNAME", "a"}}));
  auto both = ParseFrontendRequest({{"hostname", "a"}, {"build-arg:BUILDKIT_SANDBOX_HOSTNAME", "b"}}, {});
  EXPECT_EQ(both->flags.build_args, (Args{{"BUILDKIT_SANDBOX_HOSTNAME", "b"}}));
}

TEST(FrontendRequest, AContextWithAPasswordIsNoNameOfAMount) {
  auto request = ParseFrontendRequest({{"context", "https://user:word@host/a.git"}}, {});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->context, "https://user:word@host/a.git");
  request = ParseFrontendRequest({{"context", "ssh://user:word@host/a.git"}}, {});
  ASSERT_FALSE(request);
  EXPECT_EQ(request.error().message, "the git URL for host has a password in it, which only http takes");
}

TEST(FrontendRequest, CapabilitiesThatNobodyHasAreRefused) {
  EXPECT_TRUE(IsFrontendCapability("moby.buildkit.frontend.inputs"));
  EXPECT_FALSE(IsFrontendCapability("moby.buildkit.frontend.telepathy"));
}

TEST(FrontendRequest, WrongValuesAreNamed) {
  EXPECT_FALSE(ParseFrontendRequest({{"attest:vex", ""}}, {}));
  EXPECT_FALSE(ParseFrontendRequest({{"attest:provenance", "mode=some"}}, {}));
  EXPECT_FALSE(ParseFrontendRequest({{"shm-size", "-1"}}, {}));
  EXPECT_FALSE(ParseFrontendRequest({{"add-hosts", "x"}}, {}));
  EXPECT_FALSE(ParseFrontendRequest({{"force-network-mode", "moon"}}, {}));
}

TEST(Exporters, KeepTheirPositionAndAreTheClients) {
  SolveRequest request;
  auto* oci = request.add_exporters();
  oci->set_type("oci");
  (*oci->mutable_attrs())["name"] = "a:1,b:2";
  auto* image = request.add_exporters();
  image->set_type("image");
  (*image->mutable_attrs())["push"] = "true";
  (*image->mutable_attrs())["name"] = "host/a";
  (*image->mutable_attrs())["annotation.text"] = "with, comma and \"quotes\"";
  auto outputs = ParseExporters(request);
  ASSERT_TRUE(outputs) << outputs.error().message;
  ASSERT_EQ(outputs->size(), 2u);
  EXPECT_EQ((*outputs)[0].type, exporter::OutputType::kOci);
  EXPECT_EQ((*outputs)[0].names, (std::vector<std::string>{"a:1", "b:2"}));
  EXPECT_TRUE((*outputs)[1].push);
  ASSERT_EQ((*outputs)[1].annotations.size(), 1u);
  EXPECT_EQ((*outputs)[1].annotations[0].value, "with, comma and \"quotes\"");
}

TEST(Exporters, TimesAreThoseOfTheBuildUnlessTheOutputSaysOtherwise) {
  SolveRequest request;
  (*request.mutable_frontend_attrs())["build-arg:SOURCE_DATE_EPOCH"] = "1445412480";
  request.add_exporters()->set_type("tar");
  auto* own = request.add_exporters();
  own->set_type("tar");
  (*own->mutable_attrs())["source-date-epoch"] = "7";
  auto* none = request.add_exporters();
  none->set_type("oci");
  (*none->mutable_attrs())["source-date-epoch"] = "";
  auto outputs = ParseExporters(request);
  ASSERT_TRUE(outputs) << outputs.error().message;
  EXPECT_EQ((*outputs)[0].source_date_epoch, 1445412480);
  EXPECT_EQ((*outputs)[1].source_date_epoch, 7);
  EXPECT_FALSE((*outputs)[2].source_date_epoch.has_value());
}

TEST(Exporters, WhatTheySayOfTheResultIsNoAttributeOfTheOutput) {
  SolveRequest request;
  auto* image = request.add_exporters();
  image->set_type("image");
  (*image->mutable_attrs())["containerimage.config"] = "{}";
  (*image->mutable_attrs())["attest:provenance"] = "mode=max";
  EXPECT_TRUE(ParseExporters(request));
  (*image->mutable_attrs())["moon"] = "full";
  EXPECT_FALSE(ParseExporters(request));
}

TEST(Exporters, AnImageThatWasPushedIsKeptByNameOnlyWhenAsked) {
  SolveRequest request;
  auto* image = request.add_exporters();
  image->set_type("image");
  (*image->mutable_attrs())["name"] = "host/a";
  EXPECT_TRUE((*ParseExporters(request))[0].store);
  (*image->mutable_attrs())["push"] = "true";
  EXPECT_FALSE((*ParseExporters(request))[0].store);
  (*image->mutable_attrs())["store"] = "true";
  EXPECT_TRUE((*ParseExporters(request))[0].store);
}

TEST(Exporters, TheOldFieldCountsWhenTheNewOneIsEmpty) {
  SolveRequest request;
  request.set_exporter_deprecated("local");
  auto outputs = ParseExporters(request);
  ASSERT_TRUE(outputs);
  ASSERT_EQ(outputs->size(), 1u);
  EXPECT_EQ((*outputs)[0].type, exporter::OutputType::kLocal);
  request.set_exporter_deprecated("moon");
  auto unknown = ParseExporters(request);
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().message, "exporter \"moon\" could not be found");
}

TEST(Caches, ComeFromTheRequestAndFromTheFrontEndsAttribute) {
  SolveRequest request;
  auto* one = request.mutable_cache()->add_imports();
  one->set_type("registry");
  (*one->mutable_attrs())["ref"] = "host/app:cache";
  auto specs = ParseCacheImports(request, {{"cache-imports", R"([{"Type":"registry","Attrs":{"ref":"host/app:cache"}},
                                      {"Type":"registry","Attrs":{"ref":"host/app:main"}}])"}});
  ASSERT_TRUE(specs) << specs.error().message;
  EXPECT_EQ(specs->size(), 2u);  // each once
  auto* twice = request.mutable_cache();
  for (int i = 0; i < 2; ++i) {
    auto* to = twice->add_exports();
    to->set_type("registry");
    (*to->mutable_attrs())["ref"] = "host/app:cache";
  }
  EXPECT_FALSE(ParseCacheExports(request));
}

TEST(ContextPaths, FollowWhatIsSelected) {
  EXPECT_EQ(FollowPaths({{.path = "b/c"}, {.path = "a*", .wildcards = true}, {.path = "./b/c"}}),
            (std::vector<std::string>{"a*", "b/c"}));
}

TEST(ContextPaths, TheRootIsAll) {
  EXPECT_TRUE(FollowPaths({}).empty());
  EXPECT_TRUE(FollowPaths({{.path = "a"}, {.path = "."}}).empty());
  EXPECT_TRUE(FollowPaths({{.path = ""}}).empty());
}

TEST(ContextPaths, WhatClientsDoNotExpandIsCutOff) {
  EXPECT_EQ(FollowPaths({{.path = "src/**/*.c", .wildcards = true, .parents = true}}),
            (std::vector<std::string>{"src"}));
  EXPECT_TRUE(FollowPaths({{.path = "**/*.c", .wildcards = true, .parents = true}}).empty());
}

}  // namespace
}  // namespace varve::daemon
