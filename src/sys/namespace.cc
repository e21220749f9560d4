#include "sys/namespace.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "base/fd.h"
#include "base/strings.h"
#include "sys/open.h"

namespace varve::sys {
namespace {

Status RequireSingleThread(std::string_view what) {
  TRY_ASSIGN(Fd tasks, OpenDir("/proc/self/task"));
  TRY_ASSIGN(std::vector<DirEntry> threads, ListDirectory(tasks.get()));
  if (threads.size() != 1) return Internal("{} after threads were started", what);
  return Ok();
}

Status MakeMountsPrivate() {
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return ErrnoError(errno, "make mounts private");
  }
  return Ok();
}

Status WriteProc(const std::string& path, const std::string& text) {
  TRY_ASSIGN(Fd fd, OpenFile(path, O_WRONLY));
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return ErrnoError(errno, "write " + path);
  }
  return Ok();
}

}  // namespace

Status EnterPrivateMountNamespace() {
  TRY(RequireSingleThread("entering a mount namespace"));
  if (unshare(CLONE_NEWNS) != 0) {
    Error error = ErrnoError(errno, "enter a private mount namespace");
    if (errno == EPERM) error.hint = "run as root, or allow unprivileged user namespaces";
    return error;
  }
  return MakeMountsPrivate();
}

Status EnterUserNamespace() {
  TRY(RequireSingleThread("entering a user namespace"));
  uid_t uid = geteuid();
  gid_t gid = getegid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    Error error = ErrnoError(errno, "enter a user namespace");
    error.code = Code::kInvalid;
    error.hint =
        "allow unprivileged user namespaces (sysctl user.max_user_namespaces, "
        "kernel.apparmor_restrict_unprivileged_userns), or run as root";
    return error;
  }
  TRY(WriteProc("/proc/self/setgroups", "deny"));
  TRY(WriteProc("/proc/self/uid_map", fmt::format("0 {} 1", uid)));
  TRY(WriteProc("/proc/self/gid_map", fmt::format("0 {} 1", gid)));
  return MakeMountsPrivate();
}

bool HasCapability(int capability) {
  auto status = ReadFile("/proc/self/status");
  if (!status) return false;
  size_t at = status->find("CapEff:");
  if (at == std::string::npos) return false;
  std::string_view rest = std::string_view(*status).substr(at + 7);
  rest = TrimSpace(rest.substr(0, rest.find('\n')));
  return (std::strtoull(std::string(rest).c_str(), nullptr, 16) >> capability & 1) != 0;
}

bool CanMount() { return HasCapability(CAP_SYS_ADMIN); }

bool InUserNamespace() {
  auto map = ReadFile("/proc/self/uid_map");
  if (!map) return false;
  std::string text = *map;
  for (char& c : text) c = c == '\n' || c == '\t' ? ' ' : c;
  std::vector<std::string> fields;
  for (std::string& part : Split(text, ' ')) {
    if (!part.empty()) fields.push_back(std::move(part));
  }
  return fields != std::vector<std::string>{"0", "0", "4294967295"};
}

}  // namespace varve::sys
