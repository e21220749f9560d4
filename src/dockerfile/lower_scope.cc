#include "dockerfile/lower_scope.h"

#include <algorithm>

#include "base/strings.h"

namespace varve::dockerfile {

std::optional<std::string> Variables::Get(std::string_view name) const {
  for (const auto& [key, value] : entries_) {
    if (key == name) return value;
  }
  return {};
}

void Variables::Set(std::string_view name, std::string_view value) {
  for (auto& [key, old] : entries_) {
    if (key == name) {
      old = value;
      return;
    }
  }
  entries_.emplace_back(name, value);
}

void Variables::Erase(std::string_view name) {
  std::erase_if(entries_, [&](const auto& entry) { return entry.first == name; });
}

std::vector<std::string> Variables::Names() const {
  std::vector<std::string> out;
  for (const auto& [key, value] : entries_) out.push_back(key);
  return out;
}

std::vector<std::string> Variables::Entries() const {
  std::vector<std::string> out;
  for (const auto& [key, value] : entries_) out.push_back(key + "=" + value);
  return out;
}

GetVariable Variables::Getter() const {
  return [this](std::string_view name) { return Get(name); };
}

Variables AutomaticArgs(const oci::Platform& build, const oci::Platform& target, const std::string& stage,
                        const BuildArgs& overrides) {
  const std::pair<const char*, std::string> values[] = {{"BUILDPLATFORM", build.ToString()},
                                                        {"BUILDOS", build.os},
                                                        {"BUILDOSVERSION", build.os_version},
                                                        {"BUILDARCH", build.architecture},
                                                        {"BUILDVARIANT", build.variant},
                                                        {"TARGETPLATFORM", target.ToString()},
                                                        {"TARGETOS", target.os},
                                                        {"TARGETOSVERSION", target.os_version},
                                                        {"TARGETARCH", target.architecture},
                                                        {"TARGETVARIANT", target.variant},
                                                        {"TARGETSTAGE", stage.empty() ? "default" : stage}};
  Variables out;
  for (const auto& [name, value] : values) {
    auto given = overrides.find(name);
    out.Set(name, given == overrides.end() ? value : given->second);
  }
  return out;
}

Result<GlobalScope> GlobalArgs(const Dockerfile& file, Variables automatic, const BuildArgs& build_args, Span* place) {
  GlobalScope scope{std::move(automatic), {}};
  for (const Instruction& instruction : file.global_args) {
    *place = instruction.origin.span;
    for (const ArgDefinition& arg : std::get<Arg>(instruction.body).definitions) {
      ArgFacts facts{arg.name, arg.description, "", {}, instruction.origin.span};
      std::optional<std::string> value;
      if (auto given = build_args.find(arg.name); given != build_args.end()) {
        value = given->second;
      } else if (arg.value) {
        TRY_ASSIGN(Expansion expansion, ProcessWord(*arg.value, scope.args.Getter(), {.escape = file.escape}));
        value = std::move(expansion.text);
        facts.uses = std::move(expansion.matched);
        // `ARG A=${A}x` after `ARG A=$B` still rests on B.
        if (facts.uses.erase(arg.name) != 0) {
          auto old = scope.facts.find(arg.name);
          if (old != scope.facts.end()) {
            facts.uses.insert(old->second.uses.begin(), old->second.uses.end());
          }
        }
      }
      if (value) {
        scope.args.Set(arg.name, *value);
        facts.value = *value;
      }
      scope.facts[arg.name] = std::move(facts);
    }
  }
  *place = {};
  return scope;
}

std::vector<std::string> ProxyEnvironment(const BuildArgs& build_args) {
  constexpr std::string_view kNames[] = {"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"};
  std::vector<std::string> out;
  for (std::string_view name : kNames) {
    std::optional<std::string> value;
    for (const auto& [key, given] : build_args) {
      if (EqualsIgnoreCase(key, name)) value = given;  // the lower-case spelling sorts last and wins
    }
    if (!value || value->empty()) continue;
    out.push_back(fmt::format("{}={}", name, *value));
    out.push_back(fmt::format("{}={}", ToLower(name), *value));
  }
  return out;
}

bool IsBuilderArg(std::string_view name) {
  return name == "BUILDKIT_SBOM_SCAN_CONTEXT" || name == "BUILDKIT_SBOM_SCAN_STAGE";
}

}  // namespace varve::dockerfile
