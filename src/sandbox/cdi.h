// Devices of this machine that vendors describe: the Container Device Interface (CNCF, SPEC.md 1.0).
//
//   TRY_ASSIGN(CdiRegistry registry, CdiRegistry::Load(CdiDirectories()));
//   TRY_ASSIGN(auto names, registry.Find("vendor.com/gpu=all"));
//   TRY(registry.Apply(names, spec));
//
// A spec file (*.json, *.yaml, *.yml) has a kind ("vendor.com/gpu") and devices by name; a device is
// what a container needs for it: variables, device nodes, mounts, hooks of the OCI runtime, groups.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "sandbox/sandbox.h"

namespace varve::sandbox {

// $VARVE_CDI_DIRS (with colons between), else /etc/cdi and /var/run/cdi. Later ones win.
std::vector<std::string> CdiDirectories();

class CdiRegistry {
 public:
  // Reads every spec file; directories that are not there are empty. A file that is wrong is left
  // out, and named when a device is not found.
  static CdiRegistry Load(const std::vector<std::string>& directories);

  // The full names ("vendor.com/gpu=0") that a request means, sorted; none when there is no such
  // device. As BuildKit reads it: KIND=NAME is that device, KIND=* all of a kind, KIND alone the first
  // of it; anything else, and a kind without devices, is a class: all devices with the annotation
  // org.mobyproject.buildkit.device.class of that value.
  std::vector<std::string> Find(const std::string& request) const;

  // All of them, by name, with the annotations of the file and their own.
  std::map<std::string, std::map<std::string, std::string>> List() const;

  // Adds to the spec what the devices need: of each spec file once what all its devices share, then
  // each device's own. kInvalid for an edit that varve cannot make.
  Status Apply(const std::vector<std::string>& names, Spec& spec) const;

  // "no device is known here" and the like: what there is instead, and which files are wrong.
  std::string Describe() const;

 private:
  struct Device {
    size_t file = 0;
    std::map<std::string, std::string> annotations = {};
    Json edits = {};
  };
  void ReadDirectory(const std::string& directory);
  Status ReadSpec(const std::string& path, std::map<std::string, Device>& found);

  std::vector<std::string> directories_;
  std::vector<Json> shared_edits_;  // by file
  std::map<std::string, Device> devices_;
  std::vector<std::string> problems_;
};

}  // namespace varve::sandbox
