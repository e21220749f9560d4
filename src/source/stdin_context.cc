#include "source/stdin_context.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <utility>

#include "archive/foreign.h"
#include "base/fd.h"
#include "base/rel_path.h"
#include "base/strings.h"
#include "sys/open.h"
#include "sys/remove.h"

namespace varve::source {
namespace {

constexpr size_t kTarBlock = 512;

// The header's checksum: all bytes of the block, the checksum's own eight taken as spaces (POSIX.1,
// pax, "ustar Interchange Format").
bool HasTarChecksum(std::string_view block) {
  if (block.size() < kTarBlock) return false;
  int64_t sum = 0;
  for (size_t i = 0; i < kTarBlock; ++i) {
    sum += i >= 148 && i < 156 ? ' ' : static_cast<unsigned char>(block[i]);
  }
  std::string_view field = block.substr(148, 8);
  field = field.substr(0, field.find('\0'));
  return ParseInt(TrimSpace(field), 8) == sum;
}

// The bytes that were looked at, then the rest; sees the stop.
class Replay final : public Reader {
 public:
  Replay(std::string head, Reader& rest, std::stop_token stop)
      : head_(std::move(head)), rest_(rest), stop_(std::move(stop)) {}

  Result<size_t> Read(std::span<char> buffer) override {
    if (stop_.stop_requested()) return Cancelled("cancelled while reading standard input");
    if (position_ == head_.size()) return rest_.Read(buffer);
    const size_t n = std::min(buffer.size(), head_.size() - position_);
    std::copy_n(head_.data() + position_, n, buffer.data());
    position_ += n;
    return n;
  }

 private:
  std::string head_;
  size_t position_ = 0;
  Reader& rest_;
  std::stop_token stop_;
};

class Extractor {
 public:
  Extractor(int root_fd, std::vector<std::string>* warnings, std::stop_token stop)
      : root_(root_fd), warnings_(warnings), stop_(std::move(stop)) {}

  Status Extract(archive::TarReader& tar) {
    while (true) {
      if (stop_.stop_requested()) return Cancelled("cancelled while extracting the context");
      TRY_ASSIGN(std::optional<archive::TarEntry> entry, tar.Next());
      if (!entry) break;
      TRY(Put(*entry, tar.content()));
    }
    TRY(tar.Drain());  // compressed streams have their checksum at the end
    return SettleDirectories();
  }

 private:
  static Status CheckName(std::string_view name, const archive::TarEntry& entry) {
    const std::vector<std::string> parts = Split(name, '/');
    if (std::ranges::find(parts, "..") == parts.end()) return Ok();
    Error error =
        Invalid("the archive on standard input has the entry \"{}\", which leads to \"{}\"", entry.name, name);
    error.hint = "entries must stay in the archive: pack the context with tar -C DIR -c .";
    return error;
  }

  Status Put(const archive::TarEntry& entry, Reader& content) {
    TRY(CheckName(entry.name, entry));
    const RelPath path(entry.name);
    using enum archive::EntryType;
    if (entry.type == kCharDevice || entry.type == kBlockDevice || entry.type == kFifo) {
      warnings_->push_back(
          fmt::format("{} \"{}\" of the context is left out", entry.type == kFifo ? "fifo" : "device", path.str()));
      return Ok();
    }
    if (path.IsRoot()) return Ok();  // "./": the directory is ours
    // Follows symlinks of the archive, but only inside the root.
    TRY_ASSIGN(const Fd parent, sys::MkdirAllInRoot(root_, path.Parent(), 0755, geteuid(), getegid()));
    const std::string name(path.Name());
    switch (entry.type) {
      case kDirectory:
        return PutDirectory(parent.get(), name, path, entry);
      case kSymlink:
        return PutSymlink(parent.get(), name, path, entry);
      case kHardLink:
        return PutHardLink(parent.get(), name, path, entry);
      default:
        return PutFile(parent.get(), name, path, entry, content);
    }
  }

  static timespec Time(Timestamp time) {
    const int64_t seconds = time.seconds();
    return {seconds, static_cast<long>(time.nanos - seconds * 1'000'000'000)};
  }

  static Status SetTime(int dir_fd, const std::string& name, const archive::TarEntry& entry) {
    const timespec times[2] = {Time(entry.mtime), Time(entry.mtime)};
    if (utimensat(dir_fd, name.c_str(), times, AT_SYMLINK_NOFOLLOW) != 0) {
      return ErrnoError(errno, "set the time of " + entry.name);
    }
    return Ok();
  }

  Status PutDirectory(int parent, const std::string& name, const RelPath& path, const archive::TarEntry& entry) {
    struct stat st;
    const bool exists = fstatat(parent, name.c_str(), &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!exists || !S_ISDIR(st.st_mode)) {
      if (exists) TRY(sys::RemoveAllAt(parent, name));
      if (mkdirat(parent, name.c_str(), 0700) != 0) return ErrnoError(errno, "mkdir " + entry.name);
    }
    // Mode and time come last: without write permission nothing could be put into it, and whatever
    // is put into it changes its time.
    directories_[path] = entry;
    return Ok();
  }

  Status PutFile(int parent, const std::string& name, const RelPath& path, const archive::TarEntry& entry,
                 Reader& content) {
    TRY(Clear(parent, name, path));
    const Fd fd(openat(parent, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (!fd) return ErrnoError(errno, "create " + entry.name);
    FdWriter out(fd.get());
    auto copied = Copy(content, out);
    if (!copied) return std::move(copied).error().With(entry.name);
    if (fchmod(fd.get(), entry.mode & 07777) != 0) return ErrnoError(errno, "chmod " + entry.name);
    return SetTime(parent, name, entry);
  }

  Status PutSymlink(int parent, const std::string& name, const RelPath& path, const archive::TarEntry& entry) {
    TRY(Clear(parent, name, path));
    if (symlinkat(entry.link.c_str(), parent, name.c_str()) != 0) {
      return ErrnoError(errno, "symlink " + entry.name);
    }
    return SetTime(parent, name, entry);
  }

  Status PutHardLink(int parent, const std::string& name, const RelPath& path, const archive::TarEntry& entry) {
    TRY(CheckName(entry.link, entry));
    const RelPath target(entry.link);
    auto target_parent = sys::OpenInRoot(root_, target.Parent(), O_PATH | O_DIRECTORY);
    const std::string target_name(target.Name());
    struct stat from, to;
    if (!target_parent || target.IsRoot() ||
        fstatat(target_parent->get(), target_name.c_str(), &from, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(from.st_mode)) {
      return Corrupt("the archive on standard input links \"{}\" to \"{}\", which is no file in it", entry.name,
                     entry.link);
    }
    if (fstatat(parent, name.c_str(), &to, AT_SYMLINK_NOFOLLOW) == 0 && from.st_ino == to.st_ino &&
        from.st_dev == to.st_dev) {
      return Ok();  // the same file already; removing it first would lose it
    }
    TRY(Clear(parent, name, path));
    if (linkat(target_parent->get(), target_name.c_str(), parent, name.c_str(), 0) != 0) {
      return ErrnoError(errno, "link " + entry.name);
    }
    return Ok();
  }

  // Makes room for an entry that is no directory.
  Status Clear(int parent, const std::string& name, const RelPath& path) {
    std::erase_if(directories_, [&](const auto& item) { return item.first.IsWithin(path); });
    return sys::RemoveAllAt(parent, name);
  }

  Status SettleDirectories() {
    // Children sort behind their parents: backwards, no parent is closed or touched too early.
    for (auto it = directories_.rbegin(); it != directories_.rend(); ++it) {
      const auto& [path, entry] = *it;
      auto parent = sys::OpenInRoot(root_, path.Parent(), O_PATH | O_DIRECTORY);
      if (!parent) continue;  // a later entry replaced what a symlink on the way led to
      const std::string name(path.Name());
      const Fd fd(openat(parent->get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (!fd) continue;
      if (fchmod(fd.get(), entry.mode & 07777) != 0) {
        return ErrnoError(errno, "chmod " + entry.name);
      }
      TRY(SetTime(parent->get(), name, entry));
    }
    return Ok();
  }

  const int root_;
  std::vector<std::string>* const warnings_;
  const std::stop_token stop_;
  std::map<RelPath, archive::TarEntry> directories_;
};

// The start of the stream, `size` bytes unless it ends before.
Result<std::string> ReadHead(Reader& in, size_t size) {
  std::string head(size, '\0');
  size_t filled = 0;
  while (filled < size) {
    TRY_ASSIGN(const size_t n, in.Read(std::span(head).subspan(filled)));
    if (n == 0) break;
    filled += n;
  }
  head.resize(filled);
  return head;
}

Result<std::string> ReadDockerfile(Reader& in, uint64_t limit) {
  auto text = ReadAll(in, limit);
  if (!text) {
    Error error = std::move(text).error();
    if (error.code == Code::kInvalid) {
      error.message = fmt::format("standard input is no tar, and too large for a Dockerfile ({})", FormatBytes(limit));
    }
    return error;
  }
  if (text->find('\0') != std::string::npos) {
    Error error = Invalid("standard input is neither a tar nor a Dockerfile");
    error.hint = "pipe a tar (plain, gzip, bzip2, xz or zstd), or the text of a Dockerfile";
    return error;
  }
  return text;
}

}  // namespace

StdinKind SniffStdin(std::string_view head) {
  if (archive::Detect(head) != archive::Compression::kNone) return StdinKind::kCompressed;
  // An archive without entries is nothing but zeros.
  const bool zeros =
      head.size() >= kTarBlock && head.substr(0, kTarBlock).find_first_not_of('\0') == std::string_view::npos;
  return zeros || HasTarChecksum(head) ? StdinKind::kTar : StdinKind::kText;
}

Status ExtractTar(Reader& in, const std::string& directory, const StdinLimits& limits,
                  std::vector<std::string>* warnings, std::stop_token stop) {
  TRY_ASSIGN(const Fd root, sys::OpenDir(directory));
  TRY_ASSIGN(const auto foreign,
             archive::ForeignArchive::Open(in, {.tar = {.entries = limits.entries, .bytes = limits.bytes}}));
  return Extractor(root.get(), warnings, std::move(stop)).Extract(foreign->tar());
}

Result<StdinContext> ReadStdinContext(Reader& in, const std::string& parent, const StdinLimits& limits,
                                      std::stop_token stop) {
  TRY_ASSIGN(std::string head, ReadHead(in, kTarBlock));
  if (head.empty()) {
    Error error = Invalid("standard input is empty");
    error.hint = "pipe a tar of the context or a Dockerfile: tar -c . | varve build -";
    return error;
  }
  StdinContext context;
  TRY_ASSIGN(context.directory, sys::TempDir::Create(parent, "varve-context-"));
  const StdinKind kind = SniffStdin(head);
  Replay whole(std::move(head), in, stop);
  if (kind == StdinKind::kText) {
    TRY_ASSIGN(context.dockerfile, ReadDockerfile(whole, limits.dockerfile));
    return context;
  }
  if (Status done = ExtractTar(whole, context.directory.path(), limits, &context.warnings, stop); !done) {
    return std::move(done).error().With("standard input");
  }
  // Behind the end mark tar pads to its record size. Left unread, that would be a broken pipe.
  NullWriter nowhere;
  TRY(Copy(whole, nowhere));
  return context;
}

}  // namespace varve::source
