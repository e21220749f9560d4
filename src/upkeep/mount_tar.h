// The content of a cache mount as a tar, to take it to another machine or to put it aside.
//
// The form is that of layers (archive/tar.h): names, modes, owners, times in seconds, hard links
// and file capabilities, and no other attribute. Sockets are left out; a name that begins with
// ".wh.", which in a layer stands for a removal, is kInvalid in both directions.
#pragma once

#include <stop_token>
#include <string>

#include "base/io.h"
#include "base/result.h"
#include "snapshot/layer_store.h"

namespace varve::upkeep {

Status WriteMountTar(const std::string& data, Writer& out, std::stop_token stop);

// The same within `max_bytes` of files' contents: those that were written to longest ago are left out
// first, with their hard links. Names, links and directories count as nothing.
struct MountTar {
  uint64_t bytes = 0;     // of contents
  uint64_t left_out = 0;  // files
};
Result<MountTar> WriteMountTar(const std::string& data, uint64_t max_bytes, Writer& out, std::stop_token stop);

// Replaces what is in `data` by the tar's content, which may be packed with gzip, zstd, bzip2 or
// xz. It is unpacked in `scratch`, on the same file system, first: a tar that is cut short or
// hostile changes nothing. The caller holds the mount alone.
Status ReadMountTar(Reader& in, const std::string& data, const std::string& scratch, snapshot::LayerStore& layers,
                    std::stop_token stop);

}  // namespace varve::upkeep
