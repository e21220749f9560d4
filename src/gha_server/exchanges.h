// The three ways in which a request's body is taken.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/strings.h"
#include "gha_server/entry_store.h"
#include "gha_server/http_daemon.h"

namespace varve::gha_server {

// The reply is known: a body is read and dropped, since a client that still sends does not listen.
class KnownReply final : public Exchange {
 public:
  explicit KnownReply(HttpReply reply) : reply_(std::move(reply)) {}
  void Body(std::string_view) override {}
  HttpReply Finish() override { return std::move(reply_); }

 private:
  HttpReply reply_;
};

inline std::unique_ptr<Exchange> Answer(HttpReply reply) { return std::make_unique<KnownReply>(std::move(reply)); }

// A small body, as a whole.
class WholeBody final : public Exchange {
 public:
  using Handler = std::function<HttpReply(const std::string&)>;
  WholeBody(size_t limit, Handler handler) : limit_(limit), handler_(std::move(handler)) {}
  void Body(std::string_view data) override {
    if (body_.size() + data.size() > limit_) {
      too_large_ = true;
    } else {
      body_.append(data);
    }
  }
  HttpReply Finish() override {
    if (too_large_) return {.status = 413, .body = "{\"message\":\"the request is too large\"}"};
    return handler_(body_);
  }

 private:
  const size_t limit_;
  const Handler handler_;
  std::string body_;
  bool too_large_ = false;
};

// A body that becomes part of an upload; `done` is told the outcome once it is in place.
class PartBody final : public Exchange {
 public:
  using Done = std::function<HttpReply(Status)>;
  PartBody(std::shared_ptr<Upload> upload, Result<Upload::Part> part, Done done)
      : upload_(std::move(upload)), part_(std::move(part)), done_(std::move(done)) {
    if (!part_) status_ = part_.error();
  }
  void Body(std::string_view data) override {
    if (!status_) return;
    size_ += data.size();
    if (part_->size != 0 && size_ > part_->size) {
      status_ = Invalid("the body is longer than its Content-Range");
    } else {
      status_ = FdWriter(part_->fd.get()).Write(data);
    }
  }
  HttpReply Finish() override {
    if (status_ && part_->size != 0 && size_ != part_->size) {
      status_ = Invalid("the body is shorter than its Content-Range");
    }
    if (status_) status_ = upload_->Done(std::move(*part_));
    return done_(std::move(status_));
  }

 private:
  const std::shared_ptr<Upload> upload_;
  Result<Upload::Part> part_;
  const Done done_;
  uint64_t size_ = 0;
  Status status_ = Ok();
};

}  // namespace varve::gha_server
