// What is attested of an image, as the manifest beside it in an index (reference exporters.md §9.4-9.5).
#pragma once

#include <vector>

#include "export/image.h"

namespace varve::exporter {

// One manifest for all that is attested of `about`, whose platform and layers `of` says.
Result<Image> AttestationManifest(const Image& about, const PlatformInput& of,
                                  std::vector<attest::Attestation> attestations, const Output& output,
                                  const ExportStores& stores);

}  // namespace varve::exporter
