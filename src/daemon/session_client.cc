#include "daemon/session_client.h"

#include "api/auth.grpc.pb.h"
#include "api/filesync.grpc.pb.h"
#include "api/secrets.grpc.pb.h"
#include "api/upload.grpc.pb.h"
#include "session/rpc.h"

namespace varve::daemon {

namespace {

constexpr std::chrono::seconds kAnswerTime{60};
constexpr size_t kMaxSecret = 500 << 10;
constexpr size_t kMaxMessage = 1 << 20;

using FileStream = grpc::ClientReaderWriterInterface<moby::filesync::v1::BytesMessage, moby::filesync::v1::BytesMessage>;

class StreamWriter final : public Writer {
 public:
  explicit StreamWriter(FileStream& stream) : stream_(stream) {}
  Status Write(std::string_view data) override {
    while (!data.empty()) {
      const std::string_view part = data.substr(0, kMaxMessage);
      message_.set_data(part.data(), part.size());
      if (!stream_.Write(message_)) {
        broken_ = true;
        return Unavailable("the client does not take the output any more");
      }
      data.remove_prefix(part.size());
    }
    return Ok();
  }
  bool broken() const { return broken_; }

 private:
  FileStream& stream_;
  moby::filesync::v1::BytesMessage message_;
  bool broken_ = false;
};

class Synced final : public SyncedFiles {
 public:
  explicit Synced(std::shared_ptr<const session::SyncedContext> context) : context_(std::move(context)) {}
  const std::string& directory() const override { return context_->path(); }

 private:
  const std::shared_ptr<const session::SyncedContext> context_;
};

class SessionClient final : public Client {
 public:
  SessionClient(std::shared_ptr<session::Session> session, session::Contexts& contexts)
      : session_(std::move(session)), contexts_(contexts) {}

  std::string project() const override { return session_->shared_key(); }
  std::stop_token gone() const override { return session_->ended(); }

  Result<std::unique_ptr<SyncedFiles>> Sync(const WantedFiles& wanted, const OnProgress& on_progress,
                                            std::stop_token stop) override {
    const std::string line = "transferring " + wanted.mount + ":";
    uint64_t total = 0;
    session::ContextRequest request{.name = wanted.mount, .shared_key_hint = wanted.shared_key,
                                    .include = wanted.include, .exclude = wanted.exclude,
                                    .follow = wanted.follow};
    request.on_progress = [&](uint64_t bytes) {
      total = bytes;
      on_progress(line, bytes, 0, false);
    };
    TRY_ASSIGN(auto context, contexts_.Sync(*session_, request, std::move(stop)));
    on_progress(line, total, 0, true);
    return std::unique_ptr<SyncedFiles>(std::make_unique<Synced>(std::move(context)));
  }

  Status Upload(const std::string& url, Writer& out, std::stop_token stop) override {
    TRY(session_->Require("/moby.upload.v1.Upload/Pull"));
    session::Call call(std::move(stop));
    const size_t path = url.find('/', url.find("://") + 3);
    call.Add("urlpath", path == url.npos ? "/" : url.substr(path));
    call.Add("urlhost", "buildkit-session");
    auto stream = moby::upload::v1::Upload::NewStub(session_->channel())->Pull(call.context());
    stream->WritesDone();
    moby::upload::v1::BytesMessage message;
    while (stream->Read(&message)) {
      if (Status written = out.Write(message.data()); !written) {
        call.Cancel();
        stream->Finish();
        return written;
      }
    }
    const grpc::Status status = stream->Finish();
    return status.ok() ? Ok() : Status(call.ToError(status, "the context that was piped in"));
  }

  Result<std::optional<std::string>> Secret(const std::string& id, std::stop_token stop) override {
    // A client without secrets serves none: that is no error of a step that can do without.
    if (!session_->Supports("/moby.buildkit.secrets.v1.Secrets/GetSecret")) return std::optional<std::string>();
    session::Call call(std::move(stop), kAnswerTime);
    moby::buildkit::secrets::v1::GetSecretRequest request;
    request.set_id(id);
    moby::buildkit::secrets::v1::GetSecretResponse response;
    const grpc::Status status = moby::buildkit::secrets::v1::Secrets::NewStub(session_->channel())
                                    ->GetSecret(call.context(), request, &response);
    if (status.error_code() == grpc::StatusCode::NOT_FOUND) return std::optional<std::string>();
    if (!status.ok()) return call.ToError(status, fmt::format("secret \"{}\"", id));
    if (response.data().size() > kMaxSecret) return Invalid("secret \"{}\": secrets are at most 500 KiB", id);
    return std::optional(std::move(*response.mutable_data()));
  }

  Result<std::optional<registry::Credential>> Credentials(const std::string& host,
                                                          std::stop_token stop) override {
    if (!session_->Supports("/moby.filesync.v1.Auth/Credentials")) return std::optional<registry::Credential>();
    session::Call call(std::move(stop), kAnswerTime);
    moby::filesync::v1::CredentialsRequest request;
    request.set_host(host);
    moby::filesync::v1::CredentialsResponse response;
    const grpc::Status status =
        moby::filesync::v1::Auth::NewStub(session_->channel())->Credentials(call.context(), request, &response);
    if (!status.ok()) return call.ToError(status, "credentials for " + host);
    if (response.secret().empty()) return std::optional<registry::Credential>();
    registry::Credential credential;
    // Without a name, the secret is a refresh token (docker's identitytoken).
    (response.username().empty() ? credential.identity_token : credential.password) = response.secret();
    credential.username = response.username();
    return std::optional(std::move(credential));
  }

  Result<std::unique_ptr<ForwardedAgent>> Agent(const std::string& id, const std::string&,
                                                std::stop_token) override {
    return Invalid("ssh agents of a client (\"{}\") are not supported by this daemon yet", id);
  }

  Status SendStream(size_t exporter, const std::map<std::string, std::string>& metadata,
                    const std::function<Status(Writer&)>& write, std::stop_token stop) override {
    TRY(session_->Require("/moby.filesync.v1.FileSend/DiffCopy"));
    session::Call call(std::move(stop));
    call.Add("buildkit-attachable-exporter-id", std::to_string(exporter));
    for (const auto& [key, value] : metadata) call.AddList("exporter-md-" + key, {value});
    auto stream = moby::filesync::v1::FileSend::NewStub(session_->channel())->DiffCopy(call.context());
    StreamWriter out(*stream);
    Status written = write(out);
    if (!written) call.Cancel();
    stream->WritesDone();
    const grpc::Status status = stream->Finish();
    // A client that has refused says why at the end; our own writes only say that it is gone.
    if (!status.ok() && (written || out.broken())) return call.ToError(status, "sending the output");
    return written;
  }

  Status SendFiles(size_t, const std::string&, const OnProgress&, std::stop_token) override {
    return Invalid("outputs of type=local are not supported by this daemon yet");
  }

 private:
  const std::shared_ptr<session::Session> session_;
  session::Contexts& contexts_;
};

}  // namespace

std::shared_ptr<Client> MakeSessionClient(std::shared_ptr<session::Session> session,
                                          session::Contexts& contexts) {
  return std::make_shared<SessionClient>(std::move(session), contexts);
}

}  // namespace varve::daemon
