#include "job/build_context.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "base/fd.h"
#include "base/rel_path.h"
#include "base/strings.h"
#include "graph/source_url.h"
#include "job/source_credentials.h"
#include "net/url.h"
#include "source/git.h"
#include "source/http.h"
#include "source/stdin_context.h"
#include "sys/open.h"
#include "tree/pattern.h"

namespace varve::job {

namespace {

constexpr uint64_t kMaxDockerfile = 16 << 20;

bool IsHttp(const std::string& text) { return text.starts_with("http://") || text.starts_with("https://"); }

bool Exists(const std::string& path) { return access(path.c_str(), F_OK) == 0; }

class Opener {
 public:
  Opener(const BuildFlags& flags, const sys::LazyTempDir& scratch, const std::string& cache_directory,
         net::HttpClient& http, policy::SourcePolicy* policy, std::stop_token stop, const BuildClient* client)
      : flags_(flags), scratch_(scratch), cache_directory_(cache_directory), http_(http), policy_(policy),
        stop_(std::move(stop)), credentials_(flags, client) {}

  Result<BuildContext> Run() {
    if (flags_.context == "-" && flags_.file == "-") {
      return Invalid("the context and the Dockerfile cannot both come from standard input");
    }
    TRY(OpenMain());
    if (!have_dockerfile_) TRY(ReadDockerfile());
    TRY(ReadIgnore());
    TRY(OpenNamed());
    return std::move(context_);
  }

 private:
  Result<std::string> TemporaryDirectory() {
    TRY_ASSIGN(std::string scratch, scratch_.Path());
    TRY_ASSIGN(auto directory, sys::TempDir::Create(scratch, "context-"));
    std::string path = directory.path();
    context_.temporary.push_back(std::move(directory));
    return path;
  }

  Status OpenMain() {
    if (flags_.context == "-") return OpenStdin();
    TRY_ASSIGN(auto git, graph::ParseGitUrl(flags_.context));
    const bool is_directory = git && git->looks_local && Exists(flags_.context);
    if (git && !is_directory) return OpenRemote(git->source);
    if (IsHttp(flags_.context)) return OpenRemote(graph::HttpSource{.url = flags_.context});
    struct stat st;
    if (stat(flags_.context.c_str(), &st) != 0) {
      return NotFound("unable to prepare context: path \"{}\" not found", flags_.context);
    }
    if (!S_ISDIR(st.st_mode)) {
      Error error = Invalid("unable to prepare context: \"{}\" is not a directory", flags_.context);
      error.hint = fmt::format("the Dockerfile is given with -f: varve build -f {} DIRECTORY", flags_.context);
      return error;
    }
    context_.directory = flags_.context;
    return Ok();
  }

  Status OpenRemote(graph::Op source) {
    if (policy_ != nullptr) {
      TRY_ASSIGN(source, policy::Evaluate(*policy_, source, oci::HostPlatform()));
    }
    if (const auto* git = std::get_if<graph::GitSource>(&source)) return OpenGit(*git);
    if (const auto* http = std::get_if<graph::HttpSource>(&source)) return OpenHttp(*http);
    return Invalid("context {}: the source policy has made it \"{}\", which cannot be a context",
                   net::Redact(flags_.context), graph::NameOfSource(source).identifier);
  }

  void UseDockerfile(std::string text, std::string name) {
    context_.dockerfile = std::move(text);
    context_.dockerfile_name = std::move(name);
    have_dockerfile_ = true;
  }

  Status OpenStdin() {
    FdReader in(STDIN_FILENO);
    TRY_ASSIGN(std::string scratch, scratch_.Path());
    TRY_ASSIGN(auto read, source::ReadStdinContext(in, scratch, {}, stop_));
    context_.directory = read.directory.path();
    context_.temporary.push_back(std::move(read.directory));
    context_.warnings = std::move(read.warnings);
    if (read.dockerfile) UseDockerfile(std::move(*read.dockerfile), "Dockerfile");
    return Ok();
  }

  Status OpenGit(const graph::GitSource& git) {
    TRY_ASSIGN(std::string work, TemporaryDirectory());
    source::GitRequest request{.source = git, .cache_directory = cache_directory_, .work_directory = work};
    TRY_ASSIGN(request.access, credentials_.Of(git));
    for (const auto& [name, value] : flags_.build_args) {
      if (name != "BUILDKIT_CONTEXT_KEEP_GIT_DIR") continue;
      request.source.keep_git_dir = request.source.keep_git_dir || ParseBool(value).value_or(false);
    }
    TRY_ASSIGN(auto checkout, source::FetchGit(request, {}, stop_));
    context_.directory = checkout.directory;
    context_.origin = git;
    context_.origin_pin = (checkout.commit.size() == 64 ? "sha256:" : "sha1:") + checkout.commit;
    return Ok();
  }

  // With the credentials that were given for the host.
  Result<net::Request> RequestOf(const std::string& url) const {
    net::Request request{.url = url};
    TRY_ASSIGN(std::string authorization, credentials_.Of(graph::HttpSource{.url = url}));
    if (!authorization.empty()) request.headers.emplace_back("Authorization", authorization);
    return request;
  }

  // An archive is the context, anything else a Dockerfile (reference cli.md §2.2).
  Status OpenHttp(const graph::HttpSource& source) {
    TRY_ASSIGN(std::string work, TemporaryDirectory());
    std::string file = work + "/download";
    TRY_ASSIGN(Fd fd, OpenFile(file, O_RDWR | O_CREAT | O_EXCL, 0600));
    FdWriter writer(fd.get());
    auto sink = [&](const net::Response& r) -> Result<Writer*> { return r.status == 200 ? &writer : nullptr; };
    TRY_ASSIGN(auto request, RequestOf(source.url));
    TRY_ASSIGN(auto response, http_.Send(request, sink, stop_));
    if (response.status != 200) {
      Error error = Invalid("context {}: the server answered {}", net::Redact(source.url), response.status);
      if (response.status >= 500) error.code = Code::kUnavailable;
      if (response.status == 401 || response.status == 403) error.hint = source::kHttpAuthHint;
      return error;
    }
    if (lseek(fd.get(), 0, SEEK_SET) != 0) return ErrnoError(errno, "seek");
    FdReader in(fd.get());
    const Checksum wanted = source.checksum.value_or(Digest::Of(""));
    TRY_ASSIGN(Checksum is, wanted.Of(in));
    if (source.checksum && is != wanted) {
      return Invalid("context {}: digest mismatch {}: {}", net::Redact(source.url), is.ToString(), wanted.ToString());
    }
    context_.origin_pin = is.ToString();
    if (lseek(fd.get(), 0, SEEK_SET) != 0) return ErrnoError(errno, "seek");
    TRY_ASSIGN(std::string scratch, scratch_.Path());
    TRY_ASSIGN(auto read, source::ReadStdinContext(in, scratch, {}, stop_));
    context_.directory = read.directory.path();
    context_.temporary.push_back(std::move(read.directory));
    context_.origin = source;
    if (read.dockerfile) UseDockerfile(std::move(*read.dockerfile), "Dockerfile");
    return Ok();
  }

  Status ReadDockerfile() {
    if (flags_.dockerfile_text) {
      UseDockerfile(*flags_.dockerfile_text, "dockerfile_inline");
      return Ok();
    }
    if (flags_.file == "-") {
      FdReader in(STDIN_FILENO);
      TRY_ASSIGN(std::string text, ReadAll(in, kMaxDockerfile));
      UseDockerfile(std::move(text), "-");
      return Ok();
    }
    if (IsHttp(flags_.file)) {
      TRY_ASSIGN(auto request, RequestOf(flags_.file));
      TRY_ASSIGN(auto reply, http_.Fetch(request, kMaxDockerfile, stop_));
      if (reply.head.status != 200) {
        return NotFound("Dockerfile {}: the server answered {}", flags_.file, reply.head.status);
      }
      UseDockerfile(std::move(reply.body), flags_.file);
      return Ok();
    }
    bool remote = !context_.temporary.empty();
    std::vector<std::string> candidates;
    if (flags_.file.empty()) {
      candidates = {context_.directory + "/Dockerfile", context_.directory + "/dockerfile"};
    } else if (remote) {
      candidates = {context_.directory + "/" + RelPath(flags_.file).str()};
    } else {
      // As written, from where the user stands; or inside of the context.
      candidates = {flags_.file, context_.directory + "/" + flags_.file};
    }
    for (const std::string& path : candidates) {
      struct stat st;
      if (stat(path.c_str(), &st) != 0) continue;
      if (S_ISDIR(st.st_mode)) return Invalid("Dockerfile {} is a directory", path);
      TRY_ASSIGN(std::string text, ReadFile(path, kMaxDockerfile));
      dockerfile_path_ = path;
      std::string name = flags_.file.empty() ? path.substr(path.rfind('/') + 1) : flags_.file;
      UseDockerfile(std::move(text), std::move(name));
      return Ok();
    }
    std::string wanted = flags_.file.empty() ? "Dockerfile" : flags_.file;
    Error error = NotFound("failed to read dockerfile: open {}: no such file or directory", wanted);
    error.hint = flags_.file.empty()
                     ? fmt::format("there is no Dockerfile in {}; name one with -f FILE", flags_.context)
                 : remote ? "the path of -f is one of the context, which is an archive or a repository"
                          : "the path of -f is relative to the current directory";
    return error;
  }

  // The Dockerfile's own ignore file wins over the context's (reference dockerfile.md §7).
  // Of directories only: what comes from git, a URL or standard input is taken whole, as in the
  // reference.
  Status ReadIgnore() {
    if (!context_.temporary.empty()) return Ok();
    std::vector<std::string> candidates;
    if (!dockerfile_path_.empty()) candidates.push_back(dockerfile_path_ + ".dockerignore");
    candidates.push_back(context_.directory + "/.dockerignore");
    for (const std::string& path : candidates) {
      if (!Exists(path)) continue;
      TRY_ASSIGN(std::string text, ReadFile(path, kMaxDockerfile));
      auto patterns = tree::ReadIgnoreFile(text);
      if (!patterns) return Error(std::move(patterns).error()).With(path);
      context_.ignore = std::move(*patterns);
      context_.ignore_file = path.substr(path.rfind('/') + 1);
      return Ok();
    }
    return Ok();
  }

  Status OpenNamed() {
    for (const auto& [name, value] : flags_.build_contexts) {
      bool other = value.find("://") != value.npos || value.starts_with("target:");
      TRY_ASSIGN(auto git, graph::ParseGitUrl(value));
      if (other || (git && !git->looks_local)) continue;
      std::string directory = value.starts_with("local:") ? value.substr(6) : value;
      struct stat st;
      if (stat(directory.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) {
        return NotFound("named context \"{}\": directory \"{}\" not found", name, directory);
      }
      context_.named_directories[name] = directory;
      std::string ignore = directory + "/.dockerignore";
      if (!Exists(ignore)) continue;
      TRY_ASSIGN(std::string text, ReadFile(ignore, kMaxDockerfile));
      TRY_ASSIGN(context_.named_ignore[name], tree::ReadIgnoreFile(text));
    }
    return Ok();
  }

  const BuildFlags& flags_;
  const sys::LazyTempDir& scratch_;
  const std::string& cache_directory_;
  net::HttpClient& http_;
  policy::SourcePolicy* const policy_;
  std::stop_token stop_;
  const SourceCredentials credentials_;
  BuildContext context_;
  std::string dockerfile_path_;
  bool have_dockerfile_ = false;
};

}  // namespace

std::map<std::string, exec::SecretSource> SecretSourcesOf(const BuildFlags& flags) {
  std::map<std::string, exec::SecretSource> sources;
  for (const SecretFlag& secret : flags.secrets) sources[secret.id] = {secret.path, secret.variable};
  return sources;
}

Result<BuildContext> OpenContext(const BuildFlags& flags, const sys::LazyTempDir& scratch,
                                 const std::string& cache_directory, net::HttpClient& http,
                                 policy::SourcePolicy* policy, std::stop_token stop, const BuildClient* client) {
  return Opener(flags, scratch, cache_directory, http, policy, std::move(stop), client).Run();
}

}  // namespace varve::job
