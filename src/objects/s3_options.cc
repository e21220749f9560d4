#include "base/strings.h"
#include "objects/s3_store.h"

namespace varve::objects {

namespace {

Result<bool> TakeBool(const std::string& name, const std::string& value) {
  auto parsed = ParseBool(value);
  if (!parsed) return Invalid("{}={}: neither true nor false", name, value);
  return *parsed;
}

Result<int64_t> TakeCount(const std::string& name, const std::string& value) {
  auto parsed = ParseInt(value);
  if (!parsed || *parsed < 1 || *parsed > 1000) {
    return Invalid("{}={}: not a number from 1 to 1000", name, value);
  }
  return *parsed;
}

}  // namespace

Result<S3Options> TakeS3Options(std::map<std::string, std::string>& attributes,
                                const Environment& environment) {
  S3Options options;
  auto take = [&](const char* name) {
    auto node = attributes.extract(name);
    return node.empty() ? std::string() : std::move(node.mapped());
  };
  options.bucket = take("bucket");
  options.region = take("region");
  options.prefix = take("prefix");
  options.endpoint_url = take("endpoint_url");
  options.keys = {take("access_key_id"), take("secret_access_key"), take("session_token")};
  options.profile = take("profile");
  options.tls.ca = take("ca");
  if (std::string value = take("use_path_style"); !value.empty()) {
    TRY_ASSIGN(options.use_path_style, TakeBool("use_path_style", value));
  }
  if (std::string value = take("insecure"); !value.empty()) {
    TRY_ASSIGN(options.tls.insecure, TakeBool("insecure", value));
  }
  if (std::string value = take("disable_accept_encoding"); !value.empty()) {
    TRY(TakeBool("disable_accept_encoding", value));
  }
  if (std::string value = take("upload_parallelism"); !value.empty()) {
    TRY_ASSIGN(int64_t count, TakeCount("upload_parallelism", value));
    options.upload_parallelism = static_cast<size_t>(count);
  }
  if (std::string value = take("retry_max_attempts"); !value.empty()) {
    TRY_ASSIGN(int64_t count, TakeCount("retry_max_attempts", value));
    options.retry.attempts = static_cast<int>(count);
  }
  if (std::string value = take("retry_mode");
      !value.empty() && value != "standard" && value != "adaptive") {
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
