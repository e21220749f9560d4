#include "objects/attributes.h"
#include "objects/s3_store.h"

namespace varve::objects {

Result<S3Options> TakeS3Options(std::map<std::string, std::string>& attributes, const Environment& environment) {
  S3Options options;
  Attributes take(attributes);
  options.bucket = take.Take("bucket");
  options.region = take.Take("region");
  options.prefix = take.Take("prefix");
  options.endpoint_url = take.Take("endpoint_url");
  options.keys = {take.Take("access_key_id"), take.Take("secret_access_key"), take.Take("session_token")};
  options.profile = take.Take("profile");
  bool accept_encoding_disabled = true;
  TRY(take.TakeTls(options.tls));
  TRY(take.TakeBool("use_path_style", options.use_path_style));
  TRY(take.TakeBool("disable_accept_encoding", accept_encoding_disabled));
  TRY(take.TakeCount("upload_parallelism", options.upload_parallelism));
  TRY(take.TakeCount("retry_max_attempts", options.retry.attempts));
  if (std::string value = take.Take("retry_mode"); !value.empty() && value != "standard" && value != "adaptive") {
    return Invalid("retry_mode={}: neither standard nor adaptive", value);
  }

  if (options.bucket.empty()) options.bucket = environment("AWS_BUCKET");
  if (options.bucket.empty()) {
    Error error = Invalid("type=s3 has no bucket");
    error.hint = "add bucket=NAME, or set AWS_BUCKET";
    return error;
  }
  for (const char* variable : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    if (options.region.empty()) options.region = environment(variable);
  }
  if (options.region.empty()) {
    TRY_ASSIGN(AwsProfile profile, ReadAwsProfile(environment, options.profile));
    if (auto found = profile.find("region"); found != profile.end()) {
      options.region = found->second;
    }
  }
  // Servers that are not AWS answer with their own region when this one is wrong.
  if (options.region.empty() && !options.endpoint_url.empty()) options.region = "us-east-1";
  if (options.region.empty()) {
    Error error = Invalid("type=s3,bucket={} has no region", options.bucket);
    error.hint = "add region=NAME, or set AWS_REGION";
    return error;
  }
  return options;
}

}  // namespace varve::objects
