// Images as files: OCI layouts and `docker load` archives, as a tar or a directory.
#pragma once

#include <string>
#include <vector>

#include "base/io.h"
#include "cas/blob_store.h"
#include "export/image.h"

namespace varve::exporter {

// The tar: entries sorted by name, no times (reference exporters.md §4, "oci/docker tar contents").
// With `docker`, manifest.json is there as well, which knows one platform (CheckOutput). `names` are
// normalised references.
Status WriteArchive(const ImageSet& set, const std::vector<std::string>& names, bool docker,
                    cas::BlobStore& blobs, Writer& out);

// The same files in a directory, which is made; blobs that are there already stay. index.json keeps
// the entries of other names.
Status WriteLayoutDirectory(const ImageSet& set, const std::vector<std::string>& names, bool docker,
                            cas::BlobStore& blobs, const std::string& directory);

}  // namespace varve::exporter
