// varve's own rules: what makes a Dockerfile build slower, and cache worse, than it has to.
//
//   CacheCheckInput input{.options = options, .context = &facts};
//   for (const CacheHint& hint : CheckCaching(file, input)) Show(hint);
//
// A hint is not a warning: a Dockerfile with hints is right, and BuildKit says nothing of them. So
// hints have a list of their own, do not change the status of --check, and `error=true` does not
// make them fatal. `check=skip=NAME` and `skip=all` silence them, for the file or for one
// instruction, as they do the 22 rules of lint.h.
//
// A rule prefers silence to a wrong hint. It looks at the text of the file, at the names of what
// lies in the context (ContextFacts), and at nothing else: no image is pulled and nothing is run.
//
//   cache_rules_install.cc   InstallBelowCopyAll, MissingCacheMount, PackageListLeftInLayer
//   cache_rules_source.cc    UncheckedDownload, UnpinnedBase, VolatileArgTooEarly, InlineCache
//   cache_rules_context.cc   NoDockerignore, DockerignoreLetsIn
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dockerfile/ast.h"
#include "dockerfile/lint.h"

namespace varve::dockerfile {

enum class CacheRule {
  kInstallBelowCopyAll,
  kMissingCacheMount,
  kPackageListLeftInLayer,
  kUncheckedDownload,
  kUnpinnedBase,
  kVolatileArgTooEarly,
  kInlineCache,
  kNoDockerignore,
  kDockerignoreLetsIn,
};

struct CacheRuleText {
  std::string_view name;  // "InstallBelowCopyAll"
  std::string_view description;
};
const CacheRuleText& Describe(CacheRule rule);

// What a mistake costs each time that it bites; when that is stands in the hint's reason.
struct HintCost {
  double seconds = 0;     // of work done again, or of waiting
  uint64_t bytes = 0;     // kept, sent or read in vain
  bool measured = false;  // by this machine: from history, or of files; else typical

  // "about 25s", "42 MB"; empty when it costs nothing that can be named.
  std::string ToString() const;
};

struct CacheHint {
  CacheRule rule;
  std::string reason;             // one sentence
  std::string remedy;             // what to do instead, one sentence
  std::vector<std::string> text;  // lines of Dockerfile or of .dockerignore to write; may be empty
  HintCost cost;
  std::vector<Span> spans;  // the lines it is about, the first one foremost; empty: the whole build
  // The remedy is to move these lines right above that one, and nothing in between minds; 0: it is not.
  int move_above = 0;
};

// Asks about the build context. One thread.
class ContextFacts {
 public:
  struct Entry {
    std::string name;
    bool is_directory = false;
  };
  virtual ~ContextFacts() = default;
  // The ignore file in force, as messages name it; empty: there is none.
  virtual std::string IgnoreFile() const = 0;
  // What lies in `directory` ("" is the top) and is not ignored. Empty for what is no directory.
  virtual std::vector<Entry> List(const std::string& directory) = 0;
  // Bytes in the files at and below `path` that are not ignored; nothing: not known.
  virtual std::optional<uint64_t> Bytes(const std::string& path) = 0;
};

// What steps took when they last ran.
class StepCosts {
 public:
  virtual ~StepCosts() = default;
  // Seconds of the step that `instruction` became; nothing: it never ran here.
  virtual std::optional<double> Seconds(const Origin& instruction) const = 0;
};

struct CacheCheckInput {
  CheckOptions options;  // skip=…
  std::vector<std::pair<std::string, std::string>> build_args;
  // Arguments that are known to have another value in every build, whatever their names say.
  std::set<std::string> volatile_args;
  // What base images were resolved to: normalised reference → digest. For remedies that can be
  // copied.
  std::map<std::string, std::string> digests;
  std::vector<std::string> named_contexts;  // these names are no images
  ContextFacts* context = nullptr;          // null: nothing is known of it
  const StepCosts* costs = nullptr;         // null: typical costs
};

// In the order of the file, then those about the whole build.
std::vector<CacheHint> CheckCaching(const Dockerfile& file, const CacheCheckInput& input);

}  // namespace varve::dockerfile
