// What a client asks of the Dockerfile front end: FrontendAttrs as values (reference daemon-api.md §5,
// "FrontendAttrs from buildx").
//
// All of it is foreign input. No attribute names a file or a directory of this machine: contexts are
// local mounts of the client's session, URLs, images, or results of other builds.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/control.pb.h"
#include "api/gateway.pb.h"
#include "base/result.h"
#include "export/output.h"
#include "job/build_flags.h"
#include "session/exporters.h"
#include "tier/spec.h"

namespace varve::daemon {

using Attributes = std::map<std::string, std::string>;
inline Attributes ToAttributes(const google::protobuf::Map<std::string, std::string>& map) {
  return {map.begin(), map.end()};
}

struct FrontendRequest {
  Attributes attributes;  // all of them, as they came
  job::BuildFlags flags;  // no context, file, secrets, outputs or caches in it
  std::string context;    // a URL; empty: the local mount `context_mount`
  std::string context_mount = "context";
  std::string dockerfile_mount = "dockerfile";
  bool dockerfile_given = false;  // the mount was named: beside a context from a URL too
  std::string filename = "Dockerfile";
  // Named contexts that are local mounts, name to mount; those from elsewhere are in `flags`.
  std::map<std::string, std::string> local_contexts;
  std::vector<std::string> input_contexts;       // "input:NAME" values
  Attributes shared_keys;                        // by mount: "sharedkey:localdir:NAME"
  Attributes sessions;                           // by mount, of the clients that have it: "local-sessionid:NAME"
  std::string context_subdir;                    // of a context that is no local mount: only this directory of it
  std::string subrequest;                        // "frontend.lint"; empty: a build
  std::vector<std::string> wanted_capabilities;  // "frontend.caps"
};

// kInvalid names the attribute. Attributes that are not known are ignored: newer clients have more.
Result<FrontendRequest> ParseFrontendRequest(const Attributes& attributes,
                                             const std::vector<std::string>& entitlements);

// Whether a "context" is an address; else it names a mount of the client.
bool IsRemoteContext(const std::string& context);

// Whether the front end here does what a client's "frontend.caps" names.
bool IsFrontendCapability(std::string_view name);

// The attributes with the caches that this call of LLBBridge asks for ("cache-imports"), where it names some.
Attributes WithCacheImports(Attributes attributes, const moby::buildkit::v1::frontend::SolveRequest& request);

// "attest:TYPE" among the attributes, and the build arguments that stand for them.
Result<attest::Request> ParseAttestations(const Attributes& attributes);

// Of an output's attributes: "containerimage.config" and others that say something of the result. They count where the
// front end has said nothing.
bool IsResultMetadata(std::string_view key);

// In the order of the request: positions are the ids by which a client tells its exporters apart.
Result<std::vector<exporter::Output>> ParseExporters(const moby::buildkit::v1::SolveRequest& request);
// The same of those that the client has named later.
Result<std::vector<exporter::Output>> ParseExporters(const moby::buildkit::v1::SolveRequest& request,
                                                     const std::vector<session::NamedExporter>& named);

// Both as BuildKit's clients send them. A type that is not known here is an error.
Result<std::vector<tier::Spec>> ParseCacheImports(const moby::buildkit::v1::SolveRequest& request,
                                                  const Attributes& attributes);
Result<std::vector<tier::Spec>> ParseCacheExports(const moby::buildkit::v1::SolveRequest& request);

// One type with attributes as a value of a flag: type=registry,"ref=a:1".
std::string AsFlag(const std::string& type, const Attributes& attributes);

}  // namespace varve::daemon
