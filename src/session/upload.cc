#include "session/upload.h"

#include "api/upload.grpc.pb.h"
#include "session/rpc.h"

namespace varve::session {

Status PullUpload(Session& session, const std::string& url, Writer& out, std::stop_token stop) {
  TRY(session.Require("/moby.upload.v1.Upload/Pull"));
  const size_t scheme = url.find("://");
  if (scheme == url.npos) return Invalid("{} is no URL of an upload", url);
  const size_t host = scheme + 3;
  const size_t path = std::min(url.find('/', host), url.size());
  Call call(std::move(stop));
  call.Add("urlpath", path == url.size() ? "/" : url.substr(path));
  call.Add("urlhost", url.substr(host, path - host));
  const auto stream = moby::upload::v1::Upload::NewStub(session.channel())->Pull(call.context());
  moby::upload::v1::BytesMessage message;
  while (stream->Read(&message)) {
    if (Status written = out.Write(message.data()); !written) {
      call.Cancel();
      (void)stream->Finish();
      return written;
    }
  }
  stream->WritesDone();
  const grpc::Status status = stream->Finish();
  if (!status.ok()) return call.ToError(status, "reading the context that was piped into the client");
  return Ok();
}

}  // namespace varve::session
