#include "tree/selection.h"

#include <optional>

#include "tree/pattern.h"

namespace varve::tree {

namespace {

Result<std::optional<PatternList>> CompileList(const std::vector<std::string>& patterns) {
  if (patterns.empty()) return std::optional<PatternList>();
  TRY_ASSIGN(PatternList list, PatternList::Compile(patterns));
  return std::optional<PatternList>(std::move(list));
}

class FilteredWalk {
 public:
  FilteredWalk(TreeStore& store, const VisitSelected& visit) : store_(store), visit_(visit) {}

  Status Run(const Selector& selector, const Match& match) {
    TRY_ASSIGN(include_, CompileList(selector.include));
    TRY_ASSIGN(exclude_, CompileList(selector.exclude));
    Filters filters;
    if (include_) filters.include = include_->Top();
    if (exclude_) filters.exclude = exclude_->Top();
    Verdict verdict;
    if (selector.parents && !match.dest_name.empty()) {
      // The patterns count from the pivot, which is above the match.
      prefix_ = match.dest_name;
      Filters parent = filters;
      for (size_t slash = prefix_.find('/'); slash != prefix_.npos; slash = prefix_.find('/', slash + 1)) {
        Judge(prefix_.substr(0, slash), parent, &filters);
        std::swap(parent, filters);
      }
      verdict = Judge(prefix_, parent, &filters);
    }
    return Enter(RelPath(), match.node, verdict, filters, 0);
  }

 private:
  struct Filters {
    PatternList::Walk include, exclude;
  };

  struct Verdict {
    bool included = true;
    bool excluded = false;
    bool Passes() const { return included && !excluded; }
  };

  Verdict Judge(const std::string& path, const Filters& parent, Filters* self) const {
    return {!include_ || include_->Matches(path, parent.include, &self->include),
            exclude_ && exclude_->Matches(path, parent.exclude, &self->exclude)};
  }

  bool MayPassBelow(const std::string& path, const Verdict& verdict) const {
    return (verdict.included || include_->MayMatchBelow(path)) &&
           (!verdict.excluded || exclude_->MayUnmatchBelow(path));
  }

  std::string PatternPath(const RelPath& below) const {
    if (prefix_.empty() || below.IsRoot()) return prefix_ + below.str();
    return prefix_ + "/" + below.str();
  }

  Status Emit(const RelPath& below, const Node& node) {
    for (const auto& [path, directory] : pending_) TRY(visit_(path, directory));
    pending_.clear();
    return visit_(below, node);
  }

  Status Enter(const RelPath& below, const Node& node, const Verdict& verdict, const Filters& filters, size_t depth) {
    if (depth > kMaxDepth) return Corrupt("tree is nested more than {} directories", kMaxDepth);
    if (verdict.Passes()) TRY(Emit(below, node));
    if (!node.IsDirectory()) return Ok();
    if (!verdict.Passes()) {
      if (!MayPassBelow(PatternPath(below), verdict)) return Ok();
      pending_.emplace_back(below, node);
    }
    TRY_ASSIGN(auto directory, GetDirectory(store_, node.digest));
    Filters child;
    for (const Node& entry : directory->entries) {
      RelPath path = below.Join(entry.name);
      Verdict entry_verdict = Judge(PatternPath(path), filters, &child);
      TRY(Enter(path, entry, entry_verdict, child, depth + 1));
    }
    if (!pending_.empty() && pending_.back().first == below) pending_.pop_back();
    return Ok();
  }

  TreeStore& store_;
  const VisitSelected& visit_;
  std::optional<PatternList> include_, exclude_;
  std::string prefix_;
  std::vector<std::pair<RelPath, Node>> pending_;  // directories that nothing in them has shown yet
};

}  // namespace

Json Selector::ToJson() const {
  return Json::EmptyObject()
      .Set("path", path)
      .SetIf(wildcards, "wildcards", true)
      .SetIf(allow_empty, "allow_empty", true)
      .SetIf(!follow_last, "follow_last", false)
      .SetIf(!include.empty(), "include", Json::Strings(include))
      .SetIf(!exclude.empty(), "exclude", Json::Strings(exclude))
      .SetIf(parents, "parents", true);
}

Status WalkMatch(TreeStore& store, const Selector& selector, const Match& match, const VisitSelected& visit) {
  return FilteredWalk(store, visit).Run(selector, match);
}

}  // namespace varve::tree
