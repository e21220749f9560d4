// The flags of `varve build` on a command line, with Buildx's names (reference cli.md §2).
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "job/build_flags.h"

namespace CLI {
class App;
}

namespace varve::cli {

struct BuildFlagTexts;
class NamedWords;

// `plan` and `verify` take the same ones.
class BuildFlagParser {
 public:
  BuildFlagParser();
  ~BuildFlagParser();
  // Adds them to `app`, which must not be parsed after the parser is gone; those alone that `words` may name, if
  // given.
  void Define(CLI::App& app, const NamedWords* words = nullptr);
  // For a command that takes its contexts by itself; before Finish.
  void SetContext(const std::string& context);
  // Their values, once the line was parsed. kInvalid with a complete message.
  Result<job::BuildFlags> Finish();

 private:
  std::unique_ptr<BuildFlagTexts> raw_;
};

}  // namespace varve::cli
