// What a front end attests of its result: statements or predicates, as files of another result
// (LLBBridge.Return's attestations; reference daemon-api.md §3).
#pragma once

#include <vector>

#include "api/gateway.pb.h"
#include "attest/statement.h"
#include "base/result.h"
#include "cache/step_record.h"
#include "job/workspace.h"

namespace varve::daemon {

// A bundle is a directory of statements; otherwise the path is a predicate's, and the message says what it is about.
// `rootfs`: of the result that has the files, which is on this machine.
Result<std::vector<attest::Attestation>> ReadAttestations(const moby::buildkit::v1::frontend::Attestation& attestation,
                                                          const cache::Rootfs& rootfs, job::Workspace& workspace);

// Whether a front end has made an SBOM itself. A bundle that does not say what it holds may hold one.
bool HasSbom(const moby::buildkit::v1::frontend::Attestations& attestations);

}  // namespace varve::daemon
