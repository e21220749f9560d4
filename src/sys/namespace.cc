#include "sys/namespace.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <string>

#include "base/fd.h"
#include "base/strings.h"
#include "sys/open.h"

namespace varve::sys {
namespace {

// ThreadSanitizer brings one thread of its own, which opens no files.
#ifdef __SANITIZE_THREAD__
constexpr size_t kThreadsAtStart = 2;
#else
constexpr size_t kThreadsAtStart = 1;
#endif

Status RequireSingleThread(std::string_view what) {
  TRY_ASSIGN(Fd tasks, OpenDir("/proc/self/task"));
  TRY_ASSIGN(std::vector<DirEntry> threads, ListDirectory(tasks.get()));
  if (threads.size() > kThreadsAtStart) return Internal("{} after threads were started", what);
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

namespace {

struct Deferred {
  std::mutex entering;
  std::atomic<bool> on = false;
  std::atomic<ino_t> entered = 0;  // what /proc/thread-self/ns/mnt is inside
};

Deferred& TheDeferred() {
  static Deferred deferred;
  return deferred;
}

Result<ino_t> MountNamespaceOfThread() {
  struct stat st;
  if (stat("/proc/thread-self/ns/mnt", &st) != 0) return ErrnoError(errno, "/proc/thread-self/ns/mnt");
  return st.st_ino;
}

}  // namespace

void DeferPrivateMountNamespace() { TheDeferred().on = true; }

Status EnterDeferredMountNamespace() {
  Deferred& deferred = TheDeferred();
  std::lock_guard lock(deferred.entering);
  if (!deferred.on || deferred.entered != 0) return Ok();
  if (unshare(CLONE_NEWNS) != 0) return ErrnoError(errno, "enter a private mount namespace");
  TRY(MakeMountsPrivate());
  TRY_ASSIGN(deferred.entered, MountNamespaceOfThread());
  return Ok();
}

Status CheckMountNamespace() {
  const Deferred& deferred = TheDeferred();
  if (!deferred.on) return Ok();
  TRY_ASSIGN(ino_t here, MountNamespaceOfThread());
  if (here != deferred.entered) return Internal("a mount outside of the private mount namespace");
  return Ok();
}

std::vector<IdRange> ParseSubordinateIds(std::string_view text, std::string_view name, uid_t uid) {
  std::vector<IdRange> ranges;
  for (const std::string& line : Split(text, '\n')) {
    const std::vector<std::string> fields = Split(TrimSpace(line), ':');
    if (fields.size() != 3 || (fields[0] != name && fields[0] != std::to_string(uid))) continue;
    const auto first = ParseInt(fields[1]), count = ParseInt(fields[2]);
    if (!first || !count || *first < 1 || *count < 1) continue;
    ranges.push_back({static_cast<uint64_t>(*first), static_cast<uint64_t>(*count)});
  }
  return ranges;
}

namespace {

// A child that stays outside of the namespace that its parent makes, and then maps ids into it: only
// from there may newuidmap write the map, and only this program, which is setuid, may write more than
// one id.
class OutsideMapper {
 public:
  // `program` and the ranges for its arguments; nothing is started for no ranges.
  OutsideMapper(const char* program, uint64_t self, const std::vector<IdRange>& ranges) {
    if (ranges.empty()) return;
    std::vector<std::string> words = {program, std::to_string(getpid()), "0", std::to_string(self), "1"};
    uint64_t inside = 1;
    for (const IdRange& range : ranges) {
      words.push_back(std::to_string(inside));
      words.push_back(std::to_string(range.first));
      words.push_back(std::to_string(range.count));
      inside += range.count;
    }
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    int go[2];
    if (pipe2(go, O_CLOEXEC) != 0) return;
    Fd wait(go[0]);
    go_.Reset(go[1]);
    pid_ = fork();
    if (pid_ != 0) return;
    // A single-threaded process was forked: everything may be called here.
    go_.Reset();
    char byte;
    if (read(wait.get(), &byte, 1) != 1) _exit(125);
    Fd null(open("/dev/null", O_RDWR | O_CLOEXEC));
    dup2(null.get(), STDOUT_FILENO);
    dup2(null.get(), STDERR_FILENO);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  ~OutsideMapper() { Finish(); }
  OutsideMapper(const OutsideMapper&) = delete;

  // True when the map is written.
  bool Map() {
    if (pid_ <= 0 || write(go_.get(), "x", 1) != 1) return false;
    return Finish();
  }

 private:
  bool Finish() {
    go_.Reset();
    if (pid_ <= 0) return false;
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  }

  pid_t pid_ = -1;
  Fd go_;
};

std::vector<IdRange> RangesOf(const char* file, uid_t uid) {
  auto text = ReadFile(file, 16 << 20);
  if (!text) return {};
  const passwd* user = getpwuid(uid);
  return ParseSubordinateIds(*text, user != nullptr ? user->pw_name : "", uid);
}

uint64_t MappedIn(const char* file) {
  auto map = ReadFile(file);
  if (!map) return 0;
  uint64_t sum = 0;
  for (const std::string& line : Split(*map, '\n')) {
    const size_t last = line.find_last_of(" \t");
    if (auto count = last == line.npos ? std::nullopt : ParseInt(line.substr(last + 1))) {
      sum += static_cast<uint64_t>(*count);
    }
  }
  return sum;
}

}  // namespace

Status EnterUserNamespace() {
  TRY(RequireSingleThread("entering a user namespace"));
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  OutsideMapper users("newuidmap", uid, RangesOf("/etc/subuid", uid));
  OutsideMapper groups("newgidmap", gid, RangesOf("/etc/subgid", uid));
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    Error error = ErrnoError(errno, "enter a user namespace");
    error.code = Code::kInvalid;
    error.hint =
        "allow unprivileged user namespaces (sysctl user.max_user_namespaces, "
        "kernel.apparmor_restrict_unprivileged_userns), or run as root";
    return error;
  }
  if (!users.Map()) TRY(WriteProc("/proc/self/uid_map", fmt::format("0 {} 1", uid)));
  if (!groups.Map()) {
    TRY(WriteProc("/proc/self/setgroups", "deny"));
    TRY(WriteProc("/proc/self/gid_map", fmt::format("0 {} 1", gid)));
  }
  return MakeMountsPrivate();
}

uint64_t MappedIds() { return std::min(MappedIn("/proc/self/uid_map"), MappedIn("/proc/self/gid_map")); }

Error OwnerError(int error, const std::string& what, uid_t uid, gid_t gid) {
  if (error == EPERM && !HasCapability(CAP_CHOWN)) {
    Error refused = ErrnoError(error, what);
    refused.hint =
        "files of other owners need root, or a user namespace, which this system forbids (sysctl "
        "user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)";
    return refused;
  }
  if (error != EINVAL || !InUserNamespace()) return ErrnoError(error, what);
  Error mapped = Invalid("{}: the owner {}:{} does not exist in this user namespace", what, uid, gid);
  mapped.hint = MappedIds() == 1
                    ? "a rootless build without subordinate ids has user 0 alone: install the package uidmap and "
                      "give the user a range in /etc/subuid and /etc/subgid, or run varve as root"
                    : "give the user a larger range in /etc/subuid and /etc/subgid, or run varve as root";
  return mapped;
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
