#include "daemon/capabilities.h"

#include "oci/platform.h"

namespace varve::daemon {

namespace {

constexpr std::string_view kGateway[] = {
    "solve.base",
    "solve.inlinereturn",
    "resolveimage",
    "resolveimage.resolvemode",
    "readfile",
    "readdir",
    "statfile",
    "return",
    "returnmap",
    "importcaches",
    "proto.refarray",
    "frontend.caps",
    "gateway.solve.metadata",
    "gateway.solve.evaluate",
    "gateway.evaluate",
    "gateway.warnings",
};

// Of what is no operation of LLB: outputs, caches, upkeep.
constexpr std::string_view kDaemon[] = {
    "cache.gha",
    "cache.s3",
    "exporter.multiple",
    "exporter.image.annotations",
    "exporter.sourcedateepoch",
    "gc.freespacefilter",
    "history.filter",
};

void SetPlatform(const oci::Platform& platform, pb::Platform* out) {
  out->set_architecture(platform.architecture);
  out->set_os(platform.os);
  out->set_variant(platform.variant);
}

}  // namespace

void FillVersion(moby::buildkit::v1::types::BuildkitVersion& version) {
  version.set_package(kPackage);
  version.set_version(kBuildkitVersion);
  version.set_revision(kRevision);
  version.set_dockerfile_version("1.26");
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
  SetPlatform(oci::HostPlatform(), worker.add_platforms());
  for (const std::string& name : facts.emulated) {
    auto platform = oci::ParsePlatform(name);
    if (platform) SetPlatform(*platform, worker.add_platforms());
  }
  for (const auto& policy : facts.policies) *worker.add_gc_policy() = policy;
  FillVersion(*worker.mutable_buildkit_version());
}

void FillPong(const WorkerFacts& facts, moby::buildkit::v1::frontend::PongResponse& pong) {
  for (std::string_view name : kGateway) {
    auto* cap = pong.add_frontend_api_caps();
    cap->set_id(std::string(name));
    cap->set_enabled(true);
  }
  for (std::string_view name : kDaemon) {
    auto* cap = pong.add_llb_caps();
    cap->set_id(std::string(name));
    cap->set_enabled(true);
  }
  FillWorker(facts, *pong.add_workers());
}

}  // namespace varve::daemon
