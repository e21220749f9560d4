// A plain web server as an object store: GET, HEAD, PUT, DELETE of URLs below one.
//
// nginx with `dav_methods PUT DELETE` serves files so; bazel-remote answers GET, HEAD and PUT of
// /cas/<sha256 hex> and /ac/<sha256 hex>, where it checks bodies under /cas against their name.
// Which keys such a server takes is the tier's part.
//
// Not there: listing (kInvalid), because plain HTTP has none. Conditional writes where the server
// honours If-Match and If-None-Match of a PUT (HasConditions tries).
#pragma once

#include <map>

#include "base/guarded.h"
#include "net/url.h"
#include "objects/object_store.h"
#include "objects/transport.h"

namespace varve::objects {

struct HttpOptions {
  std::string url;
  std::string user, password;  // Basic; also from the URL
  std::string token;           // Bearer
  net::Headers headers = {};   // sent with every request
  net::RetryPolicy retry = {};
  net::Timeouts timeouts = {};
  net::Tls tls = {};
};

// Takes url, username, password, token, header, ca and insecure out of `attributes`; what is left is
// for the tier. header is "NAME: VALUE", several on a line each.
Result<HttpOptions> TakeHttpOptions(std::map<std::string, std::string>& attributes);

class HttpStore final : public ObjectStore, private Endpoint {
 public:
  static Result<std::unique_ptr<HttpStore>> Open(HttpOptions options, net::HttpClient& http, Clock& clock,
                                                 net::Sleeper& sleeper);

  std::string Name() const override;
  Result<std::optional<ObjectInfo>> Get(const std::string& key, std::optional<ByteRange> range, Writer& out,
                                        std::stop_token stop) override;
  Result<std::optional<ObjectInfo>> Head(const std::string& key, std::stop_token stop) override;
  Status Put(const std::string& key, const Body& body, std::stop_token stop) override;
  Result<bool> PutIf(const std::string& key, std::string_view bytes, const Condition& condition,
                     std::stop_token stop) override;
  Result<bool> HasConditions(std::stop_token stop) override;
  Result<std::vector<ListedObject>> List(const std::string& prefix, std::stop_token stop) override;
  Result<bool> Refresh(const std::string& key, std::stop_token stop) override;
  Status Delete(const std::vector<std::string>& keys, std::stop_token stop) override;

 private:
  HttpStore(HttpOptions options, net::Url base, net::HttpClient& http, Clock& clock, net::Sleeper& sleeper);

  Result<net::Request> Prepare(const Call& call, std::stop_token stop) override;
  Verdict Judge(const Call& call, const net::Request& sent, const Answer& answer) override;
  Error Failure(const Call& call, const Answer& answer) override;

  const HttpOptions options_;
  const net::Url base_;
  Transport transport_;
  Guarded<std::optional<bool>> conditions_;
};

}  // namespace varve::objects
