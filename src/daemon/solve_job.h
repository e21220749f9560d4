// One Control.Solve, from the request to the answer.
//
// A client that has its own front end (buildx does: it asks the daemon's for the work) gives neither a front end
// nor a definition. The job then waits while the client calls LLBBridge with the job's ref, and goes on with
// what it hands to LLBBridge.Return.
//
// Threads: Finish blocks in Control.Solve's thread; the bridge's calls come from others.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>
#include <stop_token>
#include <string>

#include "api/control.pb.h"
#include "api/gateway.pb.h"
#include "daemon/capabilities.h"
#include "daemon/client.h"
#include "daemon/devices.h"
#include "daemon/dockerfile_build.h"
#include "daemon/failure.h"
#include "daemon/frontend_containers.h"
#include "daemon/invocations.h"
#include "daemon/job_policy.h"
#include "daemon/llb_build.h"
#include "daemon/status_feed.h"
#include "job/build_history.h"
#include "job/workspace.h"

namespace varve::daemon {

// What the daemon's operator lets builds do.
struct SolvePolicy {
  std::string root;                          // state directory
  std::set<std::string> entitlements;        // network.host, security.insecure, device
  std::set<std::string> disabled_frontends;  // "dockerfile.v0", "gateway.v0"
  std::set<std::string>
      allowed_frontends;  // repositories of images that may be front ends, "docker.io/a/b"; empty: all
  DeviceRules devices = {};
  std::optional<registry::Config> registries;  // none: registries.json, as varve itself finds it
  exec::StepSettings steps = {};
  Json provenance_environment = {};  // an object, or null: what every build's provenance says of this builder
};

class SolveJob {
 public:
  // Of a session's client, when a build begins to need it.
  using FindClient = std::function<Result<std::shared_ptr<Client>>(std::stop_token stop)>;

  // `worker` and `invocations` outlive the job.
  SolveJob(control::SolveRequest request, SolvePolicy policy, const WorkerFacts& worker, Invocations& invocations,
           FindClient find_client);
  ~SolveJob();
  SolveJob(const SolveJob&) = delete;
  SolveJob& operator=(const SolveJob&) = delete;

  const std::string& ref() const { return request_.ref(); }
  const control::SolveRequest& request() const { return request_; }
  StatusFeed& feed() { return feed_; }
  std::shared_ptr<StatusFeed> shared_feed() { return feed_holder_; }

  // The whole of Control.Solve. Returns when the build is over; the feed has ended then.
  google::rpc::Status Finish(control::SolveResponse& response);
  void Cancel() { stop_.request_stop(); }
  std::stop_token stopping() const { return stop_.get_token(); }

  // The bridge's side. Whoever calls holds what Enter gives: the job does not end under a call, it asks the call to
  // end.
  std::shared_lock<std::shared_mutex> Enter() { return std::shared_lock(calls_); }
  // `caller`: how the front end was asked that calls; null: it is the client's own.
  google::rpc::Status Solve(const gateway::SolveRequest& request, gateway::SolveResponse& response,
                            const attest::Invocation* caller);
  google::rpc::Status ResolveImage(const gateway::ResolveImageConfigRequest& request,
                                   gateway::ResolveImageConfigResponse& response);
  google::rpc::Status ResolveSource(const gateway::ResolveSourceMetaRequest& request,
                                    gateway::ResolveSourceMetaResponse& response);
  google::rpc::Status Evaluate(const std::string& ref);
  google::rpc::Status ReadFile(const gateway::ReadFileRequest& request, gateway::ReadFileResponse& response);
  google::rpc::Status ReadDir(const gateway::ReadDirRequest& request, gateway::ReadDirResponse& response);
  google::rpc::Status StatFile(const gateway::StatFileRequest& request, gateway::StatFileResponse& response);
  void Warn(const gateway::WarnRequest& request);
  google::rpc::Status NewContainer(const gateway::NewContainerRequest& request, FrontendContainers& containers);
  FrontendContainers& containers() { return containers_; }
  void Return(const gateway::ReturnRequest& request);

  // As the history has it, once Finish has returned; nothing: the build is not in it.
  const std::optional<history::Build>& build() const { return build_; }
  // Of the parts of its result, by platform ("": the only one): SLSA provenance v1 in full, as JSON.
  const std::map<std::string, std::string>& provenance() const { return provenance_; }
  // The images that it has made, by the position of their exporter in the request.
  const std::map<size_t, oci::Descriptor>& images() const { return images_; }

 private:
  struct Opened;
  using Policies = google::protobuf::RepeatedPtrField<moby::buildkit::v1::sourcepolicy::Policy>;
  // A result that a front end has: all platforms of one build, or one of them.
  struct Made {
    std::shared_ptr<ClientBuild> build;
    size_t platform = 0;
    LlbBuild* llb = nullptr;                 // `build`, if it is one
    std::optional<cache::Rootfs> left = {};  // by a step that failed: of no build, and only to be looked into
  };

  // A part of what is to be exported.
  struct Wanted {
    std::string ref;
    Made made;
    WantedResult result;
    gateway::Attestations attestations = {};
  };

  Result<Opened*> Open();
  void Close(const google::rpc::Status& status);
  Status CheckRequest() const;
  google::rpc::Status Work(control::SolveResponse& response);
  std::optional<Failure> SolveFrontend(const std::string& frontend, const Attributes& attributes,
                                       const llb::Definitions& inputs, const Policies& policies, bool evaluate,
                                       gateway::Result& result);
  // Of a front end that is an image.
  struct FrontendFiles {
    pb::Definition definition;
    oci::ImageConfig config;
  };
  Result<FrontendFiles> FindFrontend(const std::string& source, const Attributes& attributes,
                                     const llb::Definitions& inputs, const Policies& policies);
  std::optional<Failure> SolveImageFrontend(const Attributes& attributes, const llb::Definitions& inputs,
                                            const Policies& policies, bool evaluate, gateway::Result& result);
  std::optional<Failure> Forward(const DockerfileBuild::OtherFrontend& to, Attributes attributes,
                                 const llb::Definitions& inputs, const Policies& policies, bool evaluate,
                                 gateway::Result& result);
  std::optional<Failure> EvaluateAll(const gateway::Result& result);
  std::optional<Failure> SolveDefinition(const pb::Definition& definition, const Policies& policies, bool evaluate,
                                         gateway::Result& result, const Attributes& attributes = {},
                                         const attest::Invocation* caller = nullptr);
  // A call of a front end; an empty name: the client itself.
  attest::Invocation Asked(const std::string& frontend, const Attributes& attributes,
                           const llb::Definitions& inputs) const;
  attest::Invocation AskedByClient() const;
  // The request's policies, then those of one call of a front end. Null: there are none.
  Result<std::shared_ptr<JobPolicy>> PolicyOf(const Policies& policies);
  // Of the request and of a front end's own attributes.
  Status ReadTargets(const Attributes& attributes, std::vector<tier::Spec>& cache_from, BuildTargets& targets) const;
  Result<BuildPlace> Place(std::shared_ptr<JobPolicy> policy);
  std::string NewRef(Made made);
  void Describe(const std::shared_ptr<DockerfileBuild>& build, const attest::Invocation& asked,
                gateway::Result& result);
  std::optional<Failure> FillEmptyRefs(gateway::Result& result);
  Result<std::vector<Wanted>> WantedOf(const gateway::Result& result);
  google::rpc::Status AwaitReturn(gateway::Result& result);
  std::optional<Failure> CheckMetadata(const gateway::Result& result);
  std::optional<Failure> Deliver(gateway::Result result, control::SolveResponse& response);
  Status AddClientsOutputs(const gateway::Result& result, const std::vector<Wanted>& wanted);
  std::vector<const LlbBuild*> LlbBuilds();
  std::optional<Failure> AttachAttestations(const std::vector<Wanted>& wanted, Opened& opened,
                                            std::vector<ResultPart>& parts);
  std::optional<Failure> AddScans(const std::vector<Wanted>& wanted);
  std::optional<Failure> RunAndExport(const std::vector<Wanted>& wanted, Json& metadata);
  void TellProvenance(const std::vector<Wanted>& wanted);
  std::optional<Failure> RunAndExportOnce(const std::vector<Wanted>& wanted, Opened& opened, Json& metadata);
  Result<Made> FindMade(const std::string& ref);
  Result<Made> FindBuilt(const std::string& ref);  // kInvalid for what a failed step has left
  // For a front end, who gets to know what it may look into if this fails.
  std::optional<Failure> Evaluate(ClientBuild& build, bool want_data);
  void Explain(Failure& failure);
  void ExplainExec(const FailedOp& failed, errdefs::Solve& solve);
  void ExplainFiles(const FailedOp& failed, errdefs::Solve& solve);
  std::string RefOf(const pb::Definition& definition);
  template <class Use>
  google::rpc::Status WithPolicy(const Policies& policies, Use use);
  template <class Use>
  google::rpc::Status WithFiles(const std::string& ref, Use use);
  // The layers of a result, here.
  std::optional<Failure> RootfsOf(const std::string& ref, cache::Rootfs& rootfs);

  const control::SolveRequest request_;
  const SolvePolicy policy_;
  const WorkerFacts& worker_;
  Invocations& invocations_;
  const FindClient find_client_;
  const std::shared_ptr<StatusFeed> feed_holder_;
  StatusFeed& feed_;
  std::stop_source stop_;

  std::mutex mutex_;  // guards what follows, up to the next comment
  std::condition_variable changed_;
  std::optional<gateway::ReturnRequest> returned_;
  std::unique_ptr<Opened> opened_;
  std::map<std::string, Made> made_;  // after opened_: builds use it
  bool over_ = false;

  std::shared_mutex calls_;
  std::mutex running_;  // one evaluation at a time
  FrontendContainers containers_;
  std::optional<history::Build> build_;
  std::map<size_t, oci::Descriptor> images_;
  std::map<std::string, std::string> provenance_;
};

}  // namespace varve::daemon
