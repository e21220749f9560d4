// Which attestations a build is asked for: --attest, --provenance, --sbom, and the build arguments
// BUILDKIT_ATTEST_PROVENANCE and BUILDKIT_ATTEST_SBOM (reference exporters.md §9.1-9.3).
//
//   type=provenance,mode=max,builder-id=https://ci.example,version=v0.2
//   type=sbom,generator=docker.io/docker/scout-sbom-indexer:1
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace varve::attest {

inline constexpr std::string_view kDefaultScanner = "docker/buildkit-syft-scanner:stable-1";

struct ProvenanceRequest {
  bool max = true;  // mode=max: also the build's definition, its sources and layers
  std::string builder_id;
  std::string filename = "provenance.json";
  bool reproducible = false;  // said by who asks: nobody has checked
  bool inline_only = false;   // for images alone
  bool v1 = true;             // SLSA provenance v1; else v0.2
};

struct SbomRequest {
  std::string generator{kDefaultScanner};         // image of the scanner
  std::map<std::string, std::string> parameters;  // for it, as BUILDKIT_SCAN_<name>
};

struct Request {
  std::optional<ProvenanceRequest> provenance;
  std::optional<SbomRequest> sbom;

  bool Any() const { return provenance || sbom; }
};

// A value of --provenance or --sbom as one of --attest: "true", "false", "mode=max", or what stands for
// the mode or the generator alone.
std::string AttestText(std::string_view type, std::string_view value);

// Values of --attest in order; the last one of a type wins, and disabled=true takes it away. Build
// arguments stand for what no value names. kInvalid for an unknown type or parameter.
Result<Request> ParseRequest(const std::vector<std::string>& values,
                             const std::vector<std::pair<std::string, std::string>>& build_args);

}  // namespace varve::attest
