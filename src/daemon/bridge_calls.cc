// SolveJob's answers to what a front end asks of its job besides builds.
#include "base/strings.h"
#include "daemon/ref_files.h"
#include "daemon/solve_job_opened.h"

namespace varve::daemon {

namespace {

google::rpc::Status StatusOf(const Error& error) { return ToProto({.error = error}); }

}  // namespace

google::rpc::Status SolveJob::Evaluate(const std::string& ref) {
  auto made = FindMade(ref);
  if (!made) return StatusOf(made.error());
  auto failure = made->left ? std::nullopt : Evaluate(*made->build, false);
  return failure ? ToProto(*failure) : google::rpc::Status();
}

std::optional<Failure> SolveJob::RootfsOf(const std::string& ref, cache::Rootfs& rootfs) {
  auto made = FindMade(ref);
  if (!made) return Failure{made.error()};
  if (made->left) {
    rootfs = *made->left;
    return std::nullopt;
  }
  if (auto failure = Evaluate(*made->build, true)) return failure;
  rootfs = made->build->RootfsOf(made->platform);
  return std::nullopt;
}

// `use(files)`: with the result's root file system.
template <class Use>
google::rpc::Status SolveJob::WithFiles(const std::string& ref, Use use) {
  cache::Rootfs rootfs;
  if (auto failure = RootfsOf(ref, rootfs)) return ToProto(*failure);
  auto opened = Open();
  if (!opened) return StatusOf(opened.error());
  auto files = RefFiles::Open(rootfs.layers, (*opened)->workspace);
  if (!files) return StatusOf(files.error());
  Status used = use(*files);
  return used ? google::rpc::Status() : StatusOf(used.error());
}

google::rpc::Status SolveJob::ReadFile(const gateway::ReadFileRequest& request, gateway::ReadFileResponse& response) {
  return WithFiles(request.ref(), [&](RefFiles& files) -> Status {
    TRY_ASSIGN(*response.mutable_data(),
               files.Read(request.file_path(), request.range().offset(), request.range().length()));
    return Ok();
  });
}

google::rpc::Status SolveJob::ReadDir(const gateway::ReadDirRequest& request, gateway::ReadDirResponse& response) {
  return WithFiles(request.ref(), [&](RefFiles& files) -> Status {
    TRY_ASSIGN(auto entries, files.List(request.dir_path(), request.include_pattern()));
    for (auto& entry : entries) *response.add_entries() = std::move(entry);
    return Ok();
  });
}

google::rpc::Status SolveJob::StatFile(const gateway::StatFileRequest& request, gateway::StatFileResponse& response) {
  return WithFiles(request.ref(), [&](RefFiles& files) -> Status {
    TRY_ASSIGN(*response.mutable_stat(), files.Stat(request.path()));
    return Ok();
  });
}

google::rpc::Status SolveJob::NewContainer(const gateway::NewContainerRequest& request,
                                           FrontendContainers& containers) {
  std::vector<std::optional<cache::Rootfs>> inputs;
  for (const pb::Mount& mount : request.mounts()) {
    inputs.emplace_back();
    if (mount.result_id().empty()) continue;
    if (auto failure = RootfsOf(mount.result_id(), inputs.back().emplace())) return ToProto(*failure);
  }
  auto create = [&]() -> Status {
    TRY_ASSIGN(Opened * opened, Open());
    std::set<std::string> granted(request_.entitlements().begin(), request_.entitlements().end());
    TRY_ASSIGN(auto container, FrontendContainer::Create(request, inputs, std::move(granted), policy_.steps,
                                                         opened->workspace, *opened->client, stop_.get_token()));
    return containers.Add(request.container_id(), std::move(container));
  };
  Status created = create();
  return created ? google::rpc::Status() : StatusOf(created.error());
}

void SolveJob::Warn(const gateway::WarnRequest& request) {
  control::VertexWarning warning;
  warning.set_vertex(request.digest());
  warning.set_level(request.level());
  warning.set_short_(request.short_());
  *warning.mutable_detail() = request.detail();
  warning.set_url(request.url());
  if (request.has_info()) *warning.mutable_info() = request.info();
  *warning.mutable_ranges() = request.ranges();
  feed_.Warn(std::move(warning));
}

}  // namespace varve::daemon
