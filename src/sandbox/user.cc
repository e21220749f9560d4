#include "sandbox/user.h"

#include <fcntl.h>

#include <algorithm>

#include "base/rel_path.h"
#include "base/strings.h"
#include "sys/open.h"
#include "sys/statx.h"

namespace varve::sandbox {
namespace {

constexpr uint64_t kMaxFileSize = 8 << 20;
constexpr int64_t kMaxId = 0xfffffffe;  // (uid_t)-1 means "no change" to the kernel

std::optional<uint32_t> ParseId(std::string_view text) {
  if (text.empty() || !std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; })) {
    return std::nullopt;
  }
  auto value = ParseInt(text);
  if (!value || *value > kMaxId) return std::nullopt;
  return static_cast<uint32_t>(*value);
}

template <class Visit>
void ForEachLine(std::string_view text, Visit visit) {
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = TrimSpace(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!line.empty() && line[0] != '#') visit(Split(line, ':'));
  }
}

struct UserSpec {
  std::string user, group;
};

Result<UserSpec> SplitSpec(std::string_view spec) {
  size_t colon = spec.find(':');
  if (colon == std::string_view::npos) return UserSpec{std::string(spec), {}};
  UserSpec parts{std::string(spec.substr(0, colon)), std::string(spec.substr(colon + 1))};
  if (parts.group.find(':') != std::string::npos) {
    return Invalid("invalid user \"{}\": it should be USER or USER:GROUP", spec);
  }
  return parts;
}

Error Unknown(std::string_view kind, std::string_view name, std::string_view file) {
  Error error = Invalid("unable to find {} {}: no matching entries in {} of the image", kind, name, file);
  error.hint = fmt::format("create the {} in an earlier step, or use its number", kind);
  return error;
}

void AddSupplementaryGroups(const std::string& name, const std::vector<GroupEntry>& groups, User& user) {
  for (const GroupEntry& group : groups) {
    if (std::ranges::find(group.members, name) != group.members.end()) {
      user.additional_gids.push_back(group.gid);
    }
  }
}

}  // namespace

std::vector<PasswdEntry> ParsePasswd(std::string_view text) {
  std::vector<PasswdEntry> entries;
  ForEachLine(text, [&](std::vector<std::string> fields) {
    if (fields.size() < 4) return;
    auto uid = ParseId(fields[2]), gid = ParseId(fields[3]);
    if (!uid || !gid) return;
    entries.push_back({fields[0], *uid, *gid, fields.size() > 5 ? fields[5] : std::string()});
  });
  return entries;
}

std::vector<GroupEntry> ParseGroup(std::string_view text) {
  std::vector<GroupEntry> entries;
  ForEachLine(text, [&](std::vector<std::string> fields) {
    if (fields.size() < 3) return;
    auto gid = ParseId(fields[2]);
    if (!gid) return;
    GroupEntry entry{fields[0], *gid, {}};
    if (fields.size() > 3) {
      for (std::string& member : Split(fields[3], ',')) {
        if (!member.empty()) entry.members.push_back(std::move(member));
      }
    }
    entries.push_back(std::move(entry));
  });
  return entries;
}

Result<User> ResolveExecUser(std::string_view spec, std::string_view passwd, std::string_view group) {
  TRY_ASSIGN(UserSpec parts, SplitSpec(spec.empty() ? "0" : spec));
  if (parts.user.empty()) parts.user = "0";
  std::vector<PasswdEntry> users = ParsePasswd(passwd);
  std::vector<GroupEntry> groups = ParseGroup(group);
  std::optional<uint32_t> uid = ParseId(parts.user), gid = ParseId(parts.group);
  User user;
  if (uid && gid) {
    user = {*uid, *gid, {*gid}};
    return user;
  }
  // A user's name may consist of digits; the number wins, as in containerd.
  auto entry =
      std::ranges::find_if(users, [&](const PasswdEntry& e) { return uid ? e.uid == *uid : e.name == parts.user; });
  if (entry != users.end()) {
    user.uid = entry->uid;
    user.gid = entry->gid;
  } else if (uid) {
    user.uid = *uid;
  } else {
    return Unknown("user", parts.user, "/etc/passwd");
  }
  if (!parts.group.empty()) {
    auto named = std::ranges::find(groups, parts.group, &GroupEntry::name);
    if (gid) {
      user.gid = *gid;
    } else if (named != groups.end()) {
      user.gid = named->gid;
    } else {
      return Unknown("group", parts.group, "/etc/group");
    }
  } else if (entry != users.end()) {
    AddSupplementaryGroups(entry->name, groups, user);
  }
  user.additional_gids.push_back(user.gid);
  std::ranges::sort(user.additional_gids);
  auto repeated = std::ranges::unique(user.additional_gids);
  user.additional_gids.erase(repeated.begin(), repeated.end());
  return user;
}

Result<User> ResolveChownUser(std::string_view spec, std::string_view passwd, std::string_view group,
                              std::optional<std::string>* unknown) {
  TRY_ASSIGN(UserSpec parts, SplitSpec(spec));
  if (parts.user.empty() && parts.group.empty()) {
    return Invalid("invalid owner \"{}\": it should be USER or USER:GROUP", spec);
  }
  User user;
  if (auto uid = ParseId(parts.user)) {
    user.uid = *uid;
    user.gid = *uid;
  } else if (!parts.user.empty()) {
    std::vector<PasswdEntry> users = ParsePasswd(passwd);
    auto entry = std::ranges::find(users, parts.user, &PasswdEntry::name);
    if (entry != users.end()) {
      user.uid = entry->uid;
      user.gid = entry->gid;
    } else if (unknown != nullptr && parts.user != "root") {
      *unknown = parts.user;
    }
  }
  if (!parts.group.empty()) {
    std::vector<GroupEntry> groups = ParseGroup(group);
    auto entry = std::ranges::find(groups, parts.group, &GroupEntry::name);
    if (auto gid = ParseId(parts.group)) {
      user.gid = *gid;
    } else if (entry != groups.end()) {
      user.gid = entry->gid;
    } else {
      user.gid = 0;
      if (unknown != nullptr && !unknown->has_value() && parts.group != "root") {
        *unknown = parts.group;
      }
    }
  }
  return user;
}

std::string HomeOf(uid_t uid, std::string_view passwd) {
  for (PasswdEntry& entry : ParsePasswd(passwd)) {
    if (entry.uid == uid) return std::move(entry.home);
  }
  return {};
}

Result<std::string> ReadRootFile(int root_fd, std::string_view path) {
  // O_NONBLOCK: an image may have put a fifo there.
  auto fd = sys::OpenInRoot(root_fd, RelPath(path), O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) {
    if (fd.error().code == Code::kNotFound) return std::string();
    return std::move(fd).error();
  }
  TRY_ASSIGN(sys::FileStat st, sys::Statx(fd->get(), ""));
  if (!st.IsRegular()) return std::string();
  FdReader reader(fd->get());
  auto text = ReadAll(reader, kMaxFileSize);
  if (!text) return Error(std::move(text).error()).With(RelPath(path).Absolute());
  return text;
}

Result<User> ResolveExecUser(int root_fd, std::string_view spec) {
  TRY_ASSIGN(std::string passwd, ReadRootFile(root_fd, "etc/passwd"));
  TRY_ASSIGN(std::string group, ReadRootFile(root_fd, "etc/group"));
  return ResolveExecUser(spec, passwd, group);
}

Result<User> ResolveChownUser(int root_fd, std::string_view spec, std::optional<std::string>* unknown) {
  TRY_ASSIGN(std::string passwd, ReadRootFile(root_fd, "etc/passwd"));
  TRY_ASSIGN(std::string group, ReadRootFile(root_fd, "etc/group"));
  return ResolveChownUser(spec, passwd, group, unknown);
}

}  // namespace varve::sandbox
