#include "session/send_tree.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/rel_path.h"
#include "session/go_mode.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "sys/xattrs.h"

namespace varve::session {
namespace {

using fsutil::types::Packet;

constexpr size_t kPiece = 32 << 10;  // what receivers expect; BuildKit's reads are that large

class Sender {
 public:
  Sender(PacketStream& stream, int root, const SendOptions& options)
      : stream_(stream), root_(root), options_(options) {}

  Result<uint64_t> Run(std::stop_token stop);

 private:
  struct Shared {
    std::deque<std::pair<uint32_t, std::string>> asked;
    std::map<uint32_t, std::string> files;  // regular files that were announced and not yet asked for
    bool ended = false;                     // nothing more will be asked
    std::optional<Error> error;             // the first
  };

  Status SendDirectory(int fd, const std::string& path);
  Status SendEntry(int parent, const std::string& name, const std::string& path, const sys::FileStat& stat);
  Status SendFile(uint32_t id, const std::string& path);
  void Read();
  void Fail(Error error);
  Status Send(const Packet& packet);

  PacketStream& stream_;
  const int root_;
  const SendOptions& options_;
  std::mutex write_mutex_;
  uint32_t next_id_ = 0;
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;  // files with several names: the first
  uint64_t sent_ = 0;
  Guarded<Shared> shared_;
  std::condition_variable changed_;
};

Status Sender::Send(const Packet& packet) {
  std::lock_guard lock(write_mutex_);
  if (stream_.Write(packet)) return Ok();
  return Unavailable("the client left in the middle of a transfer");
}

void Sender::Fail(Error error) {
  {
    auto shared = shared_.Lock();
    if (!shared->error) shared->error = std::move(error);
    shared->ended = true;
  }
  changed_.notify_all();
}

// What the receiver says, on a thread of its own: it may ask while we still list.
void Sender::Read() {
  Packet packet;
  while (stream_.Read(packet)) {
    if (packet.type() == Packet::PACKET_ERR) {
      return Fail(Invalid("the client cannot write the files: {}", packet.data()));
    }
    auto shared = shared_.Lock();
    if (packet.type() == Packet::PACKET_FIN) {
      shared->ended = true;
      changed_.notify_all();
      return;
    }
    auto file =
        packet.type() == Packet::PACKET_REQ ? shared->files.extract(packet.id()) : decltype(shared->files)::node_type();
    if (file.empty()) {
      shared->error = Invalid("the client asked for a file that it was not offered");
      shared->ended = true;
      changed_.notify_all();
      return;
    }
    shared->asked.emplace_back(packet.id(), std::move(file.mapped()));
    changed_.notify_all();
  }
  Fail(Unavailable("the client left in the middle of a transfer"));
}

Status Sender::SendEntry(int parent, const std::string& name, const std::string& path, const sys::FileStat& stat) {
  Packet packet;
  packet.set_type(Packet::PACKET_STAT);
  fsutil::types::Stat& entry = *packet.mutable_stat();
  entry.set_path(path);
  entry.set_mode(GoModeOf(stat.mode));
  entry.set_uid(stat.uid);
  entry.set_gid(stat.gid);
  entry.set_mod_time(stat.mtime.nanos);
  if (!stat.IsDirectory()) entry.set_size(static_cast<int64_t>(stat.size));
  if (S_ISBLK(stat.mode) || S_ISCHR(stat.mode)) {
    entry.set_devmajor(gnu_dev_major(stat.rdev));
    entry.set_devminor(gnu_dev_minor(stat.rdev));
  }
  if (stat.IsSymlink()) {
    TRY_ASSIGN(const std::string target, sys::ReadLink(parent, name));
    entry.set_linkname(target);
  } else {
    TRY_ASSIGN(const Fd fd, sys::OpenInRoot(parent, RelPath(name), O_PATH | O_NOFOLLOW, 0, {.no_symlinks = true}));
    TRY_ASSIGN(const auto names, sys::ListXattrs(fd.get()));
    for (const std::string& attribute : names) {
      TRY_ASSIGN(const auto value, sys::GetXattr(fd.get(), attribute));
      if (value) (*entry.mutable_xattrs())[attribute] = *value;
    }
  }
  const uint32_t id = next_id_++;
  if (stat.IsRegular()) {
    if (stat.links > 1) {
      const auto [first, is_new] = linked_.try_emplace({stat.device, stat.inode}, path);
      if (!is_new) {
        entry.set_linkname(first->second);
        entry.set_size(0);
      }
    }
    // Receivers ask for the first name only; a name that is a link has no content of its own.
    if (entry.linkname().empty()) shared_.Lock()->files[id] = path;
  }
  return Send(packet);
}

Status Sender::SendDirectory(int fd, const std::string& path) {
  TRY_ASSIGN(const auto entries, sys::ListDirectory(fd));
  for (const sys::DirEntry& entry : entries) {
    {
      auto shared = shared_.Lock();
      if (shared->error) return *shared->error;
    }
    const std::string below = path.empty() ? entry.name : path + "/" + entry.name;
    TRY_ASSIGN(const sys::FileStat stat, sys::Statx(fd, entry.name));
    TRY(SendEntry(fd, entry.name, below, stat));
    if (!stat.IsDirectory()) continue;
    TRY_ASSIGN(const Fd child,
               sys::OpenInRoot(fd, RelPath(entry.name), O_RDONLY | O_DIRECTORY, 0, {.no_symlinks = true}));
    TRY(SendDirectory(child.get(), below));
  }
  return Ok();
}

Status Sender::SendFile(uint32_t id, const std::string& path) {
  TRY_ASSIGN(const Fd fd, sys::OpenInRoot(root_, RelPath(path), O_RDONLY | O_NOFOLLOW, 0, {.no_symlinks = true}));
  FdReader reader(fd.get());
  Packet packet;
  packet.set_type(Packet::PACKET_DATA);
  packet.set_id(id);
  for (;;) {
    std::string& data = *packet.mutable_data();
    data.resize(kPiece);
    TRY_ASSIGN(const size_t size, reader.Read(data));
    data.resize(size);
    TRY(Send(packet));  // an empty one ends the file
    if (size == 0) return Ok();
    sent_ += size;
    if (options_.on_progress) options_.on_progress(sent_);
  }
}

Result<uint64_t> Sender::Run(std::stop_token stop) {
  Status status;
  {
    const std::stop_callback on_stop(stop, [this] { stream_.Cancel(); });
    std::jthread reader([this] { Read(); });
    // Content goes out while the list is still being made: the receiver asks as it reads the list.
    std::jthread content([this] {
      for (;;) {
        std::pair<uint32_t, std::string> file;
        {
          auto shared = shared_.Lock();
          shared.Wait(changed_, [&] { return shared->ended || !shared->asked.empty(); });
          if (shared->asked.empty() || shared->error) return;
          file = std::move(shared->asked.front());
          shared->asked.pop_front();
        }
        if (Status sent = SendFile(file.first, file.second); !sent) {
          Fail(std::move(sent).error());
          return;
        }
      }
    });
    status = SendDirectory(root_, "");
    if (status) {
      Packet end;
      end.set_type(Packet::PACKET_STAT);
      status = Send(end);
    }
    if (!status) {
      Fail(status.error());
    }
    content.join();
    {
      auto shared = shared_.Lock();
      if (shared->error) status = *shared->error;
    }
    Packet last;
    if (status) {
      last.set_type(Packet::PACKET_FIN);
      status = Send(last);
    } else {
      last.set_type(Packet::PACKET_ERR);
      last.set_data(status.error().message);
      (void)Send(last);
      stream_.Cancel();
    }
  }
  if (!status && stop.stop_requested()) return Cancelled("the transfer of files was cancelled");
  if (!status) return status.error();
  return sent_;
}

}  // namespace

Result<uint64_t> SendTree(PacketStream& stream, int directory, const SendOptions& options, std::stop_token stop) {
  return Sender(stream, directory, options).Run(std::move(stop));
}

}  // namespace varve::session
