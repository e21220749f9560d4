// Rules about what builds are given: arguments that nobody reads, that change with every build,
// that are secrets.
#include <algorithm>
#include <array>
#include <set>

#include "base/strings.h"
#include "doctor/pass.h"

namespace varve::doctor {
namespace {

// Arguments that need no ARG.
bool IsPredefined(std::string_view name) {
  static constexpr std::array<std::string_view, 8> kNames = {"HTTP_PROXY",     "HTTPS_PROXY",  "FTP_PROXY",
                                                             "NO_PROXY",       "ALL_PROXY",    "SOURCE_DATE_EPOCH",
                                                             "TARGETPLATFORM", "BUILDPLATFORM"};
  return std::ranges::find(kNames, ToUpper(name)) != kNames.end() || name.starts_with("BUILDKIT_") ||
         name.starts_with("VARVE_") || name.find('$') != name.npos;
}

bool Declares(const dockerfile::Dockerfile& file, std::string_view name) {
  auto declares = [&](const dockerfile::Instruction& instruction) {
    const auto* arg = std::get_if<dockerfile::Arg>(&instruction.body);
    if (arg == nullptr) return false;
    return std::ranges::any_of(arg->definitions, [&](const auto& definition) { return definition.name == name; });
  };
  if (std::ranges::any_of(file.global_args, declares)) return true;
  return std::ranges::any_of(
      file.stages, [&](const dockerfile::Stage& stage) { return std::ranges::any_of(stage.instructions, declares); });
}

// A value that comes from where secrets are kept, or a name that says so with a value from outside.
bool IsSecret(const Argument& arg) {
  if (arg.value.find("secrets.") != arg.value.npos && arg.value.find("${{") != arg.value.npos) {
    return arg.value.find("secrets.GITHUB_REPOSITORY") == arg.value.npos;
  }
  static constexpr std::array<std::string_view, 9> kEnds = {"_TOKEN",       "_SECRET",  "_PASSWORD",
                                                            "_PASSWD",      "_API_KEY", "_PRIVATE_KEY",
                                                            "_CREDENTIALS", "_APIKEY",  "_SECRET_KEY"};
  std::string name = ToUpper(arg.name);
  bool named = name == "TOKEN" || name == "PASSWORD" || name == "SECRET" ||
               std::ranges::any_of(kEnds, [&](std::string_view end) { return name.ends_with(end); });
  return named && arg.value.find('$') != arg.value.npos && !name.starts_with("NEXT_PUBLIC_") &&
         !name.starts_with("VITE_");
}

std::string SecretText(const BuildCall& call, const Argument& arg) {
  std::string id = ToLower(arg.name);
  if (call.file->kind == FileKind::kGithub &&
      call.file->lines[static_cast<size_t>(arg.line - 1)].find("--build-arg") == std::string::npos) {
    return fmt::format("secrets: {}={}", id, arg.value);
  }
  if (call.file->kind == FileKind::kCompose) return "secrets: [" + id + "]";
  if (call.file->kind == FileKind::kBake) return fmt::format("secret = [\"id={},env={}\"]", id, arg.name);
  return fmt::format("--secret id={},env={}", id, arg.name);
}

}  // namespace

void CheckArguments(Pass& pass) {
  for (const BuildCall& call : pass.project.calls) {
    if (call.starts) continue;
    const SourceFile* file = pass.project.DockerfileOf(call);
    for (const Argument& arg : call.args) {
      if (IsSecret(arg)) {
        Finding& finding = pass.Add("SecretInBuildArg", *call.file, arg.line);
        finding.reason = fmt::format(
            "{} becomes part of the image's history and of every cache that this build writes: who "
            "can pull either can read it",
            arg.name);
        finding.remedy = "mount it in the one step that needs it, and take the argument out of the Dockerfile";
        finding.text = {SecretText(call, arg),
                        fmt::format("RUN --mount=type=secret,id={},env={} …", ToLower(arg.name), arg.name)};
      }
      if (file == nullptr || !call.context_known || IsPredefined(arg.name)) continue;
      if (Declares(*file->dockerfile, arg.name)) continue;
      Finding& finding = pass.Add("UnusedBuildArg", *call.file, arg.line);
      bool busts = IsVolatileValue(arg.value) || arg.name.find("BUST") != arg.name.npos ||
                   arg.name.find("COMMIT") != arg.name.npos;
      finding.reason = fmt::format("{} has no ARG {}: {}", file->path, arg.name,
                                   busts ? "passing it runs no step again" : "passing it has no effect");
      finding.remedy = "declare it where it is used, or leave it out";
      finding.text = {"ARG " + arg.name};
    }
  }
}

}  // namespace varve::doctor
