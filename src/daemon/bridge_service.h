// moby.buildkit.v1.frontend.LLBBridge: a front end asks for the work of its job.
#pragma once

#include <functional>

#include "api/gateway.grpc.pb.h"
#include "daemon/capabilities.h"
#include "daemon/exec_stream.h"
#include "daemon/jobs.h"

namespace varve::daemon {

// The front end that makes a call, and what is its own in the job: several may be at work for one.
struct BridgeCaller {
  SolveJob& job;
  FrontendContainers& containers;
  const llb::Definitions& inputs;
  std::function<void(const gateway::ReturnRequest&)> on_return;
  const attest::Invocation* asked = nullptr;  // how; null: it is the client's own
};

// Calls `use` with who calls, which stays meanwhile; an error for callers that nobody knows.
using UseCaller = std::function<grpc::Status(const BridgeCaller&)>;
using WithCaller = std::function<grpc::Status(grpc::ServerContext&, const UseCaller& use)>;

// Of front ends in clients: the call's metadata `buildkit-controlapi-buildid` names the job.
WithCaller CallersOf(Jobs& jobs);

class BridgeService final : public gateway::LLBBridge::Service {
 public:
  BridgeService(WithCaller with_caller, const WorkerFacts& worker)
      : with_caller_(std::move(with_caller)), worker_(worker) {}

  grpc::Status ResolveImageConfig(grpc::ServerContext* context, const gateway::ResolveImageConfigRequest* request,
                                  gateway::ResolveImageConfigResponse* response) override;
  grpc::Status Solve(grpc::ServerContext* context, const gateway::SolveRequest* request,
                     gateway::SolveResponse* response) override;
  grpc::Status ReadFile(grpc::ServerContext* context, const gateway::ReadFileRequest* request,
                        gateway::ReadFileResponse* response) override;
  grpc::Status ReadDir(grpc::ServerContext* context, const gateway::ReadDirRequest* request,
                       gateway::ReadDirResponse* response) override;
  grpc::Status StatFile(grpc::ServerContext* context, const gateway::StatFileRequest* request,
                        gateway::StatFileResponse* response) override;
  grpc::Status ResolveSourceMeta(grpc::ServerContext* context, const gateway::ResolveSourceMetaRequest* request,
                                 gateway::ResolveSourceMetaResponse* response) override;
  grpc::Status Evaluate(grpc::ServerContext* context, const gateway::EvaluateRequest* request,
                        gateway::EvaluateResponse* response) override;
  grpc::Status Ping(grpc::ServerContext* context, const gateway::PingRequest* request,
                    gateway::PongResponse* response) override;
  grpc::Status Return(grpc::ServerContext* context, const gateway::ReturnRequest* request,
                      gateway::ReturnResponse* response) override;
  grpc::Status Inputs(grpc::ServerContext* context, const gateway::InputsRequest* request,
                      gateway::InputsResponse* response) override;
  grpc::Status Warn(grpc::ServerContext* context, const gateway::WarnRequest* request,
                    gateway::WarnResponse* response) override;

  grpc::Status NewContainer(grpc::ServerContext* context, const gateway::NewContainerRequest* request,
                            gateway::NewContainerResponse* response) override;
  grpc::Status ReleaseContainer(grpc::ServerContext* context, const gateway::ReleaseContainerRequest* request,
                                gateway::ReleaseContainerResponse* response) override;
  grpc::Status ExecProcess(grpc::ServerContext* context, ExecMessages* stream) override;
  grpc::Status ReadFileContainer(grpc::ServerContext* context, const gateway::ReadFileRequest* request,
                                 gateway::ReadFileResponse* response) override;
  grpc::Status ReadDirContainer(grpc::ServerContext* context, const gateway::ReadDirRequest* request,
                                gateway::ReadDirResponse* response) override;
  grpc::Status StatFileContainer(grpc::ServerContext* context, const gateway::StatFileRequest* request,
                                 gateway::StatFileResponse* response) override;

 private:
  const WithCaller with_caller_;
  const WorkerFacts& worker_;
};

}  // namespace varve::daemon
