// Which steps package files may count for by what they install: those that do nothing else than
// install it. Everything else may read such a file for anything.
#pragma once

#include <string>

#include "dockerfile/ast.h"
#include "dockerfile/stage_lower.h"

namespace varve::dockerfile {

// The package manager, "npm", when all commands of the step are its installations of what package
// files list, or touch no file of the project (apt-get, mkdir, pip install of a name). Empty:
// something else may be read: substitutions, redirections from files, pipes into programs,
// here-documents, unknown programs.
std::string InstallsOnly(const Run& run);

// Whether the instruction is under --semantic-manifests, or has `# varve:semantic` above it.
bool AsksForSemantics(const CommandScope& scope);
// Whether some instruction of the file may be.
bool MayBeSemantic(const Lowering& lowering);

}  // namespace varve::dockerfile
