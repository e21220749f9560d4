#include "daemon/bridge_service.h"

#include "daemon/failure.h"
#include "daemon/ref_files.h"

namespace varve::daemon {

namespace {

// `use(caller)`, which gives google.rpc's status.
template <class Use>
grpc::Status Answer(const WithCaller& with_caller, grpc::ServerContext& context, Use use) {
  return with_caller(context, [&](const BridgeCaller& caller) { return ToGrpc(use(caller)); });
}

grpc::Status ToGrpc(const Status& status) { return status ? grpc::Status::OK : daemon::ToGrpc(status.error()); }

// `use(files)`, with what a mount of a container shows now.
template <class Use>
grpc::Status WithMount(const WithCaller& with_caller, grpc::ServerContext& context, const std::string& id, int mount,
                       Use use) {
  return with_caller(context, [&](const BridgeCaller& caller) {
    auto read = [&]() -> Status {
      TRY_ASSIGN(auto container, caller.containers.Find(id));
      TRY_ASSIGN(std::string directory, container->DirectoryOf(static_cast<size_t>(mount)));
      TRY_ASSIGN(RefFiles files, RefFiles::OpenDirectory(directory));
      return use(files);
    };
    return ToGrpc(read());
  });
}

}  // namespace

WithCaller CallersOf(Jobs& jobs) {
  return [&jobs](grpc::ServerContext& context, const UseCaller& use) -> grpc::Status {
    const auto& metadata = context.client_metadata();
    auto id = metadata.find("buildkit-controlapi-buildid");
    if (id == metadata.end()) return {grpc::StatusCode::INVALID_ARGUMENT, "no buildid found in context"};
    std::string ref(id->second.data(), id->second.size());
    std::shared_ptr<SolveJob> job = jobs.Find(ref);
    // The words and the code by which a client knows to try again.
    if (job == nullptr) return {grpc::StatusCode::NOT_FOUND, "no such job " + ref};
    auto entered = job->Enter();
    return use({*job, job->containers(), job->request().frontend_inputs(),
                [&](const gateway::ReturnRequest& request) { job->Return(request); }});
  };
}

grpc::Status BridgeService::Ping(grpc::ServerContext* context, const gateway::PingRequest*,
                                 gateway::PongResponse* response) {
  return Answer(with_caller_, *context, [&](const BridgeCaller&) {
    FillPong(worker_, *response);
    return google::rpc::Status();
  });
}

grpc::Status BridgeService::Solve(grpc::ServerContext* context, const gateway::SolveRequest* request,
                                  gateway::SolveResponse* response) {
  return Answer(with_caller_, *context,
                [&](const BridgeCaller& caller) { return caller.job.Solve(*request, *response, caller.asked); });
}

grpc::Status BridgeService::Return(grpc::ServerContext* context, const gateway::ReturnRequest* request,
                                   gateway::ReturnResponse*) {
  return Answer(with_caller_, *context, [&](const BridgeCaller& caller) {
    caller.on_return(*request);
    return google::rpc::Status();
  });
}

grpc::Status BridgeService::Inputs(grpc::ServerContext* context, const gateway::InputsRequest*,
                                   gateway::InputsResponse* response) {
  return Answer(with_caller_, *context, [&](const BridgeCaller& caller) {
    *response->mutable_definitions() = caller.inputs;
    return google::rpc::Status();
  });
}

grpc::Status BridgeService::ResolveImageConfig(grpc::ServerContext* context,
                                               const gateway::ResolveImageConfigRequest* request,
                                               gateway::ResolveImageConfigResponse* response) {
  return Answer(with_caller_, *context,
                [&](const BridgeCaller& caller) { return caller.job.ResolveImage(*request, *response); });
}

grpc::Status BridgeService::ResolveSourceMeta(grpc::ServerContext* context,
                                              const gateway::ResolveSourceMetaRequest* request,
                                              gateway::ResolveSourceMetaResponse* response) {
  return Answer(with_caller_, *context,
                [&](const BridgeCaller& caller) { return caller.job.ResolveSource(*request, *response); });
}

grpc::Status BridgeService::Evaluate(grpc::ServerContext* context, const gateway::EvaluateRequest* request,
                                     gateway::EvaluateResponse*) {
  return Answer(with_caller_, *context,
                [&](const BridgeCaller& caller) { return caller.job.Evaluate(request->ref()); });
}

grpc::Status BridgeService::ReadFile(grpc::ServerContext* context, const gateway::ReadFileRequest* request,
                                     gateway::ReadFileResponse* response) {
  return Answer(with_caller_, *context,
                [&](const BridgeCaller& caller) { return caller.job.ReadFile(*request, *response); });
}

grpc::Status BridgeService::ReadDir(grpc::ServerContext* context, const gateway::ReadDirRequest* request,
                                    gateway::ReadDirResponse* response) {
  return Answer(with_caller_, *context,
                [&](const BridgeCaller& caller) { return caller.job.ReadDir(*request, *response); });
}

grpc::Status BridgeService::StatFile(grpc::ServerContext* context, const gateway::StatFileRequest* request,
                                     gateway::StatFileResponse* response) {
  return Answer(with_caller_, *context,
                [&](const BridgeCaller& caller) { return caller.job.StatFile(*request, *response); });
}

grpc::Status BridgeService::Warn(grpc::ServerContext* context, const gateway::WarnRequest* request,
                                 gateway::WarnResponse*) {
  return Answer(with_caller_, *context, [&](const BridgeCaller& caller) {
    caller.job.Warn(*request);
    return google::rpc::Status();
  });
}

grpc::Status BridgeService::NewContainer(grpc::ServerContext* context, const gateway::NewContainerRequest* request,
                                         gateway::NewContainerResponse*) {
  return Answer(with_caller_, *context,
                [&](const BridgeCaller& caller) { return caller.job.NewContainer(*request, caller.containers); });
}

grpc::Status BridgeService::ReleaseContainer(grpc::ServerContext* context,
                                             const gateway::ReleaseContainerRequest* request,
                                             gateway::ReleaseContainerResponse*) {
  return with_caller_(
      *context, [&](const BridgeCaller& caller) { return ToGrpc(caller.containers.Release(request->container_id())); });
}

grpc::Status BridgeService::ExecProcess(grpc::ServerContext* context, ExecMessages* stream) {
  return with_caller_(*context, [&](const BridgeCaller& caller) {
    // The job's end does not wait for a client that only listens.
    std::stop_callback end(caller.job.stopping(), [&] { context->TryCancel(); });
    return ServeExecProcess(*stream, caller.containers);
  });
}

grpc::Status BridgeService::ReadFileContainer(grpc::ServerContext* context, const gateway::ReadFileRequest* request,
                                              gateway::ReadFileResponse* response) {
  return WithMount(with_caller_, *context, request->ref(), request->mount_index(), [&](RefFiles& files) -> Status {
    TRY_ASSIGN(*response->mutable_data(),
               files.Read(request->file_path(), request->range().offset(), request->range().length()));
    return Ok();
  });
}

grpc::Status BridgeService::ReadDirContainer(grpc::ServerContext* context, const gateway::ReadDirRequest* request,
                                             gateway::ReadDirResponse* response) {
  return WithMount(with_caller_, *context, request->ref(), request->mount_index(), [&](RefFiles& files) -> Status {
    TRY_ASSIGN(auto entries, files.List(request->dir_path(), request->include_pattern()));
    for (auto& entry : entries) *response->add_entries() = std::move(entry);
    return Ok();
  });
}

grpc::Status BridgeService::StatFileContainer(grpc::ServerContext* context, const gateway::StatFileRequest* request,
                                              gateway::StatFileResponse* response) {
  return WithMount(with_caller_, *context, request->ref(), request->mount_index(), [&](RefFiles& files) -> Status {
    TRY_ASSIGN(*response->mutable_stat(), files.Stat(request->path()));
    return Ok();
  });
}

}  // namespace varve::daemon
