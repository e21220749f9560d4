#include "session/rpc.h"

#include <algorithm>

namespace varve::session {
namespace {

// HTTP/2 header values are printable ASCII, and blanks at their ends may be lost on the way.
bool IsPlain(std::string_view value) {
  if (!value.empty() && (value.front() == ' ' || value.back() == ' ')) return false;
  return std::ranges::all_of(value, [](unsigned char c) { return c >= 0x20 && c < 0x7f; });
}

}  // namespace

Call::Call(std::stop_token stop, std::optional<std::chrono::milliseconds> timeout)
    : stop_(std::move(stop)), callback_(stop_, [this] { context_.TryCancel(); }) {
  if (timeout) context_.set_deadline(std::chrono::system_clock::now() + *timeout);
}

void Call::AddList(const std::string& key, const std::vector<std::string>& values) {
  const bool plain = std::ranges::all_of(values, IsPlain);
  for (const std::string& value : values) {
    context_.AddMetadata(key, plain ? value : QueryEscape(value));
  }
  if (!plain) context_.AddMetadata(key + "-encoded", "1");
}

Error Call::ToError(const grpc::Status& status, std::string_view what) const {
  if (stop_.stop_requested()) return Cancelled("{}: cancelled", what);
  return StatusError(status, what);
}

Error StatusError(const grpc::Status& status, std::string_view what) {
  const std::string& text = status.error_message();
  switch (status.error_code()) {
    case grpc::StatusCode::NOT_FOUND:
      return NotFound("{}: {}", what, text);
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::DEADLINE_EXCEEDED: {
      Error error = Unavailable("{}: the client of the build does not answer: {}", what, text);
      return error;
    }
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return Resource("{}: {}", what, text);
    case grpc::StatusCode::CANCELLED:
      return Cancelled("{}: {}", what, text);
    case grpc::StatusCode::DATA_LOSS:
      return Corrupt("{}: {}", what, text);
    case grpc::StatusCode::INTERNAL:
      return Internal("{}: {}", what, text);
    default:
      return Invalid("{}: {}", what, text);
  }
}

std::string QueryEscape(std::string_view text) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  for (const unsigned char c : text) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
        c == '.' || c == '~') {
      out += static_cast<char>(c);
    } else if (c == ' ') {
      out += '+';
    } else {
      out += {'%', kDigits[c >> 4], kDigits[c & 15]};
    }
  }
  return out;
}

}  // namespace varve::session
