// In-toto statements: a predicate, and what it is about (in-toto attestation framework, statement v1;
// reference exporters.md §9.4). Written as BuildKit does, so that what reads its attestations reads these.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/json.h"
#include "base/result.h"
#include "oci/platform.h"

namespace varve::attest {

inline constexpr std::string_view kProvenanceV1 = "https://slsa.dev/provenance/v1";
inline constexpr std::string_view kProvenanceV02 = "https://slsa.dev/provenance/v0.2";
inline constexpr std::string_view kSpdx = "https://spdx.dev/Document";

// A file that a scanner makes may be this large (exporter/attestation/make.go).
inline constexpr uint64_t kMaxPredicate = 40 << 20;

struct Subject {
  std::string name;
  Digest digest;
};

// Of one platform's result; what it is about depends on where it goes.
struct Attestation {
  std::string predicate_type;
  Json predicate;
  std::string file;           // where it goes beside files: "provenance.json"
  bool inline_only = false;   // for images alone
  std::string core = "sbom";  // how the file, without its endings, is named where it is the SBOM of the result itself
  Json subjects = {};         // an array: what it is about, said by who made it; null or empty: the result
  // Provenance with mode=max: with how many of the result's layers each of its steps begins, {"step5:0", 3}.
  std::map<std::string, size_t> layers = {};
};

// One line, as it is stored; or indented, as a file.
std::string StatementText(const Attestation& attestation, const std::vector<Subject>& subjects, bool indented);

// "pkg:docker/node@20?platform=linux%2Famd64", with the digest where the reference has one
// (util/purl/image.go). `type`: docker, or oci for a layout. `more`: qualifiers besides, which come last.
Result<std::string> PackageUrl(std::string_view type, const std::string& reference,
                               const std::optional<oci::Platform>& platform,
                               const std::vector<std::pair<std::string, std::string>>& more = {});

}  // namespace varve::attest
