#include "daemon/devices.h"

#include <gtest/gtest.h>

#include <fstream>

#include "sys/tempdir.h"

namespace varve::daemon {
namespace {

struct Devices : ::testing::Test {
  sys::TempDir directory = std::move(*sys::TempDir::Create("/tmp", "cdi-"));
  sandbox::CdiRegistry registry;
  DeviceRules rules;

  void SetUp() override {
    std::ofstream(directory.path() + "/a.yaml")
        << "cdiVersion: '0.6.0'\nkind: a.com/gpu\ndevices:\n- name: '0'\n- name: '1'\n"
           "  annotations:\n    org.mobyproject.buildkit.device.class: fast\n";
    std::ofstream(directory.path() + "/b.yaml") << "cdiVersion: '0.6.0'\nkind: b.com/disk\ndevices:\n- name: any\n"
                                                   "annotations:\n  org.mobyproject.buildkit.device.autoallow: true\n";
    registry = sandbox::CdiRegistry::Load({directory.path()});
  }
  // "": allowed. `wanted` is renamed to what the step gets.
  std::string Grant(std::string& wanted, const std::vector<std::string>& granted) {
    graph::Graph graph;
    graph.steps.push_back({.op = graph::Exec{.devices = {{wanted, true}}}});
    Status status = GrantDevices(graph, granted, rules, registry);
    wanted = std::get<graph::Exec>(graph.steps[0].op).devices[0].name;
    return status ? "" : status.error().message;
  }
  std::string Grant(const char* wanted, const std::vector<std::string>& granted) {
    std::string name = wanted;
    return Grant(name, granted);
  }
};

TEST_F(Devices, AreForThoseThatWereGrantedThem) {
  EXPECT_EQ(Grant("a.com/gpu=0", {"network.host"}), "device a.com/gpu=0 is requested by the build but not allowed");
  EXPECT_EQ(Grant("a.com/gpu=*", {}), "devices a.com/gpu=0, a.com/gpu=1 are requested by the build but not allowed");
  EXPECT_EQ(Grant("a.com/gpu=0", {"device=a.com/gpu=0"}), "");
  EXPECT_EQ(Grant("a.com/gpu=1", {"device=a.com/gpu"}), "device a.com/gpu=1 is requested by the build but not allowed");
  EXPECT_EQ(Grant("a.com/gpu=1", {"device=fast"}), "");
  EXPECT_EQ(Grant("fast", {"device=a.com/gpu=*"}), "");
  EXPECT_EQ(Grant("a.com/gpu=*", {"device"}), "");
  EXPECT_EQ(Grant("c.com/none=0", {}), "");  // the step that needs it says that it is not there
}

TEST_F(Devices, MayBeForEverybody) {
  EXPECT_EQ(Grant("b.com/disk", {}), "");
  rules.allowed = {"a.com/gpu"};
  EXPECT_EQ(Grant("a.com/gpu=*", {}), "");
  rules.allowed = {"a.com/gpu=1"};
  EXPECT_EQ(Grant("a.com/gpu=*", {}), "device a.com/gpu=0 is requested by the build but not allowed");
}

TEST_F(Devices, AnAliasIsWhatItStandsFor) {
  std::string name = "gpu";
  EXPECT_EQ(Grant(name, {"device=a.com/gpu=0,alias=gpu"}), "");
  EXPECT_EQ(name, "a.com/gpu=0");
  EXPECT_EQ(Grant("gpu", {"device=a.com/gpu=0,color=red"}), "unknown device config key \"color\"");
}

TEST_F(Devices, AreShownWithTheWorker) {
  moby::buildkit::v1::types::WorkerRecord worker;
  FillDevices(rules, registry, worker);
  ASSERT_EQ(worker.cdi_devices_size(), 3);
  EXPECT_EQ(worker.cdi_devices(1).name(), "a.com/gpu=1");
  EXPECT_EQ(worker.cdi_devices(1).annotations().at("org.mobyproject.buildkit.device.class"), "fast");
  EXPECT_FALSE(worker.cdi_devices(1).auto_allow());
  EXPECT_TRUE(worker.cdi_devices(2).auto_allow());
}

}  // namespace
}  // namespace varve::daemon
