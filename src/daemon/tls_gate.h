// TLS in front of gRPC: clients on tcp are asked for their certificates here, and gRPC gets what they say as plain
// bytes.
//
// gRPC's own server refuses clients that do not offer "h2" by ALPN, and docker buildx's remote driver offers nothing
// (it dials TLS by itself and speaks HTTP/2 over that). Who offers protocols must offer h2, as elsewhere.
#pragma once

#include <openssl/types.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/result.h"

namespace varve::daemon {

struct TlsFiles {
  std::string certificate, key;  // of the daemon, PEM
  std::string client_ca;         // clients must have a certificate of this authority; empty: they are not asked
};

struct TlsLimits {
  size_t connections = 2000;           // more are closed at once
  std::chrono::seconds handshake{10};  // a client that takes longer is closed
};

// Safe from any thread.
class TlsGate {
 public:
  // `take` gets this machine's end of each connection whose client was let in, non-blocking, from a thread of the gate.
  // kInvalid for files that are not what they should be.
  static Result<std::unique_ptr<TlsGate>> Open(const TlsFiles& files, std::function<void(Fd)> take,
                                               TlsLimits limits = {});
  ~TlsGate();  // ends what is connected

  // Returns at once; the handshake is a thread's.
  void Admit(Fd connection);
  // On return nothing is given to `take` any more. What is connected goes on.
  void Close();

 private:
  struct Connection {
    std::atomic<bool> over = false;
    std::jthread thread;
  };
  TlsGate(SSL_CTX* context, std::function<void(Fd)> take, TlsLimits limits);
  void Serve(const Fd& connection);

  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_;
  const std::function<void(Fd)> take_;
  const TlsLimits limits_;
  Guarded<bool> closed_{false};  // held while something is given to take_
  Guarded<std::list<Connection>> connections_;
};

}  // namespace varve::daemon
