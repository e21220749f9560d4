#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

#include "base/fd.h"
#include "base/strings.h"
#include "registry/credentials.h"

namespace varve::registry {

namespace {

constexpr auto kTimeLimit = std::chrono::seconds(60);  // some ask a person, or a slow key store
constexpr size_t kMaxOutput = 1 << 20;

struct Finished {
  int exit_status = 0;
  std::string output;
};

Result<Fd> InputFile(std::string_view text) {
  // A file and not a pipe: a helper that does not read its input cannot block or signal us.
  Fd file(memfd_create("credential-helper-input", MFD_CLOEXEC));
  if (!file) return ErrnoError(errno, "memfd_create");
  TRY(FdWriter(file.get()).Write(text));
  lseek(file.get(), 0, SEEK_SET);
  return file;
}

// Reads until the end, the time limit or the stop.
Status ReadOutput(int fd, const std::string& program, std::stop_token stop, std::string& out) {
  auto deadline = std::chrono::steady_clock::now() + kTimeLimit;
  while (true) {
    if (stop.stop_requested()) return Cancelled("{} was cancelled", program);
    if (std::chrono::steady_clock::now() > deadline) {
      return Invalid("{} does not answer within {} s", program, kTimeLimit.count());
    }
    pollfd poller{.fd = fd, .events = POLLIN, .revents = 0};
    if (poll(&poller, 1, 100) <= 0) continue;
    char buffer[4096];
    ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "read from " + program);
    if (n == 0) return Ok();
    out.append(buffer, static_cast<size_t>(n));
    if (out.size() > kMaxOutput) return Invalid("{} answers more than 1 MiB", program);
  }
}

Result<Finished> Run(const std::string& program, std::string_view input, std::stop_token stop) {
  TRY_ASSIGN(Fd in, InputFile(input));
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) != 0) return ErrnoError(errno, "pipe");
  Fd out_read(pipe_fds[0]), out_write(pipe_fds[1]);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.get(), STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out_write.get(), STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  // Signals that this process ignores or blocks are not the helper's business.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::string name = program, verb = "get";
  char* const argv[] = {name.data(), verb.data(), nullptr};
  pid_t pid = -1;
  int failure = posix_spawnp(&pid, program.c_str(), &actions, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failure != 0) {
    Error error = failure == ENOENT ? Invalid("{} is not installed", program)
                                    : Invalid("cannot run {}: {}", program, ErrnoError(failure, "spawn").message);
    error.hint = "docker's config.json names it in credsStore or credHelpers";
    return error;
  }
  out_write.Reset();
  Finished finished;
  Status read = ReadOutput(out_read.get(), program, stop, finished.output);
  if (!read) kill(pid, SIGKILL);
  while (waitpid(pid, &finished.exit_status, 0) < 0 && errno == EINTR) {
  }
  TRY(read);
  return finished;
}

}  // namespace

Result<std::optional<Credential>> AskCredentialHelper(const std::string& name, const std::string& server,
                                                      std::stop_token stop) {
  if (name.find('/') != name.npos) {
    return Invalid("docker's config.json: credential helper \"{}\" has a slash in it", name);
  }
  std::string program = "docker-credential-" + name;
  TRY_ASSIGN(Finished finished, Run(program, server + "\n", stop));
  std::string_view text = TrimSpace(finished.output);
  if (!WIFEXITED(finished.exit_status) || WEXITSTATUS(finished.exit_status) != 0) {
    // The text, not the status, tells "none" from "failed" (docker-credential-helpers, errors.go).
    if (text.find("credentials not found") != text.npos) return std::optional<Credential>();
    // What it printed is not shown: nobody knows whether a secret is in it.
    Error error = Invalid("{} fails for {}", program, server);
    error.hint = fmt::format("try it: echo {} | {} get", server, program);
    return error;
  }
  auto json = Json::Parse(text);
  if (!json || !json->is_object()) return Invalid("{} answers something else than JSON", program);
  Credential credential{.username = json->GetString("Username"), .password = json->GetString("Secret")};
  if (credential.username.empty() && credential.password.empty()) {
    return std::optional<Credential>();
  }
  if (credential.username == "<token>") {
    credential = {.identity_token = std::move(credential.password)};
  }
  return std::optional<Credential>(std::move(credential));
}

}  // namespace varve::registry
