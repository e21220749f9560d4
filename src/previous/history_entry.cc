#include "previous/history_entry.h"

#include <array>
#include <optional>
#include <utility>

#include "base/strings.h"

namespace varve::previous {

namespace {

constexpr std::string_view kSuffix = " # buildkit";
constexpr std::string_view kNoOperation = " #(nop) ";

constexpr std::array<std::pair<std::string_view, Action>, 7> kActions{{
    {"RUN", Action::kRun},
    {"COPY", Action::kCopy},
    {"ADD", Action::kAdd},
    {"WORKDIR", Action::kWorkdir},
    {"ENV", Action::kEnv},
    {"USER", Action::kUser},
    {"SHELL", Action::kShell},
}};

// `[/bin/ash -c]` and `["/bin/ash","-c"]` are one shell. A word with a blank in it is not told from
// two; no shell has one.
std::string ShellWords(std::string_view text) {
  std::string words;
  for (char c : text) {
    if (c == '[' || c == ']' || c == '"') continue;
    char word = c == ',' ? ' ' : c;
    if (word == ' ' && (words.empty() || words.back() == ' ')) continue;
    words += word;
  }
  return std::string(TrimSpace(words));
}

// "COPY a /b" into its parts.
void ReadInstruction(std::string_view text, HistoryEntry& entry) {
  size_t blank = text.find(' ');
  std::string_view name = text.substr(0, blank);
  std::string_view rest = blank == text.npos ? "" : TrimSpace(text.substr(blank));
  for (const auto& [known, action] : kActions) {
    if (name != known) continue;
    entry.action = action;
    entry.text = action == Action::kShell ? ShellWords(rest) : std::string(rest);
  }
}

// The instruction of "/bin/sh -c #(nop)  ENV A=b"; nothing where a command was run. A command may have
// the mark in it too, so what stands before it must be a shell that is in force.
std::optional<HistoryEntry> ReadNoOperation(std::string_view text, std::string_view shell) {
  size_t mark = text.find(kNoOperation);
  if (mark == text.npos) return {};
  HistoryEntry entry;
  ReadInstruction(TrimSpace(text.substr(mark + kNoOperation.size())), entry);
  std::string_view before = text.substr(0, mark);
  bool own = entry.action == Action::kShell && before == entry.text;
  if (before != kDefaultShell && before != shell && !own) return {};
  return entry;
}

}  // namespace

bool IsState(Action action) {
  return action == Action::kWorkdir || action == Action::kEnv || action == Action::kUser || action == Action::kShell;
}

HistoryEntry ReadHistory(const oci::History& history, std::string_view shell) {
  HistoryEntry entry;
  std::string_view text = TrimSpace(history.created_by);
  if (history.comment.starts_with("buildkit.") || text.ends_with(kSuffix)) {
    if (text.ends_with(kSuffix)) text.remove_suffix(kSuffix.size());
    ReadInstruction(text, entry);
    entry.names_sources = true;
  } else if (auto no_operation = ReadNoOperation(text, shell)) {
    entry = *no_operation;
  } else {
    entry.action = Action::kRun;
    entry.text = text;
  }
  entry.has_layer = !history.empty_layer;
  return entry;
}

}  // namespace varve::previous
