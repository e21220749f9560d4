#include "dockerfile/directives.h"

#include "base/json.h"
#include "base/strings.h"
#include "dockerfile/hinted.h"
#include "dockerfile/parser.h"
#include "dockerfile/runes.h"

namespace varve::dockerfile {
namespace {

bool IsNameByte(char c, bool first) {
  bool letter = (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
  return letter || (!first && c >= '0' && c <= '9');
}

// \s of Go's regular expressions.
std::string_view TrimBlanks(std::string_view text) {
  constexpr std::string_view kBlanks = "\t\n\f\r ";
  size_t first = text.find_first_not_of(kBlanks);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlanks) - first + 1);
}

std::string_view SkipShebang(std::string_view text, int& line) {
  if (!text.starts_with("#!")) return text;
  ++line;
  size_t end = text.find('\n');
  return end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
}

std::optional<Syntax> FindSyntax(std::string_view text, std::string_view marker) {
  for (const HeadDirective& head : ReadHead(text, marker)) {
    if (head.found.name != "syntax") continue;
    const std::string& value = head.found.value;
    return Syntax{value.substr(0, value.find(' ')), value, Span::Lines(head.line, head.line)};
  }
  return std::nullopt;
}

}  // namespace

std::string_view SkipByteOrderMark(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  return text;
}

Result<std::optional<FoundDirective>> DirectiveReader::Read(std::string_view line) {
  std::optional<FoundDirective> none;
  if (done_) return none;
  done_ = true;  // unless this line turns out to be a directive
  if (!line.starts_with(marker_)) return none;
  line = TrimLeftSpace(line.substr(marker_.size()));
  size_t length = 0;
  while (length < line.size() && IsNameByte(line[length], length == 0)) ++length;
  std::string name = ToLower(line.substr(0, length));
  std::string_view rest = TrimBlanks(line.substr(length));
  if (name != "syntax" && name != "escape" && name != "check") return none;
  if (!rest.starts_with('=')) return none;
  std::string_view value = TrimBlanks(rest.substr(1));
  if (value.empty()) return none;
  done_ = false;
  if (!seen_.insert(name).second) {
    return Hinted(Invalid("only one {} parser directive can be used", name), "remove one of the two");
  }
  return std::optional(FoundDirective{std::move(name), std::string(value)});
}

std::vector<HeadDirective> ReadHead(std::string_view text, std::string_view marker) {
  std::vector<HeadDirective> found;
  int line = 0;
  text = SkipShebang(SkipByteOrderMark(text), line);
  DirectiveReader reader(marker);
  while (!text.empty() && !reader.done()) {
    size_t end = text.find('\n');
    auto directive = reader.Read(text.substr(0, end));
    ++line;
    if (!directive) break;
    if (*directive) found.push_back({std::move(**directive), line});
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return found;
}

std::optional<Syntax> DetectSyntax(std::string_view text) {
  if (auto syntax = FindSyntax(text, "#")) return syntax;
  if (auto syntax = FindSyntax(text, "//")) return syntax;
  int line = 0;
  std::string_view body = SkipShebang(SkipByteOrderMark(text), line);
  if (!TrimBlanks(body).starts_with('{')) return std::nullopt;
  auto json = Json::Parse(body);
  if (!json) return std::nullopt;
  const Json* value = json->Find("syntax");
  if (value == nullptr || !value->is_string()) return std::nullopt;
  return Syntax{value->as_string(), value->as_string(), Span::Lines(line + 1, line + 1)};
}

std::optional<std::string> CheckOfComments(const std::vector<std::string>& comments) {
  for (const std::string& comment : comments) {
    auto directive = DirectiveReader("").Read(comment);
    if (!directive || !*directive || (*directive)->name != "check") continue;
    return (*directive)->value.substr(0, (*directive)->value.find(' '));
  }
  return std::nullopt;
}

Result<bool> TraceOfComments(const std::vector<std::string>& comments) {
  constexpr std::string_view kName = "varve:trace=";
  bool traced = true;
  for (const std::string& comment : comments) {
    std::string_view text = TrimBlanks(comment);
    if (!text.starts_with(kName)) continue;
    std::string_view value = text.substr(kName.size());
    value = value.substr(0, value.find_first_of(" \t"));
    if (value != "on" && value != "off") {
      return Hinted(Invalid("invalid comment \"# {}{}\"", kName, value), "use on or off");
    }
    traced = value == "on";
  }
  return traced;
}

}  // namespace varve::dockerfile
