#include "session/content.h"

#include <fmt/format.h>
#include <unistd.h>

#include <atomic>

#include "api/content.grpc.pb.h"
#include "session/rpc.h"

namespace varve::session {
namespace {

namespace api = containerd::services::content::v1;

constexpr char kStore[] = "buildkit-attachable-store-id";
constexpr size_t kPiece = 1 << 20;

// A write that broke off keeps its name locked at the client for a while, so that no two have the same.
std::string NewName(const Digest& blob) {
  static std::atomic<uint64_t> count = 0;
  return fmt::format("varve-{}-{}-{}", ::getpid(), count++, blob.Hex());
}

}  // namespace

Result<std::optional<uint64_t>> ClientContent::Size(const Digest& blob, std::stop_token stop) {
  TRY(session_->Require("/containerd.services.content.v1.Content/Info"));
  Call call(std::move(stop));
  call.Add(kStore, store_);
  api::InfoRequest request;
  api::InfoResponse response;
  request.set_digest(blob.ToString());
  const grpc::Status status = api::Content::NewStub(session_->channel())->Info(call.context(), request, &response);
  if (status.error_code() == grpc::StatusCode::NOT_FOUND &&
      status.error_message().find("unknown store") == std::string::npos) {
    return std::optional<uint64_t>();
  }
  if (!status.ok()) return call.ToError(status, fmt::format("store {} of the client", store_));
  return std::optional(static_cast<uint64_t>(response.info().size()));
}

Status ClientContent::ReadRange(const Digest& blob, uint64_t offset, uint64_t size, Writer& out, std::stop_token stop) {
  TRY(session_->Require("/containerd.services.content.v1.Content/Read"));
  Call call(std::move(stop));
  call.Add(kStore, store_);
  api::ReadContentRequest request;
  request.set_digest(blob.ToString());
  request.set_offset(static_cast<int64_t>(offset));
  request.set_size(static_cast<int64_t>(size));
  const auto stream = api::Content::NewStub(session_->channel())->Read(call.context(), request);
  api::ReadContentResponse response;
  uint64_t at = offset;
  Status taken;
  while (taken && stream->Read(&response)) {
    if (static_cast<uint64_t>(response.offset()) != at) {
      taken = Corrupt("{} of the client's store {} comes with a gap", blob.ToString(), store_);
    } else {
      at += response.data().size();
      taken = out.Write(response.data());
    }
  }
  if (!taken) call.Cancel();
  const grpc::Status status = stream->Finish();
  if (!taken) return taken;
  if (!status.ok()) {
    return call.ToError(status, fmt::format("{} of the client's store {}", blob.ToString(), store_));
  }
  return Ok();
}

Status ClientContent::Read(const Digest& blob, Writer& out, std::stop_token stop) {
  HashingWriter hashing(&out);
  TRY(ReadRange(blob, 0, 0, hashing, std::move(stop)));
  if (const Digest got = hashing.Finish(); got != blob) {
    return Corrupt("{} of the client's store {} is in truth {}", blob.ToString(), store_, got.ToString());
  }
  return Ok();
}

Result<std::string> ClientContent::ReadPart(const Digest& blob, uint64_t offset, uint64_t size, std::stop_token stop) {
  // A client that sends more than it was asked for is stopped.
  class Bounded final : public Writer {
   public:
    explicit Bounded(uint64_t limit) : limit_(limit) {}
    Status Write(std::string_view data) override {
      if (text.size() + data.size() > limit_) return Corrupt("the client sends more than it was asked for");
      text.append(data);
      return Ok();
    }
    std::string text;

   private:
    const uint64_t limit_;
  };
  if (size == 0) return std::string();  // on the wire, 0 is all of it
  Bounded out(size);
  TRY(ReadRange(blob, offset, size, out, std::move(stop)));
  if (out.text.size() != size) {
    return Corrupt("{} of the client's store {} is shorter than it should be", blob.ToString(), store_);
  }
  return std::move(out.text);
}

Status ClientContent::Write(const Digest& blob, uint64_t size, Reader& in, std::stop_token stop) {
  TRY(session_->Require("/containerd.services.content.v1.Content/Write"));
  Call call(std::move(stop));
  call.Add(kStore, store_);
  const auto stream = api::Content::NewStub(session_->channel())->Write(call.context());
  api::WriteContentRequest request;
  api::WriteContentResponse response;
  // Every request has an answer; false: the client ended the call, and its status says why.
  const auto ask = [&] { return stream->Write(request) && stream->Read(&response); };

  request.set_action(api::STAT);
  request.set_ref(NewName(blob));
  request.set_total(static_cast<int64_t>(size));
  request.set_expected(blob.ToString());
  bool going = ask();
  request.set_action(api::WRITE);
  uint64_t offset = 0;
  Status readable;
  while (going && readable) {
    std::string& data = *request.mutable_data();
    data.resize(kPiece);
    const auto got = in.Read(data);
    if (!got) {
      readable = got.error();
      break;
    }
    data.resize(*got);
    if (*got == 0) break;
    request.set_offset(static_cast<int64_t>(offset));
    going = ask();
    offset += *got;
  }
  if (!readable) {
    call.Cancel();
    (void)stream->Finish();
    return readable;
  }
  if (going) {
    request.set_action(api::COMMIT);
    request.set_offset(static_cast<int64_t>(offset));
    request.clear_data();
    ask();
  }
  stream->WritesDone();
  // containerd answers a commit twice, and a call with answers that nobody reads does not end.
  while (going && stream->Read(&response)) continue;
  const grpc::Status status = stream->Finish();
  if (status.ok() || status.error_code() == grpc::StatusCode::ALREADY_EXISTS) return Ok();
  return call.ToError(status, fmt::format("writing {} to the client's store {}", blob.ToString(), store_));
}

}  // namespace varve::session
