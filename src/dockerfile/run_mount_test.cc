#include "dockerfile/run_mount.h"

#include <gtest/gtest.h>

#include "dockerfile/expand.h"

namespace varve::dockerfile {
namespace {

Result<std::string> Expand(std::string_view word) {
  auto expansion = ProcessWord(word, [](std::string_view name) -> std::optional<std::string> {
    if (name == "T") return "cache";
    if (name == "D") return "/dir";
    return std::nullopt;
  });
  if (!expansion) return std::move(expansion).error();
  return std::move(expansion->text);
}

Mount Parse(std::string_view value) {
  auto mount = ParseMount(value, Expand);
  EXPECT_TRUE(mount) << value << ": " << (mount ? "" : mount.error().message);
  return mount.value_or(Mount{});
}

std::string Message(std::string_view value) {
  auto mount = ParseMount(value, Expand);
  return mount ? "parsed" : mount.error().message;
}

TEST(RunMount, DefaultsDependOnTheType) {
  Mount bind = Parse("target=/x");
  EXPECT_EQ(bind.type, MountType::kBind);
  EXPECT_TRUE(bind.read_only);
  EXPECT_FALSE(Parse("type=cache,target=/x").read_only);
  EXPECT_FALSE(Parse("type=tmpfs,target=/x").read_only);
  EXPECT_TRUE(Parse("type=secret,id=x").read_only);
  EXPECT_TRUE(Parse("type=ssh").read_only);
  EXPECT_FALSE(Parse("type=cache,target=/x").sharing);
}

TEST(RunMount, EveryOptionIsRead) {
  Mount cache = Parse("TYPE=Cache,dst=/x,id=i,sharing=Locked,from=f,src=/s,mode=0755,uid=1000,gid=7,ro");
  EXPECT_EQ(cache.type, MountType::kCache);
  EXPECT_EQ(cache.target, "/x");
  EXPECT_EQ(cache.id, "i");
  EXPECT_EQ(cache.sharing, MountSharing::kLocked);
  EXPECT_EQ(cache.from, "f");
  EXPECT_EQ(cache.source, "/s");
  EXPECT_EQ(cache.mode, 0755u);
  EXPECT_EQ(cache.uid, 1000u);
  EXPECT_EQ(cache.gid, 7u);
  EXPECT_TRUE(cache.read_only);
  EXPECT_EQ(Parse("type=tmpfs,destination=/t,size=64m").size, 64u << 20);
  Mount secret = Parse("type=secret,id=s,required,env=TOKEN");
  EXPECT_TRUE(secret.required);
  EXPECT_EQ(secret.env, "TOKEN");
  EXPECT_FALSE(Parse("type=ssh,required=false").required);
  EXPECT_FALSE(Parse("target=/x,readwrite").read_only);
  EXPECT_FALSE(Parse("target=/x,readonly=false").read_only);
  EXPECT_TRUE(Parse("target=/x,rw=0").read_only);
}

TEST(RunMount, ValuesAreExpandedBeforeTheyAreRead) {
  Mount mount = Parse("type=$T,target=${D}/x,id=${X:-def}");
  EXPECT_EQ(mount.type, MountType::kCache);
  EXPECT_EQ(mount.target, "/dir/x");
  EXPECT_EQ(mount.id, "def");
}

TEST(RunMount, CsvQuotesKeepCommas) { EXPECT_EQ(Parse("type=bind,\"target=/a,b\"").target, "/a,b"); }

TEST(RunMount, TypeHasToComeBeforeWhatDependsOnIt) {
  EXPECT_EQ(Message("required,type=secret,id=x"), "unexpected key 'required' for mount type 'bind'");
  EXPECT_EQ(Message("size=1,type=tmpfs,target=/x"), "unexpected key 'size' for mount type 'bind'");
  EXPECT_EQ(Message("type=secret,id=x,required"), "parsed");
}

TEST(RunMount, MistakesAreExplained) {
  EXPECT_EQ(Message("type=cahce,target=/x"), "unsupported mount type \"cahce\" (did you mean cache?)");
  EXPECT_EQ(Message("type=cache,tarrget=/x"), "unexpected key 'tarrget' in 'tarrget=/x' (did you mean target?)");
  EXPECT_EQ(Message("type=cache,target=/x,sharing=loked"),
            "unsupported sharing value \"loked\" (did you mean locked?)");
  EXPECT_EQ(Message("target"), "invalid field 'target' must be a key=value pair");
  EXPECT_EQ(Message("target=/x,ro=maybe"), "invalid value for ro: maybe");
  EXPECT_EQ(Message("type=cache,target=/x,mode=9"), "invalid value 9 for mode");
  EXPECT_EQ(Message("type=cache,target=/x,uid=-1"), "invalid value -1 for uid");
  EXPECT_EQ(Message("type=cache,target=/x,gid="), "invalid value  for gid");
  EXPECT_EQ(Message("target=/x,mode=0755"), "mode not allowed for \"bind\" type mounts");
  EXPECT_EQ(Message("type=tmpfs,target=/x,uid=1"), "uid not allowed for \"tmpfs\" type mounts");
  EXPECT_EQ(Message("type=secret,id=x,from=y"), "secret mount should not have a from");
  EXPECT_EQ(Message("type=secret,id=x,sharing=shared"), "secret mount should not define sharing");
  EXPECT_EQ(Message("type=secret"), "invalid secret mount. one of source, target required");
  EXPECT_EQ(Message("type=secret,id=x,source=y"), "both source and id can't be set");
  EXPECT_EQ(Message("target=/x,sharing=shared"), "invalid cache sharing set for bind mount");
  EXPECT_EQ(Message("type=cache,target=${D"),
            "failed to process \"${D\": unsupported modifier (\uFFFD) in substitution");
  EXPECT_TRUE(Message("type=\"cache").starts_with("failed to parse csv mounts: "));
}

TEST(RunMount, FromTakesNoVariables) {
  EXPECT_TRUE(CheckMount("type=bind,from=a,target=$X"));
  EXPECT_TRUE(CheckMount("from=a$")) << "a dollar at the end is no variable";
  auto status = CheckMount("FROM=$X");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().message, "'from' doesn't support variable expansion, define alias stage instead");
}

TEST(RunDevice, NameAndRequiredComeInAnyOrder) {
  auto device = ParseDevice("required,vendor.com/gpu=all");
  ASSERT_TRUE(device);
  EXPECT_EQ(device->name, "vendor.com/gpu=all");
  EXPECT_TRUE(device->required);
  EXPECT_EQ(ParseDevice("name=a/b,required=false")->name, "a/b");
  EXPECT_EQ(ParseDevice("name=a/b,name=c").error().message, "device name already set to a/b");
  EXPECT_EQ(ParseDevice("a,b").error().message, "invalid field 'b' must be a key=value pair");
  EXPECT_EQ(ParseDevice("a,requird=1").error().message,
            "unexpected key 'requird' in 'requird=1' (did you mean required?)");
  EXPECT_EQ(ParseDevice("a,required=x").error().message, "invalid value for required: x");
}

}  // namespace
}  // namespace varve::dockerfile
