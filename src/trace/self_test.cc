#include "trace/self_test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/metric.h"
#include "base/strings.h"
#include "sys/namespace.h"
#include "sys/overlay.h"
#include "sys/tempdir.h"
#include "trace/traced_layers.h"

namespace varve::trace {

namespace {

using tree::kAbsent;
using tree::kContent;
using tree::kLink;
using tree::kList;
using tree::kStat;
using tree::kXattr;

constexpr int kVersion = 2;  // of the questions
constexpr int kPatienceMs = 5000;

enum class Ask { kStat, kRead, kMap, kExecute, kList, kReadLink, kXattr, kCopyUp };

struct Case {
  Ask ask;
  const char* path;
  uint8_t facets;    // to be noted
  const char* what;  // for people: "… was not noted"
};
// In this order: what the kernel learnt by one must not answer a later one.
constexpr Case kCases[] = {
    {Ask::kStat, "stat", kStat, "a look-up"},
    {Ask::kStat, "none", kAbsent, "a look-up of what is not there"},
    {Ask::kStat, "dir/none", kAbsent, "a look-up of what is not there"},
    {Ask::kList, "dir", kStat | kList, "a listing"},
    {Ask::kStat, "dir/listed", kStat, "a look-up after a listing"},
    {Ask::kReadLink, "link", kLink, "the reading of a link"},
    {Ask::kStat, "read", kStat, "a look-up"},
    {Ask::kRead, "read", kStat | kContent, "a read"},
    {Ask::kMap, "mapped", kStat | kContent, "a read of mapped memory"},
    {Ask::kExecute, "tool", kStat | kContent, "an execution"},
    {Ask::kCopyUp, "copied", kStat | kContent, "the read of a copy-up"},
    {Ask::kXattr, "marked", kXattr, "a read of an extended attribute"},
};
constexpr size_t kCount = std::size(kCases);

// In a child of a process with threads: system calls only, nothing that may take a lock.
bool Do(Ask ask, const char* path) {
  char buffer[4096];
  struct stat st;
  switch (ask) {
    case Ask::kStat:
      return fstatat(AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno == ENOENT;
    case Ask::kReadLink:
      return readlink(path, buffer, sizeof(buffer)) > 0;
    case Ask::kXattr:
      return getxattr(path, "user.varve", buffer, sizeof(buffer)) > 0;
    case Ask::kCopyUp:
      return chmod(path, 0600) == 0;
    case Ask::kExecute: {
      char* const none[] = {nullptr};
      execve(path, none, none);
      return errno == ENOEXEC;  // the kernel has read it, and it is no program
    }
    default:
      break;
  }
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  bool done = false;
  if (ask == Ask::kRead) done = read(fd, buffer, sizeof(buffer)) > 0;
  if (ask == Ask::kList) done = syscall(SYS_getdents64, fd, buffer, sizeof(buffer)) > 0;
  if (ask == Ask::kMap) {
    void* page = mmap(nullptr, 1, PROT_READ, MAP_SHARED, fd, 0);
    done = page != MAP_FAILED && *static_cast<volatile char*>(page) == 'x';
  }
  close(fd);
  return done;
}

// Asks the questions once it is told to, since the mounts are made after the fork: the server's threads
// must not be among those that a child inherits the locks of.
class Asker {
 public:
  Asker(const std::string& merged, bool with_xattrs) {
    std::array<std::string, kCount> paths;
    for (size_t i = 0; i < kCount; ++i) paths[i] = merged + "/" + kCases[i].path;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    Fd read_end(ends[0]);
    go_ = Fd(ends[1]);
    child_ = fork();
    if (child_ != 0) return;
    close(ends[1]);
    char byte;
    if (read(ends[0], &byte, 1) != 1) _exit(1);
    for (size_t i = 0; i < kCount; ++i) {
      if (kCases[i].ask == Ask::kXattr && !with_xattrs) continue;
      if (!Do(kCases[i].ask, paths[i].c_str())) _exit(static_cast<int>(2 + i));
    }
    _exit(0);
  }
  ~Asker() {
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }

  Status Ask() {
    if (child_ < 0 || !go_) return ErrnoError(errno, "fork");
    if (write(go_.get(), "", 1) != 1) return ErrnoError(errno, "write to a pipe");
    Fd pidfd(static_cast<int>(syscall(SYS_pidfd_open, child_, 0)));
    pollfd wait{pidfd.get(), POLLIN, 0};
    if (!pidfd || poll(&wait, 1, kPatienceMs) != 1) return Internal("the kernel does not answer");
    int status = 0;
    waitpid(std::exchange(child_, -1), &status, 0);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    if (code == 0) return Ok();
    if (code < 2 || code >= static_cast<int>(2 + kCount)) return Internal("a process ended unexpectedly");
    return Internal("{} failed", kCases[code - 2].what);
  }

 private:
  Fd go_;
  pid_t child_ = -1;
};

Status MakeLayer(const std::string& layer, bool* xattrs) {
  for (const char* path : {"", "/dir"}) {
    if (mkdir((layer + path).c_str(), 0755) != 0) return ErrnoError(errno, "mkdir " + layer + path);
  }
  for (const char* name : {"stat", "dir/listed", "read", "mapped", "tool", "copied", "marked"}) {
    TRY_ASSIGN(Fd file, OpenFile(layer + "/" + name, O_WRONLY | O_CREAT | O_EXCL, 0755));
    TRY(FdWriter(file.get()).Write("x"));
  }
  if (symlink("read", (layer + "/link").c_str()) != 0) return ErrnoError(errno, "symlink");
  *xattrs = setxattr((layer + "/marked").c_str(), "user.varve", "1", 1, 0) == 0;
  return Ok();
}

// Whom the answer holds for: mounts depend on the kernel and on who asks.
Result<std::string> Identity() {
  TRY_ASSIGN(std::string boot, ReadFile("/proc/sys/kernel/random/boot_id", 100));
  return fmt::format("{} {} {} {}", kVersion, TrimSpace(boot), geteuid(), sys::InUserNamespace() ? "mapped" : "root");
}

}  // namespace

Status CheckNotes(const std::vector<tree::Question>& asked, bool with_xattrs) {
  for (const Case& wanted : kCases) {
    if (wanted.ask == Ask::kXattr && !with_xattrs) continue;
    auto noted = std::ranges::find(asked, wanted.path, &tree::Question::path);
    if (noted == asked.end() || (noted->facets & wanted.facets) != wanted.facets) {
      return Internal("this kernel does not tell of {} (\"{}\")", wanted.what, wanted.path);
    }
  }
  return Ok();
}

Status TestKernel(const std::string& scratch) {
  METRIC("trace.test_kernel");
  TRY_ASSIGN(auto directory, sys::TempDir::Create(scratch, "trace-test-"));
  const std::string& at = directory.path();
  bool xattrs = false;
  TRY(MakeLayer(at + "/layer", &xattrs));
  for (const char* name : {"/base", "/fuse", "/upper", "/work", "/merged"}) {
    if (mkdir((at + name).c_str(), 0755) != 0) return ErrnoError(errno, "mkdir " + at + name);
  }
  Asker asker(at + "/merged", xattrs);
  auto traced = TracedLayers::Mount({{at + "/layer", xattrs}}, at + "/fuse");
  if (!traced) return Invalid("{}", traced.error().message);
  sys::OverlaySpec spec{.lowers = {(*traced)->Directory(0), at + "/base"},
                        .upper = at + "/upper",
                        .work = at + "/work",
                        .volatile_upper = true,
                        .user_xattrs = sys::InUserNamespace(),
                        .xino = true};
  auto merged = sys::MountOverlay(spec, at + "/merged");
  if (!merged) return Invalid("{}", merged.error().message);
  TRY(asker.Ask());
  TRY(merged->Unmount());
  TRY_ASSIGN(Asked asked, (*traced)->Finish());
  return CheckNotes(asked[0], xattrs);
}

Status KernelIsTested(const std::string& root, const std::string& scratch) {
  static Guarded<std::map<std::string, Status>> known;
  auto answers = known.Lock();
  if (auto found = answers->find(root); found != answers->end()) return found->second;
  const std::string file = root + "/trace-test";
  auto identity = Identity();
  if (!identity) return Error(identity.error());
  std::string answer;
  if (auto kept = ReadFile(file, 4096); kept && kept->starts_with(*identity + "\n")) {
    answer = TrimSpace(kept->substr(identity->size() + 1));
  } else {
    Status tested = TestKernel(scratch);
    // Why it cannot be mounted may be gone tomorrow, and costs nothing to find out again.
    if (!tested && tested.error().code != Code::kInternal) return answers->emplace(root, tested).first->second;
    answer = tested ? "ok" : tested.error().message;
    if (Status written = WriteFileAtomically(file, *identity + "\n" + answer + "\n", 0600); !written) return written;
  }
  return answers->emplace(root, answer == "ok" ? Ok() : Status(Internal("{}", answer))).first->second;
}

}  // namespace varve::trace
