#include "dockerfile/caret.h"

#include <fmt/core.h>

#include <algorithm>
#include <vector>

#include "base/strings.h"
#include "dockerfile/excerpt.h"

namespace varve::dockerfile {
namespace {

bool IsWordCharacter(char c) {
  return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         static_cast<unsigned char>(c) >= 0x80;
}

// What a message puts between quotes or parentheses.
std::vector<std::string> Quoted(std::string_view message) {
  std::vector<std::string> out;
  for (size_t i = 0; i < message.size(); ++i) {
    char open = message[i];
    bool quote = open == '"' || open == '`' || (open == '\'' && (i == 0 || message[i - 1] == ' '));
    if (!quote && open != '(') continue;
    size_t end = message.find(open == '(' ? ')' : open, i + 1);
    if (end == message.npos) break;
    out.emplace_back(message.substr(i + 1, end - i - 1));
    i = end;
  }
  return out;
}

// The words that a message may have taken from the instruction, likeliest first.
std::vector<std::string> Named(std::string_view message) {
  message = message.substr(0, message.find(" (did you mean"));
  constexpr std::string_view kPrefix = "dockerfile parse error on line ";
  if (message.starts_with(kPrefix)) {
    size_t colon = message.find(": ");
    if (colon != message.npos) message.remove_prefix(colon + 2);
  }
  // Of a request that failed: the URL as it is written, or nothing. Its parts and the server's words are not the
  // file's.
  if (message.starts_with("https://") || message.starts_with("http://")) {
    return {std::string(message.substr(0, message.find(": ")))};
  }
  std::vector<std::string> out = Quoted(message);
  // What is behind the last colon, unless a quotation has it in it: the whole is better than a
  // part.
  if (size_t colon = message.rfind(": "); colon != message.npos) {
    std::string tail(message.substr(colon + 2));
    bool is_part = std::ranges::any_of(out, [&](const std::string& word) { return word.find(tail) != word.npos; });
    out.insert(is_part ? out.end() : out.begin(), tail);
  }
  for (size_t at = message.find("--"); at != message.npos; at = message.find("--", at + 2)) {
    size_t end = message.find_first_of(" ,=:)", at);
    out.emplace_back(message.substr(at, end == message.npos ? end : end - at));
  }
  if (message.find("heredoc") != message.npos) out.emplace_back("<<");
  // "FROM isn't allowed as an ONBUILD trigger".
  if (message.find(" isn't ") != message.npos) out.emplace_back(message.substr(0, message.find(' ')));
  // "docker.io/library/biuld:latest: not found": of the name, what the file may have written.
  std::string_view name = message.substr(0, message.find(": "));
  if (size_t slash = name.rfind('/'); slash != name.npos) {
    name.remove_prefix(slash + 1);
    out.emplace_back(name.substr(0, name.find_first_of(":@")));
  }
  // "invalid stage index 7", "secret mount should not have a from".
  out.emplace_back(message.substr(message.rfind(' ') + 1));
  std::erase_if(out, [](const std::string& word) { return word.empty() || word == "--"; });
  // 'x' in 'x=1': the longer one has the place of the shorter one in it.
  for (size_t i = 0; i + 1 < out.size(); ++i) {
    if (out[i + 1].size() > out[i].size() && out[i + 1].starts_with(out[i] + "=")) {
      std::swap(out[i], out[i + 1]);
    }
  }
  return out;
}

// Position of `word` in `line` as a word of its own, from `from` on; where an operand or a value
// begins, if there is such a place.
size_t FindWord(std::string_view line, std::string_view word, size_t from) {
  for (size_t at = line.find(word, from); at != line.npos; at = line.find(word, at + 1)) {
    size_t end = at + word.size();
    bool ends = end == line.size() || !IsWordCharacter(line[end]);
    bool starts = at > 0 && std::string_view(" \t=,:\"'").find(line[at - 1]) != line.npos;
    if (starts && ends && IsWordCharacter(word.front()) && IsWordCharacter(word.back())) return at;
  }
  for (size_t at = line.find(word, from); at != line.npos; at = line.find(word, at + 1)) {
    size_t end = at + word.size();
    bool starts = !IsWordCharacter(word.front()) || at == 0 || !IsWordCharacter(line[at - 1]);
    bool ends = !IsWordCharacter(word.back()) || end == line.size() || !IsWordCharacter(line[end]);
    if (starts && ends) return at;
  }
  return line.npos;
}

Span Columns(int line, size_t at, size_t size) {
  Span span = Span::Lines(line, line);
  span.start_column = static_cast<int>(at) + 1;
  span.end_column = static_cast<int>(at + std::max<size_t>(size, 1));
  return span;
}

// The lines of an instruction, and where the words behind its keyword begin.
struct Lines {
  std::vector<std::string> text;
  int first = 0;
  size_t keyword = 0, keyword_size = 0;

  size_t Begin(size_t line) const { return line == 0 ? keyword + keyword_size : 0; }
};

Span Find(const Lines& lines, const std::string& word, bool any_case, bool twice) {
  for (size_t i = 0; i < lines.text.size(); ++i) {
    std::string line = any_case ? ToLower(lines.text[i]) : lines.text[i];
    if (i > 0 && TrimSpace(line).starts_with('#')) continue;
    std::string wanted = any_case ? ToLower(word) : word;
    size_t at = FindWord(line, wanted, lines.Begin(i));
    // What is there twice is wrong the second time.
    size_t again = twice && at != line.npos ? FindWord(line, wanted, at + 1) : line.npos;
    if (again != line.npos) at = again;
    if (at != line.npos) return Columns(lines.first + static_cast<int>(i), at, word.size());
  }
  return {};
}

}  // namespace

Span PlaceOfError(std::string_view message, std::string_view source, const Span& span) {
  auto all = Split(source, '\n');
  int last = std::min(std::max(span.start_line, span.end_line), static_cast<int>(all.size()));
  if (span.start_column > 0 || span.start_line < 1 || span.start_line > last) return span;
  Lines lines{.text = {all.begin() + span.start_line - 1, all.begin() + last}, .first = span.start_line};
  for (std::string& line : lines.text) {
    if (line.ends_with('\r')) line.pop_back();
  }
  const std::string& head = lines.text[0];
  if (TrimSpace(head).empty()) return span;
  lines.keyword = std::min(head.find_first_not_of(" \t"), head.size());
  size_t end = std::min(head.find_first_of(" \t", lines.keyword), head.size());
  lines.keyword_size = end - lines.keyword;

  bool twice = message.find("duplicate flag") != message.npos;
  for (bool any_case : {false, true}) {
    for (const std::string& word : Named(message)) {
      Span found = Find(lines, word, any_case, twice);
      if (found.start_line > 0) return found;
    }
  }
  // Of FROM, nearly everything that can go wrong goes wrong with its image.
  bool is_from = EqualsIgnoreCase(head.substr(lines.keyword, lines.keyword_size), "FROM");
  if (is_from && message.find("FROM requires") == message.npos) {
    size_t at = head.find_first_not_of(" \t", end);
    while (at != head.npos && head.compare(at, 2, "--") == 0) {
      at = head.find_first_not_of(" \t", std::min(head.find_first_of(" \t", at), head.size()));
    }
    if (at != head.npos && head[at] != '\\') {
      return Columns(span.start_line, at, std::min(head.find_first_of(" \t", at), head.size()) - at);
    }
  }
  return Columns(span.start_line, lines.keyword, lines.keyword_size);
}

std::string RenderError(std::string_view filename, std::string_view source, std::string_view message,
                        const Span& span) {
  Span place = PlaceOfError(message, source, span);
  std::string excerpt = RenderExcerpt(filename, source, {&span, 1});
  if (excerpt.empty() || place.start_column == 0) return excerpt;

  std::string out = fmt::format("{}:{}:{}\n", filename, place.start_line, place.start_column);
  auto all = Split(source, '\n');
  std::string_view line = all[static_cast<size_t>(place.start_line - 1)];
  auto start = static_cast<size_t>(place.start_column - 1);
  // One mark for a character; tabs stay, so that the marks are below what they mark.
  std::string marks;
  for (size_t i = 0; i < std::min(static_cast<size_t>(place.end_column), line.size()); ++i) {
    bool continues = (static_cast<unsigned char>(line[i]) & 0xc0) == 0x80;
    if (continues) continue;
    marks += i > start ? '~' : i == start ? '^' : line[i] == '\t' ? '\t' : ' ';
  }
  std::string row = fmt::format(" {:3} | >>> ", place.start_line);
  for (const std::string& text : Split(std::string_view(excerpt).substr(excerpt.find('\n') + 1), '\n')) {
    if (text.empty()) continue;
    out += text + "\n";
    if (text.starts_with(row)) out += "     |     " + marks + "\n";
  }
  return out;
}

}  // namespace varve::dockerfile
