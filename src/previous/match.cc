#include "previous/match.h"

#include <algorithm>

#include "base/strings.h"
#include "previous/file_result.h"
#include "previous/history_entry.h"
#include "previous/layer_evidence.h"

namespace varve::previous {

namespace {

// "|2 A=1 B=2 /bin/sh -c make" with its arguments sorted: the classic builder sorts them, others
// keep the order of the file. Where values have blanks the arguments cannot be told apart; then
// `env`, which has them whole, does not know a part, and the text stays as it is.
std::string WithSortedArguments(const std::string& text, const std::vector<std::string>& env) {
  if (!text.starts_with('|')) return text;
  std::vector<std::string> words = Split(text, ' ');
  auto count = ParseInt(std::string_view(words[0]).substr(1));
  if (!count || *count < 1 || static_cast<size_t>(*count) >= words.size()) return text;
  auto end = words.begin() + 1 + *count;
  for (auto word = words.begin() + 1; word != end; ++word) {
    if (std::find(env.begin(), env.end(), *word) == env.end()) return text;
  }
  std::sort(words.begin() + 1, end);
  return Join(words, " ");
}

bool ReadsFiles(const graph::Exec& exec) {
  return std::any_of(exec.mounts.begin(), exec.mounts.end(),
                     [](const graph::Mount& mount) { return mount.target != "/" && mount.input >= 0; });
}

// A Merge puts the layer of a COPY --link onto its stage.
bool WritesFiles(const graph::Op& op) {
  return std::holds_alternative<graph::FileOp>(op) || std::holds_alternative<graph::Merge>(op);
}

// A source that is missing is the build's error to show, when the step runs; a layer that is gone is no answer.
Result<std::string> LeaveAbsent(Result<std::string> reason) {
  if (!reason && (reason.error().code == Code::kNotFound || reason.error().code == Code::kInvalid)) {
    return reason.error().message;
  }
  return reason;
}

class Matcher {
 public:
  // Without `contents` every layer is taken for what the step makes.
  Matcher(const oci::ImageConfig& image, const Planned& planned, Trust trust, Contents* contents)
      : layers_(image.diff_ids()), platform_(oci::Normalise(image.platform())), planned_(planned), trust_(trust),
        contents_(contents) {
    for (const oci::History& entry : image.history()) recorded_.push_back(entry);
  }

  // Why nothing can be answered; empty: the base agrees.
  std::string CheckBase() const {
    auto with_layer =
        std::count_if(recorded_.begin(), recorded_.end(), [](const oci::History& entry) { return !entry.empty_layer; });
    if (static_cast<size_t>(with_layer) != layers_.size()) {
      return "its history does not describe its layers";
    }
    if (planned_.base_layers.size() > layers_.size() ||
        !std::equal(planned_.base_layers.begin(), planned_.base_layers.end(), layers_.begin())) {
      return "it has another base image";
    }
    if (planned_.base_history > recorded_.size()) return "its history lacks the base image's";
    size_t base_layers = 0;
    for (size_t i = 0; i < planned_.base_history; ++i) {
      const oci::History& ours = planned_.history[i].history;
      if (ours.created_by != recorded_[i].created_by || ours.empty_layer != recorded_[i].empty_layer) {
        return "its history is not the base image's and then its own";
      }
      if (!ours.empty_layer) ++base_layers;
    }
    if (base_layers != planned_.base_layers.size()) {
      return "the base image's history does not describe its layers";
    }
    return "";
  }

  // Up to `last`, if that is given.
  Result<Outcome> Run(std::optional<graph::StepIndex> last) {
    Outcome outcome{{}, CheckBase()};
    if (!outcome.stopped.empty()) return outcome;
    count_ = planned_.base_layers.size();
    while (next_ < planned_.base_history) ReadTheirs(next_++);
    for (size_t i = planned_.base_history; i < planned_.history.size(); ++i) {
      const dockerfile::HistoryEntry& entry = planned_.history[i];
      HistoryEntry ours = ReadHistory(entry.history);
      if (IsState(ours.action)) our_state_.push_back(ours);
      if (!entry.step) continue;
      TRY_ASSIGN(std::string reason, Match(*entry.step, ours, outcome));
      if (!reason.empty()) {
        outcome.stopped = fmt::format("{}: {}", StepText(*entry.step), reason);
        return outcome;
      }
      if (entry.step == last) break;
    }
    return outcome;
  }

 private:
  // To be called for each entry in turn: what a SHELL says decides how those after it are written.
  HistoryEntry ReadTheirs(size_t index) {
    HistoryEntry entry = ReadHistory(recorded_[index], their_shell_);
    if (entry.action == Action::kShell) their_shell_ = entry.text;
    return entry;
  }

  const graph::Step& StepAt(graph::StepIndex step) const { return planned_.graph->steps[step]; }

  std::string StepText(graph::StepIndex step) const {
    const graph::Step& s = StepAt(step);
    return s.text.empty() ? s.name : s.text;
  }

  // Empty, or why the step has no answer.
  Result<std::string> Match(graph::StepIndex step, const HistoryEntry& ours, Outcome& outcome) {
    if (StepAt(step).no_cache) return std::string("it is to run anew");
    if (oci::Normalise(StepAt(step).platform) != platform_) {
      return fmt::format("the image is for {}", platform_.ToString());
    }
    // Entries without a layer up to the next one with a layer.
    while (next_ < recorded_.size() && recorded_[next_].empty_layer) {
      HistoryEntry theirs = ReadTheirs(next_++);
      if (IsState(theirs.action)) their_state_.push_back(theirs);
      // Buildah makes the folder in the next layer.
      if (ours.action == Action::kWorkdir && theirs.action == Action::kWorkdir && ours.text == theirs.text) {
        waiting_.push_back(step);
        return std::string();
      }
      if (theirs.action == ours.action && !IsState(ours.action)) {
        return std::string("the image has it without a layer of its own");
      }
    }
    if (next_ == recorded_.size()) return std::string("the image has no layer for it");
    HistoryEntry theirs = ReadTheirs(next_);
    if (IsState(theirs.action)) their_state_.push_back(theirs);
    if (theirs.action != ours.action) {
      return fmt::format("the image has \"{}\" there", recorded_[next_].created_by);
    }
    Answer answer{.step = step, .layers = count_ + 1};
    const graph::Op& op = StepAt(step).op;
    if (const auto* exec = std::get_if<graph::Exec>(&op)) {
      std::string reason = MatchRun(*exec, ours, theirs);
      if (!reason.empty()) return reason;
    } else if (WritesFiles(op)) {
      if (theirs.names_sources && theirs.text != ours.text) {
        return fmt::format("the image has \"{}\" there", recorded_[next_].created_by);
      }
      if (contents_ != nullptr) {
        TRY_ASSIGN(std::string reason, LeaveAbsent(IsLink(step) ? MatchLink(step) : MatchFiles(step)));
        if (!reason.empty()) return reason;
        if (tree_ && tree_layers_ == answer.layers) answer.tree = *tree_;
      }
      answer.verified = true;
    } else {
      return fmt::format("a {} is not matched", graph::OpName(op));
    }
    waiting_.clear();
    ++next_;
    ++count_;
    outcome.answers.push_back(answer);
    return std::string();
  }

  std::string MatchRun(const graph::Exec& exec, const HistoryEntry& ours, const HistoryEntry& theirs) const {
    if (trust_ != Trust::kHistory) return "RUN is answered only with trust=history";
    if (ReadsFiles(exec)) return "it reads files that a history does not name";
    if (WithSortedArguments(ours.text, exec.env) != WithSortedArguments(theirs.text, exec.env)) {
      return fmt::format("the image ran \"{}\"", theirs.text);
    }
    auto same = [](const HistoryEntry& a, const HistoryEntry& b) { return a.action == b.action && a.text == b.text; };
    if (!std::equal(our_state_.begin(), our_state_.end(), their_state_.begin(), their_state_.end(), same)) {
      return "the image had another ENV, USER, WORKDIR or SHELL before it";
    }
    return "";
  }

  // The tree of the first count_ layers.
  Result<Digest> TreeBelow() {
    if (!tree_) {
      if (planned_.base_layers.empty()) {
        tree_ = tree::EmptyTree();
      } else {
        TRY_ASSIGN(tree_, contents_->BaseTree());
      }
      tree_layers_ = planned_.base_layers.size();
    }
    while (tree_layers_ < count_) TRY(ApplyNext());
    return *tree_;
  }

  Status ApplyNext() {
    TRY_ASSIGN(tree::LayerIndex index, contents_->Layer(layers_[tree_layers_]));
    TRY_ASSIGN(tree_, tree::ApplyLayer(contents_->trees(), *tree_, index));
    ++tree_layers_;
    return Ok();
  }

  // A heredoc is a step of its own that needs nobody.
  Result<std::optional<Digest>> InputOf(const graph::Ref& ref) {
    const graph::Step& source = StepAt(ref.step);
    const auto* files = std::get_if<graph::FileOp>(&source.op);
    if (files == nullptr || !source.inputs.empty()) return contents_->Input(ref);
    TRY_ASSIGN(FileResult result, ApplyFileOp(contents_->trees(), *files, tree::EmptyTree(), {}));
    return result.tree;
  }

  bool IsLink(graph::StepIndex step) const { return std::holds_alternative<graph::Merge>(StepAt(step).op); }

  // Of what each input of a file action but its base has; or why that is not known.
  using Inputs = std::vector<std::optional<Digest>>;
  Result<std::string> ReadInputs(graph::StepIndex step, const graph::FileOp& op, Inputs& inputs) {
    for (size_t i = 0; i < StepAt(step).inputs.size(); ++i) {
      inputs.emplace_back();
      if (static_cast<int>(i) == op.base) continue;
      TRY_ASSIGN(inputs.back(), InputOf(StepAt(step).inputs[i]));
      if (!inputs.back()) return std::string("the files that it reads are not known yet");
    }
    return std::string();
  }

  Result<std::string> MatchFiles(graph::StepIndex step) {
    std::vector<graph::StepIndex> steps = waiting_;
    steps.push_back(step);
    std::vector<const graph::FileOp*> ops;
    std::vector<Inputs> inputs;
    for (graph::StepIndex index : steps) {
      const auto* files = std::get_if<graph::FileOp>(&StepAt(index).op);
      if (files == nullptr) return std::string("what comes before it is no file action");
      if (files->base < 0 && count_ > 0) return std::string("it stands for itself");
      ops.push_back(files);
      inputs.emplace_back();
      TRY_ASSIGN(std::string reason, ReadInputs(index, *files, inputs.back()));
      if (!reason.empty()) return reason;
    }
    return trust_ == Trust::kHistory ? Judge(ops, inputs) : CompareTrees(ops, inputs);
  }

  // COPY --link: its layer must be what the files are on nothing, whatever lies below. Where the image's builder
  // looked at what is below (no --link at that time, or a folder of WORKDIR in the same layer), the layer differs.
  Result<std::string> MatchLink(graph::StepIndex merge) {
    const std::vector<graph::Ref>& parts = StepAt(merge).inputs;
    const graph::StepIndex made_by = parts.back().step;
    const auto* files = std::get_if<graph::FileOp>(&StepAt(made_by).op);
    if (parts.size() != 2 || files == nullptr || files->base >= 0) return std::string("a merge is not matched");
    Inputs inputs;
    TRY_ASSIGN(std::string reason, ReadInputs(made_by, *files, inputs));
    if (!reason.empty()) return reason;
    TRY_ASSIGN(FileResult made, ApplyFileOp(contents_->trees(), *files, tree::EmptyTree(), inputs));
    if (!made.tree) return made.unknown;
    TRY_ASSIGN(tree::LayerIndex index, contents_->Layer(layers_[count_]));
    if (std::ranges::any_of(index,
                            [](const auto& entry) { return entry.whiteout || entry.opaque || entry.implicit; })) {
      return std::string("its layer in the image depends on those below");
    }
    TRY_ASSIGN(Digest of_image, tree::ApplyLayer(contents_->trees(), tree::EmptyTree(), index));
    return FirstDifference(contents_->trees(), of_image, *made.tree);
  }

  Result<std::string> Judge(const std::vector<const graph::FileOp*>& ops,
                            const std::vector<std::vector<std::optional<Digest>>>& inputs) {
    // What cannot be computed at all is found out before anything is pulled.
    for (size_t i = 0; i < ops.size(); ++i) {
      TRY_ASSIGN(FileResult result,
                 ApplyFileOp(contents_->trees(), WithOwner(*ops[i], 0, 0), tree::EmptyTree(), inputs[i]));
      if (!result.tree) return result.unknown;
    }
    auto layer = contents_->Layer(layers_[count_]);
    if (!layer && layer.error().code == Code::kNotFound) return CompareTrees(ops, inputs);
    if (!layer) return Error(std::move(layer).error());
    TRY_ASSIGN(Evidence evidence, JudgeLayer(contents_->trees(), *layer, ops, inputs));
    if (evidence.kind == Evidence::Kind::kUnknown) return CompareTrees(ops, inputs);
    return evidence.why;
  }

  Result<std::string> CompareTrees(const std::vector<const graph::FileOp*>& ops,
                                   const std::vector<std::vector<std::optional<Digest>>>& inputs) {
    TRY_ASSIGN(Digest made, TreeBelow());
    for (size_t i = 0; i < ops.size(); ++i) {
      TRY_ASSIGN(FileResult result, ApplyFileOp(contents_->trees(), *ops[i], made, inputs[i]));
      if (!result.tree) return result.unknown;
      made = *result.tree;
    }
    TRY(ApplyNext());
    return FirstDifference(contents_->trees(), *tree_, made);
  }

  const std::vector<DiffId> layers_;
  const oci::Platform platform_;
  std::vector<oci::History> recorded_;
  const Planned& planned_;
  const Trust trust_;
  Contents* const contents_;

  size_t next_ = 0;                        // of recorded_
  size_t count_ = 0;                       // layers that are answered, the base's included
  std::vector<graph::StepIndex> waiting_;  // WORKDIRs whose folder the next layer has
  std::vector<HistoryEntry> our_state_, their_state_;
  std::string their_shell_ = std::string(kDefaultShell);
  std::optional<Digest> tree_;
  size_t tree_layers_ = 0;
};

}  // namespace

std::vector<Planned> PlannedOf(const dockerfile::Lowered& lowered, const graph::Graph& graph) {
  auto layers = [](const std::optional<oci::ImageConfig>& base) {
    return base ? base->diff_ids() : std::vector<DiffId>();
  };
  std::vector<Planned> planned = {{&graph, lowered.history, lowered.base_history, layers(lowered.base_config)}};
  for (const dockerfile::StageHistory& stage : lowered.other_stages) {
    planned.push_back({&graph, stage.history, stage.base_history, layers(stage.base_config)});
  }
  return planned;
}

Result<Outcome> MatchImage(const oci::ImageConfig& image, const Planned& planned, Trust trust, const IsWanted& wanted,
                           Contents& contents) {
  TRY_ASSIGN(Outcome outcome, Matcher(image, planned, trust, nullptr).Run({}));
  outcome.unlike = outcome.answers.empty();
  while (!outcome.answers.empty() && !wanted(outcome.answers.back().step)) outcome.answers.pop_back();
  if (outcome.answers.empty()) return outcome;
  std::string stopped = std::move(outcome.stopped);
  TRY_ASSIGN(outcome, Matcher(image, planned, trust, &contents).Run(outcome.answers.back().step));
  if (outcome.stopped.empty()) outcome.stopped = std::move(stopped);
  return outcome;
}

}  // namespace varve::previous
