#include "sandbox/cdi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "sandbox/oci_spec.h"
#include "sys/tempdir.h"

namespace varve::sandbox {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class CdiTest : public ::testing::Test {
 protected:
  void Write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(Path(path)).parent_path());
    std::ofstream(Path(path)) << text;
  }
  std::string Path(const std::string& path) { return directory_.path() + "/" + path; }
  CdiRegistry Load() { return CdiRegistry::Load({Path("etc"), Path("run"), Path("none")}); }

  sys::TempDir directory_ = *sys::TempDir::Create(::testing::TempDir(), "cdi-");
};

constexpr const char* kGpus = R"(
cdiVersion: "0.6.0"
kind: "vendor.com/gpu"
annotations: {org.mobyproject.buildkit.device.class: gpus}
containerEdits:
  env: [DRIVER=1]
  mounts:
  - {hostPath: /usr/lib, containerPath: /usr/lib/vendor, options: [ro, nosuid, bind]}
devices:
- name: "0"
  containerEdits:
    env: [GPU=0]
    deviceNodes: [{path: /dev/gpu0, hostPath: /dev/null, permissions: rw, fileMode: 0o660, gid: 7}]
- name: "1"
  annotations: {org.mobyproject.buildkit.device.class: other}
  containerEdits:
    env: [GPU=1]
    additionalGids: [44]
    hooks: [{hookName: createContainer, path: /bin/hook, args: [hook, x], timeout: 5}]
)";

TEST_F(CdiTest, RequestsAreReadAsBuildKitDoes) {
  Write("etc/gpu.yaml", kGpus);
  Write("etc/foo.json", R"({"cdiVersion":"1.0.0","kind":"a.com/b","devices":[{"name":"x"}]})");
  Write("etc/readme.txt", "nothing");
  CdiRegistry registry = Load();
  EXPECT_THAT(registry.Find("vendor.com/gpu=1"), ElementsAre("vendor.com/gpu=1"));
  EXPECT_THAT(registry.Find("vendor.com/gpu=*"), ElementsAre("vendor.com/gpu=0", "vendor.com/gpu=1"));
  EXPECT_THAT(registry.Find("vendor.com/gpu"), ElementsAre("vendor.com/gpu=0"));
  EXPECT_THAT(registry.Find("gpus"), ElementsAre("vendor.com/gpu=0"));
  EXPECT_THAT(registry.Find("other"), ElementsAre("vendor.com/gpu=1"));
  EXPECT_THAT(registry.Find("a.com/b=x"), ElementsAre("a.com/b=x"));
  for (const char* none : {"vendor.com/gpu=2", "vendor.com/gp", "", "=", "a.com/b=x=y"}) {
    EXPECT_THAT(registry.Find(none), IsEmpty()) << none;
  }
  EXPECT_EQ(registry.Describe(), "devices of this machine: a.com/b=x, vendor.com/gpu=0, vendor.com/gpu=1");
}

TEST_F(CdiTest, SharedEditsComeOnceAndBeforeADevicesOwn) {
  Write("etc/gpu.yaml", kGpus);
  Spec spec;
  spec.rootfs = "/r";
  spec.args = {"x"};
  spec.env = {"PATH=/bin", "GPU=of the image"};
  ASSERT_TRUE(Load().Apply({"vendor.com/gpu=0", "vendor.com/gpu=1"}, spec));
  EXPECT_THAT(spec.env, ElementsAre("PATH=/bin", "DRIVER=1", "GPU=1"));
  ASSERT_EQ(spec.mounts.size(), 1u);
  EXPECT_TRUE(spec.mounts[0].read_only && spec.mounts[0].nosuid && !spec.mounts[0].nodev);
  EXPECT_THAT(spec.user.additional_gids, ElementsAre(44));

  Json document = BuildOciSpec(spec, {});
  const Json& node = document.Find("linux")->GetArray("devices")[0];
  EXPECT_EQ(node.GetString("path"), "/dev/gpu0");
  EXPECT_EQ(node.GetInt("major"), 1) << "/dev/null's";
  EXPECT_EQ(node.GetInt("minor"), 3);
  EXPECT_EQ(node.GetInt("fileMode"), 0660);
  EXPECT_EQ(node.GetInt("gid"), 7);
  EXPECT_EQ(document.Find("linux")->Find("resources")->GetArray("devices").back().GetString("access"), "rw");
  const Json& hook = document.Find("hooks")->GetArray("createContainer")[0];
  EXPECT_EQ(hook.GetString("path"), "/bin/hook");
  EXPECT_EQ(hook.GetInt("timeout"), 5);
}

TEST_F(CdiTest, ALaterDirectoryWins) {
  Write("etc/a.yaml", "cdiVersion: 0.6.0\nkind: a.com/b\ndevices: [{name: x, containerEdits: {env: [A=etc]}}]\n");
  Write("run/a.yaml", "cdiVersion: 0.6.0\nkind: a.com/b\ndevices: [{name: x, containerEdits: {env: [A=run]}}]\n");
  Spec spec;
  ASSERT_TRUE(Load().Apply({"a.com/b=x"}, spec));
  EXPECT_THAT(spec.env, ElementsAre("A=run"));
}

TEST_F(CdiTest, WrongFilesAreLeftOutAndNamed) {
  Write("etc/bad.json", "{");
  Write("etc/kind.yaml", "cdiVersion: 0.6.0\nkind: nothing\ndevices: [{name: x}]\n");
  Write("etc/old.yaml", "kind: a.com/b\ndevices: [{name: x}]\n");
  Write("etc/one.yaml", "cdiVersion: 0.6.0\nkind: a.com/c\ndevices: [{name: x}]\n");
  Write("etc/two.yaml", "cdiVersion: 0.6.0\nkind: a.com/c\ndevices: [{name: x}]\n");
  CdiRegistry registry = Load();
  EXPECT_THAT(registry.Find("a.com/c=x"), IsEmpty()) << "described twice";
  std::string text = registry.Describe();
  for (const char* part :
       {"no device is described", "bad.json", "kind \"nothing\"", "cdiVersion \"\"", "described twice"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST_F(CdiTest, WhatCannotBeDoneIsRefusedWhenTheDeviceIsUsed) {
  Write("etc/a.json", R"({"cdiVersion":"1.0.0","kind":"a.com/b","devices":[
    {"name":"rdt","containerEdits":{"intelRdt":{"closID":"x"}}},
    {"name":"rel","containerEdits":{"deviceNodes":[{"path":"dev/x"}]}},
    {"name":"perm","containerEdits":{"deviceNodes":[{"path":"/dev/null","permissions":"x"}]}},
    {"name":"mount","containerEdits":{"mounts":[{"containerPath":"x"}]}}]})");
  for (const char* name : {"rdt", "rel", "perm", "mount"}) {
    Spec spec;
    Status applied = Load().Apply({std::string("a.com/b=") + name}, spec);
    ASSERT_FALSE(applied) << name;
    EXPECT_EQ(applied.error().code, Code::kInvalid);
    EXPECT_THAT(applied.error().ToString(), HasSubstr(std::string("a.com/b=") + name));
  }
}

}  // namespace
}  // namespace varve::sandbox
