#include "registry/answer.h"

#include <algorithm>

#include "base/json.h"
#include "base/strings.h"

namespace varve::registry {

std::string RefusalText(std::string_view body) {
  auto json = Json::Parse(body);
  if (!json) return {};
  const Json::Array& errors = json->GetArray("errors");
  std::string text = errors.empty() ? json->GetString("message") : errors[0].GetString("message");
  if (!errors.empty() && text.empty()) text = ToLower(errors[0].GetString("code"));
  if (errors.empty() && text.empty()) text = json->GetString("details");
  // Foreign text on somebody's terminal.
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  if (text.size() > 300) text = text.substr(0, 300) + "…";
  return text;
}

std::string LoginCommand(const std::string& host) {
  return host == "registry-1.docker.io" ? "docker login" : "docker login " + host;
}

Error RefusalError(const Endpoint& endpoint, std::string_view what, int status, std::string_view body) {
  std::string text = RefusalText(body);
  std::string reason = fmt::format("{} answers {}{}{}", endpoint.host, status, text.empty() ? "" : ": ", text);
  switch (status) {
    case 404:
      return NotFound("{} not found: {}", what, reason);
    case 401:
    case 403: {
      Error error = Invalid("access to {} is denied: {}", what, reason);
      error.hint = fmt::format("it does not exist, or needs a login: run {}", LoginCommand(endpoint.host));
      return error;
    }
    case 429: {
      Error error = Unavailable("{}: {}", what, reason);
      error.hint = fmt::format(
          "too many requests; a login to {} may raise the limit, a mirror "
          "avoids it",
          endpoint.host);
      return error;
    }
    default: {
      if (status == 408 || status >= 500) return Unavailable("{}: {}", what, reason);
      Error error = Invalid("{}: {}", what, reason);
      // What Go's servers answer to http on a port of theirs for https; to a HEAD without a word.
      if (status == 400 && endpoint.url.starts_with("http://")) {
        error.hint =
            fmt::format("if it speaks https, write \"plain_http\": false for {} into registries.json", endpoint.host);
      }
      return error;
    }
  }
}

}  // namespace varve::registry
