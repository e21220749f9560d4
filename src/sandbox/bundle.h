// A container before its first process: what the runtime reads, and the places in the root file system that it
// will mount on.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"
#include "sandbox/mount_points.h"
#include "sandbox/oci_spec.h"
#include "sandbox/runtime.h"

namespace varve::sandbox {

// The directory of one container: config.json, hosts, resolv.conf, log.
class Bundle {
 public:
  static Result<Bundle> Create(const std::string& state_dir);
  Bundle(Bundle&& other) noexcept;
  ~Bundle();

  const std::string& id() const { return id_; }
  const std::string& path() const { return path_; }
  const std::string& runtime_root() const { return runtime_root_; }
  std::string File(std::string_view name) const { return fmt::format("{}/{}", path_, name); }
  // A new file of mode 0644.
  Status Write(std::string_view name, std::string_view text) const;

 private:
  Bundle() = default;
  std::string id_, path_, runtime_root_;
};

class PreparedContainer {
 public:
  // Checks the spec, writes the bundle but for its configuration, and makes the mount points that the image lacks.
  // From then on everything may change in the rootfs: nothing opened before is trusted but the root itself.
  // `bundle`: a new one if there is none yet.
  static Result<PreparedContainer> Create(const Host& host, const Runtime& wanted, const Spec& spec,
                                          const std::string& state_dir, std::optional<Bundle> bundle = {});

  const Runtime& runtime() const { return runtime_; }
  const Bundle& bundle() const { return bundle_; }
  // What the runtime reads; as config.json in the bundle, if it is told of no other place.
  const std::string& config() const { return config_; }
  Status WriteConfig() const { return bundle_.Write("config.json", config_); }
  int cgroup_fd() const { return cgroup_fd_; }  // -1: none of its own
  // Of another process of the container, as `runc exec --process` reads it.
  Json ProcessOf(const Spec& spec) const;

  // Once no process is left: removes the mount points, and `killed`, what a killed runtime leaves.
  // Gives Outcome::mount_point_parents.
  Result<std::vector<RelPath>> Finish(bool killed);

 private:
  PreparedContainer(Runtime runtime, Bundle bundle) : runtime_(std::move(runtime)), bundle_(std::move(bundle)) {}
  Runtime runtime_;
  Bundle bundle_;
  std::string config_;
  SpecContext context_;
  int cgroup_fd_ = -1;
  Fd root_;
  std::unique_ptr<MountPoints> points_;
};

}  // namespace varve::sandbox
