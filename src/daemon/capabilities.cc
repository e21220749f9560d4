#include "daemon/capabilities.h"

#include <algorithm>
#include <span>

#include "llb/capabilities.h"
#include "llb/definition.h"
#include "oci/platform.h"

namespace varve::daemon {

namespace {}  // namespace

void FillVersion(moby::buildkit::v1::types::BuildkitVersion& version) {
  version.set_package(kPackage);
  version.set_version(kBuildkitVersion);
  version.set_revision(kRevision);
  version.set_dockerfile_version(kDockerfileVersion);
}

void FillWorker(const WorkerFacts& facts, moby::buildkit::v1::types::WorkerRecord& worker) {
  worker.set_id(facts.id);
  auto label = [&](const std::string& name, const std::string& value) {
    (*worker.mutable_labels())["org.mobyproject.buildkit.worker." + name] = value;
  };
  label("executor", "oci");
  label("hostname", facts.hostname);
  label("snapshotter", "overlayfs");
  label("network", "host");
  label("oci.process-mode", "sandbox");
  label("selinux.enabled", "false");
  for (const auto& [name, value] : facts.labels) (*worker.mutable_labels())[name] = value;
  if (facts.platforms.empty()) llb::SetPlatform(oci::HostPlatform(), worker.add_platforms());
  const std::vector<std::string> emulated(facts.emulated.begin(), facts.emulated.end());
  for (const std::string& name : facts.platforms.empty() ? emulated : facts.platforms) {
    auto platform = oci::ParsePlatform(name);
    if (platform) llb::SetPlatform(*platform, worker.add_platforms());
  }
  for (const auto& policy : facts.policies) *worker.add_gc_policy() = policy;
  FillDevices(facts.devices, sandbox::CdiRegistry::Load(sandbox::CdiDirectories()), worker);
  FillVersion(*worker.mutable_buildkit_version());
}

void FillPong(const WorkerFacts& facts, moby::buildkit::v1::frontend::PongResponse& pong) {
  // What is not there is left out, not told as disabled: buildx asks only whether a name is in the list.
  auto add = [](std::span<const llb::Capability> table, auto* to) {
    for (const llb::Capability& capability : table) {
      if (!capability.enabled()) continue;
      auto* cap = to->Add();
      cap->set_id(std::string(capability.id));
      cap->set_enabled(true);
    }
  };
  add(llb::FrontendCapabilities(), pong.mutable_frontend_api_caps());
  add(llb::LlbCapabilities(), pong.mutable_llb_caps());
  FillWorker(facts, *pong.add_workers());
}

}  // namespace varve::daemon
