#include "oci/reference.h"

#include <algorithm>
#include <cctype>

#include "base/strings.h"

namespace varve::oci {

namespace {

constexpr std::string_view kDefaultDomain = "docker.io";

bool IsLowerAlnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

// path-component := alnum+ (("." | "_" | "__" | "-"+) alnum+)*
bool IsPathComponent(std::string_view part) {
  if (part.empty() || !IsLowerAlnum(part.front()) || !IsLowerAlnum(part.back())) return false;
  for (size_t i = 0; i < part.size();) {
    if (IsLowerAlnum(part[i])) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < part.size() && part[end] == part[i]) ++end;
    bool separator = part[i] == '-' || (part[i] == '.' && end - i == 1) || (part[i] == '_' && end - i <= 2);
    if (!separator || end == part.size() || !IsLowerAlnum(part[end])) return false;
    i = end;
  }
  return true;
}

bool IsDomain(std::string_view domain) {
  std::string_view host = domain;
  if (host.starts_with('[')) {
    size_t close = host.find(']');
    bool address = close != host.npos && close > 1 &&
                   host.substr(1, close - 1).find_first_not_of("0123456789abcdefABCDEF:") == host.npos;
    if (!address) return false;
    host = host.substr(close + 1);
  } else {
    size_t colon = std::min(host.find(':'), host.size());
    for (const std::string& label : Split(host.substr(0, colon), '.')) {
      if (label.empty() || label.front() == '-' || label.back() == '-') return false;
      if (!std::ranges::all_of(label, [](unsigned char c) { return std::isalnum(c) || c == '-'; })) {
        return false;
      }
    }
    host = host.substr(colon);
  }
  if (host.empty()) return true;
  return host.size() > 1 && host[0] == ':' && host.substr(1).find_first_not_of("0123456789") == host.npos;
}

bool IsTag(std::string_view tag) {
  if (tag.empty() || tag.size() > 128) return false;
  auto word = [](unsigned char c) { return std::isalnum(c) || c == '_'; };
  if (!word(static_cast<unsigned char>(tag[0]))) return false;
  return std::ranges::all_of(tag, [&](unsigned char c) { return word(c) || c == '.' || c == '-'; });
}

// The first part of a name is a domain if it looks like one: it has a dot or a port, is localhost,
// or has an upper-case letter (which no path may have).
bool LooksLikeDomain(std::string_view first) {
  return first.find_first_of(".:[") != first.npos || first == "localhost" || ToLower(first) != first;
}

}  // namespace

std::string Reference::String() const {
  std::string out = Name();
  if (!tag.empty()) out += ":" + tag;
  if (digest) out += "@" + digest->ToString();
  return out;
}

std::string Reference::Familiar() const {
  std::string full = String();
  std::string_view out = full;
  std::string first = path.substr(0, path.find('/'));
  // docker.io/lib.org/x keeps its domain: "lib.org/x" would be read as somebody else's.
  bool clear = path.find('/') == path.npos || !LooksLikeDomain(first);
  if (domain == kDefaultDomain && clear) {
    out.remove_prefix(kDefaultDomain.size() + 1);
    std::string_view rest = path;
    if (rest.starts_with("library/") && rest.find('/', 8) == rest.npos) out.remove_prefix(8);
  }
  return std::string(out);
}

Reference Reference::WithDefaultTag() const {
  Reference out = *this;
  if (out.tag.empty() && !out.digest) out.tag = "latest";
  return out;
}

std::string Reference::Identifier() const {
  if (digest) return digest->ToString();
  return tag.empty() ? "latest" : tag;
}

Result<Reference> ParseReference(std::string_view text) {
  auto bad = [&](std::string_view why) { return Invalid("invalid image reference \"{}\": {}", text, why); };
  if (text.empty()) return bad("it is empty");
  if (text.size() == 64 && text.find_first_not_of("0123456789abcdef") == text.npos) {
    return bad("a name of 64 hex digits is reserved for image IDs");
  }
  Reference ref;
  std::string_view rest = text;
  if (size_t at = rest.find('@'); at != rest.npos) {
    auto digest = Digest::Parse(rest.substr(at + 1));
    if (!digest) return bad(digest.error().message);
    ref.digest = *digest;
    rest = rest.substr(0, at);
  }
  size_t colon = rest.rfind(':');
  if (colon != rest.npos && rest.find('/', colon) == rest.npos) {
    ref.tag = rest.substr(colon + 1);
    if (!IsTag(ref.tag)) return bad("invalid tag");
    rest = rest.substr(0, colon);
  }
  size_t slash = rest.find('/');
  std::string first(rest.substr(0, slash));
  bool domain = slash != rest.npos && LooksLikeDomain(first);
  ref.domain = domain ? first : std::string(kDefaultDomain);
  ref.path = domain ? rest.substr(slash + 1) : rest;
  if (ref.domain == "index.docker.io") ref.domain = kDefaultDomain;
  if (ref.domain == kDefaultDomain && ref.path.find('/') == std::string::npos) {
    ref.path = "library/" + ref.path;
  }
  if (!IsDomain(ref.domain)) return bad("invalid domain");
  if (ToLower(ref.path) != ref.path) return bad("repository name must be lowercase");
  for (const std::string& part : Split(ref.path, '/')) {
    if (!IsPathComponent(part)) return bad("invalid reference format");
  }
  if (ref.Name().size() > 255) return bad("repository name is longer than 255 characters");
  return ref;
}

}  // namespace varve::oci
