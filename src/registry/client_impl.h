// What the client's source files share.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/guarded.h"
#include "base/log.h"
#include "registry/answer.h"
#include "registry/client.h"
#include "registry/credentials.h"
#include "registry/transport.h"

namespace varve::registry {

// A host that cannot be reached is passed over for this long, while there are others.
inline constexpr Nanos kDownTime{60'000'000'000};

struct Client::Impl {
  Impl(net::HttpClient& http, ClientOptions client_options)
      : options(std::move(client_options)),
        credentials(options.docker_config.empty() ? DockerConfigDirectory() : options.docker_config,
                    options.credentials, options.tokens),
        transport(http, credentials, *options.clock, *options.sleeper,
                  {.retry = options.retry, .timeouts = options.timeouts}) {}

  const ClientOptions options;
  CredentialStore credentials;
  Transport transport;
  Guarded<std::map<std::string, Timestamp>> down_until;          // by endpoint
  Guarded<std::set<std::pair<std::string, Digest>>> sent_wrong;  // endpoint and blob

  // Where a blob was found or put last: repositories, by registry and blob.
  Guarded<std::map<std::pair<std::string, Digest>, std::string>> seen;
  void NoteSeen(const oci::Reference& repository, const Digest& blob) {
    seen.Lock()->insert_or_assign({repository.domain, blob}, repository.path);
  }

  // Hosts for reading, in the order in which they are asked now.
  std::vector<Endpoint> EndpointsFor(const oci::Reference& reference, const Digest* blob);
  void NoteFailure(const Endpoint& endpoint, const Error& error);

  // Attempts at a host that gives no answer: one more than the first while others are left.
  static std::optional<int> AttemptsAt(bool last) { return last ? std::optional<int>(3) : std::optional<int>(2); }

  Result<Document> FetchManifestFrom(const Endpoint& endpoint, const oci::Reference& reference, bool last,
                                     std::stop_token stop);
  Result<oci::Descriptor> HeadManifest(const Endpoint& endpoint, const oci::Reference& reference, bool last,
                                       std::stop_token stop);
  Result<bool> HasBlobAt(const Endpoint& endpoint, const oci::Reference& repository, const Digest& digest,
                         const Scopes& scopes, std::stop_token stop);
  Status AddToReferrersTag(const oci::Reference& repository, const Digest& subject, const oci::Descriptor& referrer,
                           std::stop_token stop);
};

// Asks one host after the other: `ask(endpoint, last)` returns a Result. The first value wins.
// Otherwise the most telling error: wrong bytes before a denial, before no answer, before absence.
template <class Ask>
auto FirstAnswer(Client::Impl& impl, const std::vector<Endpoint>& endpoints, std::string_view what, Ask ask)
    -> decltype(ask(endpoints[0], true)) {
  static constexpr Code kOrder[] = {Code::kCorrupt, Code::kInvalid, Code::kUnavailable, Code::kNotFound};
  std::vector<Error> errors;
  std::string tried;
  for (size_t i = 0; i < endpoints.size(); ++i) {
    auto result = ask(endpoints[i], i + 1 == endpoints.size());
    if (result) return result;
    Error error = std::move(result).error();
    bool next = error.code == Code::kCorrupt || error.code == Code::kInvalid || error.code == Code::kUnavailable ||
                error.code == Code::kNotFound;
    if (!next) return error;
    impl.NoteFailure(endpoints[i], error);
    tried += (tried.empty() ? "" : ", ") + endpoints[i].url;
    errors.push_back(std::move(error));
  }
  for (Code code : kOrder) {
    std::vector<std::string> messages;
    std::string hint;
    for (const Error& error : errors) {
      if (error.code != code) continue;
      messages.push_back(error.message);
      if (hint.empty()) hint = error.hint;
    }
    if (messages.empty()) continue;
    if (code == Code::kNotFound) return Error{code, fmt::format("{} not found", what), "asked " + tried};
    std::string message = messages[0];
    for (size_t i = 1; i < messages.size(); ++i) message += "; " + messages[i];
    return Error{code, std::move(message), std::move(hint)};
  }
  return Internal("no host to ask for {}", what);
}

std::string ManifestPath(const oci::Reference& reference);
std::string BlobPath(const oci::Reference& repository, const Digest& digest);

}  // namespace varve::registry
