#include "session/exporters.h"

#include "api/exporter.grpc.pb.h"
#include "session/rpc.h"

namespace varve::session {

namespace {

namespace api = moby::exporter::v1;

bool HasNothingToSay(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNIMPLEMENTED || status.error_code() == grpc::StatusCode::UNAVAILABLE;
}

}  // namespace

Result<std::vector<NamedExporter>> FindExporters(Session& session, const std::map<std::string, std::string>& metadata,
                                                 const std::vector<std::string>& refs, std::stop_token stop) {
  std::vector<NamedExporter> found;
  Call call(std::move(stop));
  api::FindExportersRequest request;
  request.mutable_metadata()->insert(metadata.begin(), metadata.end());
  for (const std::string& ref : refs) request.add_refs(ref);
  api::FindExportersResponse response;
  const grpc::Status status =
      api::Exporter::NewStub(session.channel())->FindExporters(call.context(), request, &response);
  if (HasNothingToSay(status)) return found;
  if (!status.ok()) return call.ToError(status, "asking the client for exporters");
  for (const api::ExporterRequest& one : response.exporters()) {
    found.push_back({one.type(), {one.attrs().begin(), one.attrs().end()}});
  }
  return found;
}

Status FinalizeExport(Session& session, const std::map<std::string, std::string>& answer, std::stop_token stop) {
  Call call(std::move(stop));
  api::FinalizeExportRequest request;
  request.mutable_exporter_response()->insert(answer.begin(), answer.end());
  api::FinalizeExportResponse response;
  const grpc::Status status =
      api::Exporter::NewStub(session.channel())->FinalizeExport(call.context(), request, &response);
  if (status.ok() || HasNothingToSay(status)) return Ok();
  return call.ToError(status, "telling the client of the outputs");
}

}  // namespace varve::session
