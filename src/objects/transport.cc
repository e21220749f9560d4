#include "objects/transport.h"

#include <algorithm>

#include "base/strings.h"
#include "net/http_date.h"

namespace varve::objects {

namespace {

constexpr size_t kMaxErrorBody = 64 << 10;
// An endpoint corrects region, clock and credentials, each once.
constexpr int kMaxCorrections = 3;
// At a server that has not answered once: where nothing listens, a build need not wait for all attempts of all calls.
constexpr int kAttemptsAtSilence = 3;

class CollectingWriter final : public Writer {
 public:
  // Cut at the limit, or refused beyond it.
  CollectingWriter(uint64_t limit, bool cut) : limit_(limit), cut_(cut) {}
  Status Write(std::string_view data) override {
    if (data.size() > limit_ - text.size() && !cut_) {
      return Corrupt("the answer is larger than {} bytes", limit_);
    }
    text.append(data.substr(0, limit_ - text.size()));
    return Ok();
  }
  std::string text;

 private:
  uint64_t limit_;
  bool cut_;
};

class CountingWriter final : public Writer {
 public:
  CountingWriter(Writer* out, Counter& counter) : out_(out), counter_(counter) {}
  Status Write(std::string_view data) override {
    counter_.Add(static_cast<int64_t>(data.size()));
    return out_ == nullptr ? Ok() : out_->Write(data);
  }

 private:
  Writer* out_;
  Counter& counter_;
};

// Passes on the wanted part of a body: drops `skip` bytes, then counts what it gives to `out`, at
// most `left` bytes.
class WindowWriter final : public Writer {
 public:
  WindowWriter(Writer& out, uint64_t length) : left(length), out_(out) {}
  Status Write(std::string_view data) override {
    uint64_t dropped = std::min<uint64_t>(skip, data.size());
    skip -= dropped;
    data.remove_prefix(dropped);
    data = data.substr(0, std::min<uint64_t>(left, data.size()));
    if (data.empty()) return Ok();
    if (Status status = out_.Write(data); !status) {
      sink_failed = true;
      return status;
    }
    done += data.size();
    left -= data.size();
    return Ok();
  }
  uint64_t skip = 0;
  uint64_t left;
  uint64_t done = 0;
  bool sink_failed = false;

 private:
  Writer& out_;
};

// "bytes 0-9/443"
struct ContentRange {
  uint64_t first = 0;
  uint64_t total = 0;
};
std::optional<ContentRange> ParseContentRange(std::string_view text) {
  constexpr std::string_view kUnit = "bytes ";
  if (!text.starts_with(kUnit)) return {};
  text.remove_prefix(kUnit.size());
  size_t dash = text.find('-'), slash = text.find('/');
  if (dash == text.npos || slash == text.npos || dash > slash) return {};
  auto first = ParseInt(text.substr(0, dash));
  auto total = ParseInt(text.substr(slash + 1));
  if (!first || !total || *first < 0 || *total < 0) return {};
  return ContentRange{static_cast<uint64_t>(*first), static_cast<uint64_t>(*total)};
}

}  // namespace

ObjectInfo InfoOf(const net::Response& head) {
  ObjectInfo info{.etag = std::string(head.Header("ETag")),
                  .modified = net::ParseHttpDate(head.Header("Last-Modified")),
                  .now = net::ParseHttpDate(head.Header("Date"))};
  if (auto range = ParseContentRange(head.Header("Content-Range"))) {
    info.size = range->total;
  } else if (auto size = ParseInt(head.Header("Content-Length")); size && *size >= 0) {
    info.size = static_cast<uint64_t>(*size);
  }
  return info;
}

// The attempts of one call.
class Transport::Attempts {
 public:
  Attempts(Transport& transport, const Call& call, std::stop_token stop)
      : transport_(transport), call_(call), stop_(stop), retrier_(transport.policy_, transport.sleeper_) {}

  // Whether the same is to be asked again; waits before it says so.
  bool Again(const net::Request& sent, const Result<Answer>& answer) {
    std::optional<Nanos> retry_after;
    std::optional<int> at_most;
    if (!answer) {
      if (answer.error().code != Code::kUnavailable) return false;
      if (!transport_.answered_) at_most = kAttemptsAtSilence;
    } else {
      switch (transport_.endpoint_.Judge(call_, sent, *answer)) {
        case Endpoint::Verdict::kFinal:
          return false;
        case Endpoint::Verdict::kCorrected:
          if (++corrections_ > kMaxCorrections) return false;
          transport_.retries_.Add();
          return true;
        case Endpoint::Verdict::kAgain:
          last_was_again = true;
          retry_after = net::ParseRetryAfter(answer->head.Header("Retry-After"), transport_.clock_.Now());
          break;
      }
    }
    if (!retrier_.Wait(retry_after, stop_, at_most)) return false;
    last_was_again = false;
    transport_.retries_.Add();
    return true;
  }
  void Progress() { retrier_.Reset(); }

  bool last_was_again = false;  // the answer that is left was one to repeat

 private:
  Transport& transport_;
  const Call& call_;
  std::stop_token stop_;
  net::Retrier retrier_;
  int corrections_ = 0;
};

Transport::Transport(net::HttpClient& http, Endpoint& endpoint, net::Sleeper& sleeper, Clock& clock,
                     const net::RetryPolicy& policy, const std::string& kind)
    : http_(http), endpoint_(endpoint), sleeper_(sleeper), clock_(clock), policy_(policy),
      requests_(kind + ".requests"), retries_(kind + ".retries"), bytes_in_(kind + ".bytes_in"),
      bytes_out_(kind + ".bytes_out") {}

// One attempt. `sink` is asked for answers of status 2xx only.
Result<Answer> Transport::Send(const Call& call, const net::Request& request, const net::ChooseSink& sink,
                               std::stop_token stop) {
  CollectingWriter error_body(kMaxErrorBody, true);
  std::optional<CountingWriter> counting;
  auto choose = [&](const net::Response& head) -> Result<Writer*> {
    answered_ = true;
    Writer* chosen = &error_body;
    if (head.status >= 200 && head.status <= 299) {
      TRY_ASSIGN(chosen, sink(head));
    }
    counting.emplace(chosen, bytes_in_);
    return &*counting;
  };
  requests_.Add();
  bytes_out_.Add(static_cast<int64_t>(call.open_body ? call.body_size : call.body.size()));
  TRY_ASSIGN(net::Response head, http_.Send(request, choose, stop));
  return Answer{std::move(head), std::move(error_body.text)};
}

Result<Answer> Transport::Ask(const Call& call, uint64_t limit, std::stop_token stop) {
  Attempts attempts(*this, call, stop);
  while (true) {
    TRY_ASSIGN(net::Request request, endpoint_.Prepare(call, stop));
    CollectingWriter body(limit, false);
    auto answer = Send(
        call, request, [&](const net::Response&) -> Result<Writer*> { return &body; }, stop);
    if (answer && answer->ok()) answer->body = std::move(body.text);
    if (attempts.Again(request, answer)) continue;
    if (stop.stop_requested()) return Cancelled("request was cancelled");
    if (answer && attempts.last_was_again) return endpoint_.Failure(call, *answer);
    return answer;
  }
}

Result<std::optional<ObjectInfo>> Transport::Download(const Call& whole, std::optional<ByteRange> range, Writer& out,
                                                      std::stop_token stop) {
  CHECK(!range || range->length > 0);
  Attempts attempts(*this, whole, stop);
  const uint64_t start = range ? range->offset : 0;
  WindowWriter window(out, range ? range->length : UINT64_MAX);
  std::optional<ObjectInfo> version;  // of the first answer; the rest must be of the same
  while (true) {
    Call call = whole;
    const uint64_t from = start + window.done;
    if (range || from > 0) {
      call.headers.emplace_back("Range", range ? fmt::format("bytes={}-{}", from, start + range->length - 1)
                                               : fmt::format("bytes={}-", from));
    }
    if (version && !version->etag.empty()) call.headers.emplace_back("If-Match", version->etag);
    TRY_ASSIGN(net::Request request, endpoint_.Prepare(call, stop));
    const uint64_t done_before = window.done;
    auto sink = [&](const net::Response& head) -> Result<Writer*> {
      auto content = ParseContentRange(head.Header("Content-Range"));
      if (head.status == 206 && (!content || content->first != from)) {
        return Corrupt("{}: asked for bytes from {} and got \"{}\"", call.key, from, head.Header("Content-Range"));
      }
      ObjectInfo info = InfoOf(head);
      if (version && (info.etag != version->etag || info.size != version->size)) {
        return Invalid("{} was replaced while it was read", call.key);
      }
      version = info;
      // A server without ranges sends everything again.
      window.skip = head.status == 206 ? 0 : from;
      return &window;
    };
    auto answer = Send(call, request, sink, stop);
    if (window.sink_failed) return answer.error();
    if (answer && answer->ok()) {
      if (range && window.left > 0) {
        return Invalid("{} has {} bytes, not {} from {}", call.key, version->size, range->length, start);
      }
      // Without a length, all that came is all there is.
      if (!range && answer->head.Header("Content-Length").empty()) version->size = window.done;
      return version;
    }
    if (window.done > done_before) attempts.Progress();
    if (attempts.Again(request, answer)) continue;
    if (stop.stop_requested()) return Cancelled("reading {} was cancelled", call.key);
    if (!answer) return answer.error();
    if (answer->head.status == 412 && version) {
      return Invalid("{} was replaced while it was read", call.key);
    }
    if (answer->head.status == 404 && !version) {
      // Missing places, such as the bucket, are failures; the endpoint can tell.
      Error error = endpoint_.Failure(whole, *answer);
      if (error.code == Code::kNotFound) return std::optional<ObjectInfo>();
      return error;
    }
    if (answer->head.status == 416) {
      return Invalid("{} has no bytes {}+{}", call.key, start, range ? range->length : 0);
    }
    return endpoint_.Failure(call, *answer);
  }
}

}  // namespace varve::objects
