#include "doctor/project.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>

#include "base/fd.h"
#include "base/strings.h"
#include "dockerfile/parser.h"

namespace varve::doctor {

namespace fs = std::filesystem;

namespace {

// What is installed, made or downloaded, and no part of the project.
constexpr std::array<std::string_view, 14> kPassedOver = {
    ".git",  "node_modules", ".venv",   "venv",          "vendor",           "__pycache__", ".tox",
    ".next", ".terraform",   ".gradle", "site-packages", "bower_components", "target",      "testdata"};
constexpr int kMaxDepth = 8;
constexpr size_t kMaxFiles = 2'000;
constexpr uintmax_t kMaxBytes = 1 << 20;  // no such file is written by hand

// varve's own, with the files of whole images in it (cache/root.h).
bool IsStateRoot(const fs::path& directory) {
  std::error_code absent;
  return fs::is_regular_file(directory / "version", absent) && fs::is_directory(directory / "records", absent) &&
         fs::is_directory(directory / "staging", absent);
}

bool IsYaml(std::string_view name) { return name.ends_with(".yml") || name.ends_with(".yaml"); }

// A line that turns BuildKit off, in a shell's words or in YAML's.
bool TurnsBuildKitOff(std::string_view line) {
  std::string_view text = TrimSpace(line);
  if (text.starts_with('#')) return false;
  size_t at = text.find("DOCKER_BUILDKIT");
  if (at == text.npos) return false;
  std::string_view behind = text.substr(at + std::string_view("DOCKER_BUILDKIT").size());
  size_t value = behind.find_first_not_of(" \t=:\"'");
  return value != 0 && value != behind.npos && behind[value] == '0';
}

void FindBuildKitOff(Project& project, const SourceFile& file) {
  for (size_t i = 0; i < file.lines.size(); ++i) {
    if (TurnsBuildKitOff(file.lines[i])) {
      project.mentions.push_back({Mention::Kind::kBuildKitOff, &file, static_cast<int>(i) + 1, {}});
    }
  }
}

// What a `docker compose build` of a workflow says holds for the services that it starts.
void ApplyStarts(Project& project) {
  for (const BuildCall& start : project.calls) {
    if (!start.starts) continue;
    for (BuildCall& call : project.calls) {
      if (call.starts || call.file->kind != *start.starts) continue;
      const auto &files = start.start_files, &names = start.start_names;
      bool file = files.empty() ? call.file->Folder() == start.context
                                : std::ranges::find(files, call.file->path) != files.end();
      std::string own = call.name.substr(call.name.find(" ") + 1);
      // Names of Bake's groups are not followed: they stand for all targets.
      bool known = std::ranges::any_of(names, [&](const std::string& wanted) {
        return std::ranges::any_of(project.calls, [&](const BuildCall& other) {
          return !other.starts && other.file->kind == *start.starts && other.name.ends_with(" " + wanted);
        });
      });
      if (!file || (known && std::ranges::find(names, own) == names.end())) continue;
      call.fresh_machine = call.fresh_machine || start.fresh_machine;
      call.docker_driver = call.docker_driver || start.docker_driver;
      call.has_mount_cache = call.has_mount_cache || start.has_mount_cache;
      call.push = call.push || start.push;
      call.by_varve = call.by_varve || start.by_varve;
      if (call.job.empty()) call.job = start.job;
      if (!start.from.empty()) call.from.clear();
      if (!start.to.empty()) call.to.clear();
      // Written at the start of the group, where they are changed.
      for (const CacheEntry& entry : start.from) call.from.push_back(entry);
      for (const CacheEntry& entry : start.to) call.to.push_back(entry);
    }
  }
}

}  // namespace

std::string SourceFile::Folder() const {
  size_t slash = path.rfind('/');
  return slash == path.npos ? "" : path.substr(0, slash);
}

std::string CacheEntry::Get(const std::string& name) const {
  auto it = attributes.find(name);
  return it == attributes.end() ? "" : it->second;
}

std::string CacheEntry::Location() const {
  if (type == "inline") return "";
  if (type == "gha") return "gha:" + (Get("scope").empty() ? "buildkit" : Get("scope"));
  if (type == "image") return "registry:" + text;
  if (type == "registry") return "registry:" + Get("ref");
  if (type == "local") {
    // A folder written beside the old one and moved over it afterwards is the old one.
    std::string folder = Get("src").empty() ? Get("dest") : Get("src");
    for (std::string_view suffix : {"-new", "_new", ".new", "-next", "-tmp"}) {
      if (folder.ends_with(suffix)) folder.resize(folder.size() - suffix.size());
    }
    return "local:" + folder;
  }
  if (type == "s3") {
    return fmt::format("s3:{}/{}{}", Get("bucket"), Get("prefix"), Get("name").empty() ? "buildkit" : Get("name"));
  }
  if (type == "http") return "http:" + Get("url");
  return type + ":" + Get("name");
}

CacheEntry ParseCacheEntry(const std::string& written, int line) {
  CacheEntry entry{.text = std::string(TrimSpace(written)), .line = line};
  size_t type = entry.text.find("type=");
  if (type == entry.text.npos) {
    entry.type = entry.text == "true" || entry.text == "inline" ? "inline" : "image";
    return entry;
  }
  auto fields = ParseCsvRecord(entry.text);
  for (const std::string& field : fields ? *fields : Split(entry.text, ',')) {
    size_t equals = field.find('=');
    std::string key = ToLower(TrimSpace(field.substr(0, equals)));
    entry.attributes[key] = equals == field.npos ? "" : field.substr(equals + 1);
  }
  entry.type = entry.attributes["type"];
  return entry;
}

std::string BuildCall::Image() const {
  std::string image = fmt::format("{}|{}|{}", context, dockerfile, target);
  for (const std::string& axis : matrix) image += "|" + axis;
  return image;
}

const SourceFile* Project::Find(const std::string& path) const {
  for (const auto& file : files) {
    if (file->path == path) return file.get();
  }
  return nullptr;
}

const SourceFile* Project::DockerfileOf(const BuildCall& call) const {
  const SourceFile* file = Find(call.dockerfile);
  return file != nullptr && file->dockerfile ? file : nullptr;
}

std::optional<FileKind> KindOf(const std::string& path) {
  std::string name = path.substr(path.rfind('/') + 1);
  std::string lower = ToLower(name);
  if (lower.ends_with(".dockerignore") || lower.ends_with(".containerignore")) return FileKind::kDockerignore;
  bool dockerfile = lower == "dockerfile" || lower.starts_with("dockerfile.") || lower.ends_with(".dockerfile") ||
                    lower == "containerfile" || lower.starts_with("containerfile.");
  // Templates and helpers that are no Dockerfiles themselves.
  bool other = lower.ends_with(".j2") || lower.ends_with(".tmpl") || lower.ends_with(".template") ||
               lower.ends_with(".md") || lower.ends_with(".sh") || lower.ends_with(".py") || lower.ends_with("~");
  if (dockerfile && !other) return FileKind::kDockerfile;
  if (IsYaml(name)) {
    if (path.starts_with(".github/workflows/") || path.find("/.github/workflows/") != path.npos)
      return FileKind::kGithub;
    if (path.find(".github/actions/") != path.npos) return FileKind::kGithub;
    if (name.ends_with(".gitlab-ci.yml") || name.ends_with(".gitlab-ci.yaml")) return FileKind::kGitlab;
    if (name.starts_with("docker-compose") || name.starts_with("compose")) return FileKind::kCompose;
  }
  if (name.starts_with("docker-bake") && (name.ends_with(".hcl") || name.ends_with(".json"))) return FileKind::kBake;
  if (name.ends_with(".bake.hcl")) return FileKind::kBake;
  if (name.ends_with(".sh") || name.ends_with(".bash")) return FileKind::kShell;
  if (name == "Makefile" || name == "makefile" || name == "GNUmakefile" || name.ends_with(".mk"))
    return FileKind::kShell;
  return std::nullopt;
}

void AddFile(Project& project, std::string path, FileKind kind, std::string text) {
  auto file = std::make_unique<SourceFile>();
  file->path = std::move(path);
  file->kind = kind;
  file->text = std::move(text);
  for (std::string& line : Split(file->text, '\n')) {
    if (line.ends_with('\r')) line.pop_back();
    file->lines.push_back(std::move(line));
  }
  if (kind == FileKind::kDockerfile) {
    auto parsed = dockerfile::ParseDockerfile(file->text);
    if (parsed) {
      file->dockerfile = std::move(*parsed);
    } else {
      project.mentions.push_back(
          {Mention::Kind::kUnreadable, file.get(), parsed.error().span.start_line, parsed.error().error.message});
    }
  }
  project.files.push_back(std::move(file));
}

void ReadCalls(Project& project) {
  bool bake = false;
  std::vector<const SourceFile*> order;
  for (const auto& file : project.files) order.push_back(file.get());
  // An override changes calls of another file, which has to have been read.
  std::ranges::stable_partition(
      order, [](const SourceFile* file) { return file->path.find("override") == std::string::npos; });
  for (const SourceFile* next : order) {
    const SourceFile& file = *next;
    switch (file.kind) {
      case FileKind::kCompose:
        ReadCompose(project, file);
        break;
      case FileKind::kGithub:
        ReadGithub(project, file);
        break;
      case FileKind::kGitlab:
        ReadGitlab(project, file);
        break;
      case FileKind::kShell:
        ReadShell(project, file);
        break;
      case FileKind::kBake:
        bake = true;
        break;
      case FileKind::kDockerfile:
      case FileKind::kDockerignore:
        break;
    }
    if (file.kind != FileKind::kDockerfile && file.kind != FileKind::kDockerignore) FindBuildKitOff(project, file);
  }
  if (bake) ReadBake(project);
  for (BuildCall& call : project.calls) {
    for (auto* entries : {&call.from, &call.to}) {
      for (CacheEntry& entry : *entries) entry.file = call.file;
    }
  }
  ApplyStarts(project);
}

Result<Project> OpenProject(const std::string& directory) {
  std::error_code error;
  fs::path top = fs::canonical(directory, error);
  if (error || !fs::is_directory(top, error)) return NotFound("{} is not a folder", directory);
  Project project{.directory = top};
  std::vector<std::string> paths;
  auto options = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator it(top, options, error), end; !error && it != end; it.increment(error)) {
    std::string name = it->path().filename();
    std::error_code unknown;
    if (it->is_directory(unknown) && !it->is_symlink(unknown)) {
      bool over = std::ranges::find(kPassedOver, name) != kPassedOver.end() || IsStateRoot(it->path());
      if (over || it.depth() >= kMaxDepth) it.disable_recursion_pending();
      continue;
    }
    std::string path = it->path().lexically_relative(top);
    if (!it->is_regular_file(unknown) || !KindOf(path) || it->file_size(unknown) > kMaxBytes) continue;
    paths.push_back(std::move(path));
  }
  std::ranges::sort(paths);  // the same order on every machine
  if (paths.size() > kMaxFiles) paths.resize(kMaxFiles);
  for (std::string& path : paths) {
    auto text = ReadFile(top / path);
    if (text) AddFile(project, path, *KindOf(path), std::move(*text));
  }
  ReadCalls(project);
  return project;
}

}  // namespace varve::doctor
