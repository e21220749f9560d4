// Targets of bake files as calls. The definition is evaluated as `varve bake` would; the files are
// then searched for the block and the attribute that said so.
#include <algorithm>
#include <map>

#include "bake/definition.h"
#include "bake/selection.h"
#include "base/strings.h"
#include "doctor/project.h"
#include "doctor/shell_reader.h"
#include "hcl/syntax.h"

namespace varve::doctor {
namespace {

// Where attributes of targets stand: the line of the value, item by item where it is a list.
class Places {
 public:
  void Read(const SourceFile& file) {
    if (file.path.ends_with(".json")) return;  // one line for all: the file's first
    auto body = hcl::ParseNative({file.path, file.text});
    if (!body) return;
    for (hcl::Block& block : body->blocks) {
      if (block.type == "target" && !block.labels.empty()) blocks_.push_back({&file, std::move(block)});
    }
  }

  struct Place {
    const SourceFile* file = nullptr;
    int line = 0;
  };
  Place Block(const std::string& target) const {
    const Known* known = Find(target);
    return known == nullptr ? Place() : Place{known->file, static_cast<int>(known->block.header.start.line)};
  }
  // The line on which `text` stands in the attribute's value; else that of the value.
  int Attribute(const std::string& target, std::string_view name, const std::string& text) const {
    const Known* known = Find(target);
    if (known == nullptr) return 1;
    const hcl::Attribute* attribute = known->block.body.Find(name);
    if (attribute == nullptr) return static_cast<int>(known->block.header.start.line);
    const hcl::Range& range = attribute->value->range;
    for (size_t line = range.start.line; line <= range.end.line && line <= known->file->lines.size(); ++line) {
      if (!text.empty() && known->file->lines[line - 1].find(text) != std::string::npos) return static_cast<int>(line);
    }
    return static_cast<int>(attribute->range.start.line);
  }
  bool IsMatrix(const std::string& target) const {
    const Known* known = Find(target);
    return known != nullptr && known->block.body.Find("matrix") != nullptr;
  }

 private:
  struct Known {
    const SourceFile* file;
    hcl::Block block;
  };
  // A target of a matrix is called by what its block computes: the block whose name is its
  // beginning.
  const Known* Find(const std::string& target) const {
    for (const Known& known : blocks_) {
      if (known.block.labels[0] == target) return &known;
    }
    for (const Known& known : blocks_) {
      if (known.block.body.Find("matrix") != nullptr && target.starts_with(known.block.labels[0])) return &known;
    }
    for (const Known& known : blocks_) {
      if (known.block.body.Find("matrix") != nullptr) return &known;
    }
    return nullptr;
  }

  std::vector<Known> blocks_;
};

void AddTarget(Project& project, const SourceFile& first, const bake::Target& target, const Places& places) {
  Places::Place place = places.Block(target.name);
  BuildCall call{.file = place.file != nullptr ? place.file : &first,
                 .line = std::max(place.line, 1),
                 .name = "target " + target.name};
  std::string folder = call.file->Folder();
  auto context = ResolvePath(folder, target.context.value_or("."));
  call.context_known = context && !target.dockerfile_inline;
  call.context = context.value_or(target.context.value_or(""));
  call.dockerfile = ResolvePath(call.context, target.dockerfile.value_or("Dockerfile")).value_or("");
  if (target.dockerfile_inline) call.dockerfile = call.file->path + "#" + target.name;
  call.target = target.target.value_or("");
  call.tags = target.tags.value_or(bake::Strings());
  call.platforms = target.platforms.value_or(bake::Strings());
  auto caches = [&](const std::optional<bake::Entries>& entries, std::string_view name) {
    std::vector<CacheEntry> out;
    for (const bake::Entry& entry : entries.value_or(bake::Entries())) {
      std::string text = bake::EntryText(bake::EntryKind::kCache, entry);
      CacheEntry cache = ParseCacheEntry(text, 0);
      std::string word = cache.type == "gha" ? "gha" : entry.Get("ref") + entry.Get("src") + entry.Get("dest");
      cache.line = places.Attribute(target.name, name, word);
      out.push_back(std::move(cache));
    }
    return out;
  };
  call.from = caches(target.cache_from, "cache-from");
  call.to = caches(target.cache_to, "cache-to");
  for (const auto& [name, value] : target.args) {
    call.args.push_back({name, value.value_or(""), places.Attribute(target.name, "args", name)});
  }
  if (target.no_cache.value_or(false)) {
    call.no_cache_line = places.Attribute(target.name, "no-cache", "");
    call.no_cache_always = true;
  }
  call.pull = target.pull.value_or(false);
  for (const bake::Entry& output : target.output.value_or(bake::Entries())) {
    if (output.Get("type") == "registry" || output.Get("push") == "true") call.push = true;
  }
  project.calls.push_back(std::move(call));
}

}  // namespace

void ReadBake(Project& project) {
  std::map<std::string, std::vector<const SourceFile*>> folders;
  for (const auto& file : project.files) {
    if (file->kind == FileKind::kBake) folders[file->Folder()].push_back(file.get());
  }
  for (const auto& [folder, files] : folders) {
    Places places;
    std::vector<bake::File> given;
    for (const SourceFile* file : files) {
      places.Read(*file);
      given.push_back({file->path, file->text});
    }
    bake::ReadOptions options{.working_directory = project.directory + "/" + folder};
    auto definition = bake::Read(given, options);
    if (!definition) {
      std::string message = definition.error().message;
      message = message.substr(0, message.find('\n'));
      project.mentions.push_back({Mention::Kind::kUnreadable, files[0], 0, message});
      continue;
    }
    std::vector<std::string> names;
    for (const bake::Target& target : definition->targets) names.push_back(target.name);
    if (names.empty()) continue;
    auto selection = bake::Select(*definition, names, {}, {});
    if (!selection) {
      project.mentions.push_back({Mention::Kind::kUnreadable, files[0], 0, selection.error().message});
      continue;
    }
    for (const bake::Target& target : definition->targets) {
      // What others only inherit from (`target "_common"`) builds nothing of its own.
      bool inherited = std::ranges::any_of(definition->targets, [&](const bake::Target& other) {
        return std::ranges::find(other.inherits, target.name) != other.inherits.end();
      });
      bool builds = target.context || target.dockerfile || target.dockerfile_inline;
      if (inherited && (target.name.starts_with('_') || !builds)) continue;
      auto it = selection->targets.find(target.name);
      if (it != selection->targets.end()) AddTarget(project, *files[0], it->second, places);
    }
  }
}

}  // namespace varve::doctor
