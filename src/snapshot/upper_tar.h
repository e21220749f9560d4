// From a list of a layer's files to its tar, with the contents read and hashed on all cores while
// the tar, whose hash is serial, is written by the calling thread.
#pragma once

#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "archive/tar.h"
#include "base/digest.h"
#include "base/io.h"
#include "snapshot/layer_files.h"
#include "snapshot/upper_walk.h"

namespace varve::snapshot {

enum class HashFiles { kNo, kYes };

// Writes the tar of the entries below `directory`, and fills in what only an open file tells:
// capabilities, and with kYes the digests of the contents, except those in `known` (by path), which
// are taken as they are. At most some 40 MiB are held at a time. kCorrupt when a file became
// shorter since the walk.
Status WriteUpperTar(const std::string& directory, std::vector<UpperEntry>& entries, HashFiles hash,
                     const std::map<std::string, Digest>& known, Writer& out, std::stop_token stop);

// Of a layer whose list is complete: nothing is hashed and nothing filled in.
Status WriteLayerTar(ListedLayer& layer, Writer& out, std::stop_token stop);

// The same entries as a part of a larger tar, below `prefix` ("" or "linux_arm64/"), without its end.
Status AppendUpperTar(const std::string& directory, std::vector<UpperEntry>& entries, HashFiles hash,
                      const std::map<std::string, Digest>& known, const std::string& prefix, archive::TarWriter& tar,
                      std::stop_token stop);

}  // namespace varve::snapshot
