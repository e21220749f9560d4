// What the caching rules ask about a build context, answered from its directory.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "dockerfile/cache_rules.h"
#include "tree/pattern.h"

namespace varve::doctor {

// `ignore`: the patterns in force, and `ignore_file` where they came from. `measure` false: Bytes()
// is not known. A build that only wants to know whether there are hints does not walk node_modules
// for it.
class DirectoryFacts final : public dockerfile::ContextFacts {
 public:
  DirectoryFacts(std::string directory, const std::vector<std::string>& ignore, std::string ignore_file, bool measure);

  std::string IgnoreFile() const override { return ignore_file_; }
  std::vector<Entry> List(const std::string& directory) override;
  std::optional<uint64_t> Bytes(const std::string& path) override;

 private:
  bool IsIgnored(const std::string& path) const;

  std::string directory_, ignore_file_;
  bool measure_;
  tree::PatternList ignored_;
};

}  // namespace varve::doctor
