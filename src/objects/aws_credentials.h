// Where an S3 client's keys come from, in AWS's order; the first source that is configured decides:
//
//   1. options of the tier: access_key_id, secret_access_key, session_token
//   2. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN
//   3. AWS_WEB_IDENTITY_TOKEN_FILE with AWS_ROLE_ARN: STS AssumeRoleWithWebIdentity (GitHub's OIDC,
//      Kubernetes service accounts)
//   4. the profile of the shared files: keys, or a role with web_identity_token_file
//   5. AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI (ECS, EKS pod identity)
//   6. the instance's role from the metadata service, version 2 (not when
//      AWS_EC2_METADATA_DISABLED=true); a machine that is no EC2 instance costs one second, once
//
// Not there, and said so when a profile asks for it: role_arn with source_profile,
// credential_process and SSO. Source: AWS SDKs and Tools Reference Guide, "Standardized credential
// providers".
#pragma once

#include <optional>
#include <stop_token>
#include <string>

#include "base/clock.h"
#include "base/guarded.h"
#include "net/http_client.h"
#include "objects/aws_config.h"
#include "objects/aws_signature.h"

namespace varve::objects {

struct AwsCredentials {
  AwsKeys keys;
  std::optional<Timestamp> expires = {};
  std::string source;  // "environment", "profile ci", "instance role ci-runner": for messages
};

// Safe from any thread; one fetch at a time.
class AwsCredentialChain {
 public:
  AwsCredentialChain(net::HttpClient& http, Clock& clock, Environment environment, AwsKeys explicit_keys,
                     std::string profile, std::string region)
      : http_(http), clock_(clock), environment_(std::move(environment)), explicit_keys_(std::move(explicit_keys)),
        profile_(std::move(profile)), region_(std::move(region)) {}

  // Kept until five minutes before they expire. kInvalid, with the places that were looked at, when
  // there are none, also the next time: the metadata service is not asked twice.
  Result<AwsCredentials> Get(std::stop_token stop);
  // A server said that these are expired or unknown: the next Get fetches anew, unless another
  // thread has done so.
  void Refused(const AwsKeys& keys);

 private:
  struct State {
    std::optional<AwsCredentials> current;
    std::optional<Error> none;
  };
  Result<AwsCredentials> Find(std::stop_token stop);
  Result<AwsCredentials> FromProfile(const AwsProfile& profile, std::stop_token stop);
  Result<AwsCredentials> FromWebIdentity(const std::string& token_file, const std::string& role,
                                         const std::string& session, std::stop_token stop);
  Result<AwsCredentials> FromContainer(std::stop_token stop);
  // Empty: no metadata service, or an instance without a role.
  Result<std::optional<AwsCredentials>> FromInstance(std::stop_token stop);

  net::HttpClient& http_;
  Clock& clock_;
  const Environment environment_;
  const AwsKeys explicit_keys_;
  const std::string profile_;
  const std::string region_;
  Guarded<State> state_;
};

}  // namespace varve::objects
