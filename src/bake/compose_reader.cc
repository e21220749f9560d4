// Compose files as targets (reference compose-bake.md, B11).
#include <algorithm>
#include <filesystem>

#include "bake/readers.h"
#include "base/strings.h"
#include "compose/canonical.h"
#include "compose/project.h"

namespace varve::bake {

namespace {

namespace fs = std::filesystem;
using compose::Node;

// Bake looks at nothing else of a service: it may depend on one of a file that is not here, and its `platform` is that
// of the container.
void KeepWhatIsBuilt(Node& model) {
  Node* services = model.Find("services");
  if (services == nullptr) return;
  for (Node::Member& service : services->members) {
    std::erase_if(service.value.members, [](const Node::Member& member) {
      return member.key != "image" && member.key != "build" && member.key != "environment" && member.key != "env_file";
    });
  }
}

Result<compose::Project> LoadProject(const std::vector<File>& files, const ReadOptions& options) {
  compose::LoadOptions load{.working_directory = options.working_directory};
  // A project's name does not matter here, and a folder may have one that gives none.
  load.project_name = "bake";
  load.project_directory = options.working_directory;
  load.environment = options.environment;
  if (auto name = options.environment.find("COMPOSE_PROJECT_NAME");
      name != options.environment.end() && !name->second.empty()) {
    load.project_name = name->second;
  }
  for (const auto& [name, value] : options.variables) load.environment[name] = value;
  for (const File& file : files) {
    std::string path = file.name == "-" ? "-" : compose::ResolvePath(file.name, options.working_directory);
    load.files.push_back(path);
    load.texts[path] = file.text;
  }
  TRY_ASSIGN(auto loaded, compose::Load(load));
  KeepWhatIsBuilt(loaded.model);
  return compose::MakeProject(std::move(loaded), {"*"}, {});
}

// As docker's units.BytesSize writes it: four digits and a binary unit.
Result<std::string> BinarySize(const std::string& text) {
  TRY_ASSIGN(uint64_t bytes, ParseRamBytes(text));
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto amount = static_cast<double>(bytes);
  size_t unit = 0;
  for (; amount >= 1024 && unit + 1 < std::size(kUnits); ++unit) amount /= 1024;
  return fmt::format("{:.4g}{}", amount, kUnits[unit]);
}

class Converter {
 public:
  Converter(const compose::Project& project, const ReadOptions& options) : project_(project), options_(options) {}

  Result<Target> Run(const compose::Service& service) {
    const compose::Build& build = *service.build;
    Target target{.name = SanitizeName(service.name)};
    TRY(CheckName(target.name));
    const Node& written = *project_.loaded.model.Find("services")->Find(service.name);
    target.context = Relative(build.context);
    if (!build.dockerfile.empty()) target.dockerfile = build.dockerfile;
    target.dockerfile_inline = build.dockerfile_inline;
    for (const auto& [name, value] : build.additional_contexts) {
      bool other = value.starts_with("service:") || value.starts_with("target:");
      target.contexts[name] = other ? "target:" + SanitizeName(value.substr(value.find(':') + 1)) : Relative(value);
    }
    for (const auto& [name, value] : build.args) target.args[name] = value;
    TRY(AddServiceEnvironment(service, written, target));
    for (const auto& [name, value] : build.labels) target.labels[name] = value;
    auto list = [](const Strings& values, std::optional<Strings>& to) {
      if (!values.empty()) to = values;
    };
    list(build.tags, target.tags);
    if (!target.tags && !service.image.empty()) target.tags = Strings{service.image};
    list(build.platforms, target.platforms);
    list(build.ulimits, target.ulimits);
    TRY(AddEntries(EntryKind::kCache, build.cache_from, target.cache_from));
    TRY(AddEntries(EntryKind::kCache, build.cache_to, target.cache_to));
    TRY(AddEntries(EntryKind::kSsh, build.ssh, target.ssh));
    Strings attest;
    if (!build.sbom.empty()) attest.push_back(AttestText("sbom", build.sbom));
    if (!build.provenance.empty()) attest.push_back(AttestText("provenance", build.provenance));
    TRY(AddEntries(EntryKind::kAttest, attest, target.attest));
    AddSecrets(written, target);
    if (!build.target.empty()) target.target = build.target;
    if (!build.network.empty()) target.network = build.network;
    if (!build.shm_size.empty()) {
      TRY_ASSIGN(target.shm_size, BinarySize(build.shm_size));
    }
    if (build.no_cache) target.no_cache = true;
    if (build.pull) target.pull = true;
    for (const auto& [host, address] : build.extra_hosts) {
      auto& known = target.extra_hosts[host];
      known = known ? *known + "," + address : address;
    }
    if (const Node* extension = written.Find("build")->Find("x-bake")) TRY(AddExtension(*extension, target));
    return target;
  }

 private:
  // Compose made it absolute; a bake file's paths start where the user stands.
  std::string Relative(const std::string& path) const {
    if (!path.starts_with('/')) return path;
    std::error_code error;
    std::string relative = fs::path(path).lexically_proximate(options_.working_directory).string();
    return relative.empty() ? "." : relative;
  }

  // An argument without a value is looked up in the service's environment first.
  Status AddServiceEnvironment(const compose::Service& service, const Node& written, Target& target) const {
    TRY_ASSIGN(const auto environment, compose::EnvironmentOfService(project_, service));
    const Node* args = written.Find("build")->Find("args");
    if (args == nullptr) return Ok();
    for (const Node::Member& arg : args->members) {
      auto value = environment.find(arg.key);
      if (arg.value.is_null() && value != environment.end()) target.args[arg.key] = value->second;
    }
    return Ok();
  }

  static Status AddEntries(EntryKind kind, const Strings& texts, std::optional<Entries>& to) {
    if (texts.empty()) return Ok();
    if (!to) to.emplace();
    for (const std::string& text : texts) {
      TRY_ASSIGN(Entries entries, ParseEntries(kind, text));
      to->insert(to->end(), entries.begin(), entries.end());
    }
    to = WithoutDuplicates(kind, *to);
    return Ok();
  }

  // Here a secret's ID is its source, whatever target says.
  void AddSecrets(const Node& written, Target& target) const {
    const Node *secrets = written.Find("build")->Find("secrets"), *all = project_.loaded.model.Find("secrets");
    if (secrets == nullptr || all == nullptr) return;
    for (const Node& item : secrets->items) {
      const Node* source = item.Find("source");
      const Node* declared = source == nullptr ? nullptr : all->Find(source->Text());
      if (declared == nullptr) continue;
      Entry entry{.fields = {{"id", source->Text()}}};
      if (const Node* file = declared->Find("file")) entry.fields["src"] = Relative(file->Text());
      if (const Node* variable = declared->Find("environment")) entry.fields["env"] = variable->Text();
      if (!target.secret) target.secret.emplace();
      target.secret->push_back(std::move(entry));
    }
  }

  // A list, or one text with blanks between the items.
  static Result<Strings> ListOf(const Node& node) {
    Strings list;
    if (node.is_sequence()) {
      for (const Node& item : node.items) list.push_back(item.Text());
    } else if (node.is_scalar()) {
      for (const std::string& word : Split(node.Text(), ' ')) {
        if (!TrimSpace(word).empty()) list.emplace_back(TrimSpace(word));
      }
    } else {
      return compose::ErrorAt(node.place, "a list of texts is needed here, or one text");
    }
    return list;
  }

  static void AppendOnce(const Strings& more, std::optional<Strings>& to) {
    if (more.empty()) return;
    if (!to) to.emplace();
    for (const std::string& item : more) {
      if (std::ranges::find(*to, item) == to->end()) to->push_back(item);
    }
  }

  Status AddExtension(const Node& node, Target& target) const {
    if (node.is_null()) return Ok();
    if (!node.is_mapping()) return compose::ErrorAt(node.place, "x-bake must be a mapping");
    for (const Node::Member& member : node.members) {
      const std::string& key = member.key;
      const Node& value = member.value;
      if (key == "pull" || key == "no-cache") {
        auto flag = ParseBool(value.Text());
        if (!flag) return compose::ErrorAt(value.place, fmt::format("x-bake.{} must be true or false", key));
        (key == "pull" ? target.pull : target.no_cache) = *flag;
        continue;
      }
      if (key == "contexts") {
        for (const Node::Member& named : value.members) {
          std::string text = named.value.Text();
          bool other = text.starts_with("service:") || text.starts_with("target:");
          target.contexts.emplace(named.key, other ? "target:" + SanitizeName(text.substr(text.find(':') + 1)) : text);
        }
        continue;
      }
      TRY_ASSIGN(Strings list, ListOf(value));
      Status added = key == "tags"              ? (AppendOnce(list, target.tags), Ok())
                     : key == "platforms"       ? (AppendOnce(list, target.platforms), Ok())
                     : key == "no-cache-filter" ? (AppendOnce(list, target.no_cache_filter), Ok())
                     : key == "cache-from"      ? AddEntries(EntryKind::kCache, list, target.cache_from)
                     : key == "cache-to"        ? AddEntries(EntryKind::kCache, list, target.cache_to)
                     : key == "secret"          ? AddEntries(EntryKind::kSecret, list, target.secret)
                     : key == "ssh"             ? AddEntries(EntryKind::kSsh, list, target.ssh)
                     : key == "output"          ? AddEntries(EntryKind::kOutput, list, target.output)
                                                : Ok();  // others are kept for other tools
      if (!added) return compose::ErrorAt(value.place, added.error().message);
    }
    return Ok();
  }

  const compose::Project& project_;
  const ReadOptions& options_;
};

}  // namespace

Status CheckCompose(const File& file, const ReadOptions& options) {
  TRY_ASSIGN(auto project, LoadProject({file}, options));
  if (project.services.empty()) return Invalid("empty compose file");
  return Ok();
}

Status ReadCompose(const std::vector<File>& files, const ReadOptions& options, Definition& out) {
  TRY_ASSIGN(auto project, LoadProject(files, options));
  out.warnings = project.loaded.warnings;
  Group group{.name = "default"};
  Converter converter(project, options);
  for (const compose::Service& service : project.services) {
    if (!service.build) continue;
    auto target = converter.Run(service);
    if (!target) return Error(std::move(target).error()).With("service " + service.name);
    if (options.file_relative_paths && target->context) {
      // Compose's paths start from the project's folder; here that is the first file's.
      size_t slash = files[0].name.rfind('/');
      target->context_base = slash == files[0].name.npos ? "." : files[0].name.substr(0, slash);
      for (const auto& [name, path] : target->contexts) target->contexts_base[name] = *target->context_base;
    }
    group.targets.push_back(target->name);
    out.targets.push_back(std::move(*target));
  }
  out.groups.push_back(std::move(group));
  return Ok();
}

}  // namespace varve::bake
