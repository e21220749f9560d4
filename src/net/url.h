// The parts of http and https URLs that varve needs (RFC 3986), and what of them may be shown.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace varve::net {

struct Url {
  std::string scheme;     // "http" or "https"
  std::string user_info;  // "name:secret", as written
  std::string host;       // lower case; an IPv6 address without its brackets
  int port = 0;           // 0: the scheme's own
  std::string path;       // as written; starts with "/" or is empty
  std::string query;      // without the "?"

  std::string String() const;
  std::string Authority() const;  // "host:port", the port only when it is not the scheme's own
  std::string Origin() const;     // "https://host:port"
  int EffectivePort() const { return port != 0 ? port : scheme == "https" ? 443 : 80; }
  // Appends name=value, escaped.
  Url& AddQuery(std::string_view name, std::string_view value);
};

// kInvalid for other schemes, no host, control characters or blanks. A fragment is dropped.
Result<Url> ParseUrl(std::string_view text);

// A Location header or the like: absolute, "//host/path", "/path", "?query" or "path".
Result<Url> ResolveUrl(const Url& base, std::string_view location);

// Same scheme, host and port: credentials for one may be sent to the other.
bool SameOrigin(const Url& a, const Url& b);

// localhost, 127.0.0.0/8, ::1.
bool IsLoopback(std::string_view host);

std::string PercentEncode(std::string_view text);  // all but RFC 3986 "unreserved"

// For messages and logs: without user name, password and query, which carry secrets (presigned
// blob addresses are bearer tokens). Works on text that is not a URL, too.
std::string Redact(std::string_view url);

}  // namespace varve::net
