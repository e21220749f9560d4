// The control groups that runc makes for its containers, one in each hierarchy. It removes them itself
// unless it is killed, and then nobody else would: they outlive the mount namespace that takes the rest
// of a killed build along. (crun's cgroup manager is switched off.)
#pragma once

#include <string>

namespace varve::sandbox {

// "varve-<pid namespace>-<pid>-<n>", unlike any other of this process: whose it is can be told later.
std::string NewContainerName();

// `path` is a container's group, "/parent/varve-…". False: processes in it are still dying.
bool RemoveRuncCgroups(const std::string& path);

// Removes those below `parent` ("/" or "/name") whose varve is no more. What is still dying is left to
// the next call. Costs a directory listing for each hierarchy.
void RemoveCgroupsOfTheDead(const std::string& parent);

}  // namespace varve::sandbox
