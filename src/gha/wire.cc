#include "gha/wire.h"

#include <algorithm>

#include "base/metric.h"
#include "base/strings.h"

namespace varve::gha {

Status Caller::WaitForPause(Nanos deadline, const std::string& what, std::stop_token stop) {
  while (true) {
    Nanos until = *pause_until_.Lock(), now = clock_.Monotonic();
    if (until <= now) return Ok();
    if (until > deadline) {
      return Unavailable("cannot {}: the cache service wants a pause of {}, longer than there is time", what,
                         FormatDuration(until - now));
    }
    if (!sleeper_.Sleep(until - now, stop)) return Cancelled("{} was cancelled", what);
  }
}

Result<WireAnswer> Caller::Call(WireRequest request, std::stop_token stop) {
  const Nanos deadline = clock_.Monotonic() + options_.deadline;
  request.request.timeouts = options_.timeouts;
  net::Retrier retrier(options_.retry, sleeper_);
  while (true) {
    TRY(WaitForPause(deadline, request.what, stop));
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock_.Monotonic());
    request.request.timeouts.total = std::max(left, std::chrono::milliseconds(1));
    Counter("gha.requests").Add();
    ++requests_;
    WireAnswer answer;
    auto sent = http_.Fetch(request.request, request.limit, stop);
    if (sent) {
      answer = {std::move(sent->head), std::move(sent->body)};
      Counter("gha.bytes_in").Add(static_cast<int64_t>(answer.body.size()));
      int status = answer.head.status;
      if (!net::IsRetryableStatus(status)) return answer;
      if (status == 429) {
        auto pause = net::ParseRetryAfter(answer.head.Header("Retry-After"), clock_.Now());
        if (pause) {
          if (*pause > deadline - clock_.Monotonic()) return answer;
          Nanos until = clock_.Monotonic() + *pause;
          auto locked = pause_until_.Lock();
          *locked = std::max(*locked, until);
          Counter("gha.retries").Add();
          continue;  // as often as it says so, within the deadline
        }
      }
    } else if (sent.error().code != Code::kUnavailable) {
      return std::move(sent).error();
    }
    bool time_left = clock_.Monotonic() < deadline;
    if (!time_left || !retrier.Wait({}, stop)) {
      if (stop.stop_requested()) return Cancelled("{} was cancelled", request.what);
      if (sent) return answer;
      return std::move(sent).error().With("cannot " + request.what);
    }
    Counter("gha.retries").Add();
  }
}

Json BodyOf(const WireAnswer& answer) {
  std::string_view text = answer.body;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return Json::Parse(text).value_or(Json());
}

Error Refusal(const std::string& what, const WireAnswer& answer) {
  Json body = BodyOf(answer);
  std::string said = body.GetString("msg", body.GetString("message"));
  Error error = Unavailable("cannot {}: the cache service answers {}{}{}", what, answer.head.status,
                            said.empty() ? "" : ": ", said);
  if (answer.head.status == 401) {
    error.hint = "the job's token (ACTIONS_RUNTIME_TOKEN) is missing, foreign or expired";
  } else if (answer.head.status == 429) {
    error.hint = "GitHub takes 200 uploads a minute from a repository: let fewer jobs export, or later";
  }
  return error;
}

bool SaysItExists(const WireAnswer& answer) {
  Json body = BodyOf(answer);
  return answer.head.status == 409 || body.GetString("code") == "already_exists" ||
         body.GetString("typeKey").find("AlreadyExists") != std::string::npos ||
         body.GetString("message").find("already exists") != std::string::npos;
}

}  // namespace varve::gha
