#include "daemon/bridge_service.h"

namespace varve::daemon {

namespace {

// `use(job)` with the job of the call.
template <class Use>
grpc::Status WithJob(Jobs& jobs, grpc::ServerContext& context, Use use) {
  const auto& metadata = context.client_metadata();
  auto id = metadata.find("buildkit-controlapi-buildid");
  if (id == metadata.end()) return {grpc::StatusCode::INVALID_ARGUMENT, "no buildid found in context"};
  std::string ref(id->second.data(), id->second.size());
  std::shared_ptr<SolveJob> job = jobs.Find(ref);
  // The words and the code by which a client knows to try again.
  if (job == nullptr) return {grpc::StatusCode::NOT_FOUND, "no such job " + ref};
  auto entered = job->Enter();
  return ToGrpc(use(*job));
}

}  // namespace

grpc::Status BridgeService::Ping(grpc::ServerContext* context, const gateway::PingRequest*,
                                 gateway::PongResponse* response) {
  return WithJob(jobs_, *context, [&](SolveJob&) {
    FillPong(worker_, *response);
    return google::rpc::Status();
  });
}

grpc::Status BridgeService::Solve(grpc::ServerContext* context, const gateway::SolveRequest* request,
                                  gateway::SolveResponse* response) {
  return WithJob(jobs_, *context, [&](SolveJob& job) { return job.Solve(*request, *response); });
}

grpc::Status BridgeService::Return(grpc::ServerContext* context, const gateway::ReturnRequest* request,
                                   gateway::ReturnResponse*) {
  return WithJob(jobs_, *context, [&](SolveJob& job) {
    job.Return(*request);
    return google::rpc::Status();
  });
}

grpc::Status BridgeService::Inputs(grpc::ServerContext* context, const gateway::InputsRequest*,
                                   gateway::InputsResponse* response) {
  return WithJob(jobs_, *context, [&](SolveJob& job) {
    *response->mutable_definitions() = job.request().frontend_inputs();
    return google::rpc::Status();
  });
}

grpc::Status BridgeService::ResolveImageConfig(grpc::ServerContext* context,
                                               const gateway::ResolveImageConfigRequest* request,
                                               gateway::ResolveImageConfigResponse* response) {
  return WithJob(jobs_, *context, [&](SolveJob& job) { return job.ResolveImage(*request, *response); });
}

grpc::Status BridgeService::ResolveSourceMeta(grpc::ServerContext* context,
                                              const gateway::ResolveSourceMetaRequest* request,
                                              gateway::ResolveSourceMetaResponse* response) {
  return WithJob(jobs_, *context, [&](SolveJob& job) { return job.ResolveSource(*request, *response); });
}

grpc::Status BridgeService::Evaluate(grpc::ServerContext* context, const gateway::EvaluateRequest* request,
                                     gateway::EvaluateResponse*) {
  return WithJob(jobs_, *context, [&](SolveJob& job) { return job.Evaluate(request->ref()); });
}

grpc::Status BridgeService::ReadFile(grpc::ServerContext* context, const gateway::ReadFileRequest* request,
                                     gateway::ReadFileResponse* response) {
  return WithJob(jobs_, *context, [&](SolveJob& job) { return job.ReadFile(*request, *response); });
}

grpc::Status BridgeService::ReadDir(grpc::ServerContext* context, const gateway::ReadDirRequest* request,
                                    gateway::ReadDirResponse* response) {
  return WithJob(jobs_, *context, [&](SolveJob& job) { return job.ReadDir(*request, *response); });
}

grpc::Status BridgeService::StatFile(grpc::ServerContext* context, const gateway::StatFileRequest* request,
                                     gateway::StatFileResponse* response) {
  return WithJob(jobs_, *context, [&](SolveJob& job) { return job.StatFile(*request, *response); });
}

grpc::Status BridgeService::Warn(grpc::ServerContext* context, const gateway::WarnRequest* request,
                                 gateway::WarnResponse*) {
  return WithJob(jobs_, *context, [&](SolveJob& job) {
    job.Warn(*request);
    return google::rpc::Status();
  });
}

}  // namespace varve::daemon
