#include "daemon/tls_gate.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

#include "base/log.h"

namespace varve::daemon {

namespace {

using std::chrono::steady_clock;

std::string LastTlsError() {
  char text[256];
  ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
  return text;
}

int SelectH2(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* offered, unsigned size,
             void*) {
  static constexpr unsigned char kH2[] = {2, 'h', '2'};
  unsigned char* selected = nullptr;
  if (SSL_select_next_proto(&selected, out_size, kH2, sizeof(kH2), offered, size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  }
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

// Bytes on their way in one direction.
struct Half {
  std::array<char, 32 << 10> buffer;
  size_t begin = 0, end = 0;
  bool ended = false;  // nothing more comes
  bool empty() const { return begin == end; }
  void Fill(size_t size) { begin = 0, end = size; }
};

// A TLS connection with a client, and a socket with gRPC behind it.
class Relay {
 public:
  Relay(SSL* ssl, int client) : ssl_(ssl), client_(client) {}

  // False: the client was not let in, or took too long.
  bool Handshake(std::chrono::seconds limit) {
    const auto deadline = steady_clock::now() + limit;
    for (;;) {
      ERR_clear_error();
      const int done = SSL_accept(ssl_);
      if (done == 1) return true;
      if (!Await(done)) return false;
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now());
      pollfd ready{client_, std::exchange(client_wants_, short{0}), 0};
      if (left.count() <= 0 || poll(&ready, 1, static_cast<int>(left.count())) == 0) return false;
    }
  }

  // Until one side ends it.
  void Run(int local) {
    while (Move(local)) {
      pollfd ready[] = {{client_, std::exchange(client_wants_, short{0}), 0},
                        {local, std::exchange(local_wants_, short{0}), 0}};
      for (pollfd& one : ready) {
        if (one.events == 0) one.fd = -1;
      }
      if (poll(ready, 2, -1) < 0 && errno != EINTR) return;
    }
    ERR_clear_error();
    SSL_shutdown(ssl_);
  }

 private:
  // What has to be ready before TLS goes on after `result`. False: it does not.
  bool Await(int result) {
    switch (SSL_get_error(ssl_, result)) {
      case SSL_ERROR_WANT_READ:
        client_wants_ |= POLLIN;
        return true;
      case SSL_ERROR_WANT_WRITE:
        client_wants_ |= POLLOUT;
        return true;
      default:
        return false;
    }
  }
  static bool MayRetry() { return errno == EAGAIN || errno == EINTR; }

  // Moves what can be moved. False: the connection is over.
  bool Move(int local) {
    for (bool moved = true; std::exchange(moved, false);) {
      client_wants_ = local_wants_ = 0;
      if (in_.empty() && !in_.ended) {
        ERR_clear_error();
        const int n = SSL_read(ssl_, in_.buffer.data(), static_cast<int>(in_.buffer.size()));
        if (n > 0) {
          in_.Fill(static_cast<size_t>(n));
        } else if (SSL_get_error(ssl_, n) == SSL_ERROR_ZERO_RETURN) {
          in_.ended = true;
          shutdown(local, SHUT_WR);
        } else if (!Await(n)) {
          return false;
        }
      }
      if (!in_.empty()) {
        const ssize_t n = send(local, in_.buffer.data() + in_.begin, in_.end - in_.begin, MSG_NOSIGNAL);
        if (n < 0 && !MayRetry()) return false;
        if (n < 0) local_wants_ |= POLLOUT;
        if (n > 0) in_.begin += static_cast<size_t>(n), moved = true;
      }
      if (out_.empty()) {
        const ssize_t n = recv(local, out_.buffer.data(), out_.buffer.size(), 0);
        if (n == 0 || (n < 0 && !MayRetry())) return false;
        if (n < 0) local_wants_ |= POLLIN;
        if (n > 0) out_.Fill(static_cast<size_t>(n));
      }
      if (!out_.empty()) {
        ERR_clear_error();
        const int n = SSL_write(ssl_, out_.buffer.data() + out_.begin, static_cast<int>(out_.end - out_.begin));
        if (n <= 0 && !Await(n)) return false;
        if (n > 0) out_.begin += static_cast<size_t>(n), moved = true;
      }
    }
    return true;
  }

  SSL* const ssl_;
  const int client_;
  short client_wants_ = 0, local_wants_ = 0;  // events of poll()
  Half in_, out_;
};

}  // namespace

TlsGate::TlsGate(SSL_CTX* context, std::function<void(Fd)> take, TlsLimits limits)
    : context_(context, SSL_CTX_free), take_(std::move(take)), limits_(limits) {}

Result<std::unique_ptr<TlsGate>> TlsGate::Open(const TlsFiles& files, std::function<void(Fd)> take, TlsLimits limits) {
  std::unique_ptr<TlsGate> gate(new TlsGate(SSL_CTX_new(TLS_server_method()), std::move(take), limits));
  SSL_CTX* context = gate->context_.get();
  CHECK(context != nullptr);
  ERR_clear_error();
  SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
  SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_alpn_select_cb(context, SelectH2, nullptr);
  if (SSL_CTX_use_certificate_chain_file(context, files.certificate.c_str()) != 1) {
    return Invalid("cannot use the certificate {}: {}", files.certificate, LastTlsError());
  }
  if (SSL_CTX_use_PrivateKey_file(context, files.key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return Invalid("cannot use the key {} of {}: {}", files.key, files.certificate, LastTlsError());
  }
  if (!files.client_ca.empty()) {
    auto* authorities = SSL_load_client_CA_file(files.client_ca.c_str());
    if (authorities == nullptr || SSL_CTX_load_verify_locations(context, files.client_ca.c_str(), nullptr) != 1) {
      return Invalid("cannot use the authority {} of clients: {}", files.client_ca, LastTlsError());
    }
    SSL_CTX_set_client_CA_list(context, authorities);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return gate;
}

TlsGate::~TlsGate() {
  Close();
  for (Connection& connection : *connections_.Lock()) connection.thread.request_stop();
  connections_.Lock()->clear();
}

void TlsGate::Close() { *closed_.Lock() = true; }

void TlsGate::Admit(Fd fd) {
  auto connections = connections_.Lock();
  connections->remove_if([](const Connection& connection) { return connection.over.load(); });
  if (connections->size() >= limits_.connections) {
    LOG_WARN("a client on tcp is turned away: {} are connected", connections->size());
    return;
  }
  Connection& connection = connections->emplace_back();
  connection.thread = std::jthread([this, &connection, fd = std::move(fd)](std::stop_token stop) {
    {
      std::stop_callback end(stop, [&] { shutdown(fd.get(), SHUT_RDWR); });
      Serve(fd);
    }
    connection.over = true;
  });
}

void TlsGate::Serve(const Fd& connection) {
  std::unique_ptr<SSL, void (*)(SSL*)> ssl(SSL_new(context_.get()), SSL_free);
  if (!ssl || SSL_set_fd(ssl.get(), connection.get()) != 1) return;
  Relay relay(ssl.get(), connection.get());
  if (!relay.Handshake(limits_.handshake)) {
    LOG_INFO("a client on tcp was not let in: {}", ERR_peek_last_error() != 0 ? LastTlsError() : "no TLS in time");
    return;
  }
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) != 0) {
    LOG_WARN("{}", ErrnoError(errno, "make a socket for a client on tcp").message);
    return;
  }
  const Fd local(ends[0]);
  Fd behind(ends[1]);
  {
    auto closed = closed_.Lock();
    if (*closed) return;
    take_(std::move(behind));
  }
  relay.Run(local.get());
}

}  // namespace varve::daemon
