// Entering namespaces. To be called at the start of a process, before its first thread: namespaces
// belong to threads, and a user namespace cannot be entered by a threaded process at all.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve::sys {

// A private copy of the mount tree: mounts made afterwards are seen by nobody else and vanish with
// the process (and its children). kInternal when the process already has threads.
Status EnterPrivateMountNamespace();

// The same for a process that may never mount anything: to leave a namespace waits for all CPUs, milliseconds on a busy
// machine. From Defer… on nothing can be mounted (kInternal) but by the thread that called Enter…, and by threads that
// were started by such threads afterwards. Enter… does nothing the second time, or when nothing was deferred.
void DeferPrivateMountNamespace();
Status EnterDeferredMountNamespace();
// For what mounts.
Status CheckMountNamespace();

// Becomes root of a new user namespace, with a private mount namespace: for rootless operation. This
// user and group are 0 in it, and the ranges that /etc/subuid and /etc/subgid give to the user are
// the ids from 1 on, mapped by newuidmap and newgidmap (package uidmap). Without ranges, or without
// those programs, no other ids exist, and files of other owners cannot be made. kInvalid with a hint
// when the system forbids user namespaces.
Status EnterUserNamespace();

// A part of an id map: `count` ids from `first` on.
struct IdRange {
  uint64_t first = 0;
  uint64_t count = 0;
  bool operator==(const IdRange&) const = default;
};

// The ranges of a user in the text of /etc/subuid or /etc/subgid (subuid(5)): lines of
// name-or-number:first:count. Lines that are none are skipped.
std::vector<IdRange> ParseSubordinateIds(std::string_view text, std::string_view name, uid_t uid);

// How many user ids, and group ids, exist in this process's user namespace, the smaller number: 1 in
// a namespace with a single-id map.
uint64_t MappedIds();

// What a failed chown says: kInvalid with a hint when an id does not exist in this user namespace, and
// a hint when this process may not give files away at all.
Error OwnerError(int error, const std::string& what, uid_t uid, gid_t gid);

// What CapEff says. Numbers as in <linux/capability.h>.
bool HasCapability(int capability);

// True when this process may mount: CAP_SYS_ADMIN in its mount namespace's owner.
bool CanMount();

// True when uid 0 here is not the host's root: /proc/self/uid_map is not the identity.
bool InUserNamespace();

}  // namespace varve::sys
