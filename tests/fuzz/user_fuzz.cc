// USER and --chown against the /etc/passwd and /etc/group of an image.
//
// Input: the user, a line end, passwd, a line "%%", then group.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "sandbox/user.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace varve::sandbox;  // NOLINT
  std::string_view input(reinterpret_cast<const char*>(data), size);
  size_t line = std::min(input.find('\n'), input.size());
  std::string_view spec = input.substr(0, line);
  input.remove_prefix(std::min(line + 1, input.size()));
  size_t cut = input.find("\n%%\n");
  std::string_view passwd = input.substr(0, cut);
  std::string_view group = cut == input.npos ? "" : input.substr(cut + 4);

  for (const PasswdEntry& entry : ParsePasswd(passwd)) (void)HomeOf(entry.uid, passwd);
  (void)ParseGroup(group);
  if (auto user = ResolveExecUser(spec, passwd, group)) {
    CHECK(user->uid != static_cast<uid_t>(-1) && user->gid != static_cast<gid_t>(-1));
    CHECK(std::ranges::is_sorted(user->additional_gids));
  }
  std::optional<std::string> unknown;
  if (auto owner = ResolveChownUser(spec, passwd, group, &unknown)) {
    CHECK(owner->uid != static_cast<uid_t>(-1) && owner->gid != static_cast<gid_t>(-1));
  }
  return 0;
}
