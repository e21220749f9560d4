// The commands that the text of a RUN starts, as far as reading can tell: what rules about caching
// look at. Not a shell: no expansion, no functions; what it cannot follow it leaves out, so that a
// rule says nothing rather than something wrong.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dockerfile/ast.h"

namespace varve::dockerfile {

struct ShellCommand {
  // Quotes and escapes removed, redirections and leading assignments dropped, variables as written.
  // Never empty. Wrappers that run another command (sudo, env, exec, time, …) are dropped too.
  std::vector<std::string> words;

  const std::string& name() const { return words[0]; }
  bool Has(std::string_view word) const;
};

// Cuts at && || ; | & and line ends; goes into subshells, groups, if/for/while bodies and sh -c.
std::vector<ShellCommand> SplitShell(std::string_view text);

// Of a RUN in either form, here-documents included.
std::vector<ShellCommand> CommandsOf(const Run& run);

}  // namespace varve::dockerfile
