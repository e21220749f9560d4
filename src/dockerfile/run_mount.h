// RUN --mount=… and --device=…: one CSV value → typed options.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace varve::dockerfile {

enum class MountType { kBind, kCache, kTmpfs, kSecret, kSsh };
enum class MountSharing { kShared, kPrivate, kLocked };

std::string_view MountTypeName(MountType type);  // "bind"

// As written: what depends on the stage (WORKDIR, default ids and targets, modes) is lowering's.
struct Mount {
  MountType type = MountType::kBind;
  std::string from;  // stage, image or context; empty: the type's default
  std::string source;
  std::string target;
  bool read_only = true;
  uint64_t size = 0;  // tmpfs, bytes; 0: no limit
  std::string id;
  std::optional<MountSharing> sharing;  // cache only; default shared
  bool required = false;                // secret, ssh
  std::optional<std::string> env;       // secret: variable to set; "" means a name from the id
  std::optional<uint32_t> mode;         // secret, ssh, cache
  std::optional<uint32_t> uid;
  std::optional<uint32_t> gid;
};

// Expands one value. Fails with what ProcessWord says.
using Expander = std::function<Result<std::string>(std::string_view word)>;

// Options are read left to right, and `size` and `required` look at the type seen so far, so type=
// has to come before them. Every value but that of `from` is expanded before it is read. kInvalid.
Result<Mount> ParseMount(std::string_view value, const Expander& expand);

// What can be said before expansion: the CSV is well-formed, `from` has no variable.
Status CheckMount(std::string_view value);

// --device=NAME[,required[=bool]].
Result<Device> ParseDevice(std::string_view value);

}  // namespace varve::dockerfile
