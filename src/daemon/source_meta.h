// LLBBridge.ResolveSourceMeta and ResolveImageConfig: what a source is now, for a front end that decides by it: the
// digest and config of an image, the commit of a git ref, the checksum of a download. The build that follows uses the
// same answers, as far as sources remember them (exec resolves a source by the same records).
#pragma once

#include <stop_token>

#include "api/gateway.pb.h"
#include "daemon/client.h"
#include "job/workspace.h"
#include "policy/source_policy.h"

namespace varve::daemon {

// Of the source that `policy`, if there is one, has made of it: the answer says which. Of a local directory nothing
// else is said. Errors as those of the source; kInvalid for kinds and questions that have no answer here: git objects,
// attestations of images.
Status ResolveSourceMeta(const moby::buildkit::v1::frontend::ResolveSourceMetaRequest& request,
                         policy::SourcePolicy* policy, job::Workspace& workspace, Client& client, std::stop_token stop,
                         moby::buildkit::v1::frontend::ResolveSourceMetaResponse& response);

// The older question, for images and OCI layouts only.
Status ResolveImageConfig(const moby::buildkit::v1::frontend::ResolveImageConfigRequest& request,
                          policy::SourcePolicy* policy, job::Workspace& workspace, Client& client, std::stop_token stop,
                          moby::buildkit::v1::frontend::ResolveImageConfigResponse& response);

}  // namespace varve::daemon
