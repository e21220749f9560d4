#include "net/testing/http_server.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <set>
#include <thread>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/percent.h"
#include "base/strings.h"

namespace varve::net::testing {

namespace {

struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};

// One accepted connection, plain or TLS.
class Connection {
 public:
  Connection(int fd, SSL_CTX* context) : fd_(fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (context == nullptr) return;
    ssl_.reset(SSL_new(context));
    SSL_set_fd(ssl_.get(), fd);
    broken_ = SSL_accept(ssl_.get()) != 1;
  }

  // False at the end of the connection.
  bool Fill() {
    char buffer[64 << 10];
    ssize_t n = broken_ ? 0
                : ssl_  ? SSL_read(ssl_.get(), buffer, sizeof(buffer))
                        : recv(fd_, buffer, sizeof(buffer), 0);
    if (n <= 0) return false;
    input.append(buffer, static_cast<size_t>(n));
    return true;
  }

  bool Send(std::string_view data) {
    while (!data.empty()) {
      ssize_t n = ssl_ ? SSL_write(ssl_.get(), data.data(), static_cast<int>(data.size()))
                       : send(fd_, data.data(), data.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      data.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }

  std::string input;

 private:
  int fd_;
  std::unique_ptr<SSL, SslFree> ssl_;
  bool broken_ = false;
};

ServerRequest ParseHead(std::string_view head) {
  ServerRequest request;
  std::vector<std::string> lines = Split(head, '\n');
  std::vector<std::string> words = Split(TrimSpace(lines[0]), ' ');
  words.resize(3);
  request.method = words[0];
  request.target = words[1];
  size_t question = request.target.find('?');
  request.path = request.target.substr(0, question);
  if (question != std::string::npos) {
    for (const std::string& item : Split(request.target.substr(question + 1), '&')) {
      size_t equals = std::min(item.find('='), item.size());
      std::string& value = request.query[FormDecode(item.substr(0, equals))];
      if (!value.empty()) value += " ";  // scope=a&scope=b
      value += FormDecode(equals < item.size() ? item.substr(equals + 1) : "");
    }
  }
  for (size_t i = 1; i < lines.size(); ++i) {
    size_t colon = lines[i].find(':');
    if (colon == std::string::npos) continue;
    request.headers[ToLower(lines[i].substr(0, colon))] = TrimSpace(lines[i].substr(colon + 1));
  }
  return request;
}

}  // namespace

std::string ServerRequest::Header(const std::string& name) const {
  auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

std::string ServerRequest::Query(const std::string& name) const {
  auto found = query.find(name);
  return found == query.end() ? "" : found->second;
}

struct HttpServer::Impl {
  Handler handler;
  BodyLimit body_limit;
  SSL_CTX* tls = nullptr;
  Fd listener;
  int port = 0;
  std::atomic<bool> stopping = false;
  std::atomic<int> accepted = 0;
  Guarded<std::set<int>> open;        // so that Stop can wake their threads
  std::vector<std::jthread> workers;  // touched by the acceptor only, until it is joined
  std::jthread acceptor;

  void Accept() {
    while (!stopping) {
      int fd = accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) return;
      ++accepted;
      open.Lock()->insert(fd);
      if (stopping) shutdown(fd, SHUT_RDWR);
      workers.emplace_back([this, fd] {
        Serve(fd);
        open.Lock()->erase(fd);
        close(fd);
      });
    }
  }

  void Serve(int fd) {
    Connection connection(fd, tls);
    while (ServeOne(fd, connection)) {
    }
    shutdown(fd, SHUT_RDWR);
  }

  // False when the connection ends.
  bool ServeOne(int fd, Connection& connection) {
    size_t end;
    while ((end = connection.input.find("\r\n\r\n")) == std::string::npos) {
      if (!connection.Fill()) return false;
    }
    ServerRequest request = ParseHead(connection.input.substr(0, end));
    connection.input.erase(0, end + 4);
    auto length = static_cast<size_t>(ParseInt(request.Header("content-length")).value_or(0));
    size_t wanted = length;
    if (body_limit) wanted = std::min(length, body_limit(request).value_or(length));
    while (connection.input.size() < wanted) {
      if (!connection.Fill()) return false;
    }
    request.body = connection.input.substr(0, wanted);
    connection.input.erase(0, wanted);
    request.truncated = wanted < length;
    ServerReply reply = handler(request);
    if (request.truncated) return false;
    Pause(fd, reply.delay);
    return Answer(fd, connection, request, reply);
  }

  bool Answer(int fd, Connection& connection, const ServerRequest& request, const ServerReply& reply) {
    std::string head = fmt::format("HTTP/1.1 {} Status\r\n", reply.status);
    bool own_length = false;
    for (const auto& [name, value] : reply.headers) {
      head += name + ": " + value + "\r\n";
      own_length = own_length || EqualsIgnoreCase(name, "Content-Length");
    }
    if (reply.without_length) {
      head += "Connection: close\r\n";
    } else if (!own_length && reply.status != 204) {
      head += fmt::format("Content-Length: {}\r\n", reply.body.size());
    }
    if (!connection.Send(head + "\r\n")) return false;
    if (request.method == "HEAD") return true;
    std::string_view body = reply.body;
    if (reply.cut_after) return connection.Send(body.substr(0, *reply.cut_after)) && false;
    if (reply.hang_after) {
      connection.Send(body.substr(0, *reply.hang_after));
      Pause(fd, std::chrono::hours(1));
      return false;
    }
    return connection.Send(body) && !reply.without_length;
  }

  // Ends early when the peer goes away, or Stop shuts the socket down.
  static void Pause(int fd, std::chrono::milliseconds time) {
    if (time.count() == 0) return;
    pollfd poller{.fd = fd, .events = POLLRDHUP, .revents = 0};
    poll(&poller, 1, static_cast<int>(time.count()));
  }
};

HttpServer::HttpServer(Handler handler, BodyLimit body_limit, std::optional<ServerTls> tls)
    : impl_(std::make_unique<Impl>()) {
  impl_->handler = std::move(handler);
  impl_->body_limit = std::move(body_limit);
  if (tls) {
    std::signal(SIGPIPE, SIG_IGN);  // SSL_write has no MSG_NOSIGNAL
    impl_->tls = SSL_CTX_new(TLS_server_method());
    CHECK(SSL_CTX_use_certificate_chain_file(impl_->tls, tls->certificate_file.c_str()) == 1);
    CHECK(SSL_CTX_use_PrivateKey_file(impl_->tls, tls->key_file.c_str(), SSL_FILETYPE_PEM) == 1);
    if (!tls->client_ca_file.empty()) {
      CHECK(SSL_CTX_load_verify_file(impl_->tls, tls->client_ca_file.c_str()) == 1);
      SSL_CTX_set_verify(impl_->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
    }
  }
  impl_->listener.Reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  CHECK(bind(impl_->listener.get(), generic, size) == 0);
  CHECK(listen(impl_->listener.get(), 64) == 0);
  CHECK(getsockname(impl_->listener.get(), generic, &size) == 0);
  impl_->port = ntohs(address.sin_port);
  impl_->acceptor = std::jthread([this] { impl_->Accept(); });
}

void HttpServer::Stop() {
  if (impl_->stopping.exchange(true)) return;
  shutdown(impl_->listener.get(), SHUT_RDWR);
  impl_->acceptor.join();
  impl_->listener.Reset();
  {
    auto open = impl_->open.Lock();
    for (int fd : *open) shutdown(fd, SHUT_RDWR);
  }
  impl_->workers.clear();
}

HttpServer::~HttpServer() {
  Stop();
  SSL_CTX_free(impl_->tls);
}

std::string HttpServer::Address() const { return fmt::format("127.0.0.1:{}", impl_->port); }

std::string HttpServer::Url(const std::string& path) const {
  return (impl_->tls ? "https://" : "http://") + Address() + path;
}

int HttpServer::connections() const { return impl_->accepted; }

}  // namespace varve::net::testing
