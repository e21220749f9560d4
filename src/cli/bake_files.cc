#include "cli/bake_files.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "base/fd.h"
#include "base/rel_path.h"
#include "base/strings.h"
#include "graph/source_url.h"
#include "job/build_context.h"
#include "job/workspace.h"
#include "sys/namespace.h"
#include "sys/open.h"

namespace varve::cli {

namespace {

constexpr uint64_t kMaxFile = 16 << 20;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::vector<std::string> NamesFromEnvironment() {
  std::string separator = Environment("BUILDX_BAKE_PATH_SEPARATOR"), text = Environment("BUILDX_BAKE_FILE");
  std::vector<std::string> names;
  for (const std::string& name : Split(text, separator.empty() ? ':' : separator[0])) {
    if (!name.empty()) names.push_back(name);
  }
  return names;
}

Result<std::string> ReadNamed(const std::string& name) {
  if (name == "-") {
    FdReader in(STDIN_FILENO);
    return ReadAll(in, kMaxFile);
  }
  auto text = ReadFile(name, kMaxFile);
  if (text) return text;
  Error error = std::move(text).error();
  error.message = fmt::format("cannot read the bake file {}: {}", name,
                              error.code == Code::kNotFound ? "there is none" : error.message);
  return error;
}

// The definition's own GIT_AUTH secrets, from the environment.
void AddGitAccess(const std::string& url, job::BuildFlags& flags) {
  size_t host_at = url.find("://");
  if (host_at == url.npos) return;
  std::string host = url.substr(host_at + 3);
  host = host.substr(0, host.find('/'));
  for (auto [variable, id] : {std::pair{"BUILDX_BAKE_GIT_AUTH_TOKEN", "GIT_AUTH_TOKEN."},
                              {"BUILDX_BAKE_GIT_AUTH_HEADER", "GIT_AUTH_HEADER."}}) {
    if (!Environment(variable).empty()) flags.secrets.push_back({.id = id + host, .path = {}, .variable = variable});
  }
}

Status Fetch(const std::string& url, const job::GlobalFlags& global, BakeFiles& out, std::stop_token stop) {
  // As a build context is fetched; the store is closed again before the build opens it.
  if (sys::CanMount()) TRY(sys::EnterPrivateMountNamespace());
  TRY_ASSIGN(auto workspace, job::Workspace::Open(global));
  job::BuildFlags flags;
  flags.context = url;
  flags.dockerfile_text = "";  // what is there is no Dockerfile
  AddGitAccess(url, flags);
  out.scratch = sys::LazyTempDir(sys::TemporaryRoot(), "varve-bake-");
  auto context = job::OpenContext(flags, out.scratch, workspace.root, workspace.registries->http(), nullptr, stop);
  if (!context) return Error(std::move(context).error()).With("remote bake definition");
  out.origin = {.url = url, .directory = context->directory};
  // A URL of one file: that file is the definition.
  if (context->dockerfile_name == "Dockerfile" && !context->dockerfile.empty()) {
    out.files.push_back({url, context->dockerfile});
  }
  for (sys::TempDir& directory : context->temporary) out.temporary.push_back(std::move(directory));
  return Ok();
}

// A file of what was fetched; links cannot lead out of it.
Result<std::optional<std::string>> ReadFetched(const std::string& directory, const std::string& name) {
  TRY_ASSIGN(Fd root, OpenFile(directory, O_PATH | O_DIRECTORY));
  auto file = sys::OpenInRoot(root.get(), RelPath(name), O_RDONLY);
  if (!file && file.error().code == Code::kNotFound) return std::optional<std::string>();
  if (!file) return Error(std::move(file).error()).With("remote bake definition");
  FdReader in(file->get());
  TRY_ASSIGN(std::string text, ReadAll(in, kMaxFile));
  return std::optional(std::move(text));
}

}  // namespace

Result<BakeFiles> ReadBakeFiles(std::vector<std::string> names, const std::string& url, const job::GlobalFlags& global,
                                std::stop_token stop) {
  BakeFiles out;
  if (!url.empty()) TRY(Fetch(url, global, out, stop));
  if (names.empty()) names = NamesFromEnvironment();
  const bool found_by_name = names.empty();
  if (found_by_name && out.files.empty()) names = bake::DefaultFileNames();
  for (const std::string& name : names) {
    const bool here = url.empty() || name.starts_with("cwd://") || name == "-";
    std::string path = name.starts_with("cwd://") ? name.substr(6) : name;
    if (!here) {
      TRY_ASSIGN(auto text, ReadFetched(out.origin.directory, path));
      if (text) {
        out.files.push_back({path, std::move(*text)});
      } else if (!found_by_name) {
        return NotFound("{} has no file {}", url, path);
      }
      continue;
    }
    if (found_by_name && access(path.c_str(), F_OK) != 0) continue;
    TRY_ASSIGN(std::string text, ReadNamed(path));
    out.files.push_back({path, std::move(text)});
  }
  if (!out.files.empty()) return out;
  Error error = NotFound("couldn't find a bake definition");
  error.hint = "name a file with -f, or write docker-bake.hcl";
  return error;
}

}  // namespace varve::cli
