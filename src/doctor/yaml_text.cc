#include "doctor/yaml_text.h"

#include "base/strings.h"

namespace varve::doctor {

using compose::Node;

namespace {

size_t IndentOf(std::string_view line) {
  size_t indent = line.find_first_not_of(' ');
  return indent == line.npos ? line.size() : indent;
}

// '|' or '>' for a block scalar, else 0.
char StyleOf(const SourceFile& file, const Node& node) {
  if (node.place.line == 0 || node.place.line > file.lines.size()) return 0;
  const std::string& line = file.lines[node.place.line - 1];
  if (node.place.column == 0 || node.place.column > line.size()) return 0;
  char c = line[node.place.column - 1];
  return c == '|' || c == '>' ? c : '\0';
}

// The lines below a block scalar's indicator, their indentation removed.
std::vector<std::string> BlockLines(const SourceFile& file, const Node& node) {
  std::vector<std::string> out;
  size_t indent = 0;
  size_t outer = IndentOf(file.lines[node.place.line - 1]);
  for (size_t i = node.place.line; i < file.lines.size(); ++i) {
    const std::string& line = file.lines[i];
    if (TrimSpace(line).empty()) {
      out.emplace_back();
      continue;
    }
    size_t own = IndentOf(line);
    if (indent == 0) indent = own;
    if (own <= outer || own < indent) break;
    out.push_back(line.substr(indent));
  }
  return out;
}

}  // namespace

BlockText TextOf(const SourceFile& file, const Node& node) {
  int line = LineOf(node);
  char style = StyleOf(file, node);
  if (style == 0) return {node.Text(), line};
  std::vector<std::string> lines = BlockLines(file, node);
  if (style == '|') return {Join(lines, "\n"), line + 1};
  std::string text;
  for (size_t i = 0; i < lines.size(); ++i) {
    bool goes_on = i + 1 < lines.size() && !lines[i].empty() && !lines[i + 1].empty();
    text += lines[i] + (goes_on ? " \\\n" : "\n");
  }
  return {text, line + 1};
}

std::vector<Argument> ItemsOf(const SourceFile& file, const Node& node, bool commas) {
  std::vector<Argument> out;
  auto add = [&](std::string_view text, int line) {
    for (const std::string& part : commas ? Split(text, ',') : std::vector<std::string>{std::string(text)}) {
      std::string value(TrimSpace(part));
      if (!value.empty() && !value.starts_with('#')) out.push_back({"", value, line});
    }
  };
  for (const Node& item : node.items) add(item.Text(), LineOf(item));
  if (node.is_scalar() && !node.is_null()) {
    BlockText block = TextOf(file, node);
    int line = block.first_line;
    for (const std::string& text : Split(block.text, '\n')) add(text, line++);
  }
  return out;
}

std::optional<Node> ParseYamlFile(Project& project, const SourceFile& file) {
  auto documents = compose::ParseDocuments(file.text, file.path);
  if (!documents) {
    // "FILE:LINE:COLUMN: message": the line is a place of its own.
    std::string message = documents.error().message;
    int line = 0;
    if (message.starts_with(file.path + ":")) {
      std::string rest = message.substr(file.path.size() + 1);
      line = static_cast<int>(ParseInt(rest.substr(0, rest.find(':'))).value_or(0));
      size_t text = rest.find(": ");
      if (text != rest.npos) message = rest.substr(text + 2);
    }
    project.mentions.push_back({Mention::Kind::kUnreadable, &file, line, message});
    return std::nullopt;
  }
  if (documents->empty() || !(*documents)[0].is_mapping()) return std::nullopt;
  return std::move((*documents)[0]);
}

std::string TextAt(const Node& node, std::string_view key) {
  const Node* member = node.Find(key);
  return member != nullptr && member->is_scalar() ? member->Text() : "";
}

int LineOf(const Node& node) { return static_cast<int>(node.place.line); }

bool IsTrue(const Node* node) { return node != nullptr && node->is_scalar() && node->Text() == "true"; }

bool IsExpression(const Node* node) {
  return node != nullptr && node->is_scalar() && node->Text().find("${") != std::string::npos;
}

}  // namespace varve::doctor
