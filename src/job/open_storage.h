// The storage that a --cache-from, --cache-to or --tier names. Nothing is asked before it is used.
#pragma once

#include <memory>

#include "job/registries.h"
#include "tier/spec.h"
#include "tier/storage.h"

namespace varve::job {

// The registries must outlive the storage. kNotFound: the environment names no such service (gha).
Result<std::unique_ptr<tier::BlobStorage>> OpenStorage(const tier::Spec& spec, Registries& registries);

}  // namespace varve::job
