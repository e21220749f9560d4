#include "session/file_send.h"

#include <grpcpp/impl/codegen/rpc_method.h>

#include <algorithm>

#include "api/filesync.grpc.pb.h"
#include "session/client_packets.h"
#include "session/rpc.h"
#include "sys/open.h"

namespace varve::session {
namespace {

using fsutil::types::Packet;
using moby::filesync::v1::BytesMessage;

constexpr char kMethod[] = "/moby.filesync.v1.FileSend/DiffCopy";
constexpr size_t kPiece = 1 << 20;  // clients take 4 MiB at most

class MessageWriter final : public Writer {
 public:
  explicit MessageWriter(grpc::ClientReaderWriterInterface<BytesMessage, BytesMessage>& stream) : stream_(stream) {}
  Status Write(std::string_view data) override {
    while (!data.empty()) {
      const std::string_view piece = data.substr(0, kPiece);
      message_.set_data(piece.data(), piece.size());
      if (!stream_.Write(message_)) {
        broken_ = true;
        return Unavailable("the client does not take the output any more");
      }
      data.remove_prefix(piece.size());
    }
    return Ok();
  }
  bool broken() const { return broken_; }

 private:
  grpc::ClientReaderWriterInterface<BytesMessage, BytesMessage>& stream_;
  BytesMessage message_;
  bool broken_ = false;
};

}  // namespace

Status SendArchive(Session& session, size_t exporter, const std::map<std::string, std::string>& metadata,
                   const std::function<Status(Writer&)>& write, std::stop_token stop) {
  TRY(session.Require(kMethod));
  Call call(std::move(stop));
  call.Add("buildkit-attachable-exporter-id", std::to_string(exporter));
  for (const auto& [key, value] : metadata) call.AddList("exporter-md-" + key, {value});
  const auto stream = moby::filesync::v1::FileSend::NewStub(session.channel())->DiffCopy(call.context());
  MessageWriter out(*stream);
  Status written = write(out);
  if (!written && !out.broken()) {
    call.Cancel();
    (void)stream->Finish();
    return written;
  }
  stream->WritesDone();
  BytesMessage message;
  while (stream->Read(&message)) {
  }
  // A client that refused says why at the end; our own writes only know that it did.
  const grpc::Status status = stream->Finish();
  if (status.error_code() == grpc::StatusCode::ALREADY_EXISTS) return Ok();  // it has that image
  if (!status.ok()) return call.ToError(status, "sending the output to the client");
  return written;
}

Result<uint64_t> SendDirectory(Session& session, size_t exporter, const std::string& directory,
                               const SendOptions& options, std::stop_token stop) {
  TRY(session.Require(kMethod));
  TRY_ASSIGN(const Fd root, sys::OpenDir(directory));
  Call call(stop);
  call.Add("buildkit-attachable-exporter-id", std::to_string(exporter));
  call.Add("buildkit-exporter-multi-platform", "1");
  // The method carries packets for directories, whatever its definition says (api/filesync.proto).
  const std::unique_ptr<grpc::ClientReaderWriter<Packet, Packet>> stream(
      grpc::internal::ClientReaderWriterFactory<Packet, Packet>::Create(
          session.channel().get(),
          grpc::internal::RpcMethod(kMethod, grpc::internal::RpcMethod::BIDI_STREAMING, session.channel()),
          call.context()));
  ClientPackets packets(call, *stream);
  auto sent = SendTree(packets, root.get(), options, stop);
  if (sent) {
    stream->WritesDone();
    Packet packet;
    while (stream->Read(&packet)) {
    }
  } else if (sent.error().code != Code::kUnavailable) {
    call.Cancel();
  }
  const grpc::Status status = stream->Finish();
  if (!sent && sent.error().code != Code::kUnavailable) return sent;
  if (!status.ok()) return call.ToError(status, "sending the output to the client");
  return sent;
}

}  // namespace varve::session
