#include "registry/transport.h"

#include "base/metric.h"
#include "net/url.h"

namespace varve::registry {

namespace {

constexpr size_t kMaxErrorBody = 64 << 10;

struct Counters {
  Counter requests{"registry.requests"};
  Counter retries{"registry.retries"};
  Counter bytes_in{"registry.bytes_in"};
  Counter bytes_out{"registry.bytes_out"};
};

Counters& Count() {
  static Counters counters;
  return counters;
}

class CountingWriter final : public Writer {
 public:
  explicit CountingWriter(Writer* out) : out_(out) {}
  Status Write(std::string_view data) override {
    Count().bytes_in.Add(static_cast<int64_t>(data.size()));
    return out_ == nullptr ? Ok() : out_->Write(data);
  }

 private:
  Writer* out_;
};

class CountingReader final : public Reader {
 public:
  explicit CountingReader(std::unique_ptr<Reader> in) : in_(std::move(in)) {}
  Result<size_t> Read(std::span<char> buffer) override {
    TRY_ASSIGN(size_t n, in_->Read(buffer));
    Count().bytes_out.Add(static_cast<int64_t>(n));
    return n;
  }

 private:
  std::unique_ptr<Reader> in_;
};

// Keeps the start of an error's body and drops the rest.
class ErrorBody final : public Writer {
 public:
  Status Write(std::string_view data) override {
    text.append(data.substr(0, kMaxErrorBody - text.size()));
    return Ok();
  }
  std::string text;
};

class BoundedWriter final : public Writer {
 public:
  BoundedWriter(uint64_t limit, std::string source) : limit_(limit), source_(std::move(source)) {}
  Status Write(std::string_view data) override {
    if (data.size() > limit_ - text.size()) {
      return Invalid("answer of {} is larger than {} bytes", source_, limit_);
    }
    text.append(data);
    return Ok();
  }
  std::string text;

 private:
  uint64_t limit_;
  std::string source_;
};

Result<net::Request> RequestFor(const Endpoint& endpoint, const Call& call, net::Timeouts timeouts) {
  net::Request request{.method = call.method,
                       .headers = call.headers,
                       .body = call.body,
                       .body_size = call.body_size,
                       .body_has_effect = call.body_has_effect,
                       .timeouts = timeouts};
  if (call.stall) request.timeouts.stall = *call.stall;
  TRY_ASSIGN(net::Url url, net::ParseUrl(call.url.empty() ? endpoint.url + call.path : call.url));
  if (!call.query.empty()) url.query += (url.query.empty() ? "" : "&") + call.query;
  if (endpoint.IsMirror()) url.AddQuery("ns", endpoint.ns);
  request.url = url.String();
  TRY_ASSIGN(net::Url home, net::ParseUrl(endpoint.url));
  if (net::SameOrigin(url, home)) request.tls = endpoint.tls;
  if (call.open_body) {
    request.open_body = [&call]() -> Result<std::unique_ptr<Reader>> {
      TRY_ASSIGN(std::unique_ptr<Reader> body, call.open_body());
      return std::make_unique<CountingReader>(std::move(body));
    };
  }
  return request;
}

}  // namespace

Result<Answer> Transport::SendOnce(const Endpoint& endpoint, const Call& call, const net::ChooseSink& sink,
                                   std::stop_token stop) {
  TRY_ASSIGN(net::Request request, RequestFor(endpoint, call, options_.timeouts));
  TRY_ASSIGN(net::Url url, net::ParseUrl(request.url));
  TRY_ASSIGN(net::Url home, net::ParseUrl(endpoint.url));
  bool may_authorise = net::SameOrigin(url, home);
  std::string header;
  if (may_authorise) {
    TRY_ASSIGN(header, authenticator_.HeaderFor(endpoint, call.scopes, stop));
  }
  for (bool again = false;; again = true) {
    net::Request attempt = request;
    if (!header.empty()) attempt.headers.emplace_back("Authorization", header);
    ErrorBody error_body;
    std::optional<CountingWriter> counting;
    auto choose = [&](const net::Response& head) -> Result<Writer*> {
      if (head.status < 200 || head.status > 299) {
        counting.emplace(&error_body);
      } else {
        Writer* chosen = nullptr;
        if (sink) {
          TRY_ASSIGN(chosen, sink(head));
        }
        counting.emplace(chosen);
      }
      return &*counting;
    };
    Count().requests.Add();
    if (!request.open_body) Count().bytes_out.Add(static_cast<int64_t>(request.body.size()));
    TRY_ASSIGN(net::Response head, http_.Send(attempt, choose, stop));
    if (head.status == 401 && may_authorise && !again) {
      TRY_ASSIGN(header, authenticator_.Answer(endpoint, call.scopes, head, header, stop));
      continue;
    }
    return Answer{std::move(head), std::move(error_body.text)};
  }
}

std::optional<Nanos> Transport::RetryAfter(const net::Response& head) const {
  return net::ParseRetryAfter(head.Header("Retry-After"), clock_.Now());
}

Result<Answer> Transport::Ask(const Endpoint& endpoint, const Call& call, uint64_t limit, std::optional<int> attempts,
                              std::stop_token stop) {
  net::Retrier retrier = NewRetrier();
  while (true) {
    BoundedWriter body(limit, endpoint.host);
    auto sink = [&](const net::Response&) -> Result<Writer*> { return &body; };
    auto answer = SendOnce(endpoint, call, sink, stop);
    std::optional<Nanos> retry_after;
    std::optional<int> at_most;
    if (answer) {
      if (answer->head.status >= 200 && answer->head.status <= 299) {
        answer->body = std::move(body.text);
        return answer;
      }
      if (!net::IsRetryableStatus(answer->head.status)) return answer;
      retry_after = RetryAfter(answer->head);
    } else {
      if (answer.error().code != Code::kUnavailable) return answer;
      at_most = attempts;
    }
    if (!retrier.Wait(retry_after, stop, at_most)) {
      if (stop.stop_requested()) return Cancelled("request to {} was cancelled", endpoint.host);
      return answer;
    }
    Count().retries.Add();
  }
}

}  // namespace varve::registry
