// Text as characters: cases, pieces, trimming, searching.
#include <pwd.h>
#include <unicase.h>
#include <unictype.h>
#include <unigbrk.h>
#include <unistd.h>
#include <unistr.h>

#include <algorithm>
#include <cstdlib>

#include "base/strings.h"
#include "hcl/function_table.h"
#include "hcl/scanner.h"

namespace varve::hcl {

std::vector<std::string> Graphemes(const std::string& text) {
  // Asked for the text as a whole: what ends a cluster of emoji depends on all that it began with.
  std::vector<char> breaks(text.size());
  u8_grapheme_breaks(reinterpret_cast<const uint8_t*>(text.data()), text.size(), breaks.data());
  std::vector<std::string> clusters;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i == 0 || breaks[i] != 0) clusters.emplace_back();
    clusters.back() += text[i];
  }
  return clusters;
}

namespace {

std::string MapCharacters(const std::string& text, ucs4_t (*map)(ucs4_t)) {
  std::string out;
  const auto* at = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* end = at + text.size();
  while (at < end) {
    ucs4_t c;
    int length = u8_mbtouc(&c, at, static_cast<size_t>(end - at));
    AppendUtf8(map(c), out);
    at += length;
  }
  return out;
}

// The first letter after anything that is none, as Go's strings.Title.
std::string Title(const std::string& text) {
  std::string out;
  bool start = true;
  for (const std::string& c : Graphemes(text)) {
    out += start ? MapCharacters(c, uc_totitle) : c;
    bool word = c.size() > 1 || isalnum(static_cast<unsigned char>(c[0])) || c == "_" || c == "'";
    start = !word;
  }
  return out;
}

std::string TrimSet(std::string text, const std::string& set) {
  std::vector<std::string> characters = Graphemes(set), all = Graphemes(text);
  auto in_set = [&](const std::string& c) { return std::ranges::find(characters, c) != characters.end(); };
  size_t from = 0, to = all.size();
  while (from < to && in_set(all[from])) ++from;
  while (to > from && in_set(all[to - 1])) --to;
  text.clear();
  for (size_t i = from; i < to; ++i) text += all[i];
  return text;
}

std::string Base(std::string_view path) {
  if (path.empty()) return ".";
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  if (path == "/") return "/";
  return std::string(path.substr(path.rfind('/') + 1));
}

// Go's path.Dir: everything before the last slash, cleaned.
std::string Directory(const std::string& path) {
  size_t slash = path.rfind('/');
  std::string_view head = slash == path.npos ? "" : std::string_view(path).substr(0, slash + 1);
  bool rooted = head.starts_with('/');
  std::vector<std::string> parts;
  for (std::string& part : Split(head, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == ".." && !parts.empty() && parts.back() != "..") {
      parts.pop_back();
    } else if (part != ".." || !rooted) {
      parts.push_back(std::move(part));
    }
  }
  std::string joined = (rooted ? "/" : "") + Join(parts, "/");
  return joined.empty() ? "." : joined;
}

Result<Value> Substring(const Arguments& a) {
  TRY_ASSIGN(int64_t offset, WholeNumber(a[1], "the offset"));
  TRY_ASSIGN(int64_t length, WholeNumber(a[2], "the length"));
  std::vector<std::string> all = Graphemes(a[0].as_string());
  auto size = static_cast<int64_t>(all.size());
  if (offset < 0) offset = std::max<int64_t>(0, offset + size);
  int64_t end = length < 0 ? size : std::min(size, offset > size ? size : offset + std::min(length, size));
  std::string out;
  for (int64_t i = offset; i < end; ++i) out += all[static_cast<size_t>(i)];
  return Value(std::move(out));
}

}  // namespace

void AddTextFunctions(FunctionTable& table) {
  const Type text = Type::String(), number = Type::Number();
  auto one = [&](const char* name, std::function<Value(const std::string&)> body) {
    Define(table, name, {{text}}, [body](const Arguments& a) -> Result<Value> { return body(a[0].as_string()); });
  };
  auto two = [&](const char* name, std::function<Value(const std::string&, const std::string&)> body) {
    Define(table, name, {{text, text}},
           [body](const Arguments& a) -> Result<Value> { return body(a[0].as_string(), a[1].as_string()); });
  };
  one("upper", [](const std::string& s) { return MapCharacters(s, uc_toupper); });
  one("lower", [](const std::string& s) { return MapCharacters(s, uc_tolower); });
  one("title", [](const std::string& s) { return Title(s); });
  one("strlen", [](const std::string& s) { return Value::Number(Graphemes(s).size()); });
  one("trimspace", [](const std::string& s) { return std::string(TrimSpace(s)); });
  one("chomp", [](const std::string& s) { return s.substr(0, s.find_last_not_of("\r\n") + 1); });
  one("basename", [](const std::string& s) { return Base(s); });
  one("dirname", [](const std::string& s) { return Directory(s); });
  one("reverse", [](const std::string& s) {
    std::string out;
    std::vector<std::string> all = Graphemes(s);
    for (auto it = all.rbegin(); it != all.rend(); ++it) out += *it;
    return out;
  });
  one("sanitize", [](const std::string& s) {
    std::string out;
    for (char c : s) {
      bool kept = isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-';
      // One _ for a character, however many bytes it has.
      if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) out += kept ? c : '_';
    }
    return out;
  });
  two("trim", [](const std::string& s, const std::string& set) { return TrimSet(s, set); });
  two("trimprefix",
      [](const std::string& s, const std::string& p) { return s.starts_with(p) ? s.substr(p.size()) : s; });
  two("trimsuffix",
      [](const std::string& s, const std::string& p) { return s.ends_with(p) ? s.substr(0, s.size() - p.size()) : s; });
  two("split", [](const std::string& separator, const std::string& s) {
    std::vector<std::string> parts;
    if (s.empty()) return Value::Strings({""});
    if (separator.empty()) {
      parts = Graphemes(s);
    } else {
      size_t from = 0;
      for (size_t at; (at = s.find(separator, from)) != s.npos; from = at + separator.size())
        parts.push_back(s.substr(from, at - from));
      parts.push_back(s.substr(from));
    }
    return Value::Strings(parts);
  });
  Define(table, "substr", {{text, number, number}}, Substring);
  Define(table, "replace", {{text, text, text}}, [](const Arguments& a) -> Result<Value> {
    const std::string &s = a[0].as_string(), &from = a[1].as_string(), &to = a[2].as_string();
    if (!from.empty()) return Value(ReplaceAll(s, from, to));
    std::string out = to;  // Go: before each character, and at the end
    for (const std::string& c : Graphemes(s)) out += c + to;
    return Value(std::move(out));
  });
  Define(table, "indent", {{number, text}}, [](const Arguments& a) -> Result<Value> {
    TRY_ASSIGN(int64_t spaces, WholeNumber(a[0], "the number of spaces"));
    if (spaces < 0 || spaces > 10'000) return Invalid("the number of spaces must be between 0 and 10000");
    return Value(ReplaceAll(a[1].as_string(), "\n", "\n" + std::string(static_cast<size_t>(spaces), ' ')));
  });
  Define(table, "join", {{text}, Type::List(text)}, [](const Arguments& a) -> Result<Value> {
    std::vector<std::string> parts;
    if (a.size() < 2) return Invalid("at least one list is required");
    for (size_t i = 1; i < a.size(); ++i) {
      for (const Value& item : a[i].items()) {
        if (item.is_null()) return Invalid("a list has a null, which cannot be joined");
        parts.push_back(item.as_string());
      }
    }
    return Value(Join(parts, a[0].as_string()));
  });
  Define(table, "homedir", {{}}, [](const Arguments&) -> Result<Value> {
    if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') return Value(home);
    const passwd* user = getpwuid(getuid());
    if (user == nullptr) return Invalid("nothing says what the home directory is");
    return Value(user->pw_dir);
  });
  // cty's byte strings come from programs only: no expression makes one.
  for (const char* name : {"byteslen", "bytesslice"}) {
    Define(table, name, {{Type::Any()}, Type::Any()}, [](const Arguments& a) -> Result<Value> {
      return Invalid("argument 1: bytes required, but have {}", a[0].type().Name());
    });
  }
}

}  // namespace varve::hcl
