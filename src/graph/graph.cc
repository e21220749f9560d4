#include "graph/graph.h"

#include <algorithm>

#include "graph/reads.h"

namespace varve::graph {

StepIndex Graph::Add(Step step) {
  for (const Ref& input : step.inputs) CHECK(input.step < steps.size());
  steps.push_back(std::move(step));
  return static_cast<StepIndex>(steps.size() - 1);
}

bool IsSource(const Op& op) {
  return std::holds_alternative<ImageSource>(op) || std::holds_alternative<OciLayoutSource>(op) || IsDirectory(op);
}

bool IsDirectory(const Op& op) {
  return std::holds_alternative<LocalSource>(op) || std::holds_alternative<GitSource>(op) ||
         std::holds_alternative<HttpSource>(op) || std::holds_alternative<BlobSource>(op);
}

std::string_view OpName(const Op& op) {
  static constexpr std::string_view kNames[] = {"image", "local", "git",  "http",  "oci-layout",
                                                "blob",  "exec",  "file", "merge", "diff"};
  static_assert(std::size(kNames) == std::variant_size_v<Op>);
  return kNames[op.index()];
}

const Owner* OwnerOf(const FileAction& action) {
  if (const auto* copy = std::get_if<Copy>(&action)) return &copy->owner;
  if (const auto* file = std::get_if<MakeFile>(&action)) return &file->owner;
  if (const auto* directory = std::get_if<MakeDirectory>(&action)) return &directory->owner;
  if (const auto* link = std::get_if<MakeSymlink>(&action)) return &link->owner;
  return nullptr;
}

namespace {

Status ValidateInput(const Step& step, int input, std::string_view what) {
  if (input >= static_cast<int>(step.inputs.size())) {
    return Invalid("{} of step \"{}\" names input {}, but the step has {}", what, step.name, input, step.inputs.size());
  }
  return Ok();
}

Status ValidateExec(const Step& step, const Exec& exec) {
  int roots = 0;
  std::vector<int> outputs;
  if (exec.args.empty()) return Invalid("step \"{}\" has no command", step.name);
  for (const Mount& mount : exec.mounts) {
    TRY(ValidateInput(step, mount.input, "a mount"));
    if (mount.target == "/") ++roots;
    if (mount.output >= 0) {
      if (std::ranges::find(outputs, mount.output) != outputs.end()) {
        return Invalid("step \"{}\" gives output {} twice", step.name, mount.output);
      }
      outputs.push_back(mount.output);
    }
    bool may_lack_target = mount.type == MountType::kSecret && !mount.env_name.empty();
    if (!mount.target.starts_with('/') && !may_lack_target) {
      return Invalid("mount target \"{}\" of step \"{}\" is not absolute", mount.target, step.name);
    }
  }
  if (roots != 1) return Invalid("step \"{}\" has {} mounts at /, not one", step.name, roots);
  return Ok();
}

Status ValidateFile(const Step& step, const FileOp& file) {
  TRY(ValidateInput(step, file.base, "the base"));
  for (const FileAction& action : file.actions) {
    if (const Owner* owner = OwnerOf(action)) TRY(ValidateInput(step, owner->names_of, "an owner"));
    if (const auto* copy = std::get_if<Copy>(&action)) {
      TRY(ValidateInput(step, copy->input, "a copy"));
      if (copy->input < 0) return Invalid("a copy of step \"{}\" has no input", step.name);
    }
  }
  return Ok();
}

}  // namespace

Status Validate(const Graph& graph) {
  for (StepIndex i = 0; i < graph.steps.size(); ++i) {
    const Step& step = graph.steps[i];
    for (const Ref& input : step.inputs) {
      if (input.step >= i) return Invalid("step \"{}\" has an input that comes after it", step.name);
    }
    if (const auto* exec = std::get_if<Exec>(&step.op)) TRY(ValidateExec(step, *exec));
    if (const auto* file = std::get_if<FileOp>(&step.op)) TRY(ValidateFile(step, *file));
    if (std::holds_alternative<Diff>(step.op) && step.inputs.size() != 2) {
      return Invalid("diff step \"{}\" needs two inputs", step.name);
    }
  }
  return Ok();
}

// --- reads.h -----------------------------------------------------------------------------------------

std::vector<InputUse> InputUses(const Step& step) {
  std::vector<InputUse> uses(step.inputs.size());
  for (size_t i = 0; i < uses.size(); ++i) uses[i].input = static_cast<int>(i);
  auto read = [&](int input, tree::Selector selector) {
    auto& selectors = uses[static_cast<size_t>(input)].selectors;
    if (std::ranges::find(selectors, selector) == selectors.end()) {
      selectors.push_back(std::move(selector));
    }
  };
  if (const auto* exec = std::get_if<Exec>(&step.op)) {
    for (const Mount& mount : exec->mounts) {
      if (mount.input < 0) continue;
      if (mount.target == "/" || mount.output >= 0) {
        uses[static_cast<size_t>(mount.input)].lineage = true;
      } else {
        read(mount.input, tree::Selector{.path = mount.source});
      }
    }
  } else if (const auto* file = std::get_if<FileOp>(&step.op)) {
    if (file->base >= 0) uses[static_cast<size_t>(file->base)].lineage = true;
    for (const FileAction& action : file->actions) {
      const auto* copy = std::get_if<Copy>(&action);
      if (copy != nullptr) read(copy->input, copy->from);
      for (size_t i = 0; copy != nullptr && i < copy->required.size(); ++i) {
        read(copy->input, tree::Selector{.path = RelPath(copy->required[i]).str()});
      }
      const Owner* owner = OwnerOf(action);
      if (owner == nullptr || owner->names_of < 0) continue;
      for (const char* names : {"etc/passwd", "etc/group"}) {
        read(owner->names_of, tree::Selector{.path = names, .wildcards = true, .allow_empty = true});
      }
    }
  } else {
    for (InputUse& use : uses) use.lineage = true;
  }
  for (InputUse& use : uses) {
    if (use.lineage) use.selectors.clear();
  }
  return uses;
}

std::vector<tree::Selector> Reach(const Graph& graph, StepIndex source) {
  std::vector<tree::Selector> reach;
  for (const Step& step : graph.steps) {
    if (std::ranges::none_of(step.inputs, [&](const Ref& ref) { return ref.step == source; })) {
      continue;
    }
    for (InputUse& use : InputUses(step)) {
      if (step.inputs[static_cast<size_t>(use.input)].step != source) continue;
      if (use.lineage) return {tree::Selector{}};
      for (tree::Selector& selector : use.selectors) reach.push_back(std::move(selector));
    }
  }
  return reach;
}

}  // namespace varve::graph
