#include <sys/random.h>

#include <CLI/CLI.hpp>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <mutex>

#include "base/fd.h"
#include "base/hex.h"
#include "base/strings.h"
#include "cli/commands.h"
#include "gha_server/cache_service.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/stop_signals.h"
#include "net/url.h"

namespace varve::cli {

namespace {

using namespace gha_server;

std::string DefaultFolder() {
  const char* cache = std::getenv("XDG_CACHE_HOME");
  if (cache != nullptr && *cache == '/') return std::string(cache) + "/varve-cache-server";
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "/var") + "/.cache/varve-cache-server";
}

// What signs this folder's tokens and addresses; made by whoever comes first.
Result<std::string> SecretOf(const std::string& folder) {
  std::string path = folder + "/secret";
  auto secret = ReadFile(path, 4096);
  if (secret && secret->size() >= 64) return secret;
  if (!secret && secret.error().code != Code::kNotFound) return secret;
  char bytes[32];
  if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) return ErrnoError(errno, "getrandom");
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return ErrnoError(error.value(), "create " + folder);
  TRY(WriteFileAtomically(path, HexEncode({bytes, sizeof(bytes)}) + "\n", 0600, true));
  return ReadFile(path, 4096);
}

Result<std::chrono::seconds> ParseLife(const std::string& flag, const std::string& text) {
  auto life = ParseGoDuration(text);
  if (!life || life->count() < 1'000'000'000) {
    Error error = Invalid("{} {} is not a duration of at least a second", flag, text);
    error.hint = "write it as 90s, 10m or 6h";
    return error;
  }
  return std::chrono::duration_cast<std::chrono::seconds>(*life);
}

class CacheServerCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.add_option("--addr", address_, "Listen on HOST:PORT, a numeric host; port 0 is any free one")
        ->capture_default_str();
    app.add_option("--dir", folder_, "Keep the entries there (default: varve-cache-server in the user's cache)");
    app.add_option("--max-size", max_size_text_, "Drop what was used longest ago beyond this")->capture_default_str();
    app.add_option("--token", tokens_, "Accept this token, too; one that is no JWT writes refs/heads/main");
    app.add_flag("--trust-any-token", trust_any_token_,
                 "Believe the scopes of any JWT, such as those that GitHub gives to jobs");
    app.add_option("--issue-token", issue_, "Print a token for REF:rw,REF:r… and leave");
    app.add_option("--expires", expires_text_, "Life of an issued token")->capture_default_str();
    app.add_option("--url", url_, "Address of this service as clients see it, for the URLs it hands out");
    app.add_option("--url-life", url_life_text_, "Life of the URLs it hands out")->capture_default_str();
    app.add_option("--uploads-per-minute", uploads_per_minute_, "Answer 429 beyond; 0 is no limit")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_option("--lookups-per-minute", lookups_per_minute_, "Answer 429 beyond; 0 is no limit")
        ->check(CLI::NonNegativeNumber)
        ->capture_default_str();
    app.add_flag("--log", log_, "Print each request");
  }

  Status Check() override {
    if (folder_.empty()) folder_ = DefaultFolder();
    TRY_ASSIGN(max_size_, ParseRamBytes(max_size_text_));
    TRY_ASSIGN(expires_, ParseLife("--expires", expires_text_));
    TRY_ASSIGN(url_life_, ParseLife("--url-life", url_life_text_));
    if (!issue_.empty()) {
      TRY_ASSIGN(scopes_, ParseScopes(issue_));
    }
    if (!url_.empty()) {
      TRY_ASSIGN(net::Url url, net::ParseUrl(url_));
      url_ = url.Origin();
    }
    return Ok();
  }

  int Run(const job::GlobalFlags&) override {
    Status status = issue_.empty() ? Serve() : Issue();
    if (status) return job::kSuccess;
    job::ToStderr("error: " + status.error().ToString() + "\n");
    return job::ExitCodeOf(status.error());
  }

 private:
  Status Issue() {
    TRY_ASSIGN(std::string secret, SecretOf(folder_));
    job::ToStdout(Credentials({.secret = secret}, SystemClock()).IssueToken(scopes_, expires_) + "\n");
    return Ok();
  }

  Status Serve() {
    job::StopSignals signals;
    TRY_ASSIGN(std::string secret, SecretOf(folder_));
    Credentials credentials({.secret = secret, .tokens = tokens_, .trust_any_token = trust_any_token_}, SystemClock());
    TRY_ASSIGN(auto store, EntryStore::Open({.dir = folder_, .max_size = max_size_}, SystemClock()));
    CacheService service(*store, credentials, SystemClock(),
                         {.public_url = url_,
                          .upload_life = url_life_,
                          .download_life = url_life_,
                          .uploads_per_minute = uploads_per_minute_,
                          .lookups_per_minute = lookups_per_minute_});
    service.on_reply = [&](const HttpRequest& request, int code) {
      for (const Entry& entry : store->TakeEvicted()) {
        job::ToStdout(fmt::format("dropped {} of {}, {}\n", entry.key, entry.scope, FormatBytes(entry.size)));
      }
      if (log_) job::ToStdout(fmt::format("{} {} {}\n", request.method, request.path, code));
    };
    TRY_ASSIGN(auto daemon,
               HttpDaemon::Start(address_, [&](HttpRequest request) { return service.Accept(std::move(request)); }));
    std::string base = url_.empty() ? "http://" + daemon->Address() : url_;
    job::ToStdout(fmt::format(
        "varve cache-server: {} of {} used in {}\n"
        "listening on http://{}\n"
        "  export ACTIONS_CACHE_URL={}/ ACTIONS_RESULTS_URL={}/ ACTIONS_CACHE_SERVICE_V2=1\n"
        "  export ACTIONS_RUNTIME_TOKEN=$(varve cache-server --dir {} "
        "--issue-token refs/heads/main:rw)\n",
        FormatBytes(store->size()), FormatBytes(store->max_size()), folder_, daemon->Address(), base, base, folder_));
    std::mutex mutex;
    std::condition_variable_any stopped;
    std::unique_lock lock(mutex);
    stopped.wait(lock, signals.token(), [] { return false; });
    return Ok();
  }

  std::string address_ = "127.0.0.1:8377", folder_, url_, issue_;
  std::string max_size_text_ = "10GB", expires_text_ = "6h", url_life_text_ = "1h";
  std::vector<std::string> tokens_;
  std::vector<Scope> scopes_;
  uint64_t max_size_ = 0;
  std::chrono::seconds expires_{}, url_life_{};
  int uploads_per_minute_ = 0, lookups_per_minute_ = 0;
  bool trust_any_token_ = false, log_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeCacheServerCommand() { return std::make_unique<CacheServerCommand>(); }

}  // namespace varve::cli
