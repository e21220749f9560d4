#include "session/ssh_forward.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <chrono>

#include "api/sshforward.grpc.pb.h"
#include "session/byte_pipe.h"
#include "session/rpc.h"

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

Result<std::unique_ptr<ForwardedAgent>> ForwardedAgent::Start(std::shared_ptr<Session> session,
                                                              const std::string& wanted, const std::string& directory,
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
  auto serve = [session = std::move(session), id](int connection, std::stop_token stopping) {
    Call call(std::move(stopping));
    call.Add("buildkit.ssh.id", id);
    const auto stub = moby::sshforward::v1::SSH::NewStub(session->channel());
    const auto stream = stub->ForwardAgent(call.context());
    AgentBytes bytes(call, *stream);
    MoveBytes(connection, bytes);
    (void)stream->Finish();
  };
  TRY_ASSIGN(auto server, sys::SocketServer::Listen(path, {.uid = ::geteuid(), .gid = ::getegid()}, std::move(serve)));
  return std::unique_ptr<ForwardedAgent>(new ForwardedAgent(id, std::move(server)));
}

}  // namespace varve::session
