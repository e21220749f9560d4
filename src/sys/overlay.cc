#include "sys/overlay.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <thread>
#include <utility>

#include "base/fd.h"
#include "sys/namespace.h"

namespace varve::sys {
namespace {

using Option = std::pair<std::string, std::string>;  // no value: a flag

std::vector<Option> FixedOptions(const OverlaySpec& spec) {
  std::string xino = spec.xino ? "on" : "off";
  std::vector<Option> options = {{"index", "off"}, {"redirect_dir", "off"}, {"metacopy", "off"}, {"xino", xino}};
  if (spec.user_xattrs) {
    // With userxattr the kernel forces redirect_dir and metacopy off and refuses to be told so.
    options = {{"index", "off"}, {"xino", xino}, {"userxattr", ""}};
  }
  if (spec.volatile_upper && !spec.upper.empty()) options.push_back({"volatile", ""});
  return options;
}

// What the kernel wrote about a failed fsconfig: "e overlay: …" lines.
std::string KernelLog(int fs_fd) {
  std::string text;
  char buffer[512];
  while (true) {
    ssize_t n = read(fs_fd, buffer, sizeof(buffer));
    if (n <= 0) break;
    std::string_view line(buffer, static_cast<size_t>(n));
    if (line.size() > 2 && line[1] == ' ') line.remove_prefix(2);
    while (line.ends_with('\n')) line.remove_suffix(1);
    text += text.empty() ? " (" : "; ";
    text += line;
  }
  return text.empty() ? text : text + ")";
}

Error OverlayError(int error, const std::string& target, const std::string& detail) {
  Error result = ErrnoError(error, "mount overlay on " + target);
  result.message += detail;
  if (error == EPERM) result.hint = "mounting needs root, or a user namespace on Linux 5.11 or later";
  return result;
}

// Nothing: this kernel has no "lowerdir+".
Result<std::optional<Mount>> MountWithFsconfig(const OverlaySpec& spec, const std::string& target) {
  Fd fs(fsopen("overlay", FSOPEN_CLOEXEC));
  if (!fs) {
    if (errno == ENOSYS) return std::optional<Mount>();
    return OverlayError(errno, target, "");
  }
  auto set = [&](const char* key, const std::string& value) {
    return fsconfig(fs.get(), FSCONFIG_SET_STRING, key, value.c_str(), 0);
  };
  bool first = true;
  for (const std::string& lower : spec.lowers) {
    if (set("lowerdir+", lower) != 0) {
      if (first && errno == EINVAL) return std::optional<Mount>();
      return OverlayError(errno, target, fmt::format(": layer {}{}", lower, KernelLog(fs.get())));
    }
    first = false;
  }
  if (!spec.upper.empty()) {
    for (auto& [key, value] : {Option("upperdir", spec.upper), Option("workdir", spec.work)}) {
      if (set(key.c_str(), value) != 0) {
        return OverlayError(errno, target, fmt::format(": {}{}", value, KernelLog(fs.get())));
      }
    }
  }
  for (auto& [key, value] : FixedOptions(spec)) {
    int failed =
        value.empty() ? fsconfig(fs.get(), FSCONFIG_SET_FLAG, key.c_str(), nullptr, 0) : set(key.c_str(), value);
    if (failed) return OverlayError(errno, target, fmt::format(": {}{}", key, KernelLog(fs.get())));
  }
  if (fsconfig(fs.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    int error = errno;
    return OverlayError(error, target, KernelLog(fs.get()));
  }
  Fd tree(fsmount(fs.get(), FSMOUNT_CLOEXEC, spec.upper.empty() ? MOUNT_ATTR_RDONLY : 0));
  if (!tree) return OverlayError(errno, target, KernelLog(fs.get()));
  if (move_mount(tree.get(), "", AT_FDCWD, target.c_str(), MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return OverlayError(errno, target, "");
  }
  return std::optional<Mount>(Mount(target));
}

// The layers are named by descriptor numbers relative to /proc/self/fd: a page of options would
// hold no more than fifty real paths.
Result<Mount> MountWithOptions(const OverlaySpec& spec, const std::string& target) {
  std::vector<Fd> open;
  auto number = [&](const std::string& path) -> Result<std::string> {
    TRY_ASSIGN(Fd fd, OpenFile(path, O_PATH | O_DIRECTORY));
    open.push_back(std::move(fd));
    return std::to_string(open.back().get());
  };
  std::string options = "lowerdir=";
  for (size_t i = 0; i < spec.lowers.size(); ++i) {
    TRY_ASSIGN(std::string name, number(spec.lowers[i]));
    if (i > 0) options += ':';
    options += name;
  }
  if (!spec.upper.empty()) {
    TRY_ASSIGN(std::string upper, number(spec.upper));
    TRY_ASSIGN(std::string work, number(spec.work));
    options += fmt::format(",upperdir={},workdir={}", upper, work);
  }
  for (auto& [key, value] : FixedOptions(spec)) {
    options += value.empty() ? "," + key : fmt::format(",{}={}", key, value);
  }
  if (options.size() >= static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    return Invalid("{} layers are too many for one overlay mount on this kernel", spec.lowers.size());
  }
  std::error_code ignored;
  std::string absolute = std::filesystem::absolute(target, ignored);
  int error = 0;
  // A working directory belongs to the process; this thread gets one of its own.
  std::jthread mounter([&] {
    if (unshare(CLONE_FS) != 0 || chdir("/proc/self/fd") != 0 ||
        mount("overlay", absolute.c_str(), "overlay", spec.upper.empty() ? MS_RDONLY : 0, options.c_str()) != 0) {
      error = errno;
    }
  });
  mounter.join();
  if (error != 0) return OverlayError(error, target, "");
  return Mount(target);
}

}  // namespace

Result<Mount> MountOverlay(const OverlaySpec& spec, const std::string& target) {
  TRY(CheckMountNamespace());
  CHECK(spec.upper.empty() == spec.work.empty());
  if (spec.lowers.size() > kMaxOverlayLowers) {
    return Invalid("{} layers are more than the {} that overlayfs can stack", spec.lowers.size(), kMaxOverlayLowers);
  }
  if (spec.lowers.empty()) {
    if (!spec.upper.empty()) return BindMount(spec.upper, target);
    return MountTmpfs(target, 4096, 0755, {.read_only = true});
  }
  if (spec.lowers.size() == 1 && spec.upper.empty()) {
    BindOptions options;
    options.read_only = true;
    return BindMount(spec.lowers[0], target, options);
  }
  if (spec.api != OverlayApi::kOptions) {
    TRY_ASSIGN(std::optional<Mount> mounted, MountWithFsconfig(spec, target));
    if (mounted) return std::move(*mounted);
    if (spec.api == OverlayApi::kFsconfig) {
      return Invalid("this kernel cannot take overlay layers one at a time (Linux 6.5)");
    }
  }
  return MountWithOptions(spec, target);
}

}  // namespace varve::sys
