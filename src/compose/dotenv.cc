#include "compose/dotenv.h"

#include <algorithm>

#include "base/strings.h"

namespace varve::compose {

namespace {

bool IsKeyPart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '-' || c == '[' || c == ']';
}

// Of a double-quoted value. A backslash before a dollar keeps the dollar from being a variable.
std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    static constexpr std::string_view kFrom = "abfnrtv", kTo = "\a\b\f\n\r\t\v";
    if (size_t at = kFrom.find(c); at != kFrom.npos) {
      out += kTo[at];
    } else if (c == '"' || c == '\\') {
      out += c;
    } else if (c == '$') {
      out += "$$";
    } else if (c == '0') {
      size_t end = i + 1;
      while (end < text.size() && end < i + 4 && text[end] >= '0' && text[end] <= '7') ++end;
      out += static_cast<char>(ParseInt(text.substr(i, end - i), 8).value_or(0));
      i = end - 1;
    } else {
      out += '\\';
      out += c;
    }
  }
  return out;
}

class Reader {
 public:
  Reader(std::string_view text, const std::string& file, const Lookup& outer, Environment& out)
      : text_(text), file_(file), outer_(outer), out_(out) {}

  Status Run() {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
    while (at_ < text_.size()) TRY(Line());
    return Ok();
  }

 private:
  Error Bad(std::string_view message) const {
    auto line = 1 + std::ranges::count(text_.substr(0, std::min(at_, text_.size())), '\n');
    return Invalid("{}:{}: {}", file_, line, message);
  }

  Result<std::string> Expand(std::string_view value) {
    auto lookup = [this](const std::string& name) -> std::optional<std::string> {
      if (auto outer = outer_(name)) return outer;
      auto it = out_.find(name);
      return it == out_.end() ? std::nullopt : std::optional(it->second);
    };
    auto expanded = Interpolate(value, lookup);
    if (!expanded) {
      Error bad = Bad(expanded.error().message);
      bad.hint = expanded.error().hint;
      return bad;
    }
    return expanded;
  }

  size_t LineEnd() const { return std::min(text_.find('\n', at_), text_.size()); }
  void SkipLine() { at_ = std::min(LineEnd() + 1, text_.size()); }

  Status Line() {
    while (at_ < text_.size() && std::string_view(" \t\r").find(text_[at_]) != std::string_view::npos) {
      ++at_;
    }
    if (at_ == text_.size()) return Ok();
    if (text_[at_] == '\n' || text_[at_] == '#') {
      SkipLine();
      return Ok();
    }
    if (text_.substr(at_).starts_with("export ")) at_ += 7;
    std::string_view line = text_.substr(at_, LineEnd() - at_);
    size_t separator = line.find_first_of("=:");
    std::string_view key = TrimSpace(line.substr(0, separator));
    if (key.empty() || !std::ranges::all_of(key, IsKeyPart)) {
      return Bad(fmt::format("\"{}\" is no variable's name", key));
    }
    if (separator == line.npos) {
      if (auto value = outer_(std::string(key))) out_[std::string(key)] = *value;
      SkipLine();
      return Ok();
    }
    at_ += separator + 1;
    TRY_ASSIGN(std::string value, Value());
    out_[std::string(key)] = std::move(value);
    return Ok();
  }

  Result<std::string> Value() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t')) ++at_;
    if (at_ < text_.size() && (text_[at_] == '"' || text_[at_] == '\'')) return Quoted(text_[at_]);
    std::string_view line = text_.substr(at_, LineEnd() - at_);
    size_t comment = line.find(" #");
    if (line.starts_with('#')) comment = 0;
    TRY_ASSIGN(std::string value, Expand(TrimSpace(line.substr(0, comment))));
    SkipLine();
    return value;
  }

  Result<std::string> Quoted(char quote) {
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += quote == '"' && text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) return Bad("the quote is not closed");
    std::string_view inner = text_.substr(at_ + 1, end - at_ - 1);
    std::string value(inner);
    if (quote == '"') {
      TRY_ASSIGN(value, Expand(Unescape(inner)));
    }
    at_ = end + 1;
    const std::string_view rest = TrimSpace(text_.substr(at_, LineEnd() - at_));
    if (!rest.empty() && !rest.starts_with('#')) {
      return Bad(fmt::format("\"{}\" after the closing quote", rest));
    }
    SkipLine();
    return value;
  }

  std::string_view text_;
  const std::string& file_;
  const Lookup& outer_;
  Environment& out_;
  size_t at_ = 0;
};

}  // namespace

Status ReadDotenv(std::string_view text, const std::string& file, const Lookup& outer, Environment& out) {
  return Reader(text, file, outer, out).Run();
}

void ReadRawEnv(std::string_view text, const Lookup& outer, Environment& out) {
  for (std::string line : Split(text, '\n')) {
    if (line.ends_with('\r')) line.pop_back();
    if (TrimSpace(line).empty() || line.starts_with('#')) continue;
    const size_t eq = line.find('=');
    if (eq != line.npos) {
      out[line.substr(0, eq)] = line.substr(eq + 1);
    } else if (auto value = outer(line)) {
      out[line] = *value;
    }
  }
}

}  // namespace varve::compose
