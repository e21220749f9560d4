#include <algorithm>

#include "base/strings.h"
#include "doctor/report.h"

namespace varve::doctor {
namespace {

std::string Plural(int count, std::string_view word) {
  return fmt::format("{} {}{}", count, word, count == 1 ? "" : "s");
}

// Characters of UTF-8 text.
size_t WidthOf(std::string_view text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

// Words in lines of at most `width` columns, all but the first line indented.
std::string Wrapped(std::string_view text, size_t width, std::string_view indent) {
  std::string out;
  size_t column = indent.size();
  for (const std::string& word : Split(text, ' ')) {
    size_t wide = WidthOf(word);
    if (column > indent.size() && column + 1 + wide > width) {
      out += "\n" + std::string(indent);
      column = indent.size();
    } else if (column > indent.size()) {
      out += ' ';
      ++column;
    }
    out += word;
    column += wide;
  }
  return out;
}

class Writer {
 public:
  Writer(const Project& project, const TextStyle& style) : project_(project), style_(style) {}

  std::string Run(const std::vector<Finding>& findings) {
    std::string out, file;
    for (const Finding& finding : findings) {
      if (finding.file != file) {
        file = finding.file;
        out += (out.empty() ? "" : "\n") + Paint(kBold, file) + "\n";
      }
      out += "\n" + One(finding);
    }
    return out + (out.empty() ? "" : "\n") + Summary(findings);
  }

 private:
  static constexpr std::string_view kBold = "\x1b[1m", kDim = "\x1b[2m", kRed = "\x1b[31m", kYellow = "\x1b[33m",
                                    kBlue = "\x1b[34m";
  static constexpr std::string_view kMargin = "      ";

  std::string Paint(std::string_view color, std::string_view text) const {
    return style_.color ? fmt::format("{}{}\x1b[0m", color, text) : std::string(text);
  }

  std::string One(const Finding& finding) const {
    std::string_view color = finding.severity == Severity::kError     ? kRed
                             : finding.severity == Severity::kWarning ? kYellow
                                                                      : kBlue;
    std::string out =
        fmt::format("  {} {}\n", Paint(color, SeverityName(finding.severity)), Paint(kBold, finding.rule));
    out += Excerpt(finding);
    out += fmt::format("{}{}\n", kMargin, Wrapped(finding.reason, style_.width, kMargin));
    out += Labelled("Instead: ", finding.remedy);
    for (const std::string& line : finding.text) out += fmt::format("{}    {}\n", kMargin, line);
    std::string cost = finding.cost.ToString();
    if (!cost.empty()) {
      out += Labelled("Cost:    ", cost + " each time" + (finding.cost.measured ? ", as measured here" : ""));
    }
    if (finding.fix) {
      out +=
          Labelled("Fix:     ", finding.fix->changes_image ? "varve doctor --fix --image-may-change; the image changes"
                                                           : "varve doctor --fix; the image stays the same");
    }
    return out;
  }

  std::string Labelled(std::string_view label, std::string_view text) const {
    std::string indent(kMargin.size() + label.size(), ' ');
    return fmt::format("{}{}{}\n", kMargin, Paint(kDim, label), Wrapped(text, style_.width, indent));
  }

  // The lines that it is about: the first three, and how many more.
  std::string Excerpt(const Finding& finding) const {
    constexpr int kShown = 3;
    const SourceFile* file = project_.Find(finding.file);
    if (file == nullptr || finding.span.start_line == 0) return "";
    std::string out;
    int last = std::max(finding.span.start_line, finding.span.end_line);
    for (int line = finding.span.start_line; line <= last; ++line) {
      if (line > static_cast<int>(file->lines.size())) break;
      if (line - finding.span.start_line == kShown) {
        out += fmt::format("{}\n", Paint(kDim, fmt::format("      | … {} more", Plural(last - line + 1, "line"))));
        break;
      }
      std::string text = file->lines[static_cast<size_t>(line - 1)];
      size_t room = style_.width - 8;
      if (text.size() > room) {
        // Not inside of a character.
        while (room > 0 && (text[room] & 0xC0) == 0x80) --room;
        text = text.substr(0, room) + "…";
      }
      out += fmt::format("{} {}\n", Paint(kDim, fmt::format("{:5} |", line)), text);
    }
    if (!finding.also.empty()) {
      std::string lines;
      for (const dockerfile::Span& span : finding.also)
        lines += (lines.empty() ? "" : ", ") + std::to_string(span.start_line);
      out += Paint(kDim, fmt::format("      | also line{} {}", finding.also.size() == 1 ? "" : "s", lines)) + "\n";
    }
    return out;
  }

  std::string Summary(const std::vector<Finding>& findings) const {
    int dockerfiles = 0, others = 0;
    for (const auto& file : project_.files) {
      if (file->kind == FileKind::kDockerfile) ++dockerfiles;
      else if (file->kind != FileKind::kDockerignore) ++others;
    }
    std::string looked = fmt::format("{} and {} that build{} them", Plural(dockerfiles, "Dockerfile"),
                                     Plural(others, "file"), others == 1 ? "s" : "");
    if (others == 0) looked = Plural(dockerfiles, "Dockerfile");
    if (findings.empty()) return fmt::format("Looked at {}: nothing keeps the cache from working.\n", looked);
    Tally tally = Count(findings);
    std::string found;
    auto add = [&](int count, std::string_view word) {
      if (count > 0) found += (found.empty() ? "" : ", ") + Plural(count, word);
    };
    add(tally.errors, "error");
    add(tally.warnings, "warning");
    add(tally.notes, "note");
    std::string out = fmt::format("Looked at {}: {}.\n", looked, found);
    if (tally.fixable > 0) {
      out += fmt::format("{} can be fixed by rote: varve doctor --fix\n", tally.fixable);
    }
    if (tally.changing > 0) {
      out += fmt::format("{} {}can be fixed so that the image changes: varve doctor --fix --image-may-change\n",
                         tally.changing, tally.fixable > 0 ? "more " : "");
    }
    return out;
  }

  const Project& project_;
  const TextStyle& style_;
};

}  // namespace

Tally Count(const std::vector<Finding>& findings) {
  Tally tally;
  for (const Finding& finding : findings) {
    if (finding.severity == Severity::kError) ++tally.errors;
    if (finding.severity == Severity::kWarning) ++tally.warnings;
    if (finding.severity == Severity::kNote) ++tally.notes;
    if (finding.fix) ++(finding.fix->changes_image ? tally.changing : tally.fixable);
  }
  return tally;
}

std::string ToText(const Project& project, const std::vector<Finding>& findings, const TextStyle& style) {
  return Writer(project, style).Run(findings);
}

std::string RulesText() {
  size_t width = 0;
  for (const RuleText& rule : Rules()) width = std::max(width, rule.name.size());
  std::string out;
  for (const RuleText& rule : Rules()) {
    out += fmt::format("{:<{}}  {:<7}  {}\n", rule.name, width, SeverityName(rule.severity), rule.description);
  }
  return out;
}

}  // namespace varve::doctor
