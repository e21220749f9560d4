#include "previous/history_entry.h"

#include <array>
#include <utility>

#include "base/strings.h"

namespace varve::previous {

namespace {

constexpr std::string_view kSuffix = " # buildkit";
constexpr std::string_view kNoOperation = "/bin/sh -c #(nop) ";

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

}  // namespace

bool IsState(Action action) {
  return action == Action::kWorkdir || action == Action::kEnv || action == Action::kUser || action == Action::kShell;
}

HistoryEntry ReadHistory(const oci::History& history) {
  HistoryEntry entry{.has_layer = !history.empty_layer};
  std::string_view text = TrimSpace(history.created_by);
  if (history.comment.starts_with("buildkit.") || text.ends_with(kSuffix)) {
    if (text.ends_with(kSuffix)) text.remove_suffix(kSuffix.size());
    ReadInstruction(text, entry);
    entry.names_sources = true;
  } else if (text.starts_with(kNoOperation)) {
    ReadInstruction(TrimSpace(text.substr(kNoOperation.size())), entry);
  } else {
    entry.action = Action::kRun;
    entry.text = text;
  }
  return entry;
}

}  // namespace varve::previous
