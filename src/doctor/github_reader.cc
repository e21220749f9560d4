// Workflows and composite actions of GitHub as calls.
#include <algorithm>
#include <array>
#include <set>

#include "base/strings.h"
#include "doctor/shell_reader.h"
#include "doctor/yaml_text.h"

namespace varve::doctor {

using compose::Node;

namespace {

// The names X of `matrix.X` in a text.
void AddMatrixNames(std::string_view text, std::set<std::string>& out) {
  constexpr std::string_view kMatrix = "matrix.";
  for (size_t at = text.find(kMatrix); at != text.npos; at = text.find(kMatrix, at + 1)) {
    size_t begin = at + kMatrix.size(), end = begin;
    while (end < text.size() &&
           (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '_' || text[end] == '-')) {
      ++end;
    }
    out.emplace(text.substr(begin, end - begin));
  }
}

bool IsFloating(std::string_view uses) {
  size_t at = uses.find('@');
  if (at == uses.npos) return false;
  std::string_view version = uses.substr(at + 1);
  return version == "master" || version == "main" || version == "latest" || version == "develop";
}

// The version tag of an action: "docker/build-push-action@v6" uses "docker/build-push-action".
bool Uses(std::string_view uses, std::string_view action) {
  return uses == action || (uses.starts_with(action) && uses[action.size()] == '@');
}

class JobReader {
 public:
  JobReader(Project& project, const SourceFile& file, std::string job, const Node* body)
      : project_(project), file_(file), job_(std::move(job)) {
    if (body == nullptr) return;
    if (const Node* runs_on = body->Find("runs-on")) {
      self_hosted_ = runs_on->ToJson().Dump().find("self-hosted") != std::string::npos;
    }
    if (const Node* defaults = body->Find("defaults")) {
      if (const Node* run = defaults->Find("run")) folder_ = TextAt(*run, "working-directory");
    }
  }

  void Read(const Node& steps) {
    for (const Node& step : steps.items) LookAhead(step);
    int number = 0;
    for (const Node& step : steps.items) {
      ++number;
      std::string name = TextAt(step, "name");
      name = name.empty() ? fmt::format("step {} of job {}", number, job_) : "step \"" + name + "\"";
      Read(step, name);
    }
  }

 private:
  // What other steps of the job provide, wherever they stand.
  void LookAhead(const Node& step) {
    std::string uses = TextAt(step, "uses");
    const Node* with = step.Find("with");
    if (Uses(uses, "docker/setup-buildx-action")) {
      buildx_ = with == nullptr || TextAt(*with, "driver") != "docker";
    }
    if (Uses(uses, "actions/cache") || uses.starts_with("actions/cache/restore@")) folder_cache_ = true;
    if (TextAt(step, "run").find("buildx create") != std::string::npos) buildx_ = true;
  }

  BuildCall Defaults(const std::string& name) const {
    BuildCall call{.file = &file_, .name = name, .job = file_.path + ":" + job_};
    call.context = ResolvePath("", folder_).value_or("");
    call.fresh_machine = !self_hosted_;
    call.docker_driver = !buildx_;
    call.has_mount_cache = folder_cache_;
    return call;
  }

  void Read(const Node& step, const std::string& name) {
    std::string uses = TextAt(step, "uses");
    const Node* uses_node = step.Find("uses");
    if (IsFloating(uses)) {
      project_.mentions.push_back({Mention::Kind::kFloatingAction, &file_, LineOf(*uses_node), uses});
    }
    static const Node kNothing{.kind = Node::Kind::kMapping};
    const Node* with = step.Find("with");
    if (with == nullptr) with = &kNothing;
    bool varve = uses.find("varve") != uses.npos;
    if (Uses(uses, "docker/build-push-action") || varve) {
      ReadBuildAction(*with, name, LineOf(*uses_node), varve);
    } else if (Uses(uses, "docker/bake-action")) {
      ReadBakeAction(*with, name, LineOf(*uses_node));
    } else if (Uses(uses, "actions/cache") || uses.starts_with("actions/cache/")) {
      ReadFolderCache(*with, LineOf(*uses_node));
    }
    if (const Node* run = step.Find("run")) {
      BlockText block = TextOf(file_, *run);
      BuildCall defaults = Defaults(name);
      std::string folder = TextAt(step, "working-directory");
      if (!folder.empty()) defaults.context = ResolvePath("", folder).value_or(defaults.context);
      ReadCommands(project_, ReadScript(block.text, block.first_line), defaults);
    }
  }

  void ReadBuildAction(const Node& with, const std::string& name, int line, bool varve) {
    BuildCall call = Defaults(name);
    call.line = line;
    call.by_varve = varve;
    if (varve) call.docker_driver = false;
    std::string context = TextAt(with, "context"), file = TextAt(with, "file");
    // Without a context the action takes the repository as GitHub has it: the same files.
    if (context.empty() || context == "{{defaultContext}}") context = ".";
    if (context.starts_with("{{defaultContext}}:")) context = context.substr(19);
    auto folder = ResolvePath("", context);
    call.context_known = folder.has_value();
    call.context = folder.value_or(context);
    call.dockerfile =
        file.empty() ? ResolvePath(call.context, "Dockerfile").value_or("") : ResolvePath("", file).value_or(file);
    call.target = TextAt(with, "target");
    std::set<std::string> matrix;
    for (const char* input : {"context", "file", "target", "platforms", "tags", "build-args"}) {
      if (const Node* value = with.Find(input)) AddMatrixNames(TextOf(file_, *value).text, matrix);
    }
    call.matrix.assign(matrix.begin(), matrix.end());
    auto items = [&](const char* input, bool commas) {
      const Node* value = with.Find(input);
      return value == nullptr ? std::vector<Argument>() : ItemsOf(file_, *value, commas);
    };
    for (Argument& item : items("tags", true)) call.tags.push_back(std::move(item.value));
    for (Argument& item : items("platforms", true)) call.platforms.push_back(std::move(item.value));
    for (const Argument& item : items("cache-from", false)) call.from.push_back(ParseCacheEntry(item.value, item.line));
    for (const Argument& item : items("cache-to", false)) call.to.push_back(ParseCacheEntry(item.value, item.line));
    for (Argument& item : items("build-args", false)) {
      size_t equals = item.value.find('=');
      std::string value = equals == item.value.npos ? "" : item.value.substr(equals + 1);
      call.args.push_back({item.value.substr(0, equals), std::move(value), item.line});
    }
    SetSwitches(with, call);
    project_.calls.push_back(std::move(call));
  }

  void SetSwitches(const Node& with, BuildCall& call) const {
    const Node* no_cache = with.Find("no-cache");
    if (IsTrue(no_cache) || IsExpression(no_cache)) call.no_cache_line = LineOf(*no_cache);
    call.no_cache_always = IsTrue(no_cache);
    const Node* pull = with.Find("pull");
    call.pull = IsTrue(pull) || IsExpression(pull);
    const Node* push = with.Find("push");
    call.push = IsTrue(push) || IsExpression(push);
  }

  void ReadBakeAction(const Node& with, const std::string& name, int line) {
    BuildCall call = Defaults(name);
    call.line = line;
    call.starts = FileKind::kBake;
    std::string source = TextAt(with, "source"), workdir = TextAt(with, "workdir");
    if (source.empty()) source = workdir.empty() ? "." : workdir;
    call.context = ResolvePath("", source).value_or("");
    auto items = [&](const char* input, bool commas) {
      const Node* value = with.Find(input);
      return value == nullptr ? std::vector<Argument>() : ItemsOf(file_, *value, commas);
    };
    for (const Argument& item : items("files", true)) {
      if (auto path = ResolvePath(call.context, item.value)) call.start_files.push_back(*path);
    }
    // The metadata action's file adds to the others, and lies outside of the project.
    if (!call.start_files.empty() && project_.Find(call.start_files[0]) == nullptr) call.start_files.clear();
    for (Argument& item : items("targets", true)) call.start_names.push_back(std::move(item.value));
    for (const Argument& item : items("set", false)) {
      size_t equals = item.value.find('=');
      if (equals == item.value.npos) continue;
      std::string key = item.value.substr(0, equals), value = item.value.substr(equals + 1);
      if (key.find(".cache-from") != key.npos) call.from.push_back(ParseCacheEntry(value, item.line));
      if (key.find(".cache-to") != key.npos) call.to.push_back(ParseCacheEntry(value, item.line));
    }
    SetSwitches(with, call);
    project_.calls.push_back(std::move(call));
  }

  void ReadFolderCache(const Node& with, int line) {
    FolderCache cache{.file = &file_, .line = line, .job = file_.path + ":" + job_};
    if (const Node* path = with.Find("path")) {
      for (Argument& item : ItemsOf(file_, *path, false)) cache.paths.push_back(std::move(item.value));
    }
    cache.key = TextAt(with, "key");
    if (const Node* key = with.Find("key")) cache.line = LineOf(*key);
    if (const Node* keys = with.Find("restore-keys")) {
      for (Argument& item : ItemsOf(file_, *keys, false)) cache.restore_keys.push_back(std::move(item.value));
    }
    project_.folder_caches.push_back(std::move(cache));
  }

  Project& project_;
  const SourceFile& file_;
  std::string job_, folder_;
  bool self_hosted_ = false, buildx_ = false, folder_cache_ = false;
};

// Inputs of a dispatch that promise something about caches, and that nothing in the file asks for.
void FindUnusedInputs(Project& project, const SourceFile& file, const Node& document) {
  const Node* on = document.Find("on");
  if (on == nullptr || !on->is_mapping()) return;
  for (const char* event : {"workflow_dispatch", "workflow_call"}) {
    const Node* body = on->Find(event);
    const Node* inputs = body == nullptr ? nullptr : body->Find("inputs");
    if (inputs == nullptr) continue;
    for (const Node::Member& input : inputs->members) {
      static constexpr std::array<std::string_view, 7> kWords = {"force", "rebuild", "cache", "bust",
                                                                 "clear", "clean",   "fresh"};
      std::string name = ToLower(input.key);
      bool is_switch = std::ranges::any_of(kWords, [&](std::string_view word) { return name.find(word) != name.npos; });
      bool read = file.text.find("inputs." + input.key) != std::string::npos ||
                  file.text.find("inputs['" + input.key + "']") != std::string::npos ||
                  file.text.find("toJSON(inputs)") != std::string::npos ||
                  file.text.find("toJSON(github.event.inputs)") != std::string::npos;
      if (is_switch && !read) {
        project.mentions.push_back(
            {Mention::Kind::kUnusedSwitch, &file, static_cast<int>(input.place.line), input.key});
      }
    }
  }
}

}  // namespace

void ReadGithub(Project& project, const SourceFile& file) {
  auto document = ParseYamlFile(project, file);
  if (!document) return;
  FindUnusedInputs(project, file, *document);
  if (const Node* jobs = document->Find("jobs")) {
    for (const Node::Member& job : jobs->members) {
      const Node* steps = job.value.Find("steps");
      if (steps != nullptr) JobReader(project, file, job.key, &job.value).Read(*steps);
    }
  }
  // A composite action: its caller may have set up a builder, so that nothing is said of that.
  if (const Node* runs = document->Find("runs")) {
    size_t before = project.calls.size();
    if (const Node* steps = runs->Find("steps")) JobReader(project, file, "action", nullptr).Read(*steps);
    for (size_t i = before; i < project.calls.size(); ++i) project.calls[i].docker_driver = false;
  }
}

}  // namespace varve::doctor
