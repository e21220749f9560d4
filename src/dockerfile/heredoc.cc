#include "dockerfile/heredoc.h"

#include <algorithm>
#include <limits>

#include "base/strings.h"
#include "dockerfile/expand.h"
#include "dockerfile/parser.h"
#include "dockerfile/runes.h"

namespace varve::dockerfile {
namespace {

size_t CountQuotes(std::string_view text) {
  return std::count(text.begin(), text.end(), '\'') + std::count(text.begin(), text.end(), '"');
}

// The first line of a document, "..." after it when there are more.
std::string Summary(std::string_view document) {
  document = TrimUnicodeSpace(document);
  size_t end = document.find('\n');
  std::string summary(document.substr(0, end));
  if (end == std::string_view::npos) return summary;
  if (summary.ends_with('\r')) summary.pop_back();
  return summary + "...";
}

}  // namespace

std::string Heredoc::Body() const {
  if (!strip_tabs) return content;
  std::string out;
  bool line_start = true;
  for (char c : content) {
    if (line_start && c == '\t') continue;
    line_start = c == '\n';
    out += c;
  }
  return out;
}

Result<std::optional<Heredoc>> ParseHeredocHead(std::string_view word) {
  std::optional<Heredoc> none;
  Heredoc head;
  size_t digits = std::min(word.find_first_not_of("0123456789"), word.size());
  if (!word.substr(digits).starts_with("<<")) return none;
  if (digits > 0) {
    auto number = ParseInt(word.substr(0, digits));
    constexpr unsigned kMax = std::numeric_limits<unsigned>::max();
    head.descriptor = number && *number < kMax ? static_cast<unsigned>(*number) : kMax;
  }
  word.remove_prefix(digits + 2);
  head.strip_tabs = word.starts_with('-');
  if (head.strip_tabs) word.remove_prefix(1);
  word.remove_prefix(std::min(word.find_first_not_of("\t\n\f\r "), word.size()));
  if (word.empty() || word.find('<') != std::string_view::npos) return none;

  // With and without its quotes: where the two differ, something was quoted.
  ExpandOptions options{.skip_unset = true};
  TRY_ASSIGN(std::vector<std::string> plain, ProcessWords(word, NoVariables(), options));
  if (plain.size() != 1) return none;
  options.raw_quotes = true;
  TRY_ASSIGN(std::vector<std::string> raw, ProcessWords(word, NoVariables(), options));
  if (raw.size() != 1) return Invalid("the here-document word {} is ambiguous", Quote(word));
  head.expand = CountQuotes(plain[0]) == CountQuotes(raw[0]);
  head.name = std::move(plain[0]);
  return std::optional(std::move(head));
}

bool IsHeredocHead(std::string_view word) {
  auto head = ParseHeredocHead(word);
  return head && head->has_value();
}

Result<std::vector<Heredoc>> HeredocHeads(std::string_view line) {
  std::vector<Heredoc> heads;
  auto words = ProcessWords(line, NoVariables(), {.raw_quotes = true, .raw_escapes = true, .skip_unset = true});
  if (!words) return heads;
  for (const std::string& word : *words) {
    TRY_ASSIGN(std::optional<Heredoc> head, ParseHeredocHead(word));
    if (head) heads.push_back(std::move(*head));
  }
  return heads;
}

RunScript MakeRunScript(const Run& run, bool windows) {
  RunScript script{.args = run.command.args, .shell_form = run.command.shell_form, .file = {}, .suffix = {}};
  if (run.heredocs.empty() || script.args.empty()) return script;
  if (!IsHeredocHead(script.args[0])) {
    // The shell reads the documents itself.
    for (const Heredoc& document : run.heredocs) {
      script.args[0] += "\n" + document.content + document.name;
    }
    return script;
  }
  const Heredoc& document = run.heredocs[0];
  std::string body = document.Body();
  script.suffix = " (" + Summary(document.content) + ")";
  if (!windows && body.starts_with("#!")) {
    // As a command of the shell (`/bin/sh -c /dev/pipes/EOF`), not of the kernel: the reference
    // keeps the SHELL prefix here too.
    script.args[0] = "/dev/pipes/" + document.name;
    script.file = InlineFile{document.name, std::move(body), false};
  } else {
    script.args[0] = std::move(body);
  }
  return script;
}

}  // namespace varve::dockerfile
