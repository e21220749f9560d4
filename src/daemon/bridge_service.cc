#include "daemon/bridge_service.h"

#include "daemon/failure.h"
#include "daemon/ref_files.h"

namespace varve::daemon {

namespace {

// `use(job)`, which gives a gRPC status, with the job of the call.
template <class Use>
grpc::Status InJob(Jobs& jobs, grpc::ServerContext& context, Use use) {
  const auto& metadata = context.client_metadata();
  auto id = metadata.find("buildkit-controlapi-buildid");
  if (id == metadata.end()) return {grpc::StatusCode::INVALID_ARGUMENT, "no buildid found in context"};
  std::string ref(id->second.data(), id->second.size());
  std::shared_ptr<SolveJob> job = jobs.Find(ref);
  // The words and the code by which a client knows to try again.
  if (job == nullptr) return {grpc::StatusCode::NOT_FOUND, "no such job " + ref};
  auto entered = job->Enter();
  return use(*job);
}

template <class Use>
grpc::Status WithJob(Jobs& jobs, grpc::ServerContext& context, Use use) {
  return InJob(jobs, context, [&](SolveJob& job) { return ToGrpc(use(job)); });
}

grpc::Status ToGrpc(const Status& status) { return status ? grpc::Status::OK : daemon::ToGrpc(status.error()); }

// `use(files)`, with what a mount of a container shows now.
template <class Use>
grpc::Status WithMount(Jobs& jobs, grpc::ServerContext& context, const std::string& id, int mount, Use use) {
  return InJob(jobs, context, [&](SolveJob& job) {
    auto read = [&]() -> Status {
      TRY_ASSIGN(auto container, job.containers().Find(id));
      TRY_ASSIGN(std::string directory, container->DirectoryOf(static_cast<size_t>(mount)));
      TRY_ASSIGN(RefFiles files, RefFiles::OpenDirectory(directory));
      return use(files);
    };
    return ToGrpc(read());
  });
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

grpc::Status BridgeService::NewContainer(grpc::ServerContext* context, const gateway::NewContainerRequest* request,
                                         gateway::NewContainerResponse*) {
  return WithJob(jobs_, *context, [&](SolveJob& job) { return job.NewContainer(*request); });
}

grpc::Status BridgeService::ReleaseContainer(grpc::ServerContext* context,
                                             const gateway::ReleaseContainerRequest* request,
                                             gateway::ReleaseContainerResponse*) {
  return InJob(jobs_, *context, [&](SolveJob& job) { return ToGrpc(job.containers().Release(request->container_id())); });
}

grpc::Status BridgeService::ExecProcess(grpc::ServerContext* context, ExecMessages* stream) {
  return InJob(jobs_, *context, [&](SolveJob& job) {
    // The job's end does not wait for a client that only listens.
    std::stop_callback end(job.stopping(), [&] { context->TryCancel(); });
    return ServeExecProcess(*stream, job.containers());
  });
}

grpc::Status BridgeService::ReadFileContainer(grpc::ServerContext* context, const gateway::ReadFileRequest* request,
                                              gateway::ReadFileResponse* response) {
  return WithMount(jobs_, *context, request->ref(), request->mount_index(), [&](RefFiles& files) -> Status {
    TRY_ASSIGN(*response->mutable_data(), files.Read(request->file_path(), request->range().offset(),
                                                     request->range().length()));
    return Ok();
  });
}

grpc::Status BridgeService::ReadDirContainer(grpc::ServerContext* context, const gateway::ReadDirRequest* request,
                                             gateway::ReadDirResponse* response) {
  return WithMount(jobs_, *context, request->ref(), request->mount_index(), [&](RefFiles& files) -> Status {
    TRY_ASSIGN(auto entries, files.List(request->dir_path(), request->include_pattern()));
    for (auto& entry : entries) *response->add_entries() = std::move(entry);
    return Ok();
  });
}

grpc::Status BridgeService::StatFileContainer(grpc::ServerContext* context, const gateway::StatFileRequest* request,
                                              gateway::StatFileResponse* response) {
  return WithMount(jobs_, *context, request->ref(), request->mount_index(), [&](RefFiles& files) -> Status {
    TRY_ASSIGN(*response->mutable_stat(), files.Stat(request->path()));
    return Ok();
  });
}

}  // namespace varve::daemon
