// Regular expressions: RE2's, which are Go's.
#include <re2/re2.h>

#include <memory>

#include "hcl/function_table.h"

namespace varve::hcl {

namespace {

struct Pattern {
  std::unique_ptr<re2::RE2> re;
  size_t groups = 0;
  std::map<int, std::string> names;
};

Result<Pattern> Compile(const std::string& text) {
  Pattern pattern;
  pattern.re = std::make_unique<re2::RE2>(text, re2::RE2::Quiet);
  if (!pattern.re->ok()) return Invalid("invalid regexp pattern: {}", pattern.re->error());
  pattern.groups = static_cast<size_t>(pattern.re->NumberOfCapturingGroups());
  pattern.names = pattern.re->CapturingGroupNames();
  if (!pattern.names.empty() && pattern.names.size() != pattern.groups) {
    return Invalid("invalid regexp pattern: cannot mix both named and unnamed capture groups");
  }
  return pattern;
}

Value Captured(re2::StringPiece piece) {
  return piece.data() == nullptr ? Value::Null(Type::String()) : Value(std::string(piece.data(), piece.size()));
}

Value Match(const Pattern& pattern, const std::vector<re2::StringPiece>& found) {
  if (pattern.groups == 0) return Captured(found[0]);
  if (pattern.names.empty()) {
    Value::Items items;
    for (size_t i = 1; i < found.size(); ++i) items.push_back(Captured(found[i]));
    return Value::Tuple(std::move(items));
  }
  Value::Members members;
  for (const auto& [index, name] : pattern.names) members[name] = Captured(found[static_cast<size_t>(index)]);
  return Value::Object(std::move(members));
}

// Go's Expand names are $name and ${name}, as long as possible; RE2's are \1.
std::string Expand(const Pattern& pattern, const std::string& to, const std::vector<re2::StringPiece>& found) {
  std::string out;
  for (size_t i = 0; i < to.size();) {
    if (to[i] != '$' || i + 1 >= to.size()) {
      out += to[i++];
      continue;
    }
    if (to[i + 1] == '$') {
      out += '$';
      i += 2;
      continue;
    }
    bool braces = to[i + 1] == '{';
    size_t from = i + (braces ? 2 : 1), end = from;
    while (end < to.size() && (isalnum(static_cast<unsigned char>(to[end])) || to[end] == '_')) ++end;
    if (end == from || (braces && (end >= to.size() || to[end] != '}'))) {
      out += to[i++];
      continue;
    }
    std::string name = to.substr(from, end - from);
    for (size_t group = 0; group < found.size(); ++group) {
      auto known = pattern.names.find(static_cast<int>(group));
      bool is = name == std::to_string(group) || (known != pattern.names.end() && known->second == name);
      if (is && found[group].data() != nullptr) out.append(found[group].data(), found[group].size());
    }
    i = end + (braces ? 1 : 0);
  }
  return out;
}

// Calls `each` for the matches, as Go's FindAll: an empty one does not touch the one before.
template <class F>
void ForMatches(const Pattern& pattern, const std::string& text, F&& each) {
  std::vector<re2::StringPiece> found(pattern.groups + 1);
  size_t from = 0, last_end = std::string::npos;
  while (from <= text.size() && pattern.re->Match(text, from, text.size(), re2::RE2::UNANCHORED, found.data(),
                                                  static_cast<int>(found.size()))) {
    auto start = static_cast<size_t>(found[0].data() - text.data());
    size_t end = start + found[0].size();
    if (!(start == end && start == last_end)) each(found, start, end);
    last_end = end;
    from = end > start ? end : end + 1;
    while (start == end && from < text.size() && (static_cast<unsigned char>(text[from]) & 0xc0) == 0x80) ++from;
  }
}

}  // namespace

void AddRegexFunctions(FunctionTable& table) {
  const Type text = Type::String();
  Define(table, "regex", {{text, text}}, [](const Arguments& a) -> Result<Value> {
    TRY_ASSIGN(Pattern pattern, Compile(a[0].as_string()));
    std::vector<re2::StringPiece> found(pattern.groups + 1);
    const std::string& in = a[1].as_string();
    if (!pattern.re->Match(in, 0, in.size(), re2::RE2::UNANCHORED, found.data(), static_cast<int>(found.size()))) {
      return Invalid("pattern did not match any part of the given string");
    }
    return Match(pattern, found);
  });
  Define(table, "regexall", {{text, text}}, [](const Arguments& a) -> Result<Value> {
    TRY_ASSIGN(Pattern pattern, Compile(a[0].as_string()));
    Value::Items all;
    ForMatches(pattern, a[1].as_string(),
               [&](const auto& found, size_t, size_t) { all.push_back(Match(pattern, found)); });
    return Convert(Value::Tuple(std::move(all)), Type::List(Type::Any()));
  });
  Define(table, "regex_replace", {{text, text, text}}, [](const Arguments& a) -> Result<Value> {
    TRY_ASSIGN(Pattern pattern, Compile(a[1].as_string()));
    const std::string& in = a[0].as_string();
    std::string out;
    size_t copied = 0;
    ForMatches(pattern, in, [&](const auto& found, size_t start, size_t end) {
      out += in.substr(copied, start - copied) + Expand(pattern, a[2].as_string(), found);
      copied = end;
    });
    return Value(out + in.substr(copied));
  });
}

}  // namespace varve::hcl
