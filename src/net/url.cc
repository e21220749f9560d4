#include "net/url.h"

#include <algorithm>
#include <cctype>

#include "base/strings.h"

namespace varve::net {

namespace {

bool IsHostByte(unsigned char c) { return std::isalnum(c) || c == '.' || c == '-' || c == '_'; }

Status ParseAuthority(std::string_view text, Url& url) {
  if (size_t at = text.rfind('@'); at != text.npos) {
    url.user_info = text.substr(0, at);
    text.remove_prefix(at + 1);
  }
  std::string_view port;
  if (text.starts_with('[')) {
    size_t close = text.find(']');
    if (close == text.npos) return Invalid("unclosed [");
    url.host = ToLower(text.substr(1, close - 1));
    if (url.host.find_first_not_of("0123456789abcdef:.") != url.host.npos) {
      return Invalid("bad IPv6 address");
    }
    port = text.substr(close + 1);
    if (!port.empty() && port[0] != ':') return Invalid("bad port");
  } else {
    size_t colon = std::min(text.find(':'), text.size());
    url.host = ToLower(text.substr(0, colon));
    if (!std::ranges::all_of(url.host, IsHostByte)) return Invalid("bad host name");
    port = text.substr(colon);
  }
  if (url.host.empty()) return Invalid("no host");
  if (port.size() > 1) {
    bool digits = port.find_first_not_of("0123456789", 1) == port.npos && port.size() <= 6;
    int64_t number = digits ? ParseInt(port.substr(1)).value_or(0) : 0;
    if (number < 1 || number > 65535) return Invalid("bad port");
    url.port = static_cast<int>(number);
  }
  if (url.port == (url.scheme == "https" ? 443 : 80)) url.port = 0;
  return Ok();
}

// RFC 3986 §5.2.4.
std::string RemoveDotSegments(std::string_view path) {
  std::vector<std::string> out;
  std::vector<std::string> parts = Split(path, '/');
  for (size_t i = 1; i < parts.size(); ++i) {
    bool last = i + 1 == parts.size();
    if (parts[i] == "." || parts[i] == "..") {
      if (parts[i] == ".." && !out.empty()) out.pop_back();
      if (last) out.emplace_back();
    } else {
      out.push_back(parts[i]);
    }
  }
  return "/" + Join(out, "/");
}

}  // namespace

std::string Url::Authority() const {
  std::string out = host.find(':') != host.npos ? "[" + host + "]" : host;
  return port == 0 ? out : fmt::format("{}:{}", out, port);
}

std::string Url::Origin() const { return scheme + "://" + Authority(); }

std::string Url::String() const {
  std::string out = scheme + "://";
  if (!user_info.empty()) out += user_info + "@";
  out += Authority() + path;
  return query.empty() ? out : out + "?" + query;
}

Url& Url::AddQuery(std::string_view name, std::string_view value) {
  if (!query.empty()) query += "&";
  query += PercentEncode(name) + "=" + PercentEncode(value);
  return *this;
}

Result<Url> ParseUrl(std::string_view text) {
  auto bad = [&](std::string_view why) { return Invalid("\"{}\" is not a URL: {}", Redact(text), why); };
  for (unsigned char c : text) {
    if (c <= ' ' || c == 0x7f) return bad("it has a blank or control character");
  }
  text = text.substr(0, text.find('#'));
  size_t colon = text.find("://");
  if (colon == text.npos) return bad("it has no scheme");
  Url url;
  url.scheme = ToLower(text.substr(0, colon));
  if (url.scheme != "http" && url.scheme != "https") {
    return bad("the scheme is neither http nor https");
  }
  text.remove_prefix(colon + 3);
  size_t end = std::min(text.find_first_of("/?"), text.size());
  if (auto status = ParseAuthority(text.substr(0, end), url); !status) {
    return bad(status.error().message);
  }
  text.remove_prefix(end);
  size_t question = text.find('?');
  url.path = text.substr(0, question);
  if (question != text.npos) url.query = text.substr(question + 1);
  return url;
}

Result<Url> ResolveUrl(const Url& base, std::string_view location) {
  size_t scheme = location.find("://");
  if (scheme != location.npos && location.find_first_of("/?#") > scheme) return ParseUrl(location);
  if (location.starts_with("//")) return ParseUrl(base.scheme + ":" + std::string(location));
  // Parsed as part of a URL, so that its characters are judged once and in one place.
  TRY_ASSIGN(Url url, ParseUrl(base.Origin() + (location.starts_with('/') ? "" : "/") + std::string(location)));
  if (location.empty() || location.starts_with('?') || location.starts_with('#')) {
    url.path = base.path;
    if (!location.starts_with('?')) url.query = base.query;
  } else if (!location.starts_with('/')) {
    std::string directory = base.path.substr(0, base.path.rfind('/') + 1);
    url.path = RemoveDotSegments((directory.empty() ? "/" : directory) + url.path.substr(1));
  } else {
    url.path = RemoveDotSegments(url.path);
  }
  url.user_info = base.user_info;
  return url;
}

bool SameOrigin(const Url& a, const Url& b) {
  return a.scheme == b.scheme && a.host == b.host && a.EffectivePort() == b.EffectivePort();
}

bool IsLoopback(std::string_view host) {
  if (host == "localhost" || host == "::1" || host == "[::1]") return true;
  if (!host.starts_with("127.")) return false;
  // An address, not a name that begins like one: 127.0.0.1.example.com is somebody else's.
  std::vector<std::string> parts = Split(host, '.');
  return parts.size() == 4 && std::ranges::all_of(parts, [](const std::string& part) {
           return !part.empty() && part.size() <= 3 && part.find_first_not_of("0123456789") == part.npos;
         });
}

std::string PercentEncode(std::string_view text) {
  std::string out;
  for (unsigned char c : text) {
    if (std::isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
      out += static_cast<char>(c);
    } else {
      out += fmt::format("%{:02X}", c);
    }
  }
  return out;
}

std::string Redact(std::string_view url) {
  std::string out(url.substr(0, url.find_first_of("?#")));
  bool cut = out.size() != url.size();
  size_t begin = out.find("://");
  begin = begin == out.npos ? 0 : begin + 3;
  size_t end = std::min(out.find('/', begin), out.size());
  if (size_t at = out.rfind('@', end); at != out.npos && at >= begin && at < end) {
    out.replace(begin, at - begin, "***");
  }
  return cut ? out + "?***" : out;
}

}  // namespace varve::net
