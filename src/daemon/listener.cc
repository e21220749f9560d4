#include "daemon/listener.h"

#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>

#include "base/log.h"
#include "base/strings.h"
#include "sys/open.h"

namespace varve::daemon {

namespace {

Result<gid_t> GroupId(const std::string& group) {
  if (auto number = ParseInt(group); number && *number >= 0) return static_cast<gid_t>(*number);
  const struct group* found = getgrnam(group.c_str());
  if (found == nullptr) {
    Error error = NotFound("there is no group \"{}\"", group);
    error.hint = "groupadd --system " + group;
    return error;
  }
  return found->gr_gid;
}

bool SomebodyListens(const sockaddr_un& address) {
  Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

}  // namespace

Result<Fd> ListenUnix(const std::string& path, std::optional<uid_t> owner, const std::string& group) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) {
    return Invalid("the path of the socket {} is longer than {} bytes", path, sizeof(address.sun_path) - 1);
  }
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  TRY(sys::MkdirAll(path.substr(0, path.rfind('/')), 0755));
  struct stat st;
  if (lstat(path.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode)) return Invalid("{} is there, and is no socket", path);
    if (SomebodyListens(address)) {
      Error error = Invalid("another daemon listens at {}", path);
      error.hint = "stop it, or give this one another --addr";
      return error;
    }
    unlink(path.c_str());
  }
  Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener) return ErrnoError(errno, "socket");
  // Nobody may connect before the mode is what it is to be: a socket's mode counts when it is connected to.
  const mode_t before = umask(0777);
  const int bound = bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int bind_errno = errno;
  umask(before);
  if (bound != 0) return ErrnoError(bind_errno, "bind " + path);
  gid_t gid = static_cast<gid_t>(-1);  // chown leaves it as it is
  if (!group.empty()) {
    TRY_ASSIGN(gid, GroupId(group));
  }
  if (chown(path.c_str(), owner.value_or(static_cast<uid_t>(-1)), gid) != 0) return ErrnoError(errno, "chown " + path);
  if (chmod(path.c_str(), 0660) != 0) return ErrnoError(errno, "chmod " + path);
  if (listen(listener.get(), 1024) != 0) return ErrnoError(errno, "listen at " + path);
  return listener;
}

Result<TcpListener> ListenTcp(const std::string& host_port) {
  const size_t colon = host_port.rfind(':');
  std::string host = host_port.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  addrinfo hints{}, *found = nullptr;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  const std::string service = host_port.substr(colon + 1);
  if (int failed = getaddrinfo(host.empty() ? nullptr : host.c_str(), service.c_str(), &hints, &found); failed != 0) {
    return Unavailable("cannot listen at tcp://{}: {}", host_port, gai_strerror(failed));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, freeaddrinfo);
  TcpListener listener;
  int failure = 0;
  for (addrinfo* at = found; at != nullptr; at = at->ai_next) {
    Fd socket(::socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    // Connections have these of their listener: no waiting for more to send, and an end for clients that are no more.
    setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(socket.get(), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    if (at->ai_family == AF_INET6) setsockopt(socket.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    // The port is in the same place of both families' addresses.
    auto& port = reinterpret_cast<sockaddr_in*>(at->ai_addr)->sin_port;
    if (port == 0) port = htons(static_cast<uint16_t>(listener.port));
    if (bind(socket.get(), at->ai_addr, at->ai_addrlen) != 0 || listen(socket.get(), 1024) != 0) {
      failure = errno;
      continue;
    }
    sockaddr_storage bound{};
    socklen_t size = sizeof(bound);
    getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &size);
    listener.port = ntohs(reinterpret_cast<const sockaddr_in*>(&bound)->sin_port);
    listener.sockets.push_back(std::move(socket));
  }
  if (listener.sockets.empty()) return ErrnoError(failure, "listen at tcp://" + host_port);
  return listener;
}

Acceptor::Acceptor(Fd listener, std::function<void(Fd)> take)
    : listener_(std::move(listener)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), take_(std::move(take)),
      thread_([this](std::stop_token stop) { Run(std::move(stop)); }) {}

Acceptor::~Acceptor() {
  thread_.request_stop();
  uint64_t one = 1;
  [[maybe_unused]] ssize_t n = write(wake_.get(), &one, sizeof(one));
  thread_.join();
}

void Acceptor::Run(std::stop_token stop) {
  while (!stop.stop_requested()) {
    pollfd ready[2] = {{.fd = listener_.get(), .events = POLLIN, .revents = 0},
                       {.fd = wake_.get(), .events = POLLIN, .revents = 0}};
    if (poll(ready, 2, -1) < 0 && errno != EINTR) {
      LOG_WARN("listening ends: {}", strerror(errno));
      return;
    }
    if (stop.stop_requested()) return;
    Fd connection(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (connection) {
      take_(std::move(connection));
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // The connection stays in the queue: without a pause this would be a busy loop.
      LOG_WARN("a connection has to wait: {}", strerror(errno));
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
  }
}

}  // namespace varve::daemon
