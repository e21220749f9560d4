// Where bake's definition is: files here, standard input, a git repository, a URL (reference
// compose-bake.md, B1).
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "bake/definition.h"
#include "cli/bake_flags.h"
#include "cli/command.h"
#include "sys/tempdir.h"

namespace varve::cli {

struct BakeFiles {
  std::vector<bake::File> files;
  BakeOrigin origin;
  // What was fetched, for as long as it is built from.
  sys::LazyTempDir scratch;
  std::vector<sys::TempDir> temporary;
};

// `names`: of -f; empty: BUILDX_BAKE_FILE, else those that are there of the default names. `url`: of a
// remote definition, or empty. kNotFound when there is none.
Result<BakeFiles> ReadBakeFiles(std::vector<std::string> names, const std::string& url, const job::GlobalFlags& global,
                                std::stop_token stop);

}  // namespace varve::cli
