#include "sys/socket_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <list>
#include <thread>

#include "base/log.h"
#include "sys/open.h"
#include "sys/stop_event.h"

namespace varve::sys {

namespace {

sockaddr_un AddressOf(const std::string& short_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  short_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  return address;
}

Result<Fd> NewSocket() {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return ErrnoError(errno, "make a socket");
  return fd;
}

struct Connection {
  Connection(Fd fd, const SocketServer::Handler& handler)
      : socket(std::move(fd)), thread([this, &handler](std::stop_token stop) {
          handler(socket.get(), stop);
          ::shutdown(socket.get(), SHUT_RDWR);
          done = true;
        }) {}
  Fd socket;
  std::atomic<bool> done = false;
  std::jthread thread;  // last: it uses the others
};

class Server final : public SocketServer {
 public:
  Server(std::string path, Fd listener, Handler handler)
      : path_(std::move(path)), listener_(std::move(listener)), handler_(std::move(handler)),
        thread_([this](std::stop_token stop) { Accept(stop); }) {}
  ~Server() override {
    ::unlink(path_.c_str());
    thread_.request_stop();
    thread_.join();
    for (const auto& connection : connections_) {
      connection->thread.request_stop();
      ::shutdown(connection->socket.get(), SHUT_RDWR);
    }
  }
  const std::string& path() const override { return path_; }

 private:
  void Accept(std::stop_token stop) {
    const StopEvent stopped(stop);
    while (!stop.stop_requested()) {
      std::erase_if(connections_, [](const auto& connection) { return connection->done.load(); });
      // Connections that ended are noticed at the latest when the next one comes.
      const bool full = connections_.size() >= kMaxConnections;
      pollfd fds[2] = {{stopped.fd(), POLLIN, 0}, {full ? -1 : listener_.get(), POLLIN, 0}};
      if (::poll(fds, 2, full ? 50 : -1) < 0 && errno != EINTR) return;
      if (!(fds[1].revents & POLLIN)) continue;
      Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!connection) continue;
      connections_.push_back(std::make_unique<Connection>(std::move(connection), handler_));
    }
  }

  const std::string path_;
  Fd listener_;
  const Handler handler_;
  std::list<std::unique_ptr<Connection>> connections_;  // the accepting thread's alone
  std::jthread thread_;                                 // last: it uses the others
};

// Moves what there is; false when there is nothing more, or nobody to take it.
bool Move(int from, int to) {
  char buffer[16 << 10];
  const ssize_t n = ::read(from, buffer, sizeof(buffer));
  if (n < 0 && errno == EINTR) return true;
  for (ssize_t sent = 0; sent < n;) {
    const ssize_t m = ::send(to, buffer + sent, static_cast<size_t>(n - sent), MSG_NOSIGNAL);
    if (m < 0 && errno == EINTR) continue;
    if (m < 0) return false;
    sent += m;
  }
  return n > 0;
}

}  // namespace

Result<std::unique_ptr<SocketServer>> SocketServer::Listen(const std::string& path, const Access& access,
                                                           Handler handler) {
  const size_t slash = path.rfind('/');
  TRY_ASSIGN(Fd directory, OpenDir(slash == path.npos ? "." : path.substr(0, slash + 1)));
  const std::string name = path.substr(slash == path.npos ? 0 : slash + 1);
  TRY_ASSIGN(Fd listener, NewSocket());
  const sockaddr_un address = AddressOf(FdPath(directory.get()) + "/" + name);
  // The permissions of the descriptor become those of the file; umask is the whole process's.
  if (::fchmod(listener.get(), access.mode & 0600) != 0 ||
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener.get(), 16) != 0) {
    return ErrnoError(errno, "listen on " + path);
  }
  const bool is_ours = access.uid == ::geteuid() && access.gid == ::getegid();
  if ((!is_ours && ::fchownat(directory.get(), name.c_str(), access.uid, access.gid, AT_SYMLINK_NOFOLLOW) != 0) ||
      ::fchmodat(directory.get(), name.c_str(), access.mode & 0777, 0) != 0) {
    return ErrnoError(errno, "set the owner and the mode of " + path);
  }
  return std::unique_ptr<SocketServer>(std::make_unique<Server>(path, std::move(listener), std::move(handler)));
}

Result<Fd> ConnectTo(const std::string& path) {
  TRY_ASSIGN(Fd file, OpenFile(path, O_PATH));
  TRY_ASSIGN(Fd socket, NewSocket());
  const sockaddr_un address = AddressOf(FdPath(file.get()));
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoError(errno, "connect to " + path);
  }
  return socket;
}

void RelayTo(const std::string& to, int connection, std::stop_token stop) {
  auto other = ConnectTo(to);
  if (!other) {
    LOG_INFO("{}", other.error().message);
    return;
  }
  // Each side may end what it sends, and still wait for an answer.
  bool sends = true, answers = true;
  const StopEvent stopped(stop);
  while (answers && !stop.stop_requested()) {
    pollfd fds[3] = {{sends ? connection : -1, POLLIN, 0}, {other->get(), POLLIN, 0}, {stopped.fd(), POLLIN, 0}};
    if (::poll(fds, 3, -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (fds[0].revents != 0) sends = Move(connection, other->get());
    if (fds[0].revents != 0 && !sends) ::shutdown(other->get(), SHUT_WR);
    if (fds[1].revents != 0) answers = Move(other->get(), connection);
  }
}

}  // namespace varve::sys
