// moby.buildkit.v1.frontend.LLBBridge: a client's own front end asks for the work of its job, which the call's
// metadata `buildkit-controlapi-buildid` names.
#pragma once

#include "api/gateway.grpc.pb.h"
#include "daemon/capabilities.h"
#include "daemon/exec_stream.h"
#include "daemon/jobs.h"

namespace varve::daemon {

class BridgeService final : public gateway::LLBBridge::Service {
 public:
  BridgeService(Jobs& jobs, const WorkerFacts& worker) : jobs_(jobs), worker_(worker) {}

  grpc::Status ResolveImageConfig(grpc::ServerContext* context,
                                  const gateway::ResolveImageConfigRequest* request,
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
  Jobs& jobs_;
  const WorkerFacts& worker_;
};

}  // namespace varve::daemon
