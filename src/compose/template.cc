#include "compose/template.h"

namespace varve::compose {

namespace {

bool IsNameStart(char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsNamePart(char c) { return IsNameStart(c) || (c >= '0' && c <= '9'); }

size_t NameEnd(std::string_view text, size_t begin) {
  size_t end = begin;
  if (end < text.size() && IsNameStart(text[end])) {
    while (end < text.size() && IsNamePart(text[end])) ++end;
  }
  return end;
}

class Expander {
 public:
  Expander(const Lookup& lookup, const std::function<void(const std::string&)>& unset)
      : lookup_(lookup), unset_(unset) {}

  Result<std::string> Run(std::string_view text, int depth = 0) {
    if (depth > 100) return Invalid("variables are nested too deeply");
    std::string out;
    for (size_t at = 0; at < text.size();) {
      if (text[at] != '$' || at + 1 == text.size()) {
        out += text[at++];
        continue;
      }
      if (text[at + 1] == '$') {
        out += '$';
        at += 2;
        continue;
      }
      if (text[at + 1] == '{') {
        size_t end = Closing(text, at + 2);
        if (end == text.npos) return BadTemplate(text);
        TRY_ASSIGN(std::string value, Braced(text, text.substr(at + 2, end - at - 2), depth));
        out += value;
        at = end + 1;
        continue;
      }
      size_t end = NameEnd(text, at + 1);
      if (end == at + 1) {
        out += text[at++];
        continue;
      }
      out += ValueOf(std::string(text.substr(at + 1, end - at - 1)));
      at = end;
    }
    return out;
  }

 private:
  static Error BadTemplate(std::string_view text) {
    Error error = Invalid("invalid interpolation format: \"{}\"", text);
    error.hint = "a variable is ${NAME}; write $$ for a dollar that is meant as one";
    return error;
  }

  // Where the brace closes that was opened before `at`.
  static size_t Closing(std::string_view text, size_t at) {
    int open = 1;
    for (; at < text.size(); ++at) {
      if (text[at] == '$' && at + 1 < text.size() && text[at + 1] == '{') {
        ++open;
        ++at;
      } else if (text[at] == '}' && --open == 0) {
        return at;
      }
    }
    return text.npos;
  }

  std::string ValueOf(const std::string& name) {
    auto value = lookup_(name);
    if (!value && unset_) unset_(name);
    return value.value_or("");
  }

  Result<std::string> Braced(std::string_view whole, std::string_view inner, int depth) {
    size_t end = NameEnd(inner, 0);
    if (end == 0) return BadTemplate(whole);
    std::string name(inner.substr(0, end));
    std::string_view rest = inner.substr(end);
    if (rest.empty()) return ValueOf(name);
    const bool colon = rest[0] == ':';
    if (colon) rest.remove_prefix(1);
    if (rest.empty() || (rest[0] != '-' && rest[0] != '+' && rest[0] != '?')) return BadTemplate(whole);
    const char op = rest[0];
    const std::string_view word = rest.substr(1);
    auto value = lookup_(name);
    const bool present = value && !(colon && value->empty());
    if (op == '-') return present ? Result<std::string>(*value) : Run(word, depth + 1);
    if (op == '+') return present ? Run(word, depth + 1) : Result<std::string>(value.value_or(""));
    if (present) return *value;
    TRY_ASSIGN(std::string message, Run(word, depth + 1));
    Error error = Invalid("required variable {} is missing a value{}{}", name, message.empty() ? "" : ": ", message);
    error.hint = fmt::format("set {} in the environment or in .env", name);
    return error;
  }

  const Lookup& lookup_;
  const std::function<void(const std::string&)>& unset_;
};

}  // namespace

Result<std::string> Interpolate(std::string_view text, const Lookup& lookup,
                                const std::function<void(const std::string&)>& unset) {
  return Expander(lookup, unset).Run(text);
}

}  // namespace varve::compose
