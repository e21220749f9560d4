#include "daemon/control_service.h"

#include <condition_variable>
#include <mutex>
#include <thread>

#include "attest/statement.h"
#include "base/log.h"
#include "daemon/session_client.h"
#include "daemon/usage.h"
#include "report/otlp.h"
#include "report/span_stubs.h"

namespace varve::daemon {

namespace {

constexpr Nanos kPoll{100'000'000};  // how late a call notices that its client has gone

// Requests the stop once the call's client has gone: a synchronous call is not told of it.
class CallWatch {
 public:
  CallWatch(grpc::ServerContext& context, std::function<void()> gone)
      : thread_([this, &context, gone = std::move(gone)](std::stop_token done) {
          std::unique_lock lock(mutex_);
          while (!done.stop_requested() && !context.IsCancelled()) {
            wake_.wait_for(lock, done, kPoll, [] { return false; });
          }
          if (!done.stop_requested()) gone();
        }) {}

 private:
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses the others
};

// RFC 3339 with nanoseconds: by it, clients correct for a clock that differs from theirs.
void SendClock(grpc::ServerContext& context) {
  const int64_t now = SystemClock().Now().nanos;
  time_t seconds = now / 1'000'000'000;
  struct tm utc {};
  gmtime_r(&seconds, &utc);
  char text[32];
  strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
  context.AddInitialMetadata("buildkit-current-timestamp", fmt::format("{}.{:09}Z", text, now % 1'000'000'000));
}

std::string HeaderOf(const grpc::ServerContext& context, const std::string& name) {
  auto header = context.client_metadata().find(name);
  if (header == context.client_metadata().end()) return "";
  return std::string(header->second.data(), header->second.size());
}

control::BuildHistoryRecord RecordOf(const control::SolveRequest& request) {
  control::BuildHistoryRecord record;
  record.set_ref(request.ref());
  record.set_frontend(request.frontend());
  *record.mutable_frontend_attrs() = request.frontend_attrs();
  *record.mutable_exporters() = request.exporters();
  SetTime(SystemClock().Now(), record.mutable_created_at());
  return record;
}

// What the client finds its images by (Content.Read).
void SetImages(const std::map<size_t, oci::Descriptor>& images, control::BuildResultInfo& result) {
  for (const auto& [position, image] : images) {
    control::Descriptor& out = (*result.mutable_results())[static_cast<int64_t>(position)];
    out.set_media_type(image.media_type);
    out.set_digest(image.digest.ToString());
    out.set_size(static_cast<int64_t>(image.size));
    if (!result.has_result_deprecated()) *result.mutable_result_deprecated() = out;
  }
}

void Describe(const std::string& document, std::string_view media_type, control::Descriptor& out) {
  out.set_media_type(std::string(media_type));
  out.set_digest(Digest::Of(document).ToString());
  out.set_size(static_cast<int64_t>(document.size()));
}

// The documents that the record then names.
std::vector<std::string> Complete(control::BuildHistoryRecord& record, const google::rpc::Status& status,
                                  const control::SolveResponse& response, SolveJob& job) {
  SetTime(SystemClock().Now(), record.mutable_completed_at());
  if (status.code() != 0) *record.mutable_error() = status;
  *record.mutable_exporter_response() = response.exporter_response();
  SetImages(job.images(), *record.mutable_result());
  const StatusFeed::Counts counts = job.feed().counts();
  record.set_num_total_steps(counts.total);
  record.set_num_cached_steps(counts.cached);
  record.set_num_completed_steps(counts.completed);
  record.set_num_warnings(counts.warnings);
  std::vector<std::string> documents;
  for (const auto& [platform, text] : job.provenance()) {
    control::BuildResultInfo& result =
        platform.empty() ? *record.mutable_result() : (*record.mutable_results())[platform];
    control::Descriptor& out = *result.add_attestations();
    Describe(text, oci::kInToto, out);
    (*out.mutable_annotations())["in-toto.io/predicate-type"] = std::string(attest::kProvenanceV1);
    documents.push_back(text);
  }
  if (job.build()) {
    documents.push_back(
        report::SpanStubs(report::OtlpTraces(*job.build(), {{"service.name", "varved"}}, std::nullopt)));
    Describe(documents.back(), report::kSpanStubs, *record.mutable_trace());
  }
  return documents;
}

}  // namespace

grpc::Status ControlService::Solve(grpc::ServerContext* context, const control::SolveRequest* request,
                                   control::SolveResponse* response) {
  grpc::Status status = Build(*context, *request, *response);
  metrics_.Solved(StatusCodeName(status.error_code()));
  return status;
}

grpc::Status ControlService::Build(grpc::ServerContext& context, const control::SolveRequest& request,
                                   control::SolveResponse& response) {
  auto find_client = [this, id = request.session()](std::stop_token stop) -> Result<std::shared_ptr<Client>> {
    if (id.empty()) return Invalid("this build needs a session of its client, and came without one");
    TRY_ASSIGN(auto session, sessions_.Find(id, std::move(stop)));
    return MakeSessionClient(std::move(session), sessions_, contexts_);
  };
  auto job = std::make_shared<SolveJob>(request, policy_, worker_, invocations_, find_client);
  if (varve::Status added = jobs_.Add(job); !added) {
    // Clients may try again elsewhere: of all errors, only this one is of the daemon and not of the build.
    if (added.error().code == Code::kUnavailable) return {grpc::StatusCode::UNAVAILABLE, added.error().message};
    return ToGrpc(added.error());
  }
  LOG_INFO("build {} begins", request.ref());
  control::BuildHistoryRecord record = RecordOf(request);
  if (!request.internal()) records_.Started(record);
  google::rpc::Status status;
  {
    // Who asked for the build ends it by going away, with the call or with its session.
    std::shared_ptr<session::Session> session = sessions_.FindNow(request.session());
    std::stop_callback ended(session ? session->ended() : std::stop_token(), [&] { job->Cancel(); });
    CallWatch watch(context, [&] { job->Cancel(); });
    status = job->Finish(response);
  }
  if (!request.internal()) {
    const std::vector<std::string> documents = Complete(record, status, response, *job);
    records_.Completed(std::move(record), job->feed(), documents);
  }
  jobs_.Remove(job);
  LOG_INFO("build {} ends: {}", request.ref(), status.code() == 0 ? "done" : status.message());
  if (job->build()) {
    metrics_.Ended(*job->build());
    telemetry_.Ended(*job->build(), HeaderOf(context, "traceparent"));
  }
  return ToGrpc(status);
}

grpc::Status ControlService::Status(grpc::ServerContext* context, const control::StatusRequest* request,
                                    grpc::ServerWriter<control::StatusResponse>* writer) {
  SendClock(*context);
  writer->SendInitialMetadata();
  const std::string& ref = request->ref();
  std::shared_ptr<StatusFeed> feed = jobs_.FindFeedNow(ref);
  if (feed == nullptr && records_.HasEnded(ref)) {
    varve::Status replayed =
        records_.Replay(ref, [&](const control::StatusResponse& response) { return writer->Write(response); });
    return replayed ? grpc::Status::OK : ToGrpc(replayed.error());
  }
  if (feed == nullptr) feed = jobs_.FindFeed(ref);
  if (feed == nullptr) return {grpc::StatusCode::NOT_FOUND, "no such job " + ref};
  StatusFeed::Place place;
  control::StatusResponse response;
  while (!context->IsCancelled()) {
    switch (feed->Next(place, response, kPoll)) {
      case StatusFeed::More::kEnd:
        return grpc::Status::OK;
      case StatusFeed::More::kNotYet:
        break;
      case StatusFeed::More::kYes:
        if (!writer->Write(response)) return grpc::Status::CANCELLED;
    }
  }
  return grpc::Status::CANCELLED;
}

grpc::Status ControlService::Session(grpc::ServerContext* context,
                                     grpc::ServerReaderWriter<control::BytesMessage, control::BytesMessage>* stream) {
  return sessions_.Serve(*context, *stream);
}

grpc::Status ControlService::ListWorkers(grpc::ServerContext*, const control::ListWorkersRequest*,
                                         control::ListWorkersResponse* response) {
  FillWorker(worker_, *response->add_record());
  return grpc::Status::OK;
}

grpc::Status ControlService::Info(grpc::ServerContext*, const control::InfoRequest*, control::InfoResponse* response) {
  FillVersion(*response->mutable_buildkit_version());
  return grpc::Status::OK;
}

grpc::Status ControlService::DiskUsage(grpc::ServerContext*, const control::DiskUsageRequest* request,
                                       control::DiskUsageResponse* response) {
  varve::Status listed = ListUsage(policy_.root, *request, *response);
  return listed ? grpc::Status::OK : ToGrpc(listed.error());
}

grpc::Status ControlService::Prune(grpc::ServerContext* context, const control::PruneRequest* request,
                                   grpc::ServerWriter<control::UsageRecord>* writer) {
  std::stop_source stop;
  CallWatch watch(*context, [&] { stop.request_stop(); });
  varve::Status pruned = daemon::Prune(
      policy_.root, *request, [&](const control::UsageRecord& record) { writer->Write(record); }, stop.get_token());
  return pruned ? grpc::Status::OK : ToGrpc(pruned.error());
}

grpc::Status ControlService::ListenBuildHistory(grpc::ServerContext* context,
                                                const control::BuildHistoryRequest* request,
                                                grpc::ServerWriter<control::BuildHistoryEvent>* writer) {
  SendClock(*context);
  writer->SendInitialMetadata();
  varve::Status listened = records_.Listen(
      *request, [&](const control::BuildHistoryEvent& event) { return writer->Write(event); },
      [&] { return context->IsCancelled(); });
  return listened ? grpc::Status::OK : ToGrpc(listened.error());
}

grpc::Status ControlService::UpdateBuildHistory(grpc::ServerContext*, const control::UpdateBuildHistoryRequest* request,
                                                control::UpdateBuildHistoryResponse*) {
  varve::Status updated = records_.Update(*request);
  return updated ? grpc::Status::OK : ToGrpc(updated.error());
}

}  // namespace varve::daemon
