// The files of a project that say how its images are built, and what they say.
//
// Every kind of file that starts builds (Compose, Bake, GitHub workflows, GitLab, shell scripts,
// Makefiles) is read into one shape, BuildCall, so that rules need not know where a cache was
// configured. Values are as written: `${{ … }}`, `$VAR` and `${VAR:-x}` are not evaluated (Bake
// files are, since their language is), because what they will be is not known here.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace varve::doctor {

enum class FileKind { kDockerfile, kDockerignore, kCompose, kBake, kGithub, kGitlab, kShell };

struct SourceFile {
  std::string path;  // relative to the project, '/' between parts
  FileKind kind;
  std::string text;
  std::vector<std::string> lines;                    // of text, without line ends
  std::optional<dockerfile::Dockerfile> dockerfile;  // of a Dockerfile that parses

  // Folder of `path`: "" at the top, else without '/' at its end.
  std::string Folder() const;
};

// A value and the line that it stands on.
struct Argument {
  std::string name, value;
  int line = 0;
};

// One --cache-from or --cache-to.
struct CacheEntry {
  std::string text;  // as written
  std::string type;  // "gha", "registry", "local", "s3", "inline", …; "image" for a bare reference
  std::map<std::string, std::string> attributes;
  int line = 0;
  const SourceFile* file = nullptr;  // not always the call's: `bake --set *.cache-to=…`

  std::string Get(const std::string& name) const;
  // What tells two caches apart: "gha:app", "registry:ghcr.io/me/app:cache", "local:.cache". The
  // same for reading and writing. Empty for inline.
  std::string Location() const;
};
// "type=gha,scope=x" or an image's reference.
CacheEntry ParseCacheEntry(const std::string& text, int line);

struct BuildCall {
  const SourceFile* file = nullptr;
  int line = 0;
  std::string name;     // for messages: "service web", "step 3 of job build"
  std::string job;      // of a workflow: calls of one job run one after the other
  std::string context;  // relative to the project; "" is its top
  bool context_known = false;
  std::string dockerfile;  // relative to the project
  std::string target;
  std::vector<std::string> tags, platforms;
  std::vector<CacheEntry> from, to;
  std::vector<Argument> args;
  std::vector<std::string> matrix;  // matrix.NAMEs of the job that this call's image depends on
  int no_cache_line = 0;            // 0: not given
  bool no_cache_always = false;     // written out, not by a variable or an expression
  bool pull = false;
  bool fresh_machine = false;    // a runner that starts without a cache
  bool docker_driver = false;    // no builder that can export caches was set up
  bool has_mount_cache = false;  // actions/cache or GitLab's cache: in the same job
  bool push = false;
  bool by_varve = false;  // `varve build`, `varve compose`, `varve bake`, varve's action
  // `docker compose build` and `bake`: starts the calls of these files, with what is said here.
  std::optional<FileKind> starts;
  std::vector<std::string> start_files;  // relative to the project; empty: those in `context`
  std::vector<std::string> start_names;  // services or targets; empty: all

  // Which image: calls with the same value build the same one.
  std::string Image() const;
};

// A command that is to throw caches away.
struct ClearCall {
  const SourceFile* file = nullptr;
  int line = 0;
  std::string what;  // "builder prune", "system prune", "image prune", "rmi", "compose down", "clear"
  bool all = false, forced = false, rmi = false, volumes = false;
  std::string command;  // as written, shortened
};

// actions/cache and GitLab's cache:.
struct FolderCache {
  const SourceFile* file = nullptr;
  int line = 0;
  std::string job;
  std::vector<std::string> paths;
  std::string key;
  std::vector<std::string> restore_keys;
};

// Anything else that rules want to know of, with its line.
struct Mention {
  enum class Kind {
    kBuildKitOff,     // DOCKER_BUILDKIT=0
    kForceRm,         // --force-rm
    kForceRecreate,   // up --force-recreate without --build; value: the command
    kMoveCache,       // mv /tmp/.buildx-cache-new …; value: the command
    kUnusedSwitch,    // an input or variable that nothing reads; value: its name
    kFloatingAction,  // uses: docker/build-push-action@master; value
    kUnreadable,      // the file could not be parsed; value: why
  };
  Kind kind;
  const SourceFile* file = nullptr;
  int line = 0;
  std::string value;
};

struct Project {
  std::string directory;  // absolute
  std::vector<std::unique_ptr<SourceFile>> files;
  std::vector<BuildCall> calls;
  std::vector<ClearCall> clears;
  std::vector<FolderCache> folder_caches;
  std::vector<Mention> mentions;

  const SourceFile* Find(const std::string& path) const;
  // The Dockerfile that a call reads; null where it is not in the project or does not parse.
  const SourceFile* DockerfileOf(const BuildCall& call) const;
};

// Adds a file of the project, and reads what it says. Dockerfiles are parsed.
void AddFile(Project& project, std::string path, FileKind kind, std::string text);
// Reads all files that were added: the calls, clears and mentions. Once, after the last AddFile.
void ReadCalls(Project& project);

// What kind of file this is by its path; nothing: none of doctor's.
std::optional<FileKind> KindOf(const std::string& path);

// The project in `directory`: its files down to eight folders deep, without those that hold what is
// installed, built or downloaded. kNotFound where there is no such folder; files that cannot be
// read are left out.
Result<Project> OpenProject(const std::string& directory);

// Readers, one a kind; each in its own file.
void ReadCompose(Project& project, const SourceFile& file);
void ReadBake(Project& project);  // all bake files of a folder are one definition
void ReadGithub(Project& project, const SourceFile& file);
void ReadGitlab(Project& project, const SourceFile& file);
void ReadShell(Project& project, const SourceFile& file);

}  // namespace varve::doctor
