// What is attested of an image, as those who judge sources need it: the image's index, the manifest in it that lists
// the attestations of one platform's image (exporters.md §6), and who has signed that (OCI distribution-spec 1.1,
// referrers; sigstore's bundles and cosign's signatures).
//
// Nothing of it is verified but digests: to believe a signature is the asker's affair.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "oci/platform.h"
#include "registry/client.h"

namespace varve::registry {

struct AttestationChain {
  Digest root;                  // the index
  Digest image_manifest;        // of the platform
  Digest attestation_manifest;  // empty: nothing is attested of the image
  Digest signature_manifest;    // empty: nobody has signed that. Of several, a sigstore bundle
  // The index, the two manifests after the image's, what the last one has for layers, and the statements asked for.
  std::vector<Document> documents;
};

// `predicate_types`: whose statements are wanted too ("https://slsa.dev/provenance/v1"). Nothing: what the reference
// names is no OCI index, and can have no attestations. kNotFound: there is no such image, or none for the platform.
Result<std::optional<AttestationChain>> ResolveAttestationChain(Client& client, const oci::Reference& reference,
                                                                const oci::Platform& platform,
                                                                const std::vector<std::string>& predicate_types,
                                                                std::stop_token stop);

}  // namespace varve::registry
