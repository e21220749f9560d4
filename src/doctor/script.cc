// Text of a script → commands with their lines.
#include <algorithm>

#include "base/strings.h"
#include "dockerfile/shell_commands.h"
#include "doctor/shell_reader.h"

namespace varve::doctor {
namespace {

constexpr size_t kMaxExpanded = 200;  // words of one command

struct LogicalLine {
  std::string text;  // continuations joined
  int line = 0;      // of its first physical line
  std::vector<std::string> physical;
};

bool IsName(std::string_view text) {
  if (text.empty() || (text[0] >= '0' && text[0] <= '9')) return false;
  return std::ranges::all_of(text, [](char c) {
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  });
}

// The end word of a here-document that the line opens; empty: none.
std::string HeredocOf(std::string_view line) {
  size_t at = line.find("<<");
  if (at == line.npos || line.substr(at).starts_with("<<<")) return "";
  at += 2;
  while (at < line.size() && (line[at] == '-' || line[at] == ' ')) ++at;
  std::string word;
  for (; at < line.size() && line[at] != ' ' && line[at] != ';' && line[at] != '|' && line[at] != ')' &&
         line[at] != '>' && line[at] != '&';
       ++at) {
    if (line[at] != '\'' && line[at] != '"' && line[at] != '\\') word += line[at];
  }
  return IsName(word) ? word : "";
}

std::vector<LogicalLine> LogicalLines(std::string_view text, int first_line) {
  std::vector<LogicalLine> out;
  std::string heredoc;
  bool goes_on = false;
  int number = first_line - 1;
  for (std::string& line : Split(text, '\n')) {
    ++number;
    if (line.ends_with('\r')) line.pop_back();
    if (!heredoc.empty()) {
      if (TrimSpace(line) == heredoc) heredoc.clear();
      continue;
    }
    if (!goes_on) out.push_back({.line = number});
    LogicalLine& logical = out.back();
    logical.physical.push_back(line);
    bool comment = TrimSpace(line).starts_with('#');
    goes_on = !comment && line.ends_with('\\');
    if (goes_on) line.pop_back();
    logical.text += line;
    if (goes_on) logical.text += ' ';
    if (!goes_on && !comment) heredoc = HeredocOf(logical.text);
  }
  return out;
}

// NAME=value, NAME+=value, NAME := value (make), behind export, local, readonly, declare or not.
void ReadAssignment(const LogicalLine& line, std::map<std::string, std::vector<Argument>>& variables) {
  std::string_view rest = TrimSpace(line.text);
  for (size_t at = 0; at < rest.size();) {
    // Every place where a word begins: `[ x ] && NAME=value`, `if …; then NAME=value; fi`.
    bool begins = at == 0 || rest[at - 1] == ' ' || rest[at - 1] == ';' || rest[at - 1] == '\t' || rest[at - 1] == '(';
    size_t end = at;
    while (end < rest.size() && IsName(rest.substr(at, end + 1 - at))) ++end;
    if (!begins || end == at) {
      ++at;
      continue;
    }
    std::string name(rest.substr(at, end - at));
    std::string_view behind = rest.substr(end);
    size_t operator_size = 0;
    if (behind.starts_with("+=") || behind.starts_with(":=") || behind.starts_with("?=")) operator_size = 2;
    if (behind.starts_with("=") && !behind.starts_with("==")) operator_size = 1;
    for (std::string_view make : {" := ", " = ", " ?= ", " += "}) {
      if (at == 0 && behind.starts_with(make)) operator_size = make.size();
    }
    if (operator_size == 0) {
      at = end;
      continue;
    }
    std::string_view value = behind.substr(operator_size);
    size_t length = value.size();
    if (value.starts_with('"') || value.starts_with('\'')) {
      length = std::min(value.find(value[0], 1), value.size());
      value = value.substr(1, length - 1);
    } else if (value.starts_with('(')) {
      length = std::min(value.find(')'), value.size());
      value = value.substr(1, length - 1);
    } else if (value.starts_with("$(")) {
      int depth = 0;
      for (length = 0; length < value.size(); ++length) {
        if (value[length] == '(') ++depth;
        if (value[length] == ')' && --depth == 0) break;
      }
      value = value.substr(0, std::min(length + 1, value.size()));
    } else if (operator_size < 3) {
      length = std::min(value.find_first_of(" \t;)"), value.size());
      value = value.substr(0, length);
    }
    variables[name].push_back({name, std::string(value), line.line});
    at = end + operator_size + length;
  }
}

// The variable that a word is, and nothing else: $NAME, ${NAME}, ${NAME[@]}, ${NAME:-x}, $(NAME) of
// make.
std::string VariableOf(std::string_view word) {
  if (word.size() < 2 || word[0] != '$') return "";
  std::string_view name = word.substr(1);
  if (name[0] == '{' && name.ends_with('}')) {
    name = name.substr(1, name.size() - 2);
    name = name.substr(0, name.find_first_of(":[-+"));
  } else if (name[0] == '(' && name.ends_with(')')) {
    name = name.substr(1, name.size() - 2);
  }
  return IsName(name) ? std::string(name) : "";
}

// `text` with the variables that the script gives one value.
std::string Substitute(const std::string& text, const Script& script, int depth) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t end = at;
    if (text[at] == '$' && at + 1 < text.size()) {
      if (text[at + 1] == '{') end = text.find('}', at);
      else if (text[at + 1] == '(') end = text.find(')', at);
      else
        for (end = at + 1; end + 1 < text.size() && IsName(text.substr(at + 1, end + 1 - at)); ++end) {
        }
    }
    if (end == at || end == text.npos) {
      out += text[at++];
      continue;
    }
    std::string word = text.substr(at, end + 1 - at);
    auto it = script.variables.find(VariableOf(word));
    bool known = it != script.variables.end() && it->second.size() == 1 && depth > 0;
    out += known ? Substitute(it->second[0].value, script, depth - 1) : word;
    at = end + 1;
  }
  return out;
}

void AddWord(const std::string& text, const LogicalLine& line, const Script& script, ScriptCommand& out) {
  if (out.words.size() >= kMaxExpanded) return;
  int at = line.line;
  for (size_t i = 0; i < line.physical.size(); ++i) {
    if (line.physical[i].find(text) == std::string::npos) continue;
    at += static_cast<int>(i);
    break;
  }
  auto it = script.variables.find(VariableOf(text));
  bool flags = it != script.variables.end() && std::ranges::any_of(it->second, [](const Argument& value) {
                 return value.value.starts_with('-') || value.value.find(" -") != value.value.npos;
               });
  if (!flags) {
    out.words.push_back({Substitute(text, script, 3), at});
    return;
  }
  for (const Argument& value : it->second) {
    for (const dockerfile::ShellCommand& words : dockerfile::SplitShell("x " + value.value)) {
      for (size_t i = 1; i < words.words.size() && out.words.size() < kMaxExpanded; ++i) {
        if (VariableOf(words.words[i]) == value.name) continue;  // ARGS="$ARGS --no-cache"
        out.words.push_back({Substitute(words.words[i], script, 3), value.line, true});
      }
    }
  }
}

}  // namespace

Script ReadScript(std::string_view text, int first_line) {
  Script script;
  std::vector<LogicalLine> lines = LogicalLines(text, first_line);
  for (const LogicalLine& line : lines) {
    if (!TrimSpace(line.text).starts_with('#')) ReadAssignment(line, script.variables);
  }
  for (const LogicalLine& line : lines) {
    for (const dockerfile::ShellCommand& command : dockerfile::SplitShell(line.text)) {
      ScriptCommand out{.line = line.line};
      for (const std::string& word : command.words) AddWord(word, line, script, out);
      if (!out.words.empty()) script.commands.push_back(std::move(out));
    }
  }
  return script;
}

}  // namespace varve::doctor
