#include "export/files_output.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <memory>
#include <set>

#include "archive/tar.h"
#include "base/fd.h"
#include "export/copy_entries.h"
#include "snapshot/rootfs_mount.h"
#include "snapshot/upper_tar.h"
#include "sys/open.h"
#include "sys/remove.h"
#include "sys/tempdir.h"

namespace varve::exporter {

namespace {

// The mounted results, and what is in them.
class Parts {
 public:
  struct Part {
    std::string prefix;  // "" or "linux_arm64/"
    sys::TempDir point;
    std::unique_ptr<snapshot::RootfsMount> mount;
    std::vector<snapshot::UpperEntry> entries;
    const std::vector<std::pair<std::string, std::string>>* more = nullptr;
  };

  static Result<Parts> Mount(snapshot::LayerStore& layers, const std::vector<FilesPart>& parts,
                             const FilesOptions& options, std::stop_token stop) {
    Parts mounted;
    // The only part, or one in a directory of its own, collides with nothing: its paths are not noted.
    bool shares_root =
        parts.size() > 1 && std::ranges::any_of(parts, [](const FilesPart& part) { return part.directory.empty(); });
    for (const FilesPart& part : parts) {
      Part& made = mounted.parts_.emplace_back();
      made.prefix = part.directory.empty() ? "" : part.directory + "/";
      made.more = &part.more;
      TRY_ASSIGN(made.point, sys::TempDir::Create(options.scratch, "export-"));
      TRY_ASSIGN(made.mount, snapshot::MountRootfs(layers, part.rootfs.layers, nullptr, made.point.path()));
      TRY_ASSIGN(made.entries, snapshot::WalkUpper(made.mount->path(), stop));
      TRY(CheckMore(made));
      if (options.epoch) {
        for (snapshot::UpperEntry& entry : made.entries) entry.mtime = {*options.epoch * 1'000'000'000};
      }
      if (shares_root || options.delete_extra) TRY(mounted.Note(made, part.platform));
    }
    return mounted;
  }

  std::vector<Part>& all() { return parts_; }
  // With delete_extra: every path of the output, directories of platforms included.
  std::set<std::string> Paths() const {
    std::set<std::string> paths;
    for (const auto& [path, of] : owners_) paths.insert(path);
    return paths;
  }

 private:
  struct Owner {
    std::string platform;
    bool directory;
  };

  static Status CheckMore(const Part& part) {
    for (const auto& [name, text] : *part.more) {
      if (std::ranges::find(part.entries, name, &snapshot::UpperEntry::path) == part.entries.end()) continue;
      Error error = Invalid("the result has a file {} where an attestation is to be written", name);
      error.hint = "write it under another name: -o type=local,attestation-prefix=PREFIX,…";
      return error;
    }
    return Ok();
  }

  // A directory may come from several parts: the first one's attributes count.
  Status Note(Part& part, const oci::Platform& platform) {
    std::string name = platform.ToString();
    if (!part.prefix.empty()) {
      owners_.try_emplace(part.prefix.substr(0, part.prefix.size() - 1), Owner{name, true});
    }
    std::vector<snapshot::UpperEntry> kept;
    for (snapshot::UpperEntry& entry : part.entries) {
      bool directory = entry.index.node.type == tree::NodeType::kDirectory;
      auto [known, is_new] = owners_.try_emplace(part.prefix + entry.path, Owner{name, directory});
      if (!is_new && !(directory && known->second.directory)) {
        Error error = Invalid(
            "cannot overwrite {} from {} with {} from {} when split option is "
            "disabled",
            entry.path, known->second.platform, entry.path, name);
        error.hint = "leave out platform-split=false: each platform then has a directory of its own";
        return error;
      }
      if (is_new) kept.push_back(std::move(entry));
    }
    for (const auto& [file, text] : *part.more) owners_.try_emplace(part.prefix + file, Owner{name, false});
    part.entries = std::move(kept);
    return Ok();
  }

  std::vector<Part> parts_;
  std::map<std::string, Owner> owners_;
};

// Removes what `keep` does not name, paths relative to `directory`.
Status RemoveOthers(const std::string& directory, const std::string& prefix, const std::set<std::string>& keep) {
  TRY_ASSIGN(Fd fd, sys::OpenDir(directory));
  TRY_ASSIGN(auto entries, sys::ListDirectory(fd.get()));
  for (const sys::DirEntry& entry : entries) {
    std::string path = prefix + entry.name;
    struct stat st;
    if (fstatat(fd.get(), entry.name.c_str(), &st, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!keep.contains(path)) {
      TRY(sys::RemoveAllAt(fd.get(), entry.name));
    } else if (S_ISDIR(st.st_mode)) {
      TRY(RemoveOthers(directory + "/" + entry.name, path + "/", keep));
    }
  }
  return Ok();
}

Status SetTime(const std::string& path, int64_t epoch) {
  timespec times[2] = {{epoch, 0}, {epoch, 0}};
  if (utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0) return Ok();
  return ErrnoError(errno, "set time of " + path);
}

}  // namespace

std::string PlatformDirectory(const oci::Platform& platform) {
  std::string name = platform.ToString();
  std::ranges::replace(name, '/', '_');
  return name;
}

Result<std::vector<attest::Subject>> SubjectsOf(tree::TreeStore& trees, const Digest& root) {
  std::vector<attest::Subject> subjects;
  std::vector<std::pair<std::string, Digest>> todo = {{"", root}};
  while (!todo.empty()) {
    auto [path, digest] = std::move(todo.back());
    todo.pop_back();
    TRY_ASSIGN(auto directory, tree::GetDirectory(trees, digest));
    for (const tree::Node& node : directory->entries) {
      if (node.IsDirectory()) todo.emplace_back(path + node.name + "/", node.digest);
      if (node.type == tree::NodeType::kFile) subjects.push_back({path + node.name, node.digest});
    }
  }
  std::ranges::sort(subjects, {}, &attest::Subject::name);
  return subjects;
}

Status WriteFilesTar(snapshot::LayerStore& layers, const std::vector<FilesPart>& parts, const FilesOptions& options,
                     Writer& out, std::stop_token stop) {
  TRY_ASSIGN(Parts mounted, Parts::Mount(layers, parts, options, stop));
  archive::TarWriter tar(out);
  Timestamp time{options.epoch.value_or(0) * 1'000'000'000};
  for (Parts::Part& part : mounted.all()) {
    if (!part.prefix.empty()) {
      TRY(tar.Add({.name = part.prefix, .type = archive::EntryType::kDirectory, .mode = 0755, .mtime = time}));
    }
    TRY(snapshot::AppendUpperTar(part.mount->path(), part.entries, snapshot::HashFiles::kNo, {}, part.prefix, tar,
                                 stop));
    for (const auto& [name, text] : *part.more) {
      TRY(tar.Add({.name = part.prefix + name, .mode = 0600, .size = text.size(), .mtime = time}));
      TRY(tar.Content(text));
    }
  }
  return tar.Finish();
}

Status CopyFiles(snapshot::LayerStore& layers, const std::vector<FilesPart>& parts, const FilesOptions& options,
                 const std::string& directory, std::stop_token stop) {
  TRY_ASSIGN(Parts mounted, Parts::Mount(layers, parts, options, stop));
  TRY(sys::MkdirAll(directory, 0755));
  if (options.delete_extra) TRY(RemoveOthers(directory, "", mounted.Paths()));
  for (const Parts::Part& part : mounted.all()) {
    std::string to = directory + (part.prefix.empty() ? "" : "/" + part.prefix);
    TRY(sys::MkdirAll(to, 0755));
    if (Status copied = CopyEntries(part.mount->path(), part.entries, to, stop); !copied) {
      return Error(std::move(copied).error()).With("writing to " + to);
    }
    for (const auto& [name, text] : *part.more) {
      std::string path = to + "/" + name;
      TRY(WriteFileAtomically(path, text));
      if (chmod(path.c_str(), 0600) != 0) return ErrnoError(errno, "chmod " + path);
      if (options.epoch) TRY(SetTime(path, *options.epoch));
    }
    if (options.epoch && !part.prefix.empty()) TRY(SetTime(to, *options.epoch));
  }
  return Ok();
}

}  // namespace varve::exporter
