// Images as files: OCI layouts and `docker load` archives, as a tar or a directory.
#pragma once

#include <string>
#include <vector>

#include "base/io.h"
#include "base/remote_blobs.h"
#include "cas/blob_store.h"
#include "export/image.h"

namespace varve::exporter {

// What index.json says of the images beside their name: with the time of the first one's config.
oci::Descriptor ListedDescriptor(const ImageSet& set);

// The tar: entries sorted by name, no times (reference exporters.md §4, "oci/docker tar contents").
// With `docker`, manifest.json is there as well, which knows one platform (CheckOutput). `names` are
// normalised references.
Status WriteArchive(const ImageSet& set, const std::vector<std::string>& names, bool docker, cas::BlobStore& blobs,
                    Writer& out);

// The same files in a directory, which is made; blobs that are there already stay. index.json keeps
// the entries of other names.
Status WriteLayoutDirectory(const ImageSet& set, const std::vector<std::string>& names, bool docker,
                            cas::BlobStore& blobs, const std::string& directory);

// The blobs of the layout to somebody who keeps it: what a document names is there before the document.
Status SendBlobs(const ImageSet& set, cas::BlobStore& blobs, RemoteBlobs& to, std::stop_token stop);

}  // namespace varve::exporter
