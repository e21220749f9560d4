// What this daemon says it can do: LLBBridge.Ping's lists (reference daemon-api.md §3.1), Info, and the one
// worker that it has. Clients ask for nothing that is not announced here, so every line is a promise.
#pragma once

#include <map>
#include <set>
#include <string>

#include "api/gateway.pb.h"
#include "api/worker.pb.h"
#include "base/buildkit_version.h"
#include "daemon/devices.h"

namespace varve::daemon {

inline constexpr char kRevision[] = "varve-0.1.0";
inline constexpr char kDockerfileVersion[] = "1.26";  // of the language
inline constexpr char kPackage[] = "github.com/moby/buildkit";

struct WorkerFacts {
  std::string id;  // of the state root; stays when the daemon starts again
  std::string hostname;
  std::set<std::string> emulated;           // platforms besides this machine's, "linux/arm64"
  std::vector<std::string> platforms = {};  // instead of those; of the operator's configuration
  std::vector<moby::buildkit::v1::types::GcPolicy> policies = {};
  std::map<std::string, std::string> labels = {};  // the operator's
  DeviceRules devices = {};
};

void FillWorker(const WorkerFacts& facts, moby::buildkit::v1::types::WorkerRecord& worker);
void FillPong(const WorkerFacts& facts, moby::buildkit::v1::frontend::PongResponse& pong);
void FillVersion(moby::buildkit::v1::types::BuildkitVersion& version);

}  // namespace varve::daemon
