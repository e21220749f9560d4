#include "source/git_command.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "base/hex.h"
#include "base/percent.h"
#include "base/strings.h"
#include "graph/source_url.h"
#include "sys/process.h"

namespace varve::source {
namespace {

// What git and what it starts (ssh, libcurl) may know of this process. HOME is not among them:
// ~/.gitconfig could name helpers to run, ~/.netrc credentials that nobody meant to give.
constexpr std::string_view kInherited[] = {
    "PATH",     "TMPDIR",   "http_proxy",    "HTTPS_PROXY",  "https_proxy",    "ALL_PROXY",     "all_proxy",
    "NO_PROXY", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH"};

constexpr std::pair<std::string_view, std::string_view> kSettings[] = {
    {"core.hooksPath", "/dev/null"},
    {"core.fsmonitor", "false"},
    {"core.askPass", ""},
    {"credential.helper", ""},
    {"init.defaultBranch", "main"},
    {"advice.detachedHead", "false"},
    {"fetch.recurseSubmodules", "false"},
    // A collection in the background would outlive the lock on the mirror.
    {"gc.autoDetach", "false"},
    // Without these a silent host holds a build for ever: 30 s below 1 kB/s ends the transfer.
    {"http.lowSpeedLimit", "1000"},
    {"http.lowSpeedTime", "30"},
};

struct Symptom {
  std::string_view text;  // in git's stderr, in lower case, under LC_ALL=C
  Code code;
  std::string_view meaning;
  std::string_view hint;
};

// In order: the first that is found counts. Messages of git 2.30 to 2.47, curl and OpenSSH.
constexpr std::string_view kCredentialHint =
    "for https pass a token: --secret id=GIT_AUTH_TOKEN,env=NAME; for ssh an agent: --ssh default";
constexpr Symptom kSymptoms[] = {
    {"host key verification failed", Code::kInvalid, "the ssh host key is not known",
     "add the host to known_hosts, after checking its key"},
    {"authentication failed", Code::kInvalid, "needs authentication", kCredentialHint},
    {"could not read username", Code::kInvalid, "needs authentication", kCredentialHint},
    {"could not read password", Code::kInvalid, "needs authentication", kCredentialHint},
    {"terminal prompts disabled", Code::kInvalid, "needs authentication", kCredentialHint},
    {"permission denied (", Code::kInvalid, "needs authentication", kCredentialHint},
    {"returned error: 401", Code::kInvalid, "needs authentication", kCredentialHint},
    {"returned error: 403", Code::kInvalid, "needs authentication", kCredentialHint},
    {"could not resolve host", Code::kUnavailable, "the host is unknown", "check name and network"},
    {"unable to look up", Code::kUnavailable, "the host is unknown", "check name and network"},
    {"connection refused", Code::kUnavailable, "the host refuses connections", "try again later"},
    {"connection timed out", Code::kUnavailable, "the host does not answer", "try again later"},
    {"operation timed out", Code::kUnavailable, "the host does not answer", "try again later"},
    {"operation too slow", Code::kUnavailable, "the host does not answer", "try again later"},
    {"connection reset", Code::kUnavailable, "the connection was lost", "try again later"},
    {"connection closed by", Code::kUnavailable, "the connection was lost", "try again later"},
    {"failed to connect", Code::kUnavailable, "the host does not answer", "check name and network"},
    {"couldn't connect", Code::kUnavailable, "the host does not answer", "check name and network"},
    {"unable to connect", Code::kUnavailable, "the host does not answer", "check name and network"},
    {"network is unreachable", Code::kUnavailable, "the host cannot be reached", "check the network"},
    {"no route to host", Code::kUnavailable, "the host cannot be reached", "check the network"},
    {"returned error: 429", Code::kUnavailable, "the host limits requests", "try again later"},
    {"returned error: 5", Code::kUnavailable, "the host failed", "try again later"},
    {"rpc failed", Code::kUnavailable, "the connection was lost", "try again later"},
    {"early eof", Code::kUnavailable, "the connection was lost", "try again later"},
    {"' not allowed", Code::kInvalid, "a protocol that is not permitted",
     "remotes and submodules may use https, http, ssh and git"},
    {"repository not found", Code::kNotFound, "not found",
     "check the URL; some hosts also answer so when credentials are missing"},
    {"returned error: 404", Code::kNotFound, "not found",
     "check the URL; some hosts also answer so when credentials are missing"},
    {"does not appear to be a git repository", Code::kNotFound, "not found", "check the URL"},
    {"/info/refs not found", Code::kNotFound, "not found", "check the URL"},
    {"' not found", Code::kNotFound, "not found",
     "check the URL; some hosts also answer so when credentials are missing"},
    {"no space left on device", Code::kResource, "no space on the disk", "free some space"},
    {"disk quota exceeded", Code::kResource, "the disk quota is used up", "free some space"},
};

// The last lines that say something: git's "fatal:" and what led to it.
std::string Tail(std::string_view text) {
  constexpr size_t kLines = 4;
  std::vector<std::string> kept;
  for (const std::string& line : Split(text, '\n')) {
    // A progress meter rewrites its line with \r; only the last state is worth showing.
    const size_t cr = line.find_last_of('\r', line.size() < 2 ? 0 : line.size() - 2);
    const std::string shown(TrimSpace(cr == std::string::npos ? line : line.substr(cr)));
    if (shown.empty() || shown.find('%') != std::string::npos) continue;
    if (kept.size() == kLines) kept.erase(kept.begin());
    kept.push_back(shown);
  }
  return Join(kept, "; ");
}

bool HasControlCharacter(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; });
}

}  // namespace

Result<GitCommand> GitCommand::Create(std::string remote, GitAccess access, GitProgress progress,
                                      std::stop_token stop) {
  GitCommand git;
  if (access.allow_local && remote.starts_with("file:///")) {
    git.scheme_ = "file";
    git.host_ = remote;
  } else {
    TRY_ASSIGN(graph::GitRemote parts, graph::CheckGitRemote(remote));
    git.scheme_ = std::move(parts.scheme);
    git.host_ = std::move(parts.host);
    if (git.scheme_.starts_with("http")) {
      git.authority_ = git.scheme_ + "://" + git.host_ + "/";
      if (!parts.user.empty()) git.user_ = parts.user + "@";
      // As a header: in an argument everybody on the machine could read it, and git writes URLs to files. What was
      // given as a secret wins.
      if (const std::string plain = graph::WithoutPassword(remote); plain != remote) {
        if (access.token.empty() && access.header.empty()) {
          access.header = "Basic " + Base64Encode(PercentDecode(parts.user));
        }
        git.secrets_.push_back(PercentDecode(parts.user.substr(parts.user.find(':') + 1)));
        remote = plain;
      }
    }
  }
  access.token = TrimSpace(access.token);
  access.header = TrimSpace(access.header);
  if (HasControlCharacter(access.token) || HasControlCharacter(access.header)) {
    Error error = Invalid("the git credentials for {} hold a control character", git.host_);
    error.hint = "the secret must be one line";
    return error;
  }
  for (const std::string& secret : {access.token, access.header}) {
    if (!secret.empty()) git.secrets_.push_back(secret);
  }
  if (!access.token.empty()) git.secrets_.push_back(Base64Encode("x-access-token:" + access.token));
  std::ranges::sort(git.secrets_, std::ranges::greater{}, &std::string::size);
  git.remote_ = std::move(remote);
  git.access_ = std::move(access);
  git.progress_ = std::move(progress);
  git.stop_ = std::move(stop);
  return git;
}

std::map<std::string, std::string> GitCommand::Environment(bool local) const {
  std::map<std::string, std::string> env;
  for (std::string_view name : kInherited) {
    if (const char* value = std::getenv(std::string(name).c_str())) env[std::string(name)] = value;
  }
  env["HOME"] = "/dev/null";
  env["LC_ALL"] = "C";
  env["GIT_CONFIG_NOSYSTEM"] = "1";
  env["GIT_CONFIG_GLOBAL"] = "/dev/null";
  env["GIT_TERMINAL_PROMPT"] = "0";
  env["GIT_ASKPASS"] = "/bin/false";
  env["SSH_ASKPASS"] = "/bin/false";
  env["GIT_LFS_SKIP_SMUDGE"] = "1";
  // The list wins over every protocol.*.allow that any configuration holds, and submodules inherit
  // it.
  env["GIT_ALLOW_PROTOCOL"] = local ? "file" : access_.allow_local ? "https:http:ssh:git:file" : "https:http:ssh:git";

  std::vector<std::pair<std::string, std::string>> settings(std::begin(kSettings), std::end(kSettings));
  if (!local && !authority_.empty()) {
    // Bound to the host: a submodule elsewhere must not be sent the credentials.
    if (!access_.header.empty()) {
      settings.emplace_back("http." + authority_ + ".extraHeader", "Authorization: " + access_.header);
    } else if (!access_.token.empty()) {
      settings.emplace_back("http." + authority_ + ".extraHeader",
                            "Authorization: Basic " + Base64Encode("x-access-token:" + access_.token));
    }
  }
  for (size_t i = 0; i < settings.size(); ++i) {
    env[fmt::format("GIT_CONFIG_KEY_{}", i)] = settings[i].first;
    env[fmt::format("GIT_CONFIG_VALUE_{}", i)] = settings[i].second;
  }
  env["GIT_CONFIG_COUNT"] = std::to_string(settings.size());

  if (!local) {
    // git hands this text to a shell, so a path in it is quoted. Without an agent no key is
    // offered: what lies in ~/.ssh was not given to the build.
    std::string ssh =
        "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes "
        "-o ConnectTimeout=20 -o ForwardAgent=no -o IdentityFile=none";
    if (!access_.known_hosts.empty()) {
      ssh += " -o 'UserKnownHostsFile=" + ReplaceAll(access_.known_hosts, "'", "'\\''") + "'";
    }
    if (access_.ssh_auth_sock.empty()) {
      ssh += " -o IdentityAgent=none";
    } else {
      env["SSH_AUTH_SOCK"] = access_.ssh_auth_sock;
    }
    env["GIT_SSH_COMMAND"] = std::move(ssh);
    env["GIT_SSH_VARIANT"] = "ssh";
  }
  return env;
}

std::string GitCommand::Mask(std::string text) const {
  for (const std::string& secret : secrets_) text = ReplaceAll(text, secret, "***");
  if (!user_.empty()) text = ReplaceAll(text, user_, "***@");
  return text;
}

Error GitCommand::Explain(std::string_view verb, int status, std::string text) const {
  const std::string lower = ToLower(text);
  const std::string tail = Mask(Tail(text));
  for (const Symptom& symptom : kSymptoms) {
    if (lower.find(symptom.text) == std::string::npos) continue;
    Error error = MakeError(symptom.code, "git repository {}: {} ({})", Mask(remote_), symptom.meaning, tail);
    error.hint = symptom.hint;
    return error;
  }
  return MakeError(Code::kExec, "git {} failed for {} with status {}{}{}", verb, Mask(remote_), status,
                   tail.empty() ? "" : ": ", tail);
}

Result<std::string> GitCommand::Start(const std::vector<std::string>& arguments,
                                      const std::map<std::string, std::string>& environment,
                                      const std::string& directory) const {
  sys::SpawnSpec spec;
  spec.cwd = directory;
  spec.argv = {"git"};
  spec.argv.insert(spec.argv.end(), arguments.begin(), arguments.end());
  spec.env.emplace();
  for (const auto& [name, value] : environment) spec.env->push_back(name + "=" + value);
  // No controlling terminal: ssh opens /dev/tty by itself to ask.
  spec.new_session = true;

  constexpr size_t kKeptErrors = 64 << 10;
  std::string out, errors, line;
  auto on_output = [&](sys::Stream stream, std::string_view chunk) {
    if (stream == sys::Stream::kStdout) {
      out += chunk;
      return;
    }
    errors += chunk;
    if (errors.size() > 2 * kKeptErrors) errors.erase(0, errors.size() - kKeptErrors);
    if (!progress_) return;
    for (char c : chunk) {
      if (c != '\n' && c != '\r') {
        line += c;
      } else if (!line.empty()) {
        progress_(Mask(std::exchange(line, {})));
      }
    }
  };
  auto status = sys::RunProcess(std::move(spec), on_output, stop_);
  if (!status) {
    Error error = std::move(status).error();
    if (error.code == Code::kNotFound) {
      error.message = "the program git is not installed";
      error.hint = "install the package git: git sources need it";
    }
    return error;
  }
  if (progress_ && !line.empty()) progress_(Mask(line));
  if (!status->ok()) {
    const auto verb = std::ranges::find_if(arguments, [](const std::string& word) { return !word.starts_with('-'); });
    return Explain(verb == arguments.end() ? "" : *verb, status->code, std::move(errors));
  }
  return out;
}

Result<std::string> GitCommand::Run(const std::vector<std::string>& arguments, const std::string& directory) const {
  return Start(arguments, Environment(false), directory);
}

Result<std::string> GitCommand::RunLocal(const std::vector<std::string>& arguments,
                                         const std::map<std::string, std::string>& environment) const {
  std::map<std::string, std::string> env = Environment(true);
  for (const auto& [name, value] : environment) env[name] = value;
  return Start(arguments, env, "");
}

}  // namespace varve::source
