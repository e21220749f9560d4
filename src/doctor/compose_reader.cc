// Services of Compose files as calls. Read as written, not loaded: variables that are set only
// where the project is deployed must not keep doctor from looking, and places have to stay.
#include <algorithm>

#include "base/strings.h"
#include "doctor/project.h"
#include "doctor/shell_reader.h"
#include "doctor/yaml_text.h"

namespace varve::doctor {

using compose::Node;

namespace {

// A list, or a map, of NAME=VALUE.
std::vector<Argument> PairsOf(const Node& node) {
  std::vector<Argument> out;
  for (const Node& item : node.items) {
    std::string text = item.Text();
    size_t equals = text.find('=');
    out.push_back({text.substr(0, equals), equals == text.npos ? "" : text.substr(equals + 1), LineOf(item)});
  }
  for (const Node::Member& member : node.members) {
    out.push_back({member.key, member.value.Text(), static_cast<int>(member.place.line)});
  }
  return out;
}

std::vector<CacheEntry> CachesOf(const Node* node) {
  std::vector<CacheEntry> out;
  if (node == nullptr) return out;
  for (const Node& item : node->items) out.push_back(ParseCacheEntry(item.Text(), LineOf(item)));
  return out;
}

// The call of the same service in the file that this one overrides.
BuildCall* Overridden(Project& project, const SourceFile& file, const std::string& name) {
  if (file.path.find("override") == file.path.npos) return nullptr;
  for (BuildCall& call : project.calls) {
    bool same = call.file->kind == FileKind::kCompose && call.file->Folder() == file.Folder() && call.name == name;
    if (same && !call.starts) return &call;
  }
  return nullptr;
}

}  // namespace

void ReadCompose(Project& project, const SourceFile& file) {
  auto document = ParseYamlFile(project, file);
  if (!document) return;
  const Node* services = document->Find("services");
  if (services == nullptr) return;
  for (const Node::Member& service : services->members) {
    const Node* build = service.value.Find("build");
    if (build == nullptr || build->is_null()) continue;
    BuildCall call{.file = &file, .name = "service " + service.key};
    call.line = LineOf(*build);
    std::string context = build->is_scalar() ? build->Text() : TextAt(*build, "context");
    std::string dockerfile = TextAt(*build, "dockerfile");
    if (context.empty()) context = ".";
    auto folder = ResolvePath(file.Folder(), context);
    call.context_known = folder.has_value() && build->Find("dockerfile_inline") == nullptr;
    call.context = folder.value_or(context);
    call.dockerfile = ResolvePath(call.context, dockerfile.empty() ? "Dockerfile" : dockerfile).value_or(dockerfile);
    if (build->Find("dockerfile_inline") != nullptr) call.dockerfile = file.path + "#" + service.key;
    call.target = TextAt(*build, "target");
    std::string image = TextAt(service.value, "image");
    if (!image.empty()) call.tags.push_back(image);
    if (const Node* tags = build->Find("tags")) {
      for (const Node& tag : tags->items) call.tags.push_back(tag.Text());
    }
    if (const Node* platforms = build->Find("platforms")) {
      for (const Node& platform : platforms->items) call.platforms.push_back(platform.Text());
    }
    if (const Node* args = build->Find("args")) call.args = PairsOf(*args);
    call.from = CachesOf(build->Find("cache_from"));
    call.to = CachesOf(build->Find("cache_to"));
    if (const Node* no_cache = build->Find("no_cache")) {
      if (IsTrue(no_cache) || IsExpression(no_cache)) call.no_cache_line = LineOf(*no_cache);
      call.no_cache_always = IsTrue(no_cache);
    }
    call.pull = IsTrue(build->Find("pull")) || IsExpression(build->Find("pull"));
    if (BuildCall* base = Overridden(project, file, call.name)) {
      // Only what the override adds; lines of another file would be said of the wrong one.
      if (!call.from.empty()) base->from = call.from;
      if (!call.to.empty()) base->to = call.to;
      base->args.insert(base->args.end(), call.args.begin(), call.args.end());
      continue;
    }
    project.calls.push_back(std::move(call));
  }
}

}  // namespace varve::doctor
