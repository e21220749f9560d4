#include "sys/testing/faulty_calls.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>

#include "base/result.h"

namespace {

// No allocation and no lock: a call may come from anywhere.
struct Plan {
  std::atomic<bool> active{false};
  std::atomic<int> calls{0};
  int fail_at = 0;
  int error = 0;
  bool removals = false;
  char root[256] = {};
  char failed[600] = {};
} plan;

bool Fails(const char* call, const char* path) {
  if (!plan.active || strncmp(path, plan.root, strlen(plan.root)) != 0) return false;
  if (++plan.calls != plan.fail_at) return false;
  snprintf(plan.failed, sizeof(plan.failed), "%s %s", call, path);
  errno = plan.error;
  return true;
}

bool Fails(const char* call, int fd) {
  if (!plan.active) return false;
  char link[64], path[512];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof(path) - 1);
  if (n <= 0) return false;
  path[n] = 0;
  return Fails(call, path);
}

bool Fails(const char* call, int directory, const char* name) {
  if (!plan.active) return false;
  if (directory == AT_FDCWD || name[0] == '/') return Fails(call, name);
  char link[64], path[512];
  snprintf(link, sizeof(link), "/proc/self/fd/%d", directory);
  ssize_t n = readlink(link, path, sizeof(path) - 1);
  if (n <= 0) return false;
  path[n] = 0;
  if (name[0] != 0) snprintf(path + n, sizeof(path) - static_cast<size_t>(n), "/%s", name);
  return Fails(call, path);
}

bool FailsToRemove(const char* call, int directory, const char* name) {
  return plan.removals && Fails(call, directory, name);
}

bool Makes(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

int Int(long result) { return static_cast<int>(result); }

}  // namespace

// libc's headers give parameters names that are reserved to them.
// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
extern "C" {

int open(const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = Makes(flags) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (Makes(flags) && Fails("open", path)) return -1;
  return Int(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
int openat(int directory, const char* path, int flags, ...) {
  va_list rest;
  va_start(rest, flags);
  mode_t mode = Makes(flags) ? va_arg(rest, mode_t) : 0;
  va_end(rest);
  if (Makes(flags) && Fails("openat", directory, path)) return -1;
  return Int(syscall(SYS_openat, directory, path, flags, mode));
}
ssize_t write(int fd, const void* data, size_t size) {
  if (Fails("write", fd)) return -1;
  return syscall(SYS_write, fd, data, size);
}
ssize_t writev(int fd, const iovec* pieces, int count) {
  if (Fails("writev", fd)) return -1;
  return syscall(SYS_writev, fd, pieces, count);
}
ssize_t pwrite64(int fd, const void* data, size_t size, off64_t at) {
  if (Fails("pwrite", fd)) return -1;
  return syscall(SYS_pwrite64, fd, data, size, at);
}
ssize_t copy_file_range(int from, off64_t* from_at, int to, off64_t* to_at, size_t size, unsigned flags) {
  if (Fails("copy_file_range", to)) return -1;
  return syscall(SYS_copy_file_range, from, from_at, to, to_at, size, flags);
}
int ftruncate64(int fd, off64_t size) {
  if (Fails("ftruncate", fd)) return -1;
  return Int(syscall(SYS_ftruncate, fd, size));
}
int fsync(int fd) {
  if (Fails("fsync", fd)) return -1;
  return Int(syscall(SYS_fsync, fd));
}
int fdatasync(int fd) {
  if (Fails("fdatasync", fd)) return -1;
  return Int(syscall(SYS_fdatasync, fd));
}
int rename(const char* from, const char* to) {
  if (Fails("rename", to)) return -1;
  return Int(syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to));
}
int renameat(int from_directory, const char* from, int to_directory, const char* to) {
  if (Fails("renameat", to_directory, to)) return -1;
  return Int(syscall(SYS_renameat, from_directory, from, to_directory, to));
}
int link(const char* from, const char* to) {
  if (Fails("link", to)) return -1;
  return Int(syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0));
}
int linkat(int from_directory, const char* from, int to_directory, const char* to, int flags) {
  if (Fails("linkat", to_directory, to)) return -1;
  return Int(syscall(SYS_linkat, from_directory, from, to_directory, to, flags));
}
int symlink(const char* target, const char* path) {
  if (Fails("symlink", path)) return -1;
  return Int(syscall(SYS_symlinkat, target, AT_FDCWD, path));
}
int symlinkat(const char* target, int directory, const char* path) {
  if (Fails("symlinkat", directory, path)) return -1;
  return Int(syscall(SYS_symlinkat, target, directory, path));
}
int mkdir(const char* path, mode_t mode) {
  if (Fails("mkdir", path)) return -1;
  return Int(syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}
int mkdirat(int directory, const char* path, mode_t mode) {
  if (Fails("mkdirat", directory, path)) return -1;
  return Int(syscall(SYS_mkdirat, directory, path, mode));
}
int mknodat(int directory, const char* path, mode_t mode, dev_t device) {
  if (Fails("mknodat", directory, path)) return -1;
  // The kernel's form of a device number is that of libc up to 4095:255, which is far more than tests make.
  return Int(syscall(SYS_mknodat, directory, path, mode, static_cast<unsigned>(device)));
}
int fchmod(int fd, mode_t mode) {
  if (Fails("fchmod", fd)) return -1;
  return Int(syscall(SYS_fchmod, fd, mode));
}
int chmod(const char* path, mode_t mode) {
  if (Fails("chmod", path)) return -1;
  return Int(syscall(SYS_fchmodat, AT_FDCWD, path, mode));
}
int fchown(int fd, uid_t user, gid_t group) {
  if (Fails("fchown", fd)) return -1;
  return Int(syscall(SYS_fchown, fd, user, group));
}
int fchownat(int directory, const char* path, uid_t user, gid_t group, int flags) {
  if (Fails("fchownat", directory, path)) return -1;
  return Int(syscall(SYS_fchownat, directory, path, user, group, flags));
}
int futimens(int fd, const timespec times[2]) {
  if (Fails("futimens", fd)) return -1;
  return Int(syscall(SYS_utimensat, fd, nullptr, times, 0));
}
int utimensat(int directory, const char* path, const timespec times[2], int flags) {
  if (Fails("utimensat", directory, path)) return -1;
  return Int(syscall(SYS_utimensat, directory, path, times, flags));
}
int fsetxattr(int fd, const char* name, const void* value, size_t size, int flags) {
  if (Fails("fsetxattr", fd)) return -1;
  return Int(syscall(SYS_fsetxattr, fd, name, value, size, flags));
}
int setxattr(const char* path, const char* name, const void* value, size_t size, int flags) {
  if (Fails("setxattr", path)) return -1;
  return Int(syscall(SYS_setxattr, path, name, value, size, flags));
}
int lsetxattr(const char* path, const char* name, const void* value, size_t size, int flags) {
  if (Fails("lsetxattr", path)) return -1;
  return Int(syscall(SYS_lsetxattr, path, name, value, size, flags));
}
int unlink(const char* path) {
  if (FailsToRemove("unlink", AT_FDCWD, path)) return -1;
  return Int(syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}
int unlinkat(int directory, const char* path, int flags) {
  if (FailsToRemove("unlinkat", directory, path)) return -1;
  return Int(syscall(SYS_unlinkat, directory, path, flags));
}
int rmdir(const char* path) {
  if (FailsToRemove("rmdir", AT_FDCWD, path)) return -1;
  return Int(syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR));
}

}  // extern "C"
// NOLINTEND(readability-inconsistent-declaration-parameter-name)

namespace varve::sys {

FaultyCalls::FaultyCalls(const std::string& root, int fail_at, int error, Kinds kinds) {
  CHECK(!plan.active && root.size() + 2 < sizeof(plan.root));
  snprintf(plan.root, sizeof(plan.root), "%s/", root.c_str());
  plan.failed[0] = 0;
  plan.calls = 0;
  plan.fail_at = fail_at;
  plan.error = error;
  plan.removals = kinds.removals;
  plan.active = true;
}

void FaultyCalls::Stop() { plan.active = false; }
int FaultyCalls::calls() const { return plan.calls; }
std::string FaultyCalls::failed() const { return plan.failed; }

}  // namespace varve::sys
