// Front ends that are images: frontend gateway.v0 with a `source`, and what a Dockerfile's `# syntax=` names. Their
// program runs in a container of the image's files and makes calls of LLBBridge over its standard input and output
// (BuildKit's docs/reference/gateway; client libraries read it all from the environment).
//
//   FrontendImage image = FrontendImageOf(config);
//   if (auto failure = CheckCapabilities(image, attributes, inputs)) return failure;
//   return RunFrontend(call, run, result);
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "daemon/bridge_service.h"
#include "daemon/failure.h"
#include "daemon/frontend_request.h"
#include "oci/image_config.h"
#include "sandbox/container.h"

namespace varve::daemon {

// What an image's config says of the front end in it.
struct FrontendImage {
  std::vector<std::string> args, env;  // /run where it has no entrypoint
  std::string cwd;
  bool no_network = false;             // label moby.buildkit.frontend.network.none
  std::set<std::string> capabilities;  // label moby.buildkit.frontend.caps
};
FrontendImage FrontendImageOf(const oci::ImageConfig& config);

// What the call asks for (the attribute frontend.caps, inputs) that the image does not say it can do.
std::optional<Failure> CheckCapabilities(const FrontendImage& image, const Attributes& attributes, bool has_inputs);

// The image's own, with the call's attributes, the session and the worker.
std::vector<std::string> EnvironmentOf(const FrontendImage& image, const Attributes& attributes,
                                       const std::string& session, const WorkerFacts& worker);

// One call of a front end in an image, and where its own calls go.
struct FrontendCall {
  std::string name;  // of the image, for messages
  SolveJob& job;
  const llb::Definitions& inputs;
  const attest::Invocation& asked;
  const WorkerFacts& worker;
  int message_bytes = 16 << 20;
};

// Starts the program with these streams and returns at its end.
using RunProgram = std::function<Result<sandbox::Outcome>(sandbox::Streams streams)>;

// Blocks until the program has ended. The result is what it has returned; a failure is, in this order, the error that
// it has returned, how it ended, or that it returned nothing.
std::optional<Failure> RunFrontend(const FrontendCall& call, const RunProgram& run, gateway::Result& result);

}  // namespace varve::daemon
