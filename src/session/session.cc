#include "session/session.h"

#include "base/strings.h"

namespace varve::session {

bool Session::Supports(std::string_view method) const { return headers_.methods.contains(ToLower(method)); }

Status Session::Require(std::string_view method) const {
  if (Supports(method)) return Ok();
  return NotFound("the client of this build does not offer {}", method);
}

void Session::End(std::string why) {
  {
    std::lock_guard lock(mutex_);
    if (why_.empty()) why_ = std::move(why);
  }
  ended_.request_stop();
}

std::string Session::Why() const {
  std::lock_guard lock(mutex_);
  return why_;
}

}  // namespace varve::session
