// varve without root: the process goes on as root of a user namespace of its own.
#pragma once

#include "base/result.h"

namespace varve::job {

// For users other than root: enters a user namespace in which this user is 0, with the ids of
// /etc/subuid and /etc/subgid, and remembers in VARVE_ROOT where that user's state is (where a
// namespace's root would otherwise look in /var/lib). Does nothing as root or with CAP_SYS_ADMIN. Where
// the system forbids user namespaces the process goes on as it is, and what needs a mount will say so;
// where it lets them be made and then not be used, there is no way back: an error. To be called before
// the first thread.
Status BecomeRootless();

}  // namespace varve::job
