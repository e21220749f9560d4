// What clients may not name, because it would be of this machine: they have files of their own.
#pragma once

#include <vector>

#include "tier/spec.h"

namespace varve::daemon {

// A key lies at the client: it is never a file or variable of this machine.
Status RefuseClientsFiles(const std::vector<tier::Spec>& specs);

}  // namespace varve::daemon
