#include "gha_server/http_daemon.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "base/log.h"
#include "base/strings.h"
#include "gha_server/microhttpd_library.h"

namespace varve::gha_server {

namespace {

struct SocketAddress {
  sockaddr_storage storage = {};
  std::string host;  // as in a URL: an IPv6 address in brackets
  uint16_t port = 0;
};

Result<SocketAddress> ParseAddress(const std::string& text) {
  Error bad = Invalid("'{}' is not an address to listen on", text);
  bad.hint = "give HOST:PORT with a numeric host, such as 127.0.0.1:8377 or [::1]:8377";
  size_t colon = text.rfind(':');
  if (colon == text.npos) return bad;
  SocketAddress address{.host = text.substr(0, colon)};
  auto port = ParseInt(text.substr(colon + 1));
  if (!port || *port < 0 || *port > 65535) return bad;
  address.port = static_cast<uint16_t>(*port);
  std::string host = address.host;
  if (host.starts_with('[') && host.ends_with(']')) {
    auto& in6 = reinterpret_cast<sockaddr_in6&>(address.storage);
    in6.sin6_family = AF_INET6;
    in6.sin6_port = htons(address.port);
    if (inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &in6.sin6_addr) != 1) return bad;
  } else {
    auto& in = reinterpret_cast<sockaddr_in&>(address.storage);
    in.sin_family = AF_INET;
    in.sin_port = htons(address.port);
    if (inet_pton(AF_INET, host.c_str(), &in.sin_addr) != 1) return bad;
  }
  return address;
}

class MicrohttpdDaemon final : public HttpDaemon {
 public:
  MicrohttpdDaemon(const MicrohttpdLibrary& mhd, AcceptRequest accept) : mhd_(mhd), accept_(std::move(accept)) {}
  ~MicrohttpdDaemon() override {
    if (daemon_ != nullptr) mhd_.stop_daemon(daemon_);
  }

  Status Listen(const SocketAddress& address) {
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL;
    if (address.storage.ss_family == AF_INET6) flags |= MHD_USE_IPv6;
    daemon_ =
        mhd_.start_daemon(flags, address.port, nullptr, nullptr, &MicrohttpdDaemon::OnRequest, this,
                          MHD_OPTION_SOCK_ADDR, reinterpret_cast<const sockaddr*>(&address.storage),
                          MHD_OPTION_NOTIFY_COMPLETED, &MicrohttpdDaemon::OnCompleted, nullptr,
                          MHD_OPTION_CONNECTION_MEMORY_LIMIT, size_t{256} << 10,  // its read buffer: 16 KiB calls cost
                          MHD_OPTION_CONNECTION_TIMEOUT, 120u, MHD_OPTION_END);
    if (daemon_ == nullptr) {
      return ErrnoError(errno, fmt::format("listen on {}:{}", address.host, address.port));
    }
    const MHD_DaemonInfo* info = mhd_.get_daemon_info(daemon_, MHD_DAEMON_INFO_BIND_PORT);
    address_ = fmt::format("{}:{}", address.host, info != nullptr ? info->port : address.port);
    return Ok();
  }

  std::string Address() const override { return address_; }

 private:
  static MHD_Result OnRequest(void* self, MHD_Connection* connection, const char* url, const char* method, const char*,
                              const char* data, size_t* size, void** state) {
    return static_cast<MicrohttpdDaemon*>(self)->Request(connection, url, method, data, size, state);
  }

  static void OnCompleted(void*, MHD_Connection*, void** state, MHD_RequestTerminationCode) {
    delete static_cast<Exchange*>(*state);
    *state = nullptr;
  }

  // Called when the headers are there, then for each part of the body, then once with an empty part.
  MHD_Result Request(MHD_Connection* connection, const char* url, const char* method, const char* data, size_t* size,
                     void** state) {
    auto* exchange = static_cast<Exchange*>(*state);
    if (exchange == nullptr) {
      HttpRequest request{.method = method, .path = url};
      mhd_.get_connection_values(connection, MHD_GET_ARGUMENT_KIND, AddQuery, &request.query);
      mhd_.get_connection_values(connection, MHD_HEADER_KIND, AddHeader, &request.headers);
      *state = accept_(std::move(request)).release();
      return MHD_YES;
    }
    if (*size != 0) {
      exchange->Body({data, *size});
      *size = 0;
      return MHD_YES;
    }
    return Send(connection, exchange->Finish());
  }

  MHD_Result Send(MHD_Connection* connection, HttpReply reply) {
    MHD_Response* response =
        reply.file
            ? mhd_.create_response_from_fd_at_offset64(reply.file->size, reply.file->fd.Release(), reply.file->offset)
            : mhd_.create_response_from_buffer(reply.body.size(), reply.body.data(), MHD_RESPMEM_MUST_COPY);
    if (response == nullptr) return MHD_NO;
    for (const auto& [name, value] : reply.headers) {
      mhd_.add_response_header(response, name.c_str(), value.c_str());
    }
    MHD_Result queued = mhd_.queue_response(connection, static_cast<unsigned>(reply.status), response);
    mhd_.destroy_response(response);
    return queued;
  }

  static MHD_Result AddQuery(void* to, MHD_ValueKind, const char* name, const char* value) {
    (*static_cast<std::map<std::string, std::string>*>(to))[name] = value != nullptr ? value : "";
    return MHD_YES;
  }
  static MHD_Result AddHeader(void* to, MHD_ValueKind, const char* name, const char* value) {
    (*static_cast<std::map<std::string, std::string>*>(to))[ToLower(name)] = value != nullptr ? value : "";
    return MHD_YES;
  }

  const MicrohttpdLibrary& mhd_;
  const AcceptRequest accept_;
  MHD_Daemon* daemon_ = nullptr;
  std::string address_;
};

std::string ValueOf(const std::map<std::string, std::string>& map, const std::string& name) {
  auto it = map.find(name);
  return it == map.end() ? std::string() : it->second;
}

}  // namespace

std::string HttpRequest::Header(const std::string& name) const { return ValueOf(headers, name); }
std::string HttpRequest::Query(const std::string& name) const { return ValueOf(query, name); }

Result<std::unique_ptr<HttpDaemon>> HttpDaemon::Start(const std::string& address, AcceptRequest accept) {
  TRY_ASSIGN(SocketAddress parsed, ParseAddress(address));
  TRY_ASSIGN(const MicrohttpdLibrary* mhd, MicrohttpdLibrary::Get());
  auto daemon = std::make_unique<MicrohttpdDaemon>(*mhd, std::move(accept));
  TRY(daemon->Listen(parsed));
  return std::unique_ptr<HttpDaemon>(std::move(daemon));
}

}  // namespace varve::gha_server
