// moby.buildkit.v1.Control over the parts of the daemon: each method is a few lines that say in protobuf what
// another file does.
#pragma once

#include "api/control.grpc.pb.h"
#include "daemon/build_records.h"
#include "daemon/capabilities.h"
#include "daemon/jobs.h"
#include "daemon/metrics.h"
#include "daemon/telemetry.h"
#include "session/contexts.h"
#include "session/sessions.h"

namespace varve::daemon {

class ControlService final : public control::Control::Service {
 public:
  // All must outlive the service.
  ControlService(Jobs& jobs, session::Sessions& sessions, session::Contexts& contexts, BuildRecords& records,
                 Metrics& metrics, Telemetry& telemetry, const SolvePolicy& policy, const WorkerFacts& worker)
      : jobs_(jobs), sessions_(sessions), contexts_(contexts), records_(records), metrics_(metrics),
        telemetry_(telemetry), policy_(policy), worker_(worker) {}

  grpc::Status DiskUsage(grpc::ServerContext* context, const control::DiskUsageRequest* request,
                         control::DiskUsageResponse* response) override;
  grpc::Status Prune(grpc::ServerContext* context, const control::PruneRequest* request,
                     grpc::ServerWriter<control::UsageRecord>* writer) override;
  grpc::Status Solve(grpc::ServerContext* context, const control::SolveRequest* request,
                     control::SolveResponse* response) override;
  grpc::Status Status(grpc::ServerContext* context, const control::StatusRequest* request,
                      grpc::ServerWriter<control::StatusResponse>* writer) override;
  grpc::Status Session(grpc::ServerContext* context,
                       grpc::ServerReaderWriter<control::BytesMessage, control::BytesMessage>* stream) override;
  grpc::Status ListWorkers(grpc::ServerContext* context, const control::ListWorkersRequest* request,
                           control::ListWorkersResponse* response) override;
  grpc::Status Info(grpc::ServerContext* context, const control::InfoRequest* request,
                    control::InfoResponse* response) override;
  grpc::Status ListenBuildHistory(grpc::ServerContext* context, const control::BuildHistoryRequest* request,
                                  grpc::ServerWriter<control::BuildHistoryEvent>* writer) override;
  grpc::Status UpdateBuildHistory(grpc::ServerContext* context, const control::UpdateBuildHistoryRequest* request,
                                  control::UpdateBuildHistoryResponse* response) override;

 private:
  grpc::Status Build(grpc::ServerContext& context, const control::SolveRequest& request,
                     control::SolveResponse& response);

  Jobs& jobs_;
  session::Sessions& sessions_;
  session::Contexts& contexts_;
  BuildRecords& records_;
  Metrics& metrics_;
  Telemetry& telemetry_;
  const SolvePolicy& policy_;
  const WorkerFacts& worker_;
  Invocations invocations_;
};

}  // namespace varve::daemon
