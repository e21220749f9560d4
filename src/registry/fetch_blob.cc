// Blobs come in one pass: hashed and written on, and never kept here. A broken connection goes on
// where it broke off, at the same host or at another: the digest names the same bytes everywhere.
#include <algorithm>

#include "base/metric.h"
#include "base/strings.h"
#include "net/url.h"
#include "oci/manifest.h"
#include "registry/client_impl.h"

namespace varve::registry {

namespace {

// "bytes 200-999/1000" → 200
std::optional<uint64_t> RangeStart(std::string_view header) {
  if (!header.starts_with("bytes ")) return {};
  header.remove_prefix(6);
  auto start = ParseInt(header.substr(0, header.find('-')));
  if (!start || *start < 0) return {};
  return static_cast<uint64_t>(*start);
}

// What has arrived, over all connections and hosts.
class Arrival final : public Writer {
 public:
  Arrival(const oci::Descriptor& blob, Writer& out) : blob_(blob), out_(out) {}

  Status Write(std::string_view data) override {
    if (skip_ > 0) {  // sent again by a server without ranges
      size_t n = std::min<uint64_t>(skip_, data.size());
      skip_ -= n;
      data.remove_prefix(n);
    }
    if (data.size() > blob_.size - size_) {
      return Corrupt("blob {} is longer than the {} bytes it should have", blob_.digest.ToString(), blob_.size);
    }
    hash_.Update(data);
    size_ += data.size();
    if (data.empty()) return Ok();
    Status written = out_.Write(data);
    if (!written) failure_ = written.error();
    return written;
  }

  // For an answer that begins at the start of the blob.
  void SkipWhatIsHere() { skip_ = size_; }
  void SkipNothing() { skip_ = 0; }
  uint64_t size() const { return size_; }
  bool complete() const { return size_ == blob_.size; }
  // What our caller's writer failed with: no host can help then.
  const std::optional<Error>& failure() const { return failure_; }
  bool Matches() { return hash_.Finish() == blob_.digest; }

 private:
  const oci::Descriptor& blob_;
  Writer& out_;
  Sha256 hash_;
  uint64_t size_ = 0;
  uint64_t skip_ = 0;
  std::optional<Error> failure_;
};

class BlobFetch {
 public:
  BlobFetch(Transport& transport, const oci::Descriptor& blob, Writer& out, std::stop_token stop)
      : transport_(transport), blob_(blob), arrival_(blob, out), stop_(stop) {}

  // The whole rest from this host, or why not.
  Status From(const Endpoint& endpoint, const Call& base, bool last) {
    net::Retrier retrier = transport_.NewRetrier();
    while (true) {
      uint64_t before = arrival_.size();
      std::optional<Nanos> retry_after;
      std::optional<int> attempts;
      Status status = Once(endpoint, base, retry_after, attempts);
      if (status) return Verify(endpoint);
      if (status.error().code != Code::kUnavailable || arrival_.failure()) return status;
      if (arrival_.size() > before) retrier.Reset();
      if (attempts) attempts = Client::Impl::AttemptsAt(last);
      if (!retrier.Wait(retry_after, stop_, attempts)) {
        if (stop_.stop_requested()) return Cancelled("download of {} was cancelled", Name());
        return status;
      }
      static Counter retries("registry.retries");
      retries.Add();
    }
  }

  // The bytes written so far are wrong, or could not be written: other hosts cannot mend that.
  bool wrong() const { return wrong_; }
  bool failed() const { return wrong_ || arrival_.failure(); }

 private:
  std::string Name() const { return "blob " + blob_.digest.ToString(); }

  // `attempts` is set when no answer came.
  Status Once(const Endpoint& endpoint, Call call, std::optional<Nanos>& retry_after, std::optional<int>& attempts) {
    if (arrival_.complete() && arrival_.size() > 0) return Ok();
    bool ranged = arrival_.size() > 0 && !no_ranges_;
    if (ranged) call.headers.emplace_back("Range", fmt::format("bytes={}-", arrival_.size()));
    auto sink = [&](const net::Response& head) -> Result<Writer*> {
      arrival_.SkipNothing();
      if (head.status != 206) {
        arrival_.SkipWhatIsHere();
      } else if (RangeStart(head.Header("Content-Range")) != arrival_.size()) {
        no_ranges_ = true;
        return Unavailable("{}: {} sends another range than it was asked for", Name(), endpoint.host);
      }
      return &arrival_;
    };
    auto answer = transport_.SendOnce(endpoint, call, sink, stop_);
    if (!answer) {
      if (answer.error().code == Code::kCorrupt && !arrival_.failure()) wrong_ = true;
      attempts = 0;
      return std::move(answer).error();
    }
    int status = answer->head.status;
    if (status == 200 || status == 206) {
      if (arrival_.complete() || blob_.size == oci::kUnknownSize) return Ok();
      wrong_ = true;
      return Corrupt("{} from {} has {} bytes instead of {}", Name(), endpoint.host, arrival_.size(), blob_.size);
    }
    if (status == 416 && ranged) {
      no_ranges_ = true;
      return Unavailable("{}: {} cannot go on at byte {}", Name(), endpoint.host, arrival_.size());
    }
    retry_after = transport_.RetryAfter(answer->head);
    Error error = RefusalError(endpoint, Name(), status, answer->body);
    // Retryable ones alone come back here; From gives the others up.
    if (error.code == Code::kUnavailable && !net::IsRetryableStatus(status)) {
      error.code = Code::kInvalid;
    }
    return error;
  }

  Status Verify(const Endpoint& endpoint) {
    if (arrival_.Matches()) return Ok();
    wrong_ = true;
    Error error = Corrupt("{} from {} does not match its digest", Name(), endpoint.host);
    error.hint = "the registry, or a proxy before it, changed the content; try again or elsewhere";
    return error;
  }

  Transport& transport_;
  const oci::Descriptor& blob_;
  Arrival arrival_;
  std::stop_token stop_;
  bool no_ranges_ = false;
  bool wrong_ = false;
};

// Where a layer says that it is, besides in a registry. Only TLS: nobody vouches for the address.
std::vector<Endpoint> ForeignEndpoints(const oci::Descriptor& blob) {
  std::vector<Endpoint> out;
  for (const std::string& text : blob.urls) {
    auto url = net::ParseUrl(text);
    if (url && url->scheme == "https") out.push_back({.url = url->Origin(), .host = url->host});
  }
  return out;
}

}  // namespace

Status Client::FetchBlob(const oci::Reference& repository, const oci::Descriptor& blob, Writer& out,
                         std::stop_token stop) {
  if (!blob.data.empty()) return out.Write(blob.data);  // verified when it was parsed
  std::vector<Endpoint> endpoints = impl_->EndpointsFor(repository, &blob.digest);
  size_t registries = endpoints.size();
  for (Endpoint& foreign : ForeignEndpoints(blob)) endpoints.push_back(std::move(foreign));
  BlobFetch fetch(impl_->transport, blob, out, stop);
  size_t index = 0;
  std::optional<Error> final;
  Status status =
      FirstAnswer(*impl_, endpoints, fmt::format("blob {} of {}", blob.digest.ToString(), repository.Name()),
                  [&](const Endpoint& endpoint, bool last) -> Status {
                    if (final) return *final;
                    Call call{.path = BlobPath(repository, blob.digest), .scopes = {PullScope(repository.path)}};
                    if (size_t i = index++; i >= registries) {
                      call = {.path = {}, .url = blob.urls[0]};
                      for (const std::string& url : blob.urls) {
                        if (url.starts_with(endpoint.url)) call.url = url;
                      }
                    }
                    Status result = fetch.From(endpoint, call, last);
                    if (fetch.wrong()) impl_->sent_wrong.Lock()->insert({endpoint.url, blob.digest});
                    if (!result && fetch.failed()) final = result.error();
                    return result;
                  });
  if (final) return std::move(*final);
  if (status) impl_->NoteSeen(repository, blob.digest);
  return status;
}

Result<std::string> Client::FetchBlobPart(const oci::Reference& repository, const oci::Descriptor& blob,
                                          uint64_t offset, uint64_t size, std::stop_token stop) {
  if (size == 0 || offset >= blob.size) return std::string();
  size = std::min(size, blob.size - offset);
  std::string name = fmt::format("blob {} of {}", blob.digest.ToString(), repository.Name());
  Call call{.path = BlobPath(repository, blob.digest), .scopes = {PullScope(repository.path)}};
  call.headers.emplace_back("Range", fmt::format("bytes={}-{}", offset, offset + size - 1));
  auto ask = [&](const Endpoint& endpoint, bool last) -> Result<std::string> {
    TRY_ASSIGN(Answer answer, impl_->transport.Ask(endpoint, call, blob.size, Impl::AttemptsAt(last), stop));
    int status = answer.head.status;
    if (status != 200 && status != 206) return RefusalError(endpoint, name, status, answer.body);
    uint64_t first = status == 200 ? 0 : RangeStart(answer.head.Header("Content-Range")).value_or(blob.size);
    if (first > offset || answer.body.size() < offset - first + size) {
      return Corrupt("{}: {} sends another range than it was asked for", name, endpoint.host);
    }
    return answer.body.substr(offset - first, size);
  };
  return FirstAnswer(*impl_, impl_->EndpointsFor(repository, &blob.digest), name, ask);
}

Result<std::string> Client::FetchSmallBlob(const oci::Reference& repository, const oci::Descriptor& blob,
                                           uint64_t limit, std::stop_token stop) {
  if (blob.size > limit) {
    return Invalid("blob {} of {} has {}, more than the {} allowed", blob.digest.ToString(), repository.Name(),
                   FormatBytes(blob.size), FormatBytes(limit));
  }
  StringWriter text;
  Status status = FetchBlob(repository, blob, text, stop);
  if (!status && status.error().code == Code::kCorrupt) {
    text.text.clear();
    status = FetchBlob(repository, blob, text, stop);
  }
  TRY(status);
  return std::move(text.text);
}

}  // namespace varve::registry
