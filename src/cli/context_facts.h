// What the caching rules ask about a build context, answered from its directory.
#pragma once

#include <optional>
#include <string>

#include "cli/build_context.h"
#include "dockerfile/cache_rules.h"
#include "dockerfile/lower.h"
#include "tree/pattern.h"

namespace varve::cli {

// `measure` false: Bytes() is not known. A build that only wants to know whether there are hints does
// not walk node_modules for it.
class DirectoryFacts final : public dockerfile::ContextFacts {
 public:
  DirectoryFacts(const BuildContext& context, bool measure);

  std::string IgnoreFile() const override { return context_.ignore_file; }
  std::vector<Entry> List(const std::string& directory) override;
  std::optional<uint64_t> Bytes(const std::string& path) override;

 private:
  bool IsIgnored(const std::string& path) const;

  const BuildContext& context_;
  bool measure_;
  tree::PatternList ignored_;
};

// varve's own rules over the Dockerfile of a build; `digests` of the images that lowering resolved.
std::vector<dockerfile::CacheHint> FindHints(
    const dockerfile::Dockerfile& file, const BuildFlags& flags, const BuildContext& context,
    const std::vector<dockerfile::UsedImage>& images, bool measure);

}  // namespace varve::cli
