// `varve cache-mount`: the directories of RUN --mount=type=cache, by hand.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"
#include "cache/cache_mounts.h"
#include "cache/root.h"
#include "cli/commands.h"
#include "cli/usage_table.h"
#include "job/console.h"
#include "job/exit_code.h"
#include "job/stop_signals.h"
#include "job/upkeep_stores.h"
#include "upkeep/disk_use.h"
#include "upkeep/mount_tar.h"

namespace varve::cli {

namespace {

using Entry = cache::CacheMounts::Entry;

std::string DirectoryName(const Entry& entry) { return entry.directory.substr(entry.directory.rfind('/') + 1); }

// The first twelve digits, and the number of a private one.
std::string ShortName(const Entry& entry) {
  std::string name = DirectoryName(entry);
  size_t dot = name.find('.');
  return name.substr(0, 12) + (dot == name.npos ? "" : name.substr(dot));
}

// What stands before the id in the key (cache::MountKey).
std::string NamespaceOf(const Entry& entry) {
  size_t at = entry.key.find("/" + entry.id);
  return at == entry.key.npos ? "" : entry.key.substr(0, at);
}

Json EntryJson(const Entry& entry, uint64_t bytes) {
  Json json;
  json.Set("ID", entry.id).SetIf(!NamespaceOf(entry).empty(), "Namespace", NamespaceOf(entry));
  json.Set("Directory", DirectoryName(entry)).Set("Size", bytes).Set("InUse", entry.busy);
  json.Set("CreatedAt", FormatTime(entry.created)).Set("LastUsedAt", FormatTime(entry.last_used));
  return json;
}

class CacheMountCommand final : public Command {
 public:
  void Define(CLI::App& app) override {
    app.require_subcommand(1);
    CLI::App* ls = app.add_subcommand("ls", "List them");
    ls->add_option("--format", format_, "table or json")->check(CLI::IsMember({"table", "json"}));
    CLI::App* inspect = app.add_subcommand("inspect", "Show one, as JSON");
    inspect->add_option("MOUNT", names_, "Its id, or the beginning of its directory's name")->required()->expected(1);
    CLI::App* out = app.add_subcommand("export", "Write its content as a tar");
    out->add_option("MOUNT", names_, "Its id, or the beginning of its directory's name")->required()->expected(1);
    out->add_option("-o,--output", file_, "The file; - is stdout")->default_str("-");
    CLI::App* in = app.add_subcommand("import", "Replace its content by that of a tar");
    in->add_option("ID", names_, "The id, as in --mount=type=cache,id=…")->required()->expected(1);
    in->add_option("-i,--input", file_, "The file, packed or not; - is stdin")->default_str("-");
    in->add_option("--namespace", namespace_, "BUILDKIT_CACHE_MOUNT_NS of the builds that use it");
    CLI::App* rm = app.add_subcommand("rm", "Remove them: the next build finds them empty");
    rm->add_option("MOUNT", names_, "Ids, or beginnings of directories' names");
    rm->add_flag("-a,--all", all_, "All that no build uses");
    // Noted now: the parser is gone when the command runs.
    for (auto [sub, action] : {std::pair{ls, &CacheMountCommand::List},
                               {inspect, &CacheMountCommand::Inspect},
                               {out, &CacheMountCommand::Export},
                               {in, &CacheMountCommand::Import},
                               {rm, &CacheMountCommand::Remove}}) {
      sub->callback([this, action] { action_ = action; });
    }
  }

  Status Check() override {
    if (action_ == &CacheMountCommand::Remove && names_.empty() != all_) {
      return Invalid("cache-mount rm needs the mounts' names, or --all");
    }
    return Ok();
  }

  int Run(const job::GlobalFlags& global) override {
    job::StopSignals signals;
    stop_ = signals.token();
    root_ = cache::RootDirectory(global.root);
    if (Status prepared = cache::PrepareRoot(root_); !prepared) return job::FailWith(prepared.error());
    mounts_.emplace(root_, SystemClock());
    Status done = (this->*action_)();
    return done ? job::kSuccess : job::FailWith(done.error());
  }

 private:
  Status List() {
    TRY_ASSIGN(auto entries, mounts_->List());
    std::ranges::sort(entries, {}, [](const Entry& entry) { return entry.id; });
    Timestamp now = SystemClock().Now();
    std::string out;
    for (const Entry& entry : entries) {
      TRY_ASSIGN(uint64_t bytes, upkeep::DiskBytes(entry.directory));
      if (format_ == "json") {
        out += EntryJson(entry, bytes).Dump() + "\n";
      } else {
        if (out.empty()) {
          out = fmt::format("{:<30} {:<16} {:<12} {:<10} {:<16} {}\n", "ID", "NAMESPACE", "DIRECTORY", "SIZE",
                            "LAST USED", "IN USE");
        }
        out += fmt::format("{:<30} {:<16} {:<12} {:<10} {:<16} {}\n", entry.id, NamespaceOf(entry), ShortName(entry),
                           FormatBytes(bytes), FormatTimeAgo(entry.last_used, now), entry.busy ? "yes" : "no");
      }
    }
    job::ToStdout(out);
    return Ok();
  }

  // Those that a name means: an id, else the beginning of a directory's name.
  Result<std::vector<Entry>> Named(const std::string& name) {
    TRY_ASSIGN(auto entries, mounts_->List());
    std::vector<Entry> found;
    for (const Entry& entry : entries) {
      if (entry.id == name) found.push_back(entry);
    }
    for (const Entry& entry : entries) {
      if (found.empty() && name.size() >= 4 && DirectoryName(entry).starts_with(name)) {
        return std::vector<Entry>{entry};
      }
    }
    if (!found.empty()) return found;
    Error error = NotFound("there is no cache mount \"{}\"", name);
    error.hint = "varve cache-mount ls lists them";
    return error;
  }

  Result<Entry> One(const std::string& name) {
    TRY_ASSIGN(auto found, Named(name));
    if (found.size() == 1) return found[0];
    std::vector<std::string> names;
    for (const Entry& entry : found) names.push_back(ShortName(entry));
    Error error = Invalid("{} cache mounts have the id \"{}\"", found.size(), name);
    error.hint = "name one by its directory: " + Join(names, ", ");
    return error;
  }

  Status Inspect() {
    TRY_ASSIGN(Entry entry, One(names_[0]));
    TRY_ASSIGN(uint64_t bytes, upkeep::DiskBytes(entry.directory));
    Json json = EntryJson(entry, bytes);
    json.Set("Key", entry.key).Set("Path", entry.directory + "/data");
    job::ToStdout(json.Dump({.indent = 2}) + "\n");
    return Ok();
  }

  Status Export() {
    TRY_ASSIGN(Entry entry, One(names_[0]));
    Fd file;
    int fd = STDOUT_FILENO;
    if (file_ != "-") {
      TRY_ASSIGN(file, OpenFile(file_, O_WRONLY | O_CREAT | O_TRUNC, 0600));
      fd = file.get();
    } else if (isatty(fd)) {
      return Invalid("a tar is nothing for a terminal: name a file with -o");
    }
    TRY_ASSIGN(auto use, mounts_->Open(entry, stop_));
    FdWriter out(fd);
    return upkeep::WriteMountTar(use.path(), out, stop_);
  }

  Status Import() {
    Fd file;
    int fd = STDIN_FILENO;
    if (file_ != "-") {
      TRY_ASSIGN(file, OpenFile(file_, O_RDONLY));
      fd = file.get();
    }
    FdReader in(fd);
    TRY_ASSIGN(auto layers, snapshot::OpenLayerStore(root_));
    auto wait = [] { job::ToStderr("waiting for the builds that use it\n"); };
    TRY_ASSIGN(auto use, mounts_->Acquire({.key = cache::MountKey(namespace_, names_[0], ""),
                                           .id = names_[0],
                                           .sharing = cache::MountSharing::kLocked,
                                           .on_wait = wait},
                                          stop_));
    TRY(upkeep::ReadMountTar(in, use.path(), root_ + "/tmp", *layers, stop_));
    return use.is_new() ? use.MarkInitialised() : Ok();
  }

  Status Remove() {
    std::vector<Entry> entries;
    if (all_) {
      TRY_ASSIGN(entries, mounts_->List());
    }
    for (const std::string& name : names_) {
      TRY_ASSIGN(auto found, Named(name));
      entries.insert(entries.end(), found.begin(), found.end());
    }
    size_t busy = 0;
    for (const Entry& entry : entries) {
      TRY_ASSIGN(uint64_t bytes, upkeep::DiskBytes(entry.directory));
      TRY_ASSIGN(bool removed, mounts_->Remove(entry));
      job::ToStdout(removed ? fmt::format("removed {} ({})\n", entry.id, FormatBytes(bytes))
                            : fmt::format("kept {}: a build uses it\n", entry.id));
      busy += removed ? 0 : 1;
    }
    if (busy > 0 && !all_) return Unavailable("a build uses it; try again when it is done");
    return Ok();
  }

  Status (CacheMountCommand::*action_)() = &CacheMountCommand::List;
  std::string format_ = "table", file_ = "-", namespace_;
  std::vector<std::string> names_;
  bool all_ = false;
  std::string root_;
  std::optional<cache::CacheMounts> mounts_;
  std::stop_token stop_;
};

}  // namespace

std::unique_ptr<Command> MakeCacheMountCommand() { return std::make_unique<CacheMountCommand>(); }

}  // namespace varve::cli
