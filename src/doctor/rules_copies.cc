// CopiedButNotRead: which of the files that a COPY brings a RUN below it really needs, as its trace has it.
#include <algorithm>
#include <filesystem>

#include "base/strings.h"
#include "doctor/pass.h"

namespace varve::doctor {

using dockerfile::Instruction;

namespace {

// More than these are no list that somebody would copy first.
constexpr size_t kFew = 8;
constexpr size_t kShown = 4;

bool IsLittle(const CopyUse& use) { return use.looked_at.size() <= kFew && 2 * use.looked_at.size() < use.copied; }

std::string Shown(const std::vector<std::string>& paths) {
  std::vector<std::string> shown(paths.begin(), paths.begin() + static_cast<ptrdiff_t>(std::min(kShown, paths.size())));
  if (paths.size() > kShown) return Join(shown, ", ") + fmt::format(" and {} more", paths.size() - kShown);
  std::string last = shown.back();
  shown.pop_back();
  return shown.empty() ? last : Join(shown, ", ") + " and " + last;
}

// `COPY package.json package-lock.json ./`, where the files lie at the top of the context and go where the whole
// of it goes. Else nothing: how parts of a tree are copied best, its owner knows.
std::vector<std::string> CopyOf(const Pass& pass, const std::string& folder, const dockerfile::Copy& copy,
                                const std::vector<std::string>& paths) {
  const bool whole = copy.sources.paths.size() == 1 && (copy.sources.paths[0] == "." || copy.sources.paths[0] == "./");
  if (!whole || copy.parents || copy.sources.link || !copy.sources.chown.empty() || !copy.sources.chmod.empty())
    return {};
  std::string line = "COPY";
  for (const std::string& path : paths) {
    std::string name = path.substr(path.rfind('/') + 1);
    std::error_code unknown;
    if (!std::filesystem::is_regular_file(Under(Under(pass.project.directory, folder), name), unknown)) return {};
    line += " " + name;
  }
  std::string to = copy.sources.destination;
  if (to == ".") to = "./";
  return {line + " " + to + (to.ends_with('/') ? "" : "/")};
}

void Report(Pass& pass, const SourceFile& file, const std::string& folder, const Instruction& copies,
            const Instruction& runs, const CopyUse& use) {
  Finding& finding = pass.Add("CopiedButNotRead", file, copies.origin.span.start_line);
  finding.span = copies.origin.span;
  finding.also = {runs.origin.span};
  const int line = runs.origin.span.start_line;
  std::string looked_at = use.looked_at.empty() ? fmt::format("none of the {} files", use.copied)
                                                : fmt::format("{} of the {} files", use.looked_at.size(), use.copied);
  finding.reason = fmt::format("When line {} last ran here, it looked at {} that this copies", line, looked_at);
  if (!use.looked_at.empty()) finding.reason += ": " + Shown(use.looked_at);
  if (!use.listed.empty()) finding.reason += fmt::format("; and at what is in {}", Shown(use.listed));
  finding.reason += ". varve runs it again only for a change of that, a builder that does not trace for every change";
  if (use.looked_at.empty() && use.listed.empty()) {
    finding.remedy = fmt::format("put line {} above this one", line);
    return;
  }
  finding.remedy = fmt::format("copy what it needs first, and the rest below line {}", line);
  if (use.listed.empty()) finding.text = CopyOf(pass, folder, std::get<dockerfile::Copy>(copies.body), use.looked_at);
}

void CheckFile(Pass& pass, const SourceFile& file) {
  const std::string folder = ContextOf(pass.project, file).folder;
  for (const dockerfile::Stage& stage : file.dockerfile->stages) {
    const auto& instructions = stage.instructions;
    for (size_t i = 0; i < instructions.size(); ++i) {
      const auto* copy = std::get_if<dockerfile::Copy>(&instructions[i].body);
      if (copy == nullptr || !copy->from.empty()) continue;
      for (size_t n = i + 1; n < instructions.size(); ++n) {
        if (!std::holds_alternative<dockerfile::Run>(instructions[n].body)) continue;
        auto use = pass.options.use_of_copy(folder, instructions[i].origin.text, instructions[n].origin.text);
        if (use && IsLittle(*use)) Report(pass, file, folder, instructions[i], instructions[n], *use);
      }
    }
  }
}

}  // namespace

void CheckCopies(Pass& pass) {
  if (!pass.options.use_of_copy) return;
  for (const auto& file : pass.project.files) {
    if (file->dockerfile) CheckFile(pass, *file);
  }
}

}  // namespace varve::doctor
