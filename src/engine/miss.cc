#include "engine/miss.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <map>

#include "base/strings.h"
#include "engine/explain.h"
#include "tree/selection.h"

namespace varve::engine {

namespace {

using Kind = Reason::Kind;

constexpr size_t kCandidates = 4;
constexpr std::string_view kDataGone = "its data is gone";  // cache/local_store.cc, Drop

bool OnlyParent(const std::vector<Reason>& reasons) {
  return std::ranges::all_of(reasons, [](const Reason& r) { return r.kind == Kind::kParent; });
}

class Explainer {
 public:
  Explainer(const Miss& miss, const MissStores& stores) : miss_(miss), stores_(stores) {}

  ExplainedMiss Run() {
    auto earlier = Candidates();
    if (earlier && !earlier->empty()) Take(earlier->front());
    if (!Told(earlier)) Compare(*earlier);
    for (Reason& reason : out_.reasons) Complete(reason);
    SayWhoDidNotAnswer();
    return std::move(out_);
  }

 private:
  // Not what this build itself made for another platform. And a record of this place whose instruction is still in the
  // file, elsewhere, is no earlier version of this step: an instruction was put before it.
  Result<std::vector<cache::StepRecord>> Candidates() {
    TRY_ASSIGN(auto found, stores_.records.Earlier(miss_.slot, miss_.keyed->op_digest, kCandidates));
    std::erase_if(found, [&](const cache::StepRecord& record) {
      if (record.created > miss_.began) return true;
      return record.op_digest != miss_.keyed->op_digest && miss_.ops && miss_.ops->contains(record.op_digest);
    });
    return found;
  }

  void Take(const cache::StepRecord& record) { out_.nearest = std::make_shared<const cache::StepRecord>(record); }

  bool Say(Reason reason) {
    out_.reasons.push_back(std::move(reason));
    return true;
  }

  // Causes that no difference shows. In the order in which each makes the later ones moot.
  bool Told(const Result<std::vector<cache::StepRecord>>& earlier) {
    const graph::Step& step = *miss_.step;
    if (step.no_cache) {
      return Say({Kind::kNoCache, step.no_cache_rule.empty() ? "--no-cache" : step.no_cache_rule});
    }
    if (miss_.too_old) {
      const Miss::Age& age = *miss_.too_old;
      Reason reason{Kind::kMaxAge, age.below.empty() ? fmt::format("its record is {} old, and {} accepts less",
                                                                   FormatAge(age.age), age.rule)
                                                     : fmt::format("its record holds an older result of {}, and {} "
                                                                   "asks for a new one",
                                                                   age.below, age.rule)};
      reason.subject = age.rule;
      return Say(std::move(reason));
    }
    if (miss_.lost) {
      // A collection, or whoever found it damaged, said why. (This build says kDataGone itself.)
      auto dropped = WhyDropped();
      if (dropped && dropped->rule != kDataGone) {
        return Say(DropReason(*dropped, "it was built before, but its layers were"));
      }
      const auto& [error, tier] = *miss_.lost;
      if (!tier.empty() && error.code == Code::kNotFound) {
        Reason reason{Kind::kDataGone, fmt::format("cache {} has its record and no sound copy of its layers; an "
                                                   "export with mode=max sends them",
                                                   tier)};
        reason.subject = tier;
        return Say(std::move(reason));
      }
      bool damaged = error.code == Code::kCorrupt;
      Reason reason{damaged ? Kind::kDamaged : Kind::kDataGone,
                    fmt::format("it was built before, but its cached result is {}: {}", damaged ? "damaged" : "lost",
                                error.message)};
      return Say(std::move(reason));
    }
    if (miss_.parent_must_run) return Say({Kind::kParent, "the step before it ran again"});
    for (const cache::TierTrouble& trouble : stores_.records.TroubleWith(miss_.keyed->key)) {
      if (trouble.kind == cache::TierTrouble::Kind::kUntrusted) {
        Reason reason{Kind::kTier, fmt::format("cache {} has it, but is not trusted: {}", trouble.tier, trouble.why)};
        reason.subject = trouble.tier;
        return Say(std::move(reason));
      }
      Reason reason{Kind::kTier, fmt::format("cache {} did not answer: {}", trouble.tier, trouble.why)};
      reason.subject = trouble.tier;
      unanswered_.push_back(std::move(reason));
    }
    if (miss_.look_up_error) {
      Reason reason{Kind::kTier, fmt::format("the cache did not answer: {}", miss_.look_up_error->message)};
      reason.subject = "local";
      unanswered_.push_back(std::move(reason));
    }
    if (Dropped()) return true;
    if (!earlier) {
      if (unanswered_.empty()) Say({Kind::kTier, "the cache did not answer: " + earlier.error().message, "local"});
      return true;
    }
    if (!earlier->empty()) return false;
    if (DroppedEarlier()) return true;
    return Say({Kind::kFirstTime, "never built here"});
  }

  // A tier that did not answer may well have had it. Behind what did change, which is what people look for: they
  // are told of the tier once, for the whole build.
  void SayWhoDidNotAnswer() {
    if (unanswered_.empty()) return;
    std::erase_if(out_.reasons, [](const Reason& reason) { return reason.kind == Kind::kFirstTime; });
    std::ranges::move(unanswered_, std::back_inserter(out_.reasons));
  }

  Reason DropReason(const cache::DroppedRecord& dropped, const std::string& what) const {
    Nanos age(stores_.clock.Now().nanos - dropped.time.nanos);
    Kind kind = Kind::kEvicted;
    if (dropped.rule.find("damaged") != std::string::npos) kind = Kind::kDamaged;
    if (dropped.rule == kDataGone) kind = Kind::kDataGone;
    Reason reason{kind, fmt::format("{} removed from the cache {} ago ({})", what, FormatAge(age), dropped.rule)};
    reason.subject = dropped.rule;
    reason.after = FormatTime(dropped.time);
    return reason;
  }

  std::optional<cache::DroppedRecord> WhyDropped() const {
    if (stores_.archive == nullptr) return std::nullopt;
    return stores_.archive->WhyDropped(miss_.keyed->key).value_or(std::nullopt);
  }

  bool Dropped() {
    auto dropped = WhyDropped();
    return dropped && Say(DropReason(*dropped, "its record was"));
  }

  bool DroppedEarlier() {
    if (stores_.archive == nullptr) return false;
    auto dropped = stores_.archive->DroppedOf(miss_.slot, 1);
    if (!dropped || dropped->empty()) return false;
    Reason reason = DropReason(dropped->front(), "never built like this, and its earlier record was");
    return Say(std::move(reason));
  }

  static std::string_view ProjectOf(std::string_view slot) { return slot.substr(0, slot.find('|')); }

  // Another project with the same instruction (`COPY . .`) is no earlier version of this one, but a
  // second clone is: it differs in little.
  static bool LooksLikeAClone(const Nearest& nearest) {
    return nearest.reasons.size() == 1 && nearest.reasons[0].change_count <= Reason::kMaxChanges;
  }

  void Compare(const std::vector<cache::StepRecord>& earlier) {
    std::vector<cache::StepRecord> own, others;
    for (const cache::StepRecord& record : earlier) {
      (ProjectOf(record.slot) == ProjectOf(miss_.slot) ? own : others).push_back(record);
    }
    Nearest nearest = Explain(*miss_.step, *miss_.keyed, own.empty() ? others : own, stores_.trees);
    if (nearest.record != nullptr) Take(*nearest.record);
    if (own.empty() && !LooksLikeAClone(nearest)) {
      nearest.reasons = {{Kind::kFirstTime, "never built here"}};
    }
    out_.reasons.insert(out_.reasons.end(), nearest.reasons.begin(), nearest.reasons.end());
  }

  void Complete(Reason& reason) {
    if (reason.kind == Kind::kParent) PointToParent(reason);
    if (reason.kind == Kind::kFile) PointToStage(reason);
    if (reason.kind == Kind::kEnvironment) HintAtVariable(reason);
  }

  // The step before it ran in this build, or it hit and is another one than the last time.
  void PointToParent(Reason& reason) {
    if (miss_.lineage.empty()) return;
    const Upstream& parent = miss_.lineage.front();
    if (parent.ran) {
      reason.step = parent.cause_name;
      reason.text = fmt::format("because {} ran", parent.cause_name);
      if (OnlyParent(out_.reasons)) out_.cause = parent.cause;
      return;
    }
    if (!out_.nearest || stores_.archive == nullptr) return;
    std::optional<StepKey> key = ParentKey(out_.nearest->preimage);
    for (const Upstream& upstream : miss_.lineage) {
      if (!key || !upstream.keyed || upstream.keyed->key == *key) return;
      auto record = stores_.archive->Peek(*key);
      if (!record || !*record) return;
      Nearest nearest = Explain(*upstream.step, *upstream.keyed, {**record}, stores_.trees);
      if (!OnlyParent(nearest.reasons)) {
        reason.step = upstream.step->name;
        reason.text = fmt::format("never built on {} like this: {}", upstream.step->name, Summarise(nearest.reasons));
        return;
      }
      key = ParentKey((*record)->preimage);
    }
  }

  void PointToStage(Reason& reason) {
    for (const Upstream& source : miss_.reads) {
      if (!source.ran || source.fact_name != reason.subject) continue;
      reason.step = source.step->name;
      if (source.again) {
        reason.kind = Kind::kUnstable;
        reason.text = fmt::format("{} ran again and gave something else: {}", source.step->name, reason.text);
      }
      bool alone =
          std::ranges::all_of(out_.reasons, [&](const Reason& r) { return r.kind == Kind::kParent || &r == &reason; });
      if (alone) out_.cause = source.cause;
      return;
    }
  }

  // Of the commands of the stage; "RUN make V=$VERSION (line 7)".
  std::vector<std::string> UsersOf(const std::string& variable) const {
    constexpr size_t kMax = 5;
    std::vector<std::string> users;
    for (const graph::Step& step : miss_.graph->steps) {
      if (step.stage != miss_.step->stage || !Names(step, variable) || users.size() == kMax) continue;
      uint32_t line = step.location.first_line;
      users.push_back(Instruction(step) + (line == 0 ? "" : fmt::format(" (line {})", line)));
    }
    return users;
  }

  // As a word: `$V`, `${V:-1}`, `"V"`; not in `VERSION`.
  static bool Names(const graph::Step& step, const std::string& variable) {
    const auto* exec = std::get_if<graph::Exec>(&step.op);
    if (exec == nullptr) return false;
    std::string command = " " + Join(exec->args, " ") + " ";
    auto part_of_a_name = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
    for (size_t at = 0; (at = command.find(variable, at)) != command.npos; ++at) {
      if (!part_of_a_name(command[at - 1]) && !part_of_a_name(command[at + variable.size()])) return true;
    }
    return false;
  }

  // A variable reaches every command of the stage after it. One that does not name it mostly does not
  // read it.
  void HintAtVariable(Reason& reason) const {
    if (reason.subject.empty() || reason.after.empty()) return;
    reason.used_by = UsersOf(reason.subject);
    if (Names(*miss_.step, reason.subject)) return;
    bool arg = std::ranges::find(miss_.step->arg_names, reason.subject) != miss_.step->arg_names.end();
    reason.hint = fmt::format("this command does not name it: would have hit if `{} {}` came after `{}`",
                              arg ? "ARG" : "ENV", reason.subject, Instruction(*miss_.step));
  }

  const Miss& miss_;
  const MissStores& stores_;
  ExplainedMiss out_;
  std::vector<Reason> unanswered_;
};

// Paths that differ, with what is there now; nothing when there are too many to tell.
using Changed = std::map<RelPath, std::optional<tree::Node>>;

std::optional<Changed> ChangedFiles(const Digest& before, const Digest& now, tree::TreeStore& trees) {
  constexpr size_t kMax = 2000;
  if (before.empty() || now.empty()) return std::nullopt;
  auto differences = tree::Compare(trees, before, now, RelPath(), kMax);
  if (!differences || differences->size() >= kMax) return std::nullopt;
  Changed out;
  for (const tree::Difference& difference : *differences) {
    auto node = tree::Lookup(trees, now, difference.path);
    if (!node) return std::nullopt;
    out.emplace(difference.path, *node);
  }
  return out;
}

}  // namespace

std::string Instruction(const graph::Step& step) {
  constexpr size_t kMax = 60;
  std::string text = step.text.empty() ? step.name : step.text;
  if (text.starts_with('[') && text.find("] ") != text.npos) text = text.substr(text.find("] ") + 2);
  text = text.substr(0, text.find('\n'));
  return text.size() <= kMax ? text : text.substr(0, kMax - 3) + "...";
}

ExplainedMiss ExplainMiss(const Miss& miss, const MissStores& stores) { return Explainer(miss, stores).Run(); }

bool AddOrderHint(const Miss& miss, const ExplainedMiss& explained, const cache::Rootfs& now,
                  const cache::Rootfs& parent_now, const MissStores& stores, std::vector<Reason>& reasons) {
  bool candidate = std::holds_alternative<graph::Exec>(miss.step->op) && !miss.lineage.empty() && explained.nearest &&
                   !explained.nearest->outputs.empty() && reasons.size() == 1 && reasons[0].kind == Kind::kParent &&
                   stores.archive != nullptr && !miss.parent_must_run;
  if (!candidate) return false;
  // Only a copy can be moved down; what a command below made, it may well have made for this one.
  const Upstream* copy = nullptr;
  for (const Upstream& upstream : miss.lineage) {
    if (!upstream.ran) break;
    if (upstream.step->name == miss.lineage.front().cause_name) copy = &upstream;
  }
  if (copy == nullptr || !std::holds_alternative<graph::FileOp>(copy->step->op)) return false;
  std::optional<StepKey> parent_key = ParentKey(explained.nearest->preimage);
  if (!parent_key) return false;
  auto parent = stores.archive->Peek(*parent_key);
  if (!parent || !*parent || (*parent)->outputs.empty()) return false;
  auto below = ChangedFiles((*parent)->outputs[0].tree_root, parent_now.tree_root, stores.trees);
  auto here = ChangedFiles(explained.nearest->outputs[0].tree_root, now.tree_root, stores.trees);
  if (!below || !here || below->empty()) return false;
  // Everything that differs in its result differs below it, in the same way.
  for (const auto& [path, node] : *here) {
    auto it = below->find(path);
    if (it == below->end() || it->second != node) return false;
  }
  reasons[0].hint = fmt::format("it made the same files again: would have hit if `{}` came after `{}`",
                                Instruction(*copy->step), Instruction(*miss.step));
  return true;
}

}  // namespace varve::engine
