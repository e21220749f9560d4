// go.mod (go.dev/ref/mod, "go.mod files"): directives, one a line or in blocks.
#include "base/strings.h"
#include "packages/forms.h"

namespace varve::packages {
namespace {

// The words of a line, as written; a comment ends it. Quoted words may hold blanks and slashes.
Result<std::vector<std::string>> WordsOf(std::string_view line) {
  std::vector<std::string> words;
  size_t at = 0;
  while (at < line.size()) {
    if (line[at] == ' ' || line[at] == '\t' || line[at] == '\r') {
      ++at;
      continue;
    }
    if (line.substr(at).starts_with("//")) break;
    size_t begin = at;
    if (line[at] == '"' || line[at] == '`') {
      at = line.find(line[begin], at + 1);
      if (at == line.npos) return Invalid("a quote is not closed");
      ++at;
    } else {
      while (at < line.size() && std::string_view(" \t\r\"`").find(line[at]) == std::string_view::npos &&
             !line.substr(at).starts_with("//")) {
        ++at;
      }
    }
    words.emplace_back(line.substr(begin, at - begin));
  }
  return words;
}

}  // namespace

Form FormOfGoMod(std::string_view text) {
  if (text.find("/*") != text.npos) return Invalid("it has a block comment");
  std::string form, block;
  for (const std::string& line : Split(text, '\n')) {
    auto words = WordsOf(line);
    if (!words) return std::move(words).error();
    if (words->empty()) continue;
    if (words->front() == ")" && words->size() == 1) {
      if (block.empty()) return Invalid("a block is closed that was not opened");
      block.clear();
      continue;
    }
    bool opens = words->size() == 2 && words->back() == "(";
    if (opens) {
      if (!block.empty()) return Invalid("a block lies in a block");
      block = words->front();
      continue;
    }
    if (!block.empty()) words->insert(words->begin(), block);
    // What this version takes back says nothing to who builds it.
    if (words->front() == "retract") continue;
    form += Join(*words, " ") + "\n";
  }
  if (!block.empty()) return Invalid("a block is not closed");
  return form;
}

}  // namespace varve::packages
