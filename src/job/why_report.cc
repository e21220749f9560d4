#include "job/why_report.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

namespace varve::job {

namespace {

using engine::Reason;
using Kind = Reason::Kind;

std::string Cut(const std::string& text, size_t width) {
  size_t shown = 0, at = 0;
  for (; at < text.size(); ++at) {
    bool starts = (static_cast<unsigned char>(text[at]) & 0xc0) != 0x80;
    if (starts && shown++ == width) break;
  }
  return at == text.size() ? text : text.substr(0, at) + "…";
}

// Which step's reasons are behind these, by position; nothing: they are the root themselves.
class Roots {
 public:
  explicit Roots(const std::vector<WhyStep>& steps) : steps_(steps) {
    for (size_t i = 0; i < steps.size(); ++i) positions_.emplace(steps[i].name, i);
  }

  size_t Of(size_t i) const {
    std::set<size_t> seen;
    while (seen.insert(i).second) {
      auto next = Behind(i);
      if (!next) break;
      i = *next;
    }
    return i;
  }

 private:
  std::optional<size_t> Behind(size_t i) const {
    const Reason* pointer = nullptr;
    for (const Reason& reason : steps_[i].reasons) {
      // A cache that did not answer comes after what did change, and is told of for the whole build.
      if (reason.kind == Kind::kTier && pointer != nullptr) continue;
      if (reason.kind == Kind::kParent) {
        if (pointer == nullptr) pointer = &reason;
      } else if (!reason.step.empty()) {
        pointer = &reason;
      } else {
        return std::nullopt;  // it has a reason of its own
      }
    }
    auto it = pointer ? positions_.find(pointer->step) : positions_.end();
    if (it == positions_.end() || it->second == i) return std::nullopt;
    return it->second;
  }

  const std::vector<WhyStep>& steps_;
  std::map<std::string, size_t> positions_;
};

// Of what follows another step.
bool OnlyParents(const WhyStep& step) {
  return std::ranges::all_of(step.reasons,
                             [](const Reason& r) { return r.kind == Kind::kParent || r.kind == Kind::kTier; });
}

bool NeverBuilt(const WhyStep& step) { return step.reasons.size() == 1 && step.reasons[0].kind == Kind::kFirstTime; }

constexpr size_t kNameWidth = 72;

void AddHints(const WhyStep& step, const std::string& indent, std::string& out) {
  for (const Reason& reason : step.reasons) {
    if (!reason.hint.empty()) out += fmt::format("{}hint: {}\n", indent, reason.hint);
  }
}

}  // namespace

std::vector<WhyStep> WhySteps(const graph::Graph& graph, const engine::Outcome& outcome) {
  std::vector<WhyStep> steps;
  for (size_t i = 0; i < graph.steps.size(); ++i) {
    const engine::StepOutcome& step = outcome.steps[i];
    if (!step.reasons.empty()) steps.push_back({graph.steps[i].name, step.reasons});
  }
  return steps;
}

std::string WhyReport(const std::vector<WhyStep>& steps) {
  Roots roots(steps);
  std::vector<std::vector<size_t>> followers(steps.size());
  std::vector<bool> is_root(steps.size());
  size_t never_built = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    size_t root = roots.Of(i);
    is_root[i] = root == i;
    if (!is_root[i]) followers[root].push_back(i);
    never_built += NeverBuilt(steps[i]);
  }
  constexpr size_t kWorthOneLine = 3;
  bool collapse = never_built > kWorthOneLine;
  std::string out;
  if (collapse) {
    bool all = never_built == steps.size();
    out += fmt::format("  {}{} steps: never built here\n", all ? "all " : "", never_built);
  }
  for (size_t i = 0; i < steps.size(); ++i) {
    if (!is_root[i]) continue;
    if (!(collapse && NeverBuilt(steps[i]))) {
      out += fmt::format("  {}: {}\n", Cut(steps[i].name, kNameWidth), engine::Summarise(steps[i].reasons));
      AddHints(steps[i], "    ", out);
    }
    for (size_t follower : followers[i]) {
      const WhyStep& step = steps[follower];
      out += fmt::format("    then {}{}\n", Cut(step.name, kNameWidth),
                         OnlyParents(step) ? "" : ": " + engine::Summarise(step.reasons));
      AddHints(step, "      ", out);
    }
  }
  return out;
}

std::string WhyInFull(const std::vector<WhyStep>& steps) {
  std::string out;
  for (const WhyStep& step : steps) out += step.name + "\n" + engine::Describe(step.reasons, "  ");
  return out;
}

}  // namespace varve::job
