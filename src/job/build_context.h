// What a build reads: the context that the command line names, its Dockerfile, its ignore file.
//
// A remote context (git, archive) and one on standard input become a directory first; from there on
// there is one kind of context, keyed by content.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "exec/secrets.h"
#include "graph/graph.h"
#include "job/build_flags.h"
#include "net/http_client.h"
#include "policy/source_policy.h"
#include "sys/tempdir.h"

namespace varve::job {

struct BuildClient;

struct BuildContext {
  std::string directory;            // of the main context
  std::optional<graph::Op> origin;  // what a remote main context was fetched from: git or http
  std::string origin_pin;           // what it turned out to be: "sha1:COMMIT", "sha256:…" of a download
  std::pair<std::string, std::string> OriginDigest() const {  // "sha1", hex
    const size_t colon = origin_pin.find(':');
    return {origin_pin.substr(0, colon), origin_pin.substr(colon + 1)};
  }
  std::string dockerfile;           // text
  std::string dockerfile_name;      // for messages: "Dockerfile", "-", "docker/app.Dockerfile"
  std::vector<std::string> ignore;  // patterns
  std::string ignore_file;          // where they came from; empty: nowhere
  // Named contexts that are directories: name → directory, and their ignore patterns.
  std::map<std::string, std::string> named_directories;
  std::map<std::string, std::vector<std::string>> named_ignore;
  std::vector<std::string> warnings;
  std::vector<sys::TempDir> temporary;
};

// `scratch`: where temporary directories go; `cache_directory`: for git mirrors; `policy`: asked about a main context
// that is git or http, may be null; `client`: who the build is for, null: whoever gave the flags.
Result<BuildContext> OpenContext(const BuildFlags& flags, const sys::LazyTempDir& scratch,
                                 const std::string& cache_directory, net::HttpClient& http,
                                 policy::SourcePolicy* policy, std::stop_token stop,
                                 const BuildClient* client = nullptr);

// The --secret flags as the build's secrets.
std::map<std::string, exec::SecretSource> SecretSourcesOf(const BuildFlags& flags);

}  // namespace varve::job
