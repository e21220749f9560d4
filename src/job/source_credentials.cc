#include "job/source_credentials.h"

#include <cstdlib>

#include "exec/source_auth.h"
#include "job/build_context.h"
#include "job/build_job.h"

namespace varve::job {

namespace {

exec::Secrets SecretsOf(const BuildFlags& flags, const BuildClient* client) {
  return client != nullptr ? exec::Secrets({}, client->secrets) : exec::Secrets(SecretSourcesOf(flags));
}

}  // namespace

SourceCredentials::SourceCredentials(const BuildFlags& flags, const BuildClient* client)
    : client_(client), secrets_(SecretsOf(flags, client)) {}

Result<source::GitAccess> SourceCredentials::Of(const graph::GitSource& git) const {
  TRY_ASSIGN(source::GitAccess access, exec::FindGitAccess(git, secrets_));
  if (client_ == nullptr) {
    if (const char* agent = std::getenv("SSH_AUTH_SOCK")) access.ssh_auth_sock = agent;
    return access;
  }
  graph::Graph asked;
  asked.Add({.op = git});
  TRY_ASSIGN(auto agents, client_->ssh(asked));
  if (!agents.empty()) access.ssh_auth_sock = agents.front().socket;
  return access;
}

Result<std::string> SourceCredentials::Of(const graph::HttpSource& http) const {
  return exec::FindHttpAuthorization(http, secrets_);
}

}  // namespace varve::job
