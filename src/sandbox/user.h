// Users of an image: what USER and --chown name, looked up in the image's own /etc/passwd and
// /etc/group, never in the host's.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve::sandbox {

struct PasswdEntry {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;
  std::string home;
};

struct GroupEntry {
  std::string name;
  gid_t gid = 0;
  std::vector<std::string> members;
};

// passwd(5) and group(5); lines that are comments, too short, or without a number are skipped, as
// the C library does.
std::vector<PasswdEntry> ParsePasswd(std::string_view text);
std::vector<GroupEntry> ParseGroup(std::string_view text);

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> additional_gids;  // sorted, unique; includes gid, as containerd has it
  bool operator==(const User&) const = default;
};

// The user that a process runs as: `spec` is USER's "user[:group]", empty for root.
//   1000:1000    used as it is, without supplementary groups
//   1000         its gid (0 if it has no entry) and groups come from the files
//   name         looked up; name:group and uid:group take the group from the files or as a number
// A name that is not there is kInvalid.
Result<User> ResolveExecUser(std::string_view spec, std::string_view passwd, std::string_view group);
Result<User> ResolveExecUser(int root_fd, std::string_view spec);

// The owner that --chown names. A number alone is also the gid; a name brings its gid from passwd;
// ":group" is root with that group.
// A name (or file) that is not there counts as 0, as BuildKit has it in fact; `unknown`, if given,
// gets that name so that the caller can warn, unless it is "root".
Result<User> ResolveChownUser(std::string_view spec, std::string_view passwd, std::string_view group,
                              std::optional<std::string>* unknown = nullptr);
Result<User> ResolveChownUser(int root_fd, std::string_view spec, std::optional<std::string>* unknown = nullptr);

// The home directory of a uid in the image; empty without an entry.
std::string HomeOf(uid_t uid, std::string_view passwd);

// A text file of the image; empty when absent or not a regular file, kInvalid beyond 8 MiB.
Result<std::string> ReadRootFile(int root_fd, std::string_view path);

}  // namespace varve::sandbox
