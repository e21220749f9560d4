#include "tier/spec.h"

#include <gmock/gmock.h>

namespace varve::tier {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(CacheSpec, BuildxGrammar) {
  auto from = ParseCacheFrom("type=local,src=/cache,tag=main");
  ASSERT_TRUE(from) << from.error().message;
  EXPECT_EQ((*from)[0], (Spec{.kind = Kind::kLocal, .place = "/cache", .tag = "main"}));
  auto to = ParseCacheTo(
      "type=registry,ref=example.com/app:cache,mode=max,compression=gzip,compression-level=9,"
      "force-compression=true,ignore-error=false,image-manifest=true,oci-mediatypes=true");
  ASSERT_TRUE(to) << to.error().message;
  EXPECT_EQ((*to)[0], (Spec{.place = "example.com/app:cache",
                            .mode = Mode::kMax,
                            .compression = archive::Compression::kGzip,
                            .compression_level = 9,
                            .force_compression = true,
                            .ignore_error = false}));
  EXPECT_EQ((*ParseCacheFrom("TYPE=registry,Ref=a/b"))[0].place, "a/b");
}

TEST(CacheSpec, GitHubsCacheNeedsNothing) {
  auto plain = ParseCacheFrom("type=gha");
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_EQ((*plain)[0], (Spec{.kind = Kind::kGha, .place = "varve"}));
  EXPECT_EQ((*plain)[0].Name(), "gha:varve");
  auto to = ParseCacheTo(
      "type=gha,scope=app-arm64,mode=max,timeout=2m,url=http://a/,url_v2=http://b/,token=t,"
      "version=2,repository=me/app,ghtoken=g,ignore-error=true,max-size=1g");
  ASSERT_TRUE(to) << to.error().message;
  const std::map<std::string, std::string> store = {
      {"scope", "app-arm64"}, {"url", "http://a/"},     {"url_v2", "http://b/"}, {"token", "t"},
      {"version", "2"},       {"repository", "me/app"}, {"ghtoken", "g"}};
  EXPECT_EQ((*to)[0], (Spec{.kind = Kind::kGha,
                            .place = "app-arm64",
                            .store = store,
                            .timeout = Nanos(120'000'000'000),
                            .retry_budget = Nanos(120'000'000'000),
                            .mode = Mode::kMax,
                            .max_size = uint64_t{1} << 30}));
}

TEST(CacheSpec, AValueWithoutAnEqualsSignIsReferences) {
  auto from = ParseCacheFrom("user/app:cache,user/app:main");
  ASSERT_TRUE(from);
  ASSERT_EQ(from->size(), 2u);
  EXPECT_EQ((*from)[1].place, "user/app:main");
}

TEST(CacheSpec, AReferenceMayBeAnImage) {
  EXPECT_TRUE((*ParseCacheFrom("app:latest"))[0].local_images);
  EXPECT_TRUE((*ParseCacheFrom("type=image,ref=app"))[0].local_images);
  EXPECT_FALSE((*ParseCacheFrom("type=registry,ref=app"))[0].local_images);
  EXPECT_EQ((*ParseCacheFrom("type=image,ref=app,trust=content"))[0].image_trust, ImageTrust::kContent);
  EXPECT_EQ((*ParseCacheFrom("type=image,ref=app,trust=history"))[0].image_trust, ImageTrust::kHistory);
  EXPECT_FALSE((*ParseCacheFrom("app"))[0].image_trust);
  EXPECT_FALSE(ParseCacheFrom("type=local,src=a,trust=content"));
  EXPECT_FALSE(ParseCacheTo("type=image,ref=app"));
  EXPECT_EQ(*ParseImageTrust("history"), ImageTrust::kHistory);
  EXPECT_FALSE(ParseImageTrust("all"));
}

TEST(CacheSpec, TheInlineCacheIsWrittenOnly) {
  auto to = *ParseCacheTo("type=inline,mode=max,ignore-error=true");
  EXPECT_EQ(to[0].kind, Kind::kInline);
  EXPECT_EQ(to[0].Name(), "inline");
  EXPECT_TRUE(CheckExports({to[0], to[0]}));
  EXPECT_FALSE(ParseCacheTo("type=inline,ref=app"));
  auto from = ParseCacheFrom("type=inline");
  ASSERT_FALSE(from);
  EXPECT_THAT(from.error().ToString(), HasSubstr("type=registry,ref=IMAGE"));
}

TEST(CacheSpec, TrustAndBoundsAreRead) {
  EXPECT_FALSE((*ParseCacheFrom("type=local,src=a,trust=none"))[0].trusted);
  EXPECT_TRUE((*ParseCacheFrom("type=local,src=a,trust=all"))[0].trusted);
  EXPECT_EQ((*ParseCacheFrom("type=local,src=a,trust=own,verify-key=k.pub"))[0].verify_key, "k.pub");
  EXPECT_TRUE((*ParseCacheFrom("type=local,src=a,verify-key=env:KEY"))[0].trusted);
  EXPECT_EQ((*ParseCacheTo("type=local,dest=a,sign-key=env:KEY"))[0].sign_key, "env:KEY");
  Spec bounded = (*ParseCacheTo("type=local,dest=a,mode=auto,max-export=500mb,max-time=30s"))[0];
  EXPECT_EQ(bounded.mode, Mode::kAuto);
  EXPECT_EQ(bounded.max_export, uint64_t{500} << 20);
  EXPECT_EQ(bounded.max_time, Nanos(30'000'000'000));
  EXPECT_EQ((*ParseCacheTo("type=local,dest=a,max-size=2g"))[0].max_size, uint64_t{2} << 30);
  EXPECT_EQ((*ParseCacheFrom("type=local,src=a,timeout=500ms"))[0].timeout, Nanos(500'000'000));
  EXPECT_EQ((*ParseCacheFrom("type=local,src=a,timeout=3"))[0].timeout, Nanos(3'000'000'000));
}

TEST(CacheSpec, BucketsAndWebServers) {
  auto to = ParseCacheTo(
      "type=s3,bucket=ci,region=eu-central-1,prefix=shop/,name=main;pr-1,"
      "blobs_prefix=b/,manifests_prefix=m/,touch_refresh=24h,mode=max,"
      "access_key_id=ID,secret_access_key=hunter2,session_token=hunter3,"
      "endpoint_url=https://minio.example.com,use_path_style=true,"
      "upload_parallelism=8,retry_mode=adaptive,retry_max_attempts=3");
  ASSERT_TRUE(to) << to.error().message;
  ASSERT_EQ(to->size(), 1u) << "written under all names";
  const Spec& s3 = (*to)[0];
  EXPECT_EQ(s3.Name(), "s3:ci/shop/:main;pr-1");
  EXPECT_EQ(s3.names, (std::vector<std::string>{"main", "pr-1"}));
  EXPECT_EQ(s3.blobs_prefix, "b/");
  EXPECT_EQ(s3.manifests_prefix, "m/");
  EXPECT_EQ(s3.touch_refresh, std::chrono::hours(24));
  EXPECT_EQ(s3.store.at("secret_access_key"), "hunter2");

  auto from = ParseCacheFrom("type=s3,bucket=ci,region=x,name=pr-1;main");
  ASSERT_TRUE(from && from->size() == 2) << "read one after the other";
  EXPECT_EQ((*from)[0].Name(), "s3:ci/:pr-1");
  EXPECT_EQ((*from)[1].Name(), "s3:ci/:main");

  auto http = ParseCacheFrom(
      "type=http,url=https://user:hunter2@cache.example.com/varve,"
      "header=X-Key: hunter3,header=X-Other: b");
  ASSERT_TRUE(http) << http.error().message;
  EXPECT_EQ((*http)[0].Name(), "https://cache.example.com/varve");
  EXPECT_EQ((*http)[0].store.at("header"), "X-Key: hunter3\nX-Other: b");
}

TEST(CacheSpec, WhatIsWrongWithAStoreIsSaidWithoutItsSecrets) {
  auto error = [](auto parsed) { return parsed ? "accepted" : parsed.error().ToString(); };
  EXPECT_THAT(error(ParseCacheTo("type=http")), HasSubstr("no url"));
  EXPECT_THAT(error(ParseCacheTo("type=http,url=ftp://x")), HasSubstr("ftp"));
  EXPECT_THAT(error(ParseCacheTo("type=http,url=https://x/?token=hunter2")), Not(HasSubstr("hunter2")));
  EXPECT_THAT(error(ParseCacheTo("type=http,url=https://x/,header=hunter2")), HasSubstr("NAME: VALUE"));
  EXPECT_THAT(error(ParseCacheTo("type=http,url=https://x/,header=hunter2")), Not(HasSubstr("hunter2")));
  EXPECT_THAT(error(ParseCacheTo("type=s3,bucket=b,region=r,use_path_style=maybe")), HasSubstr("true nor false"));
  EXPECT_THAT(error(ParseCacheTo("type=s3,bucket=b,region=r,name=a;;b")), HasSubstr("empty"));
  EXPECT_THAT(error(ParseCacheTo("type=s3,bucket=b,region=r,touch_refresh=soon")), HasSubstr("24h"));
  EXPECT_THAT(error(ParseCacheTo("type=s3,bucket=b,region=r,bukcet=c")), HasSubstr("did you mean bucket?"));
  EXPECT_THAT(error(ParseCacheTo("type=s3,bucket=b,region=r,url=c")), HasSubstr("unknown option"));
}

TEST(CacheSpec, WhatIsWrongIsNamedAndWhatIsRightToo) {
  auto error = [](auto parsed) { return parsed ? "accepted" : parsed.error().ToString(); };
  EXPECT_THAT(error(ParseCacheFrom("src=/cache")), HasSubstr("no type"));
  EXPECT_THAT(error(ParseCacheFrom("type=local")), HasSubstr("needs src=…"));
  EXPECT_THAT(error(ParseCacheTo("type=local")), HasSubstr("needs dest=…"));
  EXPECT_THAT(error(ParseCacheTo("type=registry")), HasSubstr("needs ref=…"));
  EXPECT_THAT(error(ParseCacheTo("type=local,dest=a,mod=max")), HasSubstr("did you mean mode?"));
  EXPECT_THAT(error(ParseCacheFrom("type=local,src=a,mode=max")), HasSubstr("unknown option"));
  EXPECT_THAT(error(ParseCacheTo("type=registry,ref=App")), HasSubstr("invalid reference"));
  EXPECT_THAT(error(ParseCacheTo("type=local,dest=a,mode=most")), HasSubstr("use min, max or auto"));
  EXPECT_THAT(error(ParseCacheTo("type=local,dest=a,compression=xz")), HasSubstr("use zstd"));
  EXPECT_THAT(error(ParseCacheTo("type=local,dest=a,compression=gzip,compression-level=12")),
              HasSubstr("gzip has 0 to 9"));
  EXPECT_THAT(error(ParseCacheTo("type=local,dest=a,image-manifest=perhaps")), HasSubstr("true or false"));
  EXPECT_THAT(error(ParseCacheFrom("type=local,src=a,trust=own")), HasSubstr("needs verify-key"));
  EXPECT_THAT(error(ParseCacheFrom("type=local,src=a,trust=all,verify-key=k")), HasSubstr("trust=own"));
  EXPECT_THAT(error(ParseCacheFrom("type=local,src=a,verify-key=")), HasSubstr("verify-key is empty"));
  EXPECT_THAT(error(ParseCacheFrom("type=local,src=a,sign-key=k")), HasSubstr("unknown option"));
  EXPECT_THAT(error(ParseCacheTo("type=local,dest=a,verify-key=k")), HasSubstr("unknown option"));
  EXPECT_THAT(error(ParseCacheTo("type=http,url=http://a/b,layout=flat")), HasSubstr("use plain or bazel"));
  EXPECT_THAT(error(ParseCacheTo("type=local,dest=a,max-time=soon")), HasSubstr("invalid max-time"));
  EXPECT_THAT(error(ParseCacheFrom("type=local,src=a,max-export=1")), HasSubstr("unknown option"));
  EXPECT_THAT(error(ParseCacheFrom("type=azblob")), HasSubstr("not supported"));
  EXPECT_THAT(error(ParseCacheFrom("type=gha,version=3")), HasSubstr("use 1 or 2"));
  EXPECT_THAT(error(ParseCacheFrom("type=gha,scope=")), HasSubstr("needs scope=…"));
  EXPECT_THAT(error(ParseCacheTo("type=gha,scope=" + std::string(129, 's'))), HasSubstr("longer than 128"));
  EXPECT_THAT(error(ParseCacheTo("type=gha,tag=x")), HasSubstr("unknown option"));
  EXPECT_THAT(error(ParseCacheFrom("type=local,src=a,format=chunked")), HasSubstr("unknown option"));
  EXPECT_THAT(error(ParseCacheFrom("type=locale,src=a")), HasSubstr("unknown type"));
}

TEST(CacheSpec, OnePlaceIsExportedToOnce) {
  auto one = *ParseCacheTo("type=local,dest=a"), other = *ParseCacheTo("type=local,dest=a,tag=b");
  EXPECT_TRUE(CheckExports({one[0], other[0]}));
  EXPECT_FALSE(CheckExports({one[0], one[0]}));
}

TEST(CacheSpec, FormatAndMounts) {
  auto specs = ParseCacheTo("type=local,dest=d,format=chunked,mounts=npm;/root/.cache,mounts-max-size=2m");
  ASSERT_TRUE(specs) << specs.error().message;
  const Spec& spec = (*specs)[0];
  EXPECT_TRUE(spec.chunked);
  EXPECT_TRUE(spec.mounts.Takes("npm"));
  EXPECT_TRUE(spec.mounts.Takes("/root/.cache"));
  EXPECT_FALSE(spec.mounts.Takes("pip"));
  EXPECT_EQ(spec.mounts_max_size, 2u << 20);
  EXPECT_TRUE((*ParseCacheFrom("type=local,src=d,mounts=true"))[0].mounts.Takes("any"));
  EXPECT_TRUE((*ParseCacheFrom("type=gha,mounts=npm"))[0].mounts.Takes("npm"));
  EXPECT_EQ((*ParseCacheTo("type=gha,mounts=true,mounts-max-size=3m"))[0].mounts_max_size, 3u << 20);
  EXPECT_FALSE((*ParseCacheFrom("type=local,src=d,mounts=false"))[0].mounts.Takes("any"));
  EXPECT_FALSE((*ParseCacheTo("type=local,dest=d,format=layers"))[0].chunked);
  EXPECT_TRUE((*ParseCacheTo("type=gha,format=chunked"))[0].chunked);
  for (const char* bad :
       {"type=local,dest=d,format=oci", "type=local,dest=d,mounts=a;;b",
        "type=local,dest=d,format=chunked,compression=gzip", "type=local,dest=d,mounts-max-size=much"}) {
    EXPECT_FALSE(ParseCacheTo(bad)) << bad;
  }
  EXPECT_FALSE(ParseCacheFrom("type=local,src=d,format=chunked")) << "what lies there is read as it is";
}

}  // namespace
}  // namespace varve::tier
