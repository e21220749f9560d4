#include "objects/aws_credentials.h"

#include "base/fd.h"
#include "base/json.h"
#include "base/strings.h"
#include "net/url.h"
#include "objects/xml.h"

namespace varve::objects {

namespace {

using std::chrono::milliseconds;

constexpr uint64_t kMaxAnswer = 1 << 20;
constexpr int64_t kRefreshEarly = 300;  // seconds

// Metadata services are on this machine or the next hop: what does not answer at once is not there.
constexpr net::Timeouts kMetadata{
    .connect = milliseconds(1000), .stall = milliseconds(2000), .total = milliseconds(2000)};
constexpr net::Timeouts kSts{
    .connect = milliseconds(5000), .stall = milliseconds(10'000), .total = milliseconds(15'000)};

// {"AccessKeyId":…,"SecretAccessKey":…,"Token":…,"Expiration":"2026-…Z"}, of both services.
Result<AwsCredentials> FromMetadata(const std::string& body, std::string source) {
  auto json = Json::Parse(body);
  if (!json) return Corrupt("{}: the answer is not JSON", source);
  AwsCredentials credentials{
      .keys = {json->GetString("AccessKeyId"), json->GetString("SecretAccessKey"), json->GetString("Token")},
      .source = std::move(source)};
  if (credentials.keys.access_key_id.empty() || credentials.keys.secret_access_key.empty()) {
    return Corrupt("{}: the answer has no keys: {}", credentials.source,
                   json->GetString("Message", json->GetString("Code", "no message")));
  }
  if (auto expires = ParseTime(json->GetString("Expiration"))) credentials.expires = *expires;
  return credentials;
}

Result<std::string> ReadToken(const std::string& path) {
  auto token = ReadFile(path, 64 << 10);
  if (!token) return std::move(token).error().With("token file");
  return std::string(TrimSpace(*token));
}

// The agent of EKS pod identity and ECS, besides loopback; anything else must be https, because the
// answer is a secret.
bool IsContainerHost(const std::string& host) {
  return net::IsLoopback(host) || host == "169.254.170.2" || host == "169.254.170.23" || host == "fd00:ec2::23";
}

}  // namespace

Result<AwsCredentials> AwsCredentialChain::Get(std::stop_token stop) {
  auto state = state_.Lock();
  if (state->current) {
    const auto& expires = state->current->expires;
    if (!expires || expires->seconds() - kRefreshEarly > clock_.Now().seconds()) {
      return *state->current;
    }
  }
  if (state->none) return *state->none;
  auto found = Find(stop);
  if (found) {
    state->current = *found;
  } else if (found.error().code == Code::kInvalid) {
    state->none = found.error();
  }
  return found;
}

void AwsCredentialChain::Refused(const AwsKeys& keys) {
  auto state = state_.Lock();
  if (state->current && state->current->keys.access_key_id == keys.access_key_id &&
      state->current->keys.session_token == keys.session_token) {
    state->current.reset();
  }
}

Result<AwsCredentials> AwsCredentialChain::Find(std::stop_token stop) {
  if (!explicit_keys_.access_key_id.empty() || !explicit_keys_.secret_access_key.empty()) {
    if (explicit_keys_.access_key_id.empty() || explicit_keys_.secret_access_key.empty()) {
      return Invalid("access_key_id and secret_access_key must be given together");
    }
    return AwsCredentials{.keys = explicit_keys_, .source = "options"};
  }
  if (profile_.empty()) {
    AwsKeys keys{environment_("AWS_ACCESS_KEY_ID"), environment_("AWS_SECRET_ACCESS_KEY"),
                 environment_("AWS_SESSION_TOKEN")};
    if (!keys.access_key_id.empty() && !keys.secret_access_key.empty()) {
      return AwsCredentials{.keys = std::move(keys), .source = "environment"};
    }
    if (std::string file = environment_("AWS_WEB_IDENTITY_TOKEN_FILE"); !file.empty()) {
      return FromWebIdentity(file, environment_("AWS_ROLE_ARN"), environment_("AWS_ROLE_SESSION_NAME"), stop);
    }
  }
  TRY_ASSIGN(AwsProfile profile, ReadAwsProfile(environment_, profile_));
  TRY_ASSIGN(AwsCredentials of_profile, FromProfile(profile, stop));
  if (!of_profile.keys.access_key_id.empty()) return of_profile;
  if (!environment_("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").empty() ||
      !environment_("AWS_CONTAINER_CREDENTIALS_FULL_URI").empty()) {
    return FromContainer(stop);
  }
  if (!EqualsIgnoreCase(environment_("AWS_EC2_METADATA_DISABLED"), "true")) {
    TRY_ASSIGN(std::optional<AwsCredentials> instance, FromInstance(stop));
    if (instance) return *std::move(instance);
  }
  Error error = Invalid(
      "no AWS credentials: none in the options, the environment, a web identity token, the shared "
      "files, a container's or an instance's role");
  error.hint =
      "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or pass access_key_id= and "
      "secret_access_key=";
  return error;
}

// Without keys when the profile says nothing about them.
Result<AwsCredentials> AwsCredentialChain::FromProfile(const AwsProfile& profile, std::stop_token stop) {
  auto get = [&](const char* name) {
    auto found = profile.find(name);
    return found == profile.end() ? std::string() : found->second;
  };
  std::string name = profile_.empty() ? environment_("AWS_PROFILE") : profile_;
  if (name.empty()) name = "default";
  if (std::string role = get("role_arn"); !role.empty()) {
    std::string file = get("web_identity_token_file");
    if (file.empty()) {
      Error error = Invalid(
          "AWS profile \"{}\" assumes a role from another profile, which varve "
          "does not do",
          name);
      error.hint = "export the keys first: eval \"$(aws configure export-credentials --format env)\"";
      return error;
    }
    return FromWebIdentity(file, role, get("role_session_name"), stop);
  }
  AwsKeys keys{get("aws_access_key_id"), get("aws_secret_access_key"), get("aws_session_token")};
  if (!keys.access_key_id.empty() && !keys.secret_access_key.empty()) {
    return AwsCredentials{.keys = std::move(keys), .source = "profile " + name};
  }
  for (const char* other : {"credential_process", "sso_session", "sso_start_url"}) {
    if (get(other).empty()) continue;
    Error error = Invalid("AWS profile \"{}\" gets its keys by {}, which varve does not do", name, other);
    error.hint = "export the keys first: eval \"$(aws configure export-credentials --format env)\"";
    return error;
  }
  return AwsCredentials{};
}

Result<AwsCredentials> AwsCredentialChain::FromWebIdentity(const std::string& token_file, const std::string& role,
                                                           const std::string& session, std::stop_token stop) {
  if (role.empty()) return Invalid("AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN is not");
  TRY_ASSIGN(std::string token, ReadToken(token_file));
  std::string endpoint = environment_("AWS_ENDPOINT_URL_STS");
  if (endpoint.empty()) {
    endpoint = region_.empty()
                   ? "https://sts.amazonaws.com"
                   : fmt::format("https://sts.{}.amazonaws.com{}", region_, region_.starts_with("cn-") ? ".cn" : "");
  }
  // In the body: a query would be in the logs of every proxy on the way.
  net::Request request{.method = "POST",
                       .url = endpoint + "/",
                       .headers = {{"Content-Type", "application/x-www-form-urlencoded"}},
                       .body = CanonicalQuery({{"Action", "AssumeRoleWithWebIdentity"},
                                               {"Version", "2011-06-15"},
                                               {"RoleArn", role},
                                               {"RoleSessionName", session.empty() ? "varve" : session},
                                               {"WebIdentityToken", token}}),
                       .follow_redirects = false,
                       .timeouts = kSts};
  TRY_ASSIGN(net::Reply reply, http_.Fetch(request, kMaxAnswer, stop));
  auto xml = ParseXml(reply.body);
  if (reply.head.status != 200) {
    const XmlElement* error = xml ? xml->Find("Error") : nullptr;
    std::string_view code = error != nullptr ? error->Text("Code") : "";
    std::string message =
        fmt::format("{} does not let the token of {} assume {}: {} {} {}", net::Redact(endpoint), token_file, role,
                    reply.head.status, code, error != nullptr ? error->Text("Message") : "");
    if (reply.head.status >= 500) return Unavailable("{}", message);
    return Invalid("{}", message);
  }
  if (!xml) return std::move(xml).error().With("STS");
  const XmlElement* result = xml->Find("AssumeRoleWithWebIdentityResult");
  const XmlElement* keys = result == nullptr ? nullptr : result->Find("Credentials");
  if (keys == nullptr || keys->Text("AccessKeyId").empty()) {
    return Corrupt("{}: the answer has no credentials", net::Redact(endpoint));
  }
  AwsCredentials credentials{
      .keys = {std::string(keys->Text("AccessKeyId")), std::string(keys->Text("SecretAccessKey")),
               std::string(keys->Text("SessionToken"))},
      .source = "web identity of " + role};
  if (auto expires = ParseTime(keys->Text("Expiration"))) credentials.expires = *expires;
  return credentials;
}

Result<AwsCredentials> AwsCredentialChain::FromContainer(std::stop_token stop) {
  std::string url = environment_("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (std::string path = environment_("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"); !path.empty()) {
    url = "http://169.254.170.2" + path;
  }
  TRY_ASSIGN(net::Url parsed, net::ParseUrl(url));
  if (parsed.scheme != "https" && !IsContainerHost(parsed.host)) {
    return Invalid("AWS_CONTAINER_CREDENTIALS_FULL_URI: {} is neither https nor on this machine", net::Redact(url));
  }
  net::Headers headers;
  std::string token = environment_("AWS_CONTAINER_AUTHORIZATION_TOKEN");
  if (std::string file = environment_("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); !file.empty()) {
    TRY_ASSIGN(token, ReadToken(file));
  }
  if (!token.empty()) headers.emplace_back("Authorization", token);
  TRY_ASSIGN(net::Reply reply,
             http_.Fetch({.url = url, .headers = headers, .follow_redirects = false, .timeouts = kMetadata}, kMaxAnswer,
                         stop));
  if (reply.head.status != 200) {
    return Unavailable("container credentials from {}: status {}", net::Redact(url), reply.head.status);
  }
  return FromMetadata(reply.body, "container role");
}

Result<std::optional<AwsCredentials>> AwsCredentialChain::FromInstance(std::stop_token stop) {
  std::string base = environment_("AWS_EC2_METADATA_SERVICE_ENDPOINT");
  if (base.empty()) base = "http://169.254.169.254";
  while (base.ends_with('/')) base.pop_back();
  auto token = http_.Fetch({.method = "PUT",
                            .url = base + "/latest/api/token",
                            .headers = {{"X-aws-ec2-metadata-token-ttl-seconds", "300"}},
                            .follow_redirects = false,
                            .timeouts = kMetadata},
                           kMaxAnswer, stop);
  if (!token) {
    if (token.error().code == Code::kCancelled) return token.error();
    return std::optional<AwsCredentials>();
  }
  // Version 1, without a token, is not tried: it is what request forgery goes for.
  if (token->head.status != 200) return std::optional<AwsCredentials>();
  const std::string roles = base + "/latest/meta-data/iam/security-credentials/";
  auto get = [&](const std::string& url) {
    return http_.Fetch({.url = url,
                        .headers = {{"X-aws-ec2-metadata-token", token->body}},
                        .follow_redirects = false,
                        .timeouts = kMetadata},
                       kMaxAnswer, stop);
  };
  TRY_ASSIGN(net::Reply role, get(roles));
  if (role.head.status != 200) return std::optional<AwsCredentials>();
  std::string name(TrimSpace(Split(role.body, '\n').front()));
  if (name.empty()) return std::optional<AwsCredentials>();
  TRY_ASSIGN(net::Reply keys, get(roles + net::PercentEncode(name)));
  if (keys.head.status != 200) {
    return Unavailable("instance metadata: status {} for role {}", keys.head.status, name);
  }
  TRY_ASSIGN(AwsCredentials credentials, FromMetadata(keys.body, "instance role " + name));
  return std::optional(std::move(credentials));
}

}  // namespace varve::objects
