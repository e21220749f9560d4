#include "dockerfile/stage_base.h"

#include <algorithm>

#include "base/thread_pool.h"
#include "dockerfile/image_config_edit.h"
#include "dockerfile/named_context.h"
#include "dockerfile/parser.h"
#include "dockerfile/stage_list.h"
#include "dockerfile/suggest.h"
#include "oci/reference.h"

namespace varve::dockerfile {

namespace {

constexpr size_t kResolveThreads = 8;

// A stage whose base has to be found, and what to ask for.
struct Wanted {
  StageState* stage = nullptr;
  ContextSource source;
  const NamedContext* context = nullptr;  // the base is replaced by this
  oci::Platform platform;
  size_t answer = 0;  // index of the question, for images
};

struct Question {
  ContextSource source;
  oci::Platform platform;
  const StageState* stage = nullptr;  // the first that asked
  std::optional<ResolvedImage> answer;
};

bool IsImage(const ContextSource& source) {
  return source.kind == ContextSource::Kind::kImage || source.kind == ContextSource::Kind::kLayout;
}

bool SameQuestion(const Question& a, const Wanted& b) {
  return a.source.kind == b.source.kind && a.platform == b.platform && a.source.reference == b.source.reference &&
         a.source.layout.path == b.source.layout.path && a.source.layout.reference == b.source.layout.reference &&
         a.source.layout.digest == b.source.layout.digest;
}

// What a stage without a parent stage starts from. `needed`: false when only the name is checked,
// as BuildKit does for stages that the target does not use.
Result<std::optional<Wanted>> AskFor(Lowering& lowering, StageState& stage, bool needed) {
  std::optional<Wanted> none;
  lowering.place = stage.origin.span;
  Wanted wanted{.stage = &stage,
                .source = {},
                .context = stage.replaced_by,
                .platform = stage.platform.value_or(lowering.options.target_platform)};
  if (wanted.context == nullptr && stage.base_name == "scratch") {
    // An empty file system has no platform of its own: what is built on it is for the target.
    wanted.platform = lowering.options.target_platform;
    wanted.source.kind = ContextSource::Kind::kScratch;
    return std::optional<Wanted>(std::move(wanted));
  }
  if (wanted.context == nullptr) {
    auto reference = oci::ParseReference(stage.base_name);
    if (!reference) {
      return std::move(reference).error().With(fmt::format("failed to parse stage name \"{}\"", stage.base_name));
    }
    if (!needed) return none;
    wanted.source.kind = ContextSource::Kind::kImage;
    wanted.source.reference = reference->WithDefaultTag().String();
    wanted.context = FindNamedContext(lowering.options.named_contexts, wanted.source.reference, wanted.platform);
  }
  if (!needed) return none;
  if (wanted.context != nullptr) {
    TRY_ASSIGN(wanted.source, ReadNamedContext(*wanted.context));
  }
  return std::optional<Wanted>(std::move(wanted));
}

Status Answer(Lowering& lowering, std::vector<Question>& questions) {
  std::vector<std::optional<Error>> errors(questions.size());
  TRY(ParallelFor(questions.size(), kResolveThreads, [&](size_t i) -> Status {
    Question& question = questions[i];
    auto answer =
        question.source.kind == ContextSource::Kind::kLayout
            ? lowering.resolver.ResolveLayout(question.source.layout, question.platform)
            : lowering.resolver.Resolve(question.source.reference, question.platform, lowering.options.resolve_mode);
    if (answer) {
      question.answer = std::move(*answer);
    } else {
      errors[i] = std::move(answer).error();
    }
    return Ok();
  }));
  // The first in the file, whichever came back first.
  for (size_t i = 0; i < questions.size(); ++i) {
    if (!errors[i]) continue;
    const StageState& stage = *questions[i].stage;
    lowering.place = stage.origin.span;
    Error error = std::move(*errors[i]);
    // A stage's name with a typo becomes the name of an image. A registry that does not say which images there are
    // (Docker Hub asks for a login) or is not to be reached knows no better.
    std::vector<std::string_view> names;
    for (const auto& [name, state] : lowering.by_name) names.push_back(name);
    if (error.code != Code::kCancelled) error.message += DidYouMean(stage.base_name, names, true);
    return error;
  }
  return Ok();
}

void StartFromImage(Lowering& lowering, const Wanted& wanted, const ResolvedImage& image) {
  StageState& stage = *wanted.stage;
  const oci::Platform& platform = wanted.platform;
  stage.platform = platform;
  stage.config = InheritConfig(image.config);
  stage.base_config = image.config;
  for (const oci::History& entry : image.config.history()) {
    stage.history.push_back({entry, {}});
  }
  stage.base_history = stage.history.size();
  if (wanted.source.kind == ContextSource::Kind::kImage) {
    UsedImage used{wanted.source.reference, image.manifest_digest, platform};
    if (std::ranges::find(lowering.images, used) == lowering.images.end()) {
      lowering.images.push_back(std::move(used));
    }
  }
  bool has_layers =
      !image.config.diff_ids().empty() ||
      std::ranges::any_of(stage.history, [](const HistoryEntry& entry) { return !entry.history.empty_layer; });
  if (!has_layers) return;
  graph::Step step;
  step.platform = platform;
  step.location = {lowering.options.file_name, static_cast<uint32_t>(stage.origin.span.start_line),
                   static_cast<uint32_t>(stage.origin.span.end_line)};
  if (wanted.source.kind == ContextSource::Kind::kLayout) {
    graph::OciLayoutSource layout = wanted.source.layout;
    layout.digest = image.manifest_digest;
    step.op = std::move(layout);
  } else {
    step.op = graph::ImageSource{image.pinned_reference, lowering.options.resolve_mode};
  }
  if (wanted.context != nullptr) {
    step.name = wanted.source.step_name;
  } else {
    step.name = "FROM " + image.pinned_reference;
    bool differs = platform.os != image.platform.os || platform.architecture != image.platform.architecture;
    if (differs) {
      Stage place;
      place.origin = stage.origin;
      lowering.linter.InvalidBaseImagePlatform(place, stage.base_name, oci::Normalise(platform).ToString(),
                                               oci::Normalise(image.platform).ToString());
    }
  }
  step.text = step.name;
  stage.pending_base = std::move(step);
}

Status StartFromInput(Lowering& lowering, const Wanted& wanted) {
  StageState& stage = *wanted.stage;
  auto it = lowering.options.inputs.find(wanted.source.input);
  if (it == lowering.options.inputs.end()) {
    lowering.place = stage.origin.span;
    Error error = Invalid("context {} is the result of \"{}\", which is not being built", wanted.context->name,
                          wanted.source.input);
    error.hint = "only bake and compose files can name targets as contexts";
    return error;
  }
  const LoweredInput& input = it->second;
  std::map<graph::StepIndex, graph::StepIndex> mapping;
  if (input.root) stage.root = lowering.steps.Import(*input.graph, *input.root, &mapping);
  stage.platform = wanted.platform;
  if (!input.config) {
    stage.config = oci::ImageConfig::Scratch(wanted.platform);
    return Ok();
  }
  stage.config = InheritConfig(*input.config);
  stage.base_config = input.config;
  if (input.history.empty()) {
    for (const oci::History& entry : input.config->history()) stage.history.push_back({entry, {}});
  } else {
    stage.history = input.history;
    for (HistoryEntry& entry : stage.history) {
      if (!entry.step) continue;
      auto mapped = mapping.find(*entry.step);
      entry.step = mapped == mapping.end() ? std::nullopt : std::optional(mapped->second);
    }
  }
  stage.base_history = stage.history.size();
  return Ok();
}

Status StartFromFiles(Lowering& lowering, const Wanted& wanted) {
  StageState& stage = *wanted.stage;
  stage.platform = wanted.platform;
  stage.config = oci::ImageConfig::Scratch(wanted.platform);
  graph::Step step;
  step.op = wanted.source.files;
  step.name = wanted.source.step_name;
  step.text = step.name;
  if (auto* local = std::get_if<graph::LocalSource>(&step.op)) {
    local->ignore_file = ".dockerignore";
    if (lowering.options.ignore_patterns) {
      TRY_ASSIGN(local->exclude, lowering.options.ignore_patterns(local->name));
    }
  }
  stage.pending_base = std::move(step);
  return Ok();
}

Status Start(Lowering& lowering, const Wanted& wanted, std::vector<Question>& questions) {
  StageState& stage = *wanted.stage;
  lowering.place = stage.origin.span;
  if (wanted.context != nullptr) stage.base_is_numbered = false;
  switch (wanted.source.kind) {
    case ContextSource::Kind::kScratch:
      stage.platform = wanted.platform;
      stage.config = oci::ImageConfig::Scratch(wanted.platform);
      break;
    case ContextSource::Kind::kImage:
    case ContextSource::Kind::kLayout: {
      const ResolvedImage& image = *questions[wanted.answer].answer;
      if (!image.instead) {
        StartFromImage(lowering, wanted, image);
        break;
      }
      Wanted files = wanted;
      files.source.files = *image.instead;
      if (files.source.step_name.empty()) files.source.step_name = "FROM " + wanted.source.reference;
      TRY(StartFromFiles(lowering, files));
      break;
    }
    case ContextSource::Kind::kInput:
      TRY(StartFromInput(lowering, wanted));
      break;
    case ContextSource::Kind::kFiles:
      TRY(StartFromFiles(lowering, wanted));
      break;
  }
  stage.resolved = true;
  // A stage that a context replaces has no instructions of its own, and what only COPY --from or a
  // mount names never had any.
  if (stage.parsed == nullptr || stage.replaced_by != nullptr) stage.done = true;
  return Ok();
}

Status ResolveNeeded(Lowering& lowering, const std::set<StageState*>& needed) {
  std::vector<Wanted> all;
  std::vector<Question> questions;
  for (const auto& stage : lowering.stages) {
    if (stage->base != nullptr || stage->resolved) continue;
    bool is_needed = lowering.options.all_stages || needed.contains(stage.get());
    TRY_ASSIGN(auto wanted, AskFor(lowering, *stage, is_needed));
    if (!wanted || !is_needed) continue;
    if (IsImage(wanted->source)) {
      auto same = std::ranges::find_if(questions, [&](const Question& q) { return SameQuestion(q, *wanted); });
      wanted->answer = static_cast<size_t>(same - questions.begin());
      if (same == questions.end()) {
        questions.push_back({wanted->source, wanted->platform, stage.get(), {}});
      }
    }
    all.push_back(std::move(*wanted));
  }
  TRY(Answer(lowering, questions));
  for (const Wanted& wanted : all) TRY(Start(lowering, wanted, questions));
  return Ok();
}

// Puts the triggers that `stage` inherits in front of its commands. True when they need stages.
Result<bool> AddTriggers(Lowering& lowering, StageState& stage) {
  std::vector<std::string> triggers;
  if (stage.base != nullptr) {
    for (const Command& command : stage.base->commands) {
      if (const auto* on_build = std::get_if<OnBuild>(&command.instruction.body)) {
        triggers.push_back(on_build->trigger);
      }
    }
  } else {
    triggers = stage.config.on_build();
    stage.config.EraseConfig("OnBuild");
  }
  stage.has_triggers = true;
  std::vector<Command> commands;
  bool needs_more = false;
  for (const std::string& trigger : triggers) {
    lowering.place = stage.origin.span;
    auto instruction = ParseTrigger(trigger, stage.origin.span);
    if (!instruction) return std::move(instruction.error().error);
    Command command{.instruction = std::move(*instruction), .sources = {}, .on_build = true};
    TRY(LinkCommand(lowering, stage, command));
    needs_more = needs_more || !command.sources.empty();
    commands.push_back(std::move(command));
  }
  stage.numbers.Expect(commands.size());
  stage.commands.insert(stage.commands.begin(), std::make_move_iterator(commands.begin()),
                        std::make_move_iterator(commands.end()));
  return needs_more;
}

}  // namespace

Result<std::set<StageState*>> ResolveBases(Lowering& lowering, StageState* target) {
  for (;;) {
    std::set<StageState*> needed = Reachable(target);
    if (lowering.options.all_stages) {
      for (const auto& stage : lowering.stages) needed.insert(stage.get());
    }
    TRY(ResolveNeeded(lowering, needed));
    bool again = false;
    size_t count = lowering.stages.size();  // triggers may add some: those have no triggers
    for (size_t i = 0; i < count; ++i) {
      StageState& stage = *lowering.stages[i];
      bool takes_triggers =
          needed.contains(&stage) && stage.parsed != nullptr && stage.replaced_by == nullptr && !stage.has_triggers;
      if (!takes_triggers) continue;
      TRY_ASSIGN(bool more, AddTriggers(lowering, stage));
      again = again || more;
    }
    if (!again) return needed;
  }
}

}  // namespace varve::dockerfile
