// Contents of RUN --mount=type=cache between this machine and tiers.
#pragma once

#include <string>
#include <vector>

#include "exec/job.h"
#include "job/cache_offer.h"
#include "job/workspace.h"
#include "tier/chain.h"
#include "tier/spec.h"

namespace varve::job {

// The mounts of the build's steps that the tier takes and that are on this machine, last used first;
// together they give at most spec.mounts_max_size. Of one that many builds of this machine fill at once
// (sharing=private) the directory that was used last.
Result<std::vector<tier::Offer::Mount>> OfferMounts(const BuiltSteps& built, const tier::Spec& spec,
                                                    const std::string& root);

// Never fails because of a tier or of what it gave: the mount is new then.
exec::RestoreMount RestoreMountsFrom(tier::Chain& chain, Workspace& workspace);

}  // namespace varve::job
