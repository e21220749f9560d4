#include "daemon/failure.h"

#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/hex.h"
#include "base/json.h"
#include "base/strings.h"
#include "daemon/capabilities.h"

namespace varve::daemon {

namespace {

constexpr std::string_view kTypePrefix = "github.com/moby/buildkit/";

// BuildKit gives most errors no code; clients retry what is UNAVAILABLE, which a failed build is not.
grpc::StatusCode CodeOf(const Failure& failure) {
  if (!failure.subrequest.empty() || !failure.capability.empty()) return grpc::StatusCode::UNIMPLEMENTED;
  switch (failure.error.code) {
    case Code::kCancelled:
      return grpc::StatusCode::CANCELLED;
    case Code::kNotFound:
      return grpc::StatusCode::NOT_FOUND;
    case Code::kResource:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case Code::kInternal:
      return grpc::StatusCode::INTERNAL;
    default:
      return grpc::StatusCode::UNKNOWN;
  }
}

void AddDetail(google::rpc::Status& status, std::string_view name, const Json& json) {
  auto* detail = status.add_details();
  detail->set_type_url(std::string(kTypePrefix) + std::string(name));
  detail->set_value(json.Dump({.escape_html = true}));
}

Json PositionOf(int line, int column) {
  Json position = Json::EmptyObject();
  position.Set("line", line);
  // Columns count from 0 there, and 0 is left out.
  position.SetIf(column > 1, "character", column - 1);
  return position;
}

// One range a line: clients mark the lines of each.
Json RangesOf(const dockerfile::Span& span) {
  Json ranges = Json::EmptyArray();
  const int last = std::max(span.start_line, span.end_line);
  for (int line = span.start_line; line <= last; ++line) {
    Json range;
    range.Set("start", PositionOf(line, line == span.start_line ? span.start_column : 0));
    range.Set("end", PositionOf(line, line == last ? span.end_column : 0));
    ranges.Append(std::move(range));
  }
  return ranges;
}

Json RangesOf(const std::vector<pb::Range>& ranges) {
  auto position = [](const pb::Position& from) {
    Json json = Json::EmptyObject();
    json.SetIf(from.line() != 0, "line", from.line());
    return json.SetIf(from.character() != 0, "character", from.character());
  };
  Json list = Json::EmptyArray();
  for (const pb::Range& range : ranges) {
    Json json = Json::EmptyObject();
    if (range.has_start()) json.Set("start", position(range.start()));
    if (range.has_end()) json.Set("end", position(range.end()));
    list.Append(std::move(json));
  }
  return list;
}

void AddPlace(google::rpc::Status& status, const FailurePlace& place) {
  if (place.span.start_line <= 0 && place.ranges.empty()) return;
  Json info;
  info.Set("filename", place.file).Set("data", Base64Encode(place.text));
  if (place.origin) {
    Json ops = Json::EmptyArray();
    for (const std::string& op : place.origin->def()) ops.Append(Base64Encode(op));
    info.Set("definition", Json().Set("def", std::move(ops)));
  }
  info.SetIf(!place.language.empty(), "language", place.language);
  Json ranges = place.ranges.empty() ? RangesOf(place.span) : RangesOf(place.ranges);
  AddDetail(status, "errdefs.Source+json", Json().Set("info", std::move(info)).Set("ranges", std::move(ranges)));
}

// A host without an address, which libcurl and Go tell in words of their own: clients look for Go's.
std::string InClientsWords(std::string message) {
  constexpr std::string_view kUnknown = "Could not resolve host: ";
  const size_t at = message.find(kUnknown);
  if (at == message.npos) return message;
  const size_t name = at + kUnknown.size();
  const std::string host = message.substr(name, message.find_first_of(" \n", name) - name);
  return message.replace(at, kUnknown.size() + host.size(), fmt::format("dial tcp: lookup {}: no such host", host));
}

// Not what is copied from nothing, nor from the files that are written on.
bool Hashes(const graph::Step& step) {
  const auto* file = std::get_if<graph::FileOp>(&step.op);
  if (file == nullptr) return true;
  return std::ranges::any_of(file->actions, [&](const graph::FileAction& action) {
    const auto* copy = std::get_if<graph::Copy>(&action);
    if (copy == nullptr || copy->input < 0) return false;
    return file->base < 0 || step.inputs[copy->input] != step.inputs[file->base];
  });
}

}  // namespace

void NameMissingFile(const graph::Step& step, Failure& failure) {
  std::string& message = failure.error.message;
  constexpr std::string_view kEnd = "\": not found";
  if (failure.error.code != Code::kNotFound || !message.starts_with("\"/") || !message.ends_with(kEnd)) return;
  // The reference says no code, and what shows its errors puts a known one in front of the words.
  failure.error.code = Code::kInvalid;
  if (!Hashes(step)) {
    message = fmt::format("lstat {}: no such file or directory", message.substr(1, message.size() - 1 - kEnd.size()));
    return;
  }
  const std::string& digest = failure.vertex;
  const std::string ref = digest.substr(digest.find(':') + 1, 25);
  message = fmt::format("failed to compute cache key: failed to calculate checksum of ref {}: {}", ref, message);
}

google::rpc::Status ToProto(const Failure& failure) {
  if (failure.status) return *failure.status;
  google::rpc::Status status;
  status.set_code(CodeOf(failure));
  std::string message = InClientsWords(failure.error.message);
  // One line more in every client, where it is the one thing that helps.
  if (!failure.error.hint.empty()) message += "\nhint: " + failure.error.hint;
  status.set_message(std::move(message));
  if (failure.place) AddPlace(status, *failure.place);
  for (const FailurePlace& place : failure.more_places) AddPlace(status, place);
  if (!failure.vertex.empty()) {
    AddDetail(status, "errdefs.Vertex+json", Json().Set("digest", failure.vertex));
  }
  if (failure.exit_code) AddDetail(status, "gatewayapi.ExitMessage+json", Json().Set("Code", *failure.exit_code));
  if (failure.solve) {
    auto* detail = status.add_details();
    detail->set_type_url(std::string(kTypePrefix) + "errdefs.Solve+json");
    auto written = google::protobuf::util::MessageToJsonString(*failure.solve, detail->mutable_value());
    CHECK(written.ok());
  }
  if (!failure.subrequest.empty()) {
    AddDetail(status, "errdefs.Subrequest+json", Json().Set("name", failure.subrequest));
  }
  if (!failure.deny_messages.empty()) {
    Json messages = Json::EmptyArray();
    for (const std::string& text : failure.deny_messages) messages.Append(Json().Set("message", text));
    AddDetail(status, "policysession.DecisionResponse+json",
              Json().Set("action", "DENY").Set("denyMessages", std::move(messages)));
  }
  if (!failure.capability.empty()) {
    AddDetail(status, "errdefs.FrontendCap+json", Json().Set("name", failure.capability));
  }
  return status;
}

google::rpc::Status WithStack(google::rpc::Status status) {
  Json frame;
  frame.Set("Name", "varve.Build");
  for (const auto& detail : status.details()) {
    if (detail.type_url() != std::string(kTypePrefix) + "errdefs.Source+json") continue;
    auto source = Json::Parse(detail.value());
    if (!source || source->GetArray("ranges").empty()) continue;
    const Json& range = source->GetArray("ranges")[0];
    if (const Json* info = source->Find("info")) frame.Set("File", info->GetString("filename"));
    if (const Json* start = range.Find("start")) frame.Set("Line", start->GetInt("line"));
  }
  Json stack;
  stack.Set("frames", Json().Append(std::move(frame))).Set("cmdline", Json().Append(program_invocation_short_name));
  stack.Set("pid", getpid()).Set("version", kBuildkitVersion).Set("revision", kRevision);
  AddDetail(status, "stack.Stack+json", stack);
  return status;
}

grpc::Status ToGrpc(const google::rpc::Status& status) {
  if (status.code() == 0) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), status.message(), status.SerializeAsString()};
}

grpc::Status ToGrpc(const Error& error) { return ToGrpc(ToProto({.error = error})); }

Error FromGrpc(const grpc::Status& status) {
  Code code = Code::kInvalid;
  switch (status.error_code()) {
    case grpc::StatusCode::CANCELLED:
      code = Code::kCancelled;
      break;
    case grpc::StatusCode::NOT_FOUND:
      code = Code::kNotFound;
      break;
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      code = Code::kUnavailable;
      break;
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      code = Code::kResource;
      break;
    default:
      break;
  }
  return {code, status.error_message(), {}};
}

}  // namespace varve::daemon
