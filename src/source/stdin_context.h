// `varve build -`: what comes on standard input is a context or a Dockerfile (reference cli.md
// §2.2).
//
//   FdReader in(STDIN_FILENO);
//   TRY_ASSIGN(StdinContext context, ReadStdinContext(in, sys::TemporaryRoot()));
//   for (const std::string& text : context.warnings) …
//
// A tar, plain or compressed with gzip, bzip2, xz or zstd, is the context. Anything else is a
// Dockerfile, and the context is empty.
#pragma once

#include <cstdint>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/io.h"
#include "base/result.h"
#include "sys/tempdir.h"

namespace varve::source {

struct StdinLimits {
  uint64_t bytes = uint64_t{1} << 40;  // content of all entries together, uncompressed
  uint64_t entries = 10'000'000;
  uint64_t dockerfile = 16 << 20;  // bytes
};

struct StdinContext {
  sys::TempDir directory;                 // the context; removed with this object
  std::optional<std::string> dockerfile;  // nothing: the Dockerfile is in the context
  std::vector<std::string> warnings;      // entries that were left out, one line each
};

// Reads `in` to its end, so that the writer of the pipe sees no error. The directory is made in
// `parent`. kInvalid for an empty input, for bytes that are neither, for an entry with ".." in its
// name, and beyond a limit; kCorrupt for a damaged archive. `stop` is looked at between reads.
Result<StdinContext> ReadStdinContext(Reader& in, const std::string& parent, const StdinLimits& limits = {},
                                      std::stop_token stop = {});

// Extracts a tar into the directory, which should be empty. Nothing is written outside of it,
// whatever the archive holds: absolute names start at the directory, symlinks stay inside it, and a
// later entry replaces an earlier one. Files belong to this process; modes and times are the
// archive's; extended attributes are dropped. Devices and fifos are left out with a warning.
Status ExtractTar(Reader& in, const std::string& directory, const StdinLimits& limits,
                  std::vector<std::string>* warnings, std::stop_token stop = {});

enum class StdinKind { kTar, kCompressed, kText };

// By the first 512 bytes, or all if there are fewer.
StdinKind SniffStdin(std::string_view head);

}  // namespace varve::source
