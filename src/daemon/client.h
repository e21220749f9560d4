// The client of a build, as far as a build needs it: its files, secrets and credentials, and the place where
// outputs go. session_client.h makes one of a session; tests have their own.
//
// Calls block, end with a stop, and may come from several threads at once.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "api/policy_session.pb.h"
#include "base/byte_progress.h"
#include "base/io.h"
#include "base/remote_blobs.h"
#include "base/result.h"
#include "registry/credentials.h"
#include "session/exporters.h"

namespace varve::daemon {

// A directory of the client's, or the part of it that a build reads.
struct WantedFiles {
  std::string mount;                 // "context", "dockerfile", a named context
  std::string session;               // of another client, whose build this one goes on with; empty: of its own
  std::string shared_key;            // of the client's attributes: what tells directories of one name apart
  std::vector<std::string> include;  // patterns; empty: all
  std::vector<std::string> exclude;
  std::vector<std::string> follow;  // paths, with what links on their way lead to; empty: all
  bool all_again = false;           // files that look the same are sent too
  bool operator==(const WantedFiles&) const = default;
};

// The copy on this machine; nobody changes it before this object goes.
class SyncedFiles {
 public:
  virtual ~SyncedFiles() = default;
  virtual const std::string& directory() const = 0;
};

// A listening ssh agent that hands on to the client's.
class ForwardedAgent {
 public:
  virtual ~ForwardedAgent() = default;
  virtual const std::string& socket() const = 0;
};

class Client {
 public:
  virtual ~Client() = default;

  // What tells this client's directories from those of others, from one build to the next.
  virtual std::string project() const = 0;

  // `on_progress` gets bytes and files under the name "transferring MOUNT:".
  virtual Result<std::unique_ptr<SyncedFiles>> Sync(const WantedFiles& wanted, const OnProgress& on_progress,
                                                    std::stop_token stop) = 0;
  // What was piped into the client, under a URL that it made up ("http://buildkit-session/…").
  virtual Status Upload(const std::string& url, Writer& out, std::stop_token stop) = 0;

  virtual Result<std::optional<std::string>> Secret(const std::string& id, std::stop_token stop) = 0;
  virtual Result<std::optional<registry::Credential>> Credentials(const std::string& host, std::stop_token stop) = 0;
  // Fetched by the client, with a password that it keeps. Nothing: it has only Credentials.
  virtual Result<std::optional<registry::BearerToken>> Token(const registry::TokenRequest& request,
                                                             std::stop_token stop) = 0;
  virtual Result<std::unique_ptr<ForwardedAgent>> StartAgent(const std::string& id, const std::string& directory,
                                                             std::stop_token stop) = 0;

  // One of the client's content stores: "export" for outputs, "local:DIRECTORY" for caches, "oci:NAME" for layouts.
  // Of `session`, where it is not the build's own. Whether there is such a store shows when it is asked.
  virtual Result<std::shared_ptr<RemoteBlobs>> Content(const std::string& store, const std::string& session,
                                                       std::stop_token stop) = 0;
  // What the client of `session` thinks of a source.
  virtual Result<moby::buildkit::v1::sourcepolicy::policysession::CheckPolicyResponse> CheckPolicy(
      const std::string& session, const moby::buildkit::v1::sourcepolicy::policysession::CheckPolicyRequest& request,
      std::stop_token stop) = 0;

  // To the client's exporter number `exporter`.
  virtual Status SendStream(size_t exporter, const std::map<std::string, std::string>& metadata,
                            const std::function<Status(Writer&)>& write, std::stop_token stop) = 0;
  virtual Status SendFiles(size_t exporter, const std::string& directory, const OnProgress& on_progress,
                           std::stop_token stop) = 0;

  // Outputs that the client names when there is a result, "type" and attributes; and what became of all outputs.
  virtual Result<std::vector<session::NamedExporter>> FindExporters(const std::map<std::string, std::string>& metadata,
                                                                    const std::vector<std::string>& refs,
                                                                    std::stop_token stop) = 0;
  virtual Status FinalizeExport(const std::map<std::string, std::string>& answer, std::stop_token stop) = 0;

  // Requested when the client is gone.
  virtual std::stop_token gone() const = 0;
};

}  // namespace varve::daemon
