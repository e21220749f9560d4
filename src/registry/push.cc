// Uploads (distribution-spec, "Pushing blobs").
//
//   POST uploads/?mount=D&from=R   201: mounted · 202: a session, as without mount
//   POST uploads/                  202 Location
//   PUT  Location?digest=D  body   201                     the whole blob, or
//   PATCH Location  body …         202 Location, Range     a piece, and in the end
//   PUT  Location?digest=D         201
//   GET  Location                  204 Location, Range     how much is there, after a failure
#include <algorithm>

#include "base/json.h"
#include "base/metric.h"
#include "base/strings.h"
#include "net/url.h"
#include "oci/manifest.h"
#include "registry/client_impl.h"

namespace varve::registry {

namespace {

constexpr uint64_t kMaxAnswer = 1 << 20;
// Some registries hash, or copy to an object store, before they answer the last request.
constexpr std::chrono::milliseconds kCommitTime{300'000};

class Slice final : public Reader {
 public:
  Slice(std::unique_ptr<Reader> in, uint64_t size, std::string name)
      : in_(std::move(in)), rest_(size), name_(std::move(name)) {}
  Result<size_t> Read(std::span<char> buffer) override {
    size_t want = std::min<uint64_t>(buffer.size(), rest_);
    if (want == 0) return size_t{0};
    TRY_ASSIGN(size_t n, in_->Read(buffer.first(want)));
    // Caught here: the registry would only see a body that breaks off, and be asked again.
    if (n == 0) return Corrupt("{} is shorter than its descriptor says", name_);
    rest_ -= n;
    return n;
  }

 private:
  std::unique_ptr<Reader> in_;
  uint64_t rest_;
  std::string name_;
};

// One blob on its way to one registry.
class Upload {
 public:
  Upload(Client::Impl& impl, Endpoint endpoint, const oci::Reference& repository, const oci::Descriptor& blob,
         const OpenAt& open, std::stop_token stop)
      : impl_(impl), endpoint_(std::move(endpoint)), repository_(repository), blob_(blob), open_(open),
        stop_(stop), scopes_{PushScope(repository.path)}, name_("blob " + blob.digest.ToString()) {}

  Result<Pushed> Run(const std::vector<std::string>& mount_from) {
    for (const std::string& source : mount_from) {
      if (source == repository_.path) continue;
      TRY_ASSIGN(bool mounted, Mount(source));
      if (mounted) return Pushed::kMounted;
    }
    net::Retrier retrier = impl_.transport.NewRetrier();
    bool whole = !impl_.options.always_chunk;
    while (true) {
      retry_after_.reset();
      Status status = Attempt(whole);
      if (status) return Pushed::kUploaded;
      if (failed_reading_ || status.error().code != Code::kUnavailable) return Final(status);
      // An answer may have been lost on its way to us, and the blob be there.
      auto there = impl_.HasBlobAt(endpoint_, repository_, blob_.digest, scopes_, stop_);
      if (there && *there) return Pushed::kUploaded;
      whole = false;
      // Further than ever before: a session that is begun anew is no progress.
      if (offset_ > furthest_) retrier.Reset();
      furthest_ = std::max(furthest_, offset_);
      if (!retrier.Wait(retry_after_, stop_)) return Final(status);
      static Counter retries("registry.retries");
      retries.Add();
      TRY(FindOffset());
    }
  }

 private:
  std::string UploadsPath() const { return "/v2/" + repository_.path + "/blobs/uploads/"; }

  Result<Pushed> Final(const Status& status) {
    if (stop_.stop_requested()) return Cancelled("upload of {} was cancelled", name_);
    return status.error();
  }

  // True: mounted. Otherwise `location_` may name a session, opened instead.
  Result<bool> Mount(const std::string& source) {
    Call call{.method = "POST",
              .path = UploadsPath(),
              .query = "mount=" + net::PercentEncode(blob_.digest.ToString()) + "&from=" + net::PercentEncode(source),
              .scopes = scopes_};
    call.scopes.insert(PullScope(source));
    auto answer = impl_.transport.Ask(endpoint_, call, kMaxAnswer, {}, stop_);
    // A mount is a short cut. What is really wrong with this registry, the way round will say.
    if (!answer) {
      if (answer.error().code == Code::kCancelled) return std::move(answer).error();
      return false;
    }
    if (answer->head.status != 201 && answer->head.status != 202) return false;
    // Sessions of earlier sources are not needed any more; a registry would keep them for a week.
    if (!location_.empty()) {
      Call cancel{.method = "DELETE", .path = {}, .url = location_, .scopes = scopes_};
      if (auto gone = impl_.transport.SendOnce(endpoint_, cancel, {}, stop_); !gone) {
        LOG_DEBUG("registry: {}", gone.error().message);
      }
      location_.clear();
    }
    if (answer->head.status == 201) return true;
    TRY(TakeLocation(answer->head));
    return false;
  }

  Status TakeLocation(const net::Response& head) {
    std::string_view location = head.Header("Location");
    if (location.empty()) {
      if (location_.empty()) return Invalid("{} opens an upload without a Location", endpoint_.host);
      return Ok();
    }
    TRY_ASSIGN(net::Url base, net::ParseUrl(head.url));
    TRY_ASSIGN(net::Url url, net::ResolveUrl(base, location));
    location_ = url.String();
    return Ok();
  }

  Status Open() {
    Call call{.method = "POST", .path = UploadsPath(), .scopes = scopes_};
    TRY_ASSIGN(Answer answer, impl_.transport.Ask(endpoint_, call, kMaxAnswer, 3, stop_));
    offset_ = 0;
    if (answer.head.status != 202) return Refused(answer);
    least_piece_ = ParseInt(answer.head.Header("OCI-Chunk-Min-Length")).value_or(0);
    return TakeLocation(answer.head);
  }

  // Everything from `offset_` on. kUnavailable: worth another attempt.
  Status Attempt(bool whole) {
    if (location_.empty()) TRY(Open());
    if ((whole || no_pieces_) && offset_ == 0) return Put(blob_.size);
    uint64_t piece = impl_.options.chunk_size == 0 ? blob_.size : std::max(impl_.options.chunk_size, least_piece_);
    while (offset_ < blob_.size) TRY(Patch(std::min(piece, blob_.size - offset_)));
    return Put(0);
  }

  void SetBody(Call& call, uint64_t size) {
    call.body_size = size;
    call.body_has_effect = true;
    call.headers = {{"Content-Type", "application/octet-stream"}};
    call.open_body = [this, size, offset = offset_]() -> Result<std::unique_ptr<Reader>> {
      if (size == 0) return std::make_unique<StringReader>("");
      auto content = open_(offset);
      if (!content) {
        failed_reading_ = true;
        return std::move(content).error();
      }
      return std::make_unique<Slice>(std::move(*content), size, name_);
    };
  }

  Status Put(uint64_t size) {
    Call call{.method = "PUT",
              .path = {},
              .url = location_,
              .query = "digest=" + net::PercentEncode(blob_.digest.ToString()),
              .scopes = scopes_,
              .stall = kCommitTime};
    SetBody(call, size);
    TRY_ASSIGN(Answer answer, impl_.transport.SendOnce(endpoint_, call, {}, stop_));
    if (answer.head.status == 201 || answer.head.status == 204) return Ok();
    return SessionRefused(answer);
  }

  Status Patch(uint64_t size) {
    Call call{.method = "PATCH", .path = {}, .url = location_, .scopes = scopes_, .stall = kCommitTime};
    SetBody(call, size);
    call.headers.emplace_back("Content-Range", fmt::format("{}-{}", offset_, offset_ + size - 1));
    TRY_ASSIGN(Answer answer, impl_.transport.SendOnce(endpoint_, call, {}, stop_));
    if (answer.head.status != 202 && answer.head.status != 204) {
      no_pieces_ = answer.head.status == 416;  // its size may be what is wrong
      return SessionRefused(answer);
    }
    TRY(TakeLocation(answer.head));
    offset_ += size;
    return Ok();
  }

  Status Refused(const Answer& answer) {
    retry_after_ = impl_.transport.RetryAfter(answer.head);
    return RefusalError(endpoint_, fmt::format("push of {} to {}", name_, repository_.Name()), answer.head.status,
                        answer.body);
  }

  // 404: the session is gone; 416: it holds something else than we think. A new one may do, and
  // the attempts are counted.
  Status SessionRefused(const Answer& answer) {
    Status refused = Refused(answer);
    if (answer.head.status == 404 || answer.head.status == 416) {
      location_.clear();
      return Unavailable("{}", refused.error().message);
    }
    return refused;
  }

  // After a failure: how much of the blob the session holds. A session that cannot say is left.
  Status FindOffset() {
    offset_ = 0;
    if (location_.empty()) return Ok();
    Call call{.path = {}, .url = location_, .scopes = scopes_};
    auto answer = impl_.transport.Ask(endpoint_, call, kMaxAnswer, 2, stop_);
    if (!answer && answer.error().code == Code::kCancelled) return std::move(answer).error();
    // "0-99" is 100 bytes. "0-0" is one byte by the letter, and none by the registry that most run
    // (distribution prints it for an empty upload): taken as none, which a wrong guess turns into
    // a 416 and a new session.
    std::optional<int64_t> end;
    if (answer && (answer->head.status == 204 || answer->head.status == 200)) {
      std::string_view range = answer->head.Header("Range");
      if (size_t equals = range.find('='); equals != range.npos) range.remove_prefix(equals + 1);
      if (range.starts_with("0-")) end = ParseInt(range.substr(2));
    }
    if (!end || *end < 0 || static_cast<uint64_t>(*end) >= blob_.size) {
      location_.clear();
      return Ok();
    }
    TRY(TakeLocation(answer->head));
    offset_ = *end == 0 ? 0 : static_cast<uint64_t>(*end) + 1;
    return Ok();
  }

  Client::Impl& impl_;
  const Endpoint endpoint_;
  const oci::Reference& repository_;
  const oci::Descriptor& blob_;
  const OpenAt& open_;
  std::stop_token stop_;
  const Scopes scopes_;
  const std::string name_;
  std::string location_;
  uint64_t offset_ = 0;
  uint64_t furthest_ = 0;
  uint64_t least_piece_ = 0;  // but for the last one; of distribution-spec, "Pushing a blob in chunks"
  bool no_pieces_ = false;
  bool failed_reading_ = false;
  std::optional<Nanos> retry_after_;
};

}  // namespace

Result<bool> Client::Impl::HasBlobAt(const Endpoint& endpoint, const oci::Reference& repository, const Digest& digest,
                                     const Scopes& scopes, std::stop_token stop) {
  Call call{.method = "HEAD", .path = BlobPath(repository, digest), .scopes = scopes};
  TRY_ASSIGN(Answer answer, transport.Ask(endpoint, call, 0, 3, stop));
  if (answer.head.status == 200) return true;
  if (answer.head.status == 404) return false;
  return RefusalError(endpoint, fmt::format("blob {} of {}", digest.ToString(), repository.Name()), answer.head.status,
                      answer.body);
}

Result<bool> Client::HasBlob(const oci::Reference& repository, const Digest& digest, std::stop_token stop) {
  return impl_->HasBlobAt(impl_->options.config.Origin(repository.domain), repository, digest,
                          {PullScope(repository.path)}, stop);
}

Result<Pushed> Client::PushBlob(const oci::Reference& repository, const oci::Descriptor& blob, const OpenAt& open,
                                const std::vector<std::string>& mount_from, std::stop_token stop) {
  Endpoint endpoint = impl_->options.config.Origin(repository.domain);
  TRY_ASSIGN(bool there, impl_->HasBlobAt(endpoint, repository, blob.digest, {PushScope(repository.path)}, stop));
  if (there) {
    impl_->NoteSeen(repository, blob.digest);
    return Pushed::kExisted;
  }
  std::vector<std::string> sources = mount_from;
  {
    auto seen = impl_->seen.Lock();
    auto last = seen->find({repository.domain, blob.digest});
    if (last != seen->end() && std::ranges::find(sources, last->second) == sources.end()) {
      sources.push_back(last->second);
    }
  }
  auto pushed = Upload(*impl_, endpoint, repository, blob, open, stop).Run(sources);
  if (pushed) impl_->NoteSeen(repository, blob.digest);
  return pushed;
}

Status Client::ReplaceBlob(const oci::Reference& repository, const oci::Descriptor& blob, const OpenAt& open,
                           std::stop_token stop) {
  Endpoint endpoint = impl_->options.config.Origin(repository.domain);
  TRY(Upload(*impl_, endpoint, repository, blob, open, stop).Run({}));
  return Ok();
}

Result<bool> Client::DeleteManifest(const oci::Reference& reference, std::stop_token stop) {
  CHECK(reference.digest);
  oci::Reference target = reference;
  target.tag.clear();
  Endpoint endpoint = impl_->options.config.Origin(target.domain);
  Call call{
      .method = "DELETE", .path = ManifestPath(target), .scopes = {PushScope(target.path), DeleteScope(target.path)}};
  TRY_ASSIGN(Answer answer, impl_->transport.Ask(endpoint, call, kMaxAnswer, 3, stop));
  const int status = answer.head.status;
  if ((status >= 200 && status <= 299) || status == 404) return true;
  if (status == 400 || status == 401 || status == 403 || status == 405 || status == 501) return false;
  return RefusalError(endpoint, "deletion of " + target.String(), status, answer.body);
}

Result<oci::Descriptor> Client::PushManifest(const oci::Reference& reference, const std::string& media_type,
                                             const std::string& text, std::stop_token stop) {
  oci::Descriptor d;
  d.media_type = media_type;
  d.digest = Digest::Of(text);
  d.size = text.size();
  if (reference.digest && *reference.digest != d.digest) {
    return Invalid("manifest for {} has the digest {}", reference.String(), d.digest.ToString());
  }
  oci::Reference target = reference;
  if (target.tag.empty()) {
    target.digest = d.digest;
  } else {
    target.digest.reset();
  }
  Endpoint endpoint = impl_->options.config.Origin(target.domain);
  Call call{.method = "PUT",
            .path = ManifestPath(target),
            .headers = {{"Content-Type", media_type}},
            .body = text,
            .scopes = {PushScope(target.path)},
            .stall = kCommitTime};
  TRY_ASSIGN(Answer answer, impl_->transport.Ask(endpoint, call, kMaxAnswer, 3, stop));
  if (answer.head.status < 200 || answer.head.status > 299) {
    return RefusalError(endpoint, "push of " + target.String(), answer.head.status, answer.body);
  }
  std::string stored(answer.head.Header("Docker-Content-Digest"));
  if (!stored.empty() && stored != d.digest.ToString()) {
    return Corrupt("{} stored the manifest of {} as {} instead of {}", endpoint.host, target.String(), stored,
                   d.digest.ToString());
  }
  // A registry that knows referrers says so here (distribution-spec, "Pushing Manifests with
  // Subject").
  auto manifest = oci::ParseManifest(text);
  if (manifest && manifest->subject && answer.head.Header("OCI-Subject").empty()) {
    oci::Descriptor referrer = d;
    referrer.artifact_type = manifest->artifact_type.empty() ? manifest->config.media_type : manifest->artifact_type;
    referrer.annotations = manifest->annotations;
    TRY(impl_->AddToReferrersTag(target, manifest->subject->digest, referrer, stop));
  }
  return d;
}

}  // namespace varve::registry
