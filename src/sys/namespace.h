// Entering namespaces. To be called at the start of a process, before its first thread: namespaces
// belong to threads, and a user namespace cannot be entered by a threaded process at all.
#pragma once

#include <sys/types.h>

#include "base/result.h"

namespace varve::sys {

// A private copy of the mount tree: mounts made afterwards are seen by nobody else and vanish with
// the process (and its children). kInternal when the process already has threads.
Status EnterPrivateMountNamespace();

// Becomes root of a new user namespace that maps only this user and group, with a private mount
// namespace. For rootless operation; files of other owners cannot be made then (newuidmap's ranges
// are not used). kInvalid with a hint when the system forbids user namespaces.
Status EnterUserNamespace();

// What CapEff says. Numbers as in <linux/capability.h>.
bool HasCapability(int capability);

// True when this process may mount: CAP_SYS_ADMIN in its mount namespace's owner.
bool CanMount();

// True when uid 0 here is not the host's root: /proc/self/uid_map is not the identity.
bool InUserNamespace();

}  // namespace varve::sys
