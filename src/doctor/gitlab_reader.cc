// .gitlab-ci.yml as calls: the scripts of its jobs.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "doctor/shell_reader.h"
#include "doctor/yaml_text.h"

namespace varve::doctor {

using compose::Node;

namespace {

// Keys at the top that are no jobs.
const std::set<std::string_view> kNoJobs = {"stages", "variables", "workflow", "include", "default",
                                            "image",  "services",  "cache",    "pages",   "spec"};

// Lists in lists are what anchors and !reference make of scripts.
void AddScript(const SourceFile& file, const Node& node, std::vector<BlockText>& out) {
  if (node.is_scalar() && !node.is_null()) out.push_back(TextOf(file, node));
  for (const Node& item : node.items) AddScript(file, item, out);
}

void AddFolderCache(Project& project, const SourceFile& file, const std::string& job, const Node& cache) {
  if (cache.is_sequence()) {
    for (const Node& item : cache.items) AddFolderCache(project, file, job, item);
    return;
  }
  const Node* paths = cache.Find("paths");
  if (paths == nullptr) return;
  FolderCache out{.file = &file, .line = LineOf(cache), .job = job};
  for (const Node& path : paths->items) out.paths.push_back(path.Text());
  if (const Node* key = cache.Find("key")) {
    out.line = LineOf(*key);
    out.key = key->is_scalar() ? key->Text() : "files";
  }
  if (const Node* keys = cache.Find("fallback_keys")) {
    for (const Node& key : keys->items) out.restore_keys.push_back(key.Text());
  }
  project.folder_caches.push_back(std::move(out));
}

}  // namespace

void ReadGitlab(Project& project, const SourceFile& file) {
  auto document = ParseYamlFile(project, file);
  if (!document) return;
  const Node* common = document->Find("cache");
  for (const Node::Member& member : document->members) {
    if (kNoJobs.contains(member.key) || !member.value.is_mapping()) continue;
    std::vector<BlockText> blocks;
    for (const char* key : {"before_script", "script", "after_script"}) {
      if (const Node* script = member.value.Find(key)) AddScript(file, *script, blocks);
    }
    std::string job = file.path + ":" + member.key;
    const Node* cache = member.value.Find("cache");
    if (cache == nullptr) cache = common;
    if (cache != nullptr) AddFolderCache(project, file, job, *cache);
    BuildCall defaults{.file = &file, .name = "job " + member.key, .job = job};
    defaults.fresh_machine = true;
    defaults.has_mount_cache = cache != nullptr;
    bool buildx = false;
    for (const BlockText& block : blocks) buildx = buildx || block.text.find("buildx create") != block.text.npos;
    defaults.docker_driver = !buildx;
    // One script, padded so that lines stay what they are: what before_script sets, script knows. A
    // block from elsewhere (an anchor above) is read by itself.
    std::string text;
    int next = 1;
    std::vector<Script> scripts;
    for (const BlockText& block : blocks) {
      if (block.first_line < next) {
        scripts.push_back(ReadScript(block.text, block.first_line));
        continue;
      }
      text += std::string(static_cast<size_t>(block.first_line - next), '\n') + block.text + "\n";
      next = block.first_line + static_cast<int>(std::ranges::count(block.text, '\n')) + 1;
    }
    scripts.push_back(ReadScript(text, 1));
    for (const Script& script : scripts) ReadCommands(project, script, defaults);
  }
}

}  // namespace varve::doctor
