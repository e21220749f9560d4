#include "job/ssh_agents.h"

#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>

namespace varve::job {

namespace {

bool IsSocket(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode);
}

}  // namespace

Result<std::unique_ptr<SshAgents>> StartSshAgents(const std::vector<SshFlag>& flags, const sys::LazyTempDir& scratch) {
  auto out = std::make_unique<SshAgents>();
  for (const SshFlag& flag : flags) {
    std::string given = flag.paths.empty() ? "" : flag.paths[0];
    if (given.empty()) {
      const char* agent = std::getenv("SSH_AUTH_SOCK");
      if (agent == nullptr || *agent == '\0') {
        Error error = Invalid("--ssh {} needs an agent, but SSH_AUTH_SOCK is not set", flag.id);
        error.hint = fmt::format("start one (eval $(ssh-agent)), or pass keys: --ssh {}=KEYFILE", flag.id);
        return error;
      }
      given = agent;
    }
    if (IsSocket(given)) {
      if (flag.paths.size() > 1) return Invalid("--ssh {}: only one socket can be given", flag.id);
      out->agents_.push_back({flag.id, given});
      continue;
    }
    TRY_ASSIGN(std::string directory, scratch.Path());
    std::string socket = fmt::format("{}/ssh-agent-{}", directory, out->agents_.size());
    auto child = sys::Spawn({.argv = {"ssh-agent", "-D", "-a", socket}});
    if (!child) return Error(std::move(child).error()).With("--ssh with keys needs ssh-agent");
    out->children_.push_back(std::move(*child));
    for (int i = 0; i < 200 && !IsSocket(socket); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    for (const std::string& key : flag.paths) {
      auto added = sys::RunAndRead({.argv = {"env", "SSH_AUTH_SOCK=" + socket, "ssh-add", "-q", key}});
      if (!added) return Error(std::move(added).error()).With(fmt::format("--ssh {}: key {}", flag.id, key));
    }
    out->agents_.push_back({flag.id, socket});
  }
  return out;
}

}  // namespace varve::job
