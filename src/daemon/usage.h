// DiskUsage and Prune: what `varve du` and `varve prune` do, in BuildKit's messages.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "api/control.pb.h"
#include "base/result.h"

namespace varve::daemon {

namespace control = moby::buildkit::v1;

Status ListUsage(const std::string& root, const control::DiskUsageRequest& request,
                 control::DiskUsageResponse& response);

// Tells each thing that was removed.
Status Prune(const std::string& root, const control::PruneRequest& request,
             const std::function<void(const control::UsageRecord&)>& removed, std::stop_token stop);

}  // namespace varve::daemon
