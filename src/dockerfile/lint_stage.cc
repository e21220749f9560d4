// The rules that look at one stage while it is walked.
#include <algorithm>
#include <array>
#include <string>

#include "base/strings.h"
#include "dockerfile/lint.h"
#include "dockerfile/runes.h"

namespace varve::dockerfile {
namespace {

// Whole words between underscores: api_key, DATABASE_PASSWORD, GITHUB_TOKEN, auth; not monkey.
constexpr std::array<std::string_view, 10> kSecretWords = {"apikey",   "auth",  "credential", "credentials", "key",
                                                           "password", "pword", "passwd",     "secret",      "token"};
constexpr std::array<std::string_view, 3> kPublicWords = {"public", "file", "version"};

template <size_t N>
bool HasWord(const std::vector<std::string>& words, const std::array<std::string_view, N>& wanted) {
  return std::find_first_of(words.begin(), words.end(), wanted.begin(), wanted.end()) != words.end();
}

bool IsSecretName(std::string_view name) {
  std::vector<std::string> words = Split(ToLower(name), '_');
  return HasWord(words, kSecretWords) && !HasWord(words, kPublicWords);
}

void CheckSecret(Linter& linter, const Origin& origin, std::string_view keyword, std::string_view name) {
  if (!IsSecretName(name)) return;
  linter.Report(Rule::kSecretsUsedInArgOrEnv, origin,
                fmt::format("Do not use ARG or ENV instructions for sensitive data ({} {})", keyword, Quote(name)));
}

void CheckLegacy(Linter& linter, const Origin& origin, const KeyValue& pair) {
  if (!pair.legacy) return;
  linter.Report(Rule::kLegacyKeyValueFormat, origin,
                fmt::format("\"{0} key=value\" should be used instead of legacy \"{0} key value\" "
                            "format",
                            origin.keyword));
}

void CheckJson(Linter& linter, const Origin& origin, const CommandLine& command, bool has_shell) {
  if (!command.shell_form || has_shell) return;
  linter.Report(Rule::kJsonArgsRecommended, origin,
                fmt::format("JSON arguments recommended for {} to prevent unintended behavior "
                            "related to OS signals",
                            origin.keyword));
}

bool IsAbsolute(std::string_view path, bool windows) {
  if (path.starts_with('/')) return true;
  if (!windows) return false;
  bool letter = !path.empty() && IsLetter(static_cast<unsigned char>(path[0]));
  bool drive = letter && path.size() >= 3 && path[1] == ':' && (path[2] == '\\' || path[2] == '/');
  return drive || path.starts_with('\\');
}

}  // namespace

StageChecks StageChecks::From(const StageChecks& base) {
  StageChecks checks(*base.linter_);
  checks.has_shell_ = base.has_shell_;
  checks.workdir_set_ = base.workdir_set_;
  return checks;
}

void StageChecks::OnEnv(const Origin& origin, const Env& env) {
  for (const KeyValue& pair : env.values) {
    CheckLegacy(*linter_, origin, pair);
    CheckSecret(*linter_, origin, "ENV", pair.key);
  }
}

void StageChecks::OnLabel(const Origin& origin, const Label& label) {
  for (const KeyValue& pair : label.values) CheckLegacy(*linter_, origin, pair);
}

void StageChecks::OnArg(const Origin& origin, const Arg& arg) {
  for (const ArgDefinition& definition : arg.definitions) {
    CheckSecret(*linter_, origin, "ARG", definition.name);
  }
}

void StageChecks::OnWorkdir(const Origin& origin, std::string_view path, bool windows) {
  // Only the first: making it absolute makes the others right.
  if (!workdir_set_ && !IsAbsolute(path, windows)) {
    linter_->Report(Rule::kWorkdirRelativePath, origin,
                    fmt::format("Relative workdir {} can have unexpected results if the base image "
                                "changes",
                                Quote(path)));
  }
  workdir_set_ = true;
}

// The place is that of the earlier one: it is what has no effect.
void StageChecks::Once(const Origin& origin, std::optional<Origin>& previous) {
  if (previous) {
    Origin place = origin;  // the options are those of the later one
    place.span = previous->span;
    linter_->Report(Rule::kMultipleInstructionsDisallowed, place,
                    fmt::format("Multiple {} instructions should not be used in the same stage "
                                "because only the last one will be used",
                                origin.keyword));
  }
  previous = origin;
}

void StageChecks::OnCmd(const Origin& origin, const Cmd& cmd) {
  Once(origin, cmd_);
  CheckJson(*linter_, origin, cmd.command, has_shell_);
}

void StageChecks::OnEntrypoint(const Origin& origin, const Entrypoint& entrypoint) {
  Once(origin, entrypoint_);
  CheckJson(*linter_, origin, entrypoint.command, has_shell_);
}

void StageChecks::OnHealthcheck(const Origin& origin) { Once(origin, healthcheck_); }

void StageChecks::OnExpose(const Origin& origin, std::string_view word, bool upper_case_protocol, bool has_host_part) {
  if (upper_case_protocol) {
    linter_->Report(Rule::kExposeProtoCasing, origin,
                    fmt::format("Defined protocol '{}' in EXPOSE instruction should be lowercase", word));
  }
  if (has_host_part) {
    linter_->Report(Rule::kExposeInvalidFormat, origin,
                    fmt::format("EXPOSE instruction should not define an IP address or host-port "
                                "mapping, found '{}'",
                                word));
  }
}

}  // namespace varve::dockerfile
