#include "session/ssh_forward.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>

#include "api/sshforward.grpc.pb.h"
#include "base/log.h"
#include "session/byte_pipe.h"
#include "session/rpc.h"
#include "sys/stop_event.h"

namespace varve::session {
namespace {

using moby::sshforward::v1::BytesMessage;

constexpr char kMethod[] = "/moby.sshforward.v1.SSH/ForwardAgent";
constexpr auto kTimeout = std::chrono::seconds(60);

using AgentStream = grpc::ClientReaderWriterInterface<BytesMessage, BytesMessage>;

class AgentBytes final : public MessageBytes<BytesMessage, AgentStream> {
 public:
  AgentBytes(Call& call, AgentStream& stream) : MessageBytes(stream), call_(call) {}
  void Cancel() override { call_.Cancel(); }
  void Close() override { stream_.WritesDone(); }

 private:
  Call& call_;
};

}  // namespace

struct ForwardedAgent::Connection {
  Connection(std::shared_ptr<Session> session, const std::string& id, Fd fd)
      : socket(std::move(fd)), thread([this, session = std::move(session), id](std::stop_token stop) {
          Call call(stop);
          call.Add("buildkit.ssh.id", id);
          const auto stub = moby::sshforward::v1::SSH::NewStub(session->channel());
          const auto stream = stub->ForwardAgent(call.context());
          AgentBytes bytes(call, *stream);
          MoveBytes(socket.get(), bytes);
          (void)stream->Finish();
          done = true;
        }) {}
  Fd socket;
  std::atomic<bool> done = false;
  std::jthread thread;  // last: it uses the others
};

Result<std::unique_ptr<ForwardedAgent>> ForwardedAgent::Start(std::shared_ptr<Session> session,
                                                              const std::string& wanted,
                                                              const std::string& directory,
                                                              std::stop_token stop) {
  const std::string id = wanted.empty() ? "default" : wanted;
  if (!session->Supports(kMethod)) {
    Error error = Invalid("the client forwards no ssh agent, and the build wants \"{}\"", id);
    error.hint = "pass --ssh " + id;
    return error;
  }
  {
    Call call(std::move(stop), kTimeout);
    moby::sshforward::v1::CheckAgentRequest request;
    moby::sshforward::v1::CheckAgentResponse response;
    request.set_id(id);
    const auto stub = moby::sshforward::v1::SSH::NewStub(session->channel());
    const grpc::Status status = stub->CheckAgent(call.context(), request, &response);
    if (!status.ok()) return call.ToError(status, fmt::format("ssh agent \"{}\" of the client", id));
  }
  static std::atomic<uint64_t> count = 0;
  const std::string path = fmt::format("{}/agent-{}-{}", directory, ::getpid(), count++);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return Invalid("{} is too long a path for a socket", path);
  path.copy(address.sun_path, path.size());
  Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener) return ErrnoError(errno, "make a socket for an ssh agent");
  // The permissions of the descriptor become those of the file; umask is the whole process's.
  if (::fchmod(listener.get(), 0600) != 0 ||
      ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(listener.get(), 16) != 0) {
    return ErrnoError(errno, "listen on " + path);
  }
  return std::unique_ptr<ForwardedAgent>(
      new ForwardedAgent(std::move(session), id, path, std::move(listener)));
}

ForwardedAgent::ForwardedAgent(std::shared_ptr<Session> session, std::string id, std::string path, Fd listener)
    : session_(std::move(session)),
      id_(std::move(id)),
      path_(std::move(path)),
      listener_(std::move(listener)),
      thread_([this](std::stop_token stop) { Accept(stop); }) {}

ForwardedAgent::~ForwardedAgent() {
  ::unlink(path_.c_str());
  thread_.request_stop();
  thread_.join();
  for (const auto& connection : connections_) {
    connection->thread.request_stop();
    ::shutdown(connection->socket.get(), SHUT_RDWR);
  }
}

void ForwardedAgent::Accept(std::stop_token stop) {
  const sys::StopEvent stopped(stop);
  while (!stop.stop_requested()) {
    std::erase_if(connections_, [](const auto& connection) { return connection->done.load(); });
    // Connections that ended are noticed at the latest when the next one comes.
    const bool full = connections_.size() >= kMaxConnections;
    pollfd fds[2] = {{stopped.fd(), POLLIN, 0}, {full ? -1 : listener_.get(), POLLIN, 0}};
    if (::poll(fds, 2, full ? 50 : -1) < 0 && errno != EINTR) return;
    if (!(fds[1].revents & POLLIN)) continue;
    Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!connection) continue;
    connections_.push_back(std::make_unique<Connection>(session_, id_, std::move(connection)));
  }
}

}  // namespace varve::session
