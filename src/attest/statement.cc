#include "attest/statement.h"

#include <fmt/core.h>

#include "base/strings.h"
#include "oci/reference.h"

namespace varve::attest {

namespace {

// Go's url.PathEscape: what a path segment may hold stays.
std::string Escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 std::string_view("-_.~$&+=:@").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// Go's url.QueryEscape.
std::string EscapeName(std::string_view text) {
  std::string out;
  for (char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 std::string_view("-_.~").find(c) != std::string_view::npos;
    out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace

std::string StatementText(const Attestation& attestation, const std::vector<Subject>& subjects, bool indented) {
  Json about = Json::EmptyArray();
  for (const Subject& subject : subjects) {
    about.Append(Json().Set("name", subject.name).Set("digest", Json().Set("sha256", subject.digest.Hex())));
  }
  if (attestation.subjects.is_array() && !attestation.subjects.as_array().empty()) about = attestation.subjects;
  Json statement;
  statement.Set("_type", "https://in-toto.io/Statement/v1")
      .Set("predicateType", attestation.predicate_type)
      .Set("subject", std::move(about))
      .Set("predicate", attestation.predicate);
  return statement.Dump({.indent = indented ? 2 : 0, .escape_html = true});
}

Result<std::string> PackageUrl(std::string_view type, const std::string& reference,
                               const std::optional<oci::Platform>& platform,
                               const std::vector<std::pair<std::string, std::string>>& more) {
  TRY_ASSIGN(oci::Reference parsed, oci::ParseReference(reference));
  std::string tag = parsed.digest ? parsed.tag : parsed.WithDefaultTag().tag;
  std::optional<Digest> digest = parsed.digest;
  parsed.digest.reset();
  parsed.tag.clear();
  std::string url = fmt::format("pkg:{}", type);
  for (const std::string& part : Split(parsed.Familiar(), '/')) url += "/" + EscapeName(part);
  if (!tag.empty()) url += "@" + Escape(tag);
  std::string qualifiers;
  if (digest) qualifiers += "&digest=" + Escape(digest->ToString());
  if (platform) qualifiers += "&platform=" + Escape(oci::Normalise(*platform).ToString());
  for (const auto& [name, value] : more) qualifiers += fmt::format("&{}={}", name, Escape(value));
  if (!qualifiers.empty()) url += "?" + qualifiers.substr(1);
  return url;
}

}  // namespace varve::attest
