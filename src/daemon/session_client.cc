#include "daemon/session_client.h"

#include <algorithm>

#include "session/auth.h"
#include "session/content.h"
#include "session/file_send.h"
#include "session/policy.h"
#include "session/secrets.h"
#include "session/ssh_forward.h"
#include "session/upload.h"

namespace varve::daemon {

namespace {

class Synced final : public SyncedFiles {
 public:
  explicit Synced(std::shared_ptr<const session::SyncedContext> context) : context_(std::move(context)) {}
  const std::string& directory() const override { return context_->path(); }

 private:
  const std::shared_ptr<const session::SyncedContext> context_;
};

class Agent final : public ForwardedAgent {
 public:
  explicit Agent(std::unique_ptr<session::ForwardedAgent> agent) : agent_(std::move(agent)) {}
  const std::string& socket() const override { return agent_->socket(); }

 private:
  const std::unique_ptr<session::ForwardedAgent> agent_;
};

class SessionClient final : public Client {
 public:
  SessionClient(std::shared_ptr<session::Session> session, session::Sessions& sessions, session::Contexts& contexts)
      : session_(std::move(session)), sessions_(sessions), contexts_(contexts) {}

  std::string project() const override { return session_->shared_key(); }
  std::stop_token gone() const override { return session_->ended(); }

  Result<std::unique_ptr<SyncedFiles>> Sync(const WantedFiles& wanted, const OnProgress& on_progress,
                                            std::stop_token stop) override {
    const std::string line = "transferring " + wanted.mount + ":";
    uint64_t total = 0;
    session::ContextRequest request{.name = wanted.mount,
                                    .shared_key_hint = wanted.shared_key,
                                    .include = wanted.include,
                                    .exclude = wanted.exclude,
                                    .follow = wanted.follow,
                                    .always_ask = wanted.all_again};
    request.on_progress = [&](uint64_t bytes) {
      total = bytes;
      on_progress(line, bytes, 0, false);
    };
    TRY_ASSIGN(auto of, SessionOf(wanted.session, stop));
    TRY_ASSIGN(auto context, contexts_.Sync(*of, request, std::move(stop)));
    on_progress(line, total, 0, true);
    return std::unique_ptr<SyncedFiles>(std::make_unique<Synced>(std::move(context)));
  }

  Status Upload(const std::string& url, Writer& out, std::stop_token stop) override {
    return session::PullUpload(*session_, url, out, std::move(stop));
  }
  Result<std::optional<std::string>> Secret(const std::string& id, std::stop_token stop) override {
    return session::GetSecret(*session_, id, std::move(stop));
  }

  Result<std::optional<registry::Credential>> Credentials(const std::string& host, std::stop_token stop) override {
    TRY_ASSIGN(auto login, session::GetLogin(*session_, host, std::move(stop)));
    if (!login) return std::optional<registry::Credential>();
    registry::Credential credential;
    (login->username.empty() ? credential.identity_token : credential.password) = std::move(login->secret);
    credential.username = std::move(login->username);
    return std::optional(std::move(credential));
  }
  Result<std::optional<registry::BearerToken>> Token(const registry::TokenRequest& request,
                                                     std::stop_token stop) override {
    const session::TokenQuestion question{request.host, request.realm, request.service, request.scopes};
    TRY_ASSIGN(auto token, session::FetchToken(*session_, question, SystemClock(), std::move(stop)));
    if (!token) return std::optional<registry::BearerToken>();
    return std::optional(registry::BearerToken{std::move(token->token), token->seconds});
  }

  Result<std::unique_ptr<ForwardedAgent>> StartAgent(const std::string& id, const std::string& directory,
                                                     std::stop_token stop) override {
    TRY_ASSIGN(auto agent, session::ForwardedAgent::Start(session_, id, directory, std::move(stop)));
    return std::unique_ptr<ForwardedAgent>(std::make_unique<Agent>(std::move(agent)));
  }

  Result<std::shared_ptr<RemoteBlobs>> Content(const std::string& store, const std::string& session,
                                               std::stop_token stop) override {
    // It goes into a header.
    if (std::ranges::any_of(store, [](char c) { return c < ' ' || c > '~'; })) {
      return Invalid("content store \"{}\": its name contains value with non-printable ASCII characters", store);
    }
    TRY_ASSIGN(auto of, SessionOf(session, std::move(stop)));
    return std::shared_ptr<RemoteBlobs>(std::make_shared<session::ClientContent>(std::move(of), store));
  }
  Result<session::policysession::CheckPolicyResponse> CheckPolicy(
      const std::string& session, const session::policysession::CheckPolicyRequest& request,
      std::stop_token stop) override {
    TRY_ASSIGN(auto of, SessionOf(session, stop));
    return session::CheckPolicy(*of, request, std::move(stop));
  }

  Status SendStream(size_t exporter, const std::map<std::string, std::string>& metadata,
                    const std::function<Status(Writer&)>& write, std::stop_token stop) override {
    return session::SendArchive(*session_, exporter, metadata, write, std::move(stop));
  }
  Status SendFiles(size_t exporter, const std::string& directory, const OnProgress& on_progress,
                   std::stop_token stop) override {
    const std::string line = "copying files";
    session::SendOptions options;
    options.on_progress = [&](uint64_t bytes) { on_progress(line, bytes, 0, false); };
    TRY_ASSIGN(uint64_t sent, session::SendDirectory(*session_, exporter, directory, options, std::move(stop)));
    on_progress(line, sent, 0, true);
    return Ok();
  }

  Result<std::vector<session::NamedExporter>> FindExporters(const std::map<std::string, std::string>& metadata,
                                                            const std::vector<std::string>& refs,
                                                            std::stop_token stop) override {
    return session::FindExporters(*session_, metadata, refs, std::move(stop));
  }
  Status FinalizeExport(const std::map<std::string, std::string>& answer, std::stop_token stop) override {
    return session::FinalizeExport(*session_, answer, std::move(stop));
  }

 private:
  // Empty: the build's own.
  Result<std::shared_ptr<session::Session>> SessionOf(const std::string& id, std::stop_token stop) {
    if (id.empty() || id == session_->id()) return session_;
    return sessions_.Find(id, std::move(stop));
  }

  const std::shared_ptr<session::Session> session_;
  session::Sessions& sessions_;
  session::Contexts& contexts_;
};

}  // namespace

std::shared_ptr<Client> MakeSessionClient(std::shared_ptr<session::Session> session, session::Sessions& sessions,
                                          session::Contexts& contexts) {
  return std::make_shared<SessionClient>(std::move(session), sessions, contexts);
}

}  // namespace varve::daemon
