// A bucket of Amazon S3, or of a server that speaks its protocol: MinIO, Ceph, Garage, R2, GCS.
//
// Source: Amazon S3 API Reference (GetObject, HeadObject, PutObject, CopyObject, CreateMultipartUpload,
// UploadPart, CompleteMultipartUpload, AbortMultipartUpload, ListObjectsV2, DeleteObjects).
//
// What goes wrong with real buckets, and what is done about it:
//   wrong clock         the difference is read from the Date header of the refusal, kept, tried again
//   expired token       the credential chain fetches new ones once
//   other region        the region that the refusal names is kept, tried again
//   SlowDown, 5xx, cut  repeated with back-off; downloads continue where they broke off
//   failed upload       the parts of a multipart upload are removed (AbortMultipartUpload)
//
// Memory: at most upload_parallelism parts of an upload, 8 MiB each up to objects of 80 GB.
#pragma once

#include <atomic>
#include <map>

#include "net/url.h"
#include "objects/aws_credentials.h"
#include "objects/object_store.h"
#include "objects/transport.h"

namespace varve::objects {

struct S3Options {
  std::string bucket;
  std::string region;
  std::string prefix;            // put before every key as it is
  std::string endpoint_url;      // empty: AWS, by region
  bool use_path_style = false;   // with endpoint_url; implied where a bucket cannot be a host name
  AwsKeys keys;                  // empty: the credential chain
  std::string profile;           // of the shared files; empty: AWS_PROFILE
  uint64_t part_size = 8 << 20;  // at least 5 MiB for AWS; bodies of two parts and more are split
  size_t upload_parallelism = 4;
  net::RetryPolicy retry = {};
  net::Timeouts timeouts = {};
  net::Tls tls = {};
};

// Takes BuildKit's attributes of type=s3 that say where and how (bucket, region, prefix,
// endpoint_url, use_path_style, access_key_id, secret_access_key, session_token,
// upload_parallelism, retry_max_attempts, retry_mode, disable_accept_encoding) and varve's own
// (profile, ca, insecure) out of `attributes`; what is left is for the tier. Bucket and region may
// come from AWS_BUCKET, AWS_REGION, AWS_DEFAULT_REGION and the profile. retry_mode and
// disable_accept_encoding are checked and have no effect: there is one way to retry, and
// Accept-Encoding is never sent.
Result<S3Options> TakeS3Options(std::map<std::string, std::string>& attributes, const Environment& environment);

class S3Store final : public ObjectStore, private Endpoint {
 public:
  // kInvalid for options that cannot work. Talks to nobody yet.
  static Result<std::unique_ptr<S3Store>> Open(S3Options options, net::HttpClient& http, Environment environment,
                                               Clock& clock, net::Sleeper& sleeper);

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
  S3Store(S3Options options, net::Url endpoint, net::HttpClient& http, Environment environment, Clock& clock,
          net::Sleeper& sleeper);

  Result<net::Request> Prepare(const Call& call, std::stop_token stop) override;
  Verdict Judge(const Call& call, const net::Request& sent, const Answer& answer) override;
  Error Failure(const Call& call, const Answer& answer) override;

  // Call.key is the key in the bucket, "" the bucket itself.
  std::string BucketKey(const std::string& key) const { return options_.prefix + key; }
  // Its answer, when it is 2xx; its Failure otherwise.
  Result<Answer> AskOk(const Call& call, std::stop_token stop);
  Status PutInParts(const std::string& bucket_key, const Body& body, std::stop_token stop);

  const S3Options options_;
  const net::Url endpoint_;  // of endpoint_url; without a host: AWS
  const bool path_style_;
  Clock& clock_;
  AwsCredentialChain credentials_;
  Transport transport_;
  std::atomic<int64_t> skew_seconds_{0};  // the server's clock minus ours
  Guarded<std::string> region_;
  Guarded<std::optional<bool>> conditions_;
};

}  // namespace varve::objects
