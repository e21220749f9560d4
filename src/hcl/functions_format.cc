// format and formatlist: cty's verbs (go-cty cty/function/stdlib/format.go).
#include <algorithm>
#include <cmath>

#include "base/go_quote.h"
#include "base/strings.h"
#include "hcl/function_table.h"

namespace varve::hcl {

namespace {

struct Verb {
  bool plus = false, minus = false, zero = false, space = false, sharp = false;
  std::optional<int> width, precision;
  char letter = 0;
};

std::string Padded(std::string text, const Verb& verb) {
  size_t length = Graphemes(text).size(), width = static_cast<size_t>(verb.width.value_or(0));
  if (length >= width) return text;
  std::string fill(width - length, verb.zero && !verb.minus ? '0' : ' ');
  if (verb.minus) return text + fill;
  if (verb.zero && (text.starts_with('-') || text.starts_with('+'))) return text[0] + fill + text.substr(1);
  return fill + text;
}

std::string InBase(long double value, unsigned base, bool upper) {
  auto number = static_cast<unsigned long long>(std::fabs(value));
  std::string digits;
  do {
    digits.insert(digits.begin(), (upper ? "0123456789ABCDEF" : "0123456789abcdef")[number % base]);
    number /= base;
  } while (number != 0);
  return value < 0 ? "-" + digits : digits;
}

Result<std::string> FormatNumber(const Value& value, const Verb& verb) {
  auto converted = Convert(value, Type::Number());
  if (!converted || value.is_null()) return Invalid("unsupported value for \"%{}\": a number is required", verb.letter);
  long double number = converted->as_number();
  std::string text;
  if (std::string_view("bdoxX").find(verb.letter) != std::string_view::npos) {
    if (number != std::floor(number))
      return Invalid("unsupported value for \"%{}\": an integer is required", verb.letter);
    unsigned base = verb.letter == 'b' ? 2 : verb.letter == 'd' ? 10 : verb.letter == 'o' ? 8 : 16;
    text = base == 10 ? NumberText(number) : InBase(number, base, verb.letter == 'X');
  } else {
    int precision = verb.precision.value_or(verb.letter == 'g' || verb.letter == 'G' ? -1 : 6);
    switch (verb.letter) {
      case 'e':
        text = fmt::format("{:.{}e}", static_cast<double>(number), precision);
        break;
      case 'E':
        text = fmt::format("{:.{}E}", static_cast<double>(number), precision);
        break;
      case 'f':
      case 'F':
        text = fmt::format("{:.{}f}", number, precision);
        break;
      default:
        text = precision < 0 ? fmt::format("{:g}", static_cast<double>(number))
                             : fmt::format("{:.{}g}", static_cast<double>(number), precision);
        if (precision < 0) text = fmt::format("{}", static_cast<double>(number));
    }
  }
  if (number >= 0 && verb.plus) text = "+" + text;
  if (number >= 0 && verb.space && !verb.plus) text = " " + text;
  return Padded(std::move(text), verb);
}

Result<std::string> FormatOne(const Value& value, const Verb& verb) {
  switch (verb.letter) {
    case 'v': {
      if (value.is_null()) return Padded("null", verb);
      if (value.is_number()) return Padded(NumberText(value.as_number()), verb);
      if (auto text = Convert(value, Type::String())) return Padded(text->as_string(), verb);
      [[fallthrough]];
    }
    case 'j':
      return Padded(ToJson(value).Dump({.sort_keys = true, .escape_html = true}), verb);
    case 't': {
      auto flag = Convert(value, Type::Bool());
      if (!flag || value.is_null()) return Invalid("unsupported value for \"%t\": bool required");
      return Padded(flag->as_bool() ? "true" : "false", verb);
    }
    case 's':
    case 'q': {
      auto text = Convert(value, Type::String());
      if (!text || value.is_null()) return Invalid("unsupported value for \"%{}\": string required", verb.letter);
      std::string shown = text->as_string();
      if (verb.precision) {
        std::vector<std::string> all = Graphemes(shown);
        shown.clear();
        for (size_t i = 0; i < std::min(all.size(), static_cast<size_t>(*verb.precision)); ++i) shown += all[i];
      }
      return Padded(verb.letter == 'q' ? GoQuote(shown) : shown, verb);
    }
    case 'b':
    case 'd':
    case 'o':
    case 'x':
    case 'X':
    case 'e':
    case 'E':
    case 'f':
    case 'F':
    case 'g':
    case 'G':
      return FormatNumber(value, verb);
    default:
      return Invalid("unsupported format verb '{}'", verb.letter);
  }
}

Result<std::string> Format(const std::string& format, const Arguments& values) {
  std::string out;
  size_t next = 0, used = 0;
  for (size_t i = 0; i < format.size();) {
    if (format[i] != '%') {
      out += format[i++];
      continue;
    }
    size_t start = i++;
    if (i < format.size() && format[i] == '%') {
      out += '%';
      ++i;
      continue;
    }
    Verb verb;
    for (; i < format.size(); ++i) {
      if (format[i] == '+') verb.plus = true;
      else if (format[i] == '-') verb.minus = true;
      else if (format[i] == '0') verb.zero = true;
      else if (format[i] == ' ') verb.space = true;
      else if (format[i] == '#') verb.sharp = true;
      else break;
    }
    auto digits = [&]() -> std::optional<int> {
      size_t from = i;
      while (i < format.size() && isdigit(static_cast<unsigned char>(format[i])) && i - from < 6) ++i;
      return i == from ? std::nullopt : std::optional(std::atoi(format.substr(from, i - from).c_str()));
    };
    verb.width = digits();
    if (i < format.size() && format[i] == '.') {
      ++i;
      verb.precision = digits().value_or(0);
    }
    if (i < format.size() && format[i] == '[') {
      ++i;
      auto index = digits();
      if (!index || *index < 1 || i >= format.size() || format[i] != ']')
        return Invalid("unrecognized format sequence starting at offset {}", start);
      ++i;
      next = static_cast<size_t>(*index) - 1;
    }
    if (i >= format.size()) return Invalid("unterminated format sequence at the end of the string");
    verb.letter = format[i++];
    if (next >= values.size())
      return Invalid("not enough arguments for \"{}\" at {}: need index {} but have {} total",
                     format.substr(start, i - start), start, next + 1, values.size());
    TRY_ASSIGN(std::string piece, FormatOne(values[next], verb));
    out += piece;
    used = std::max(used, ++next);
  }
  if (used < values.size()) return Invalid("too many arguments; only {} used by format string", used);
  return out;
}

Result<Value> FormatList(const Arguments& a) {
  size_t length = 1;
  bool lists = false;
  for (size_t i = 1; i < a.size(); ++i) {
    if (!a[i].is_sequence()) continue;
    size_t size = a[i].items().size();
    if (lists && size != length)
      return Invalid("argument {} has length {}, which is inconsistent with the length {} of an argument before", i + 1,
                     size, length);
    length = size;
    lists = true;
  }
  std::vector<std::string> out;
  for (size_t k = 0; k < length; ++k) {
    Arguments values;
    for (size_t i = 1; i < a.size(); ++i) values.push_back(a[i].is_sequence() ? a[i].items()[k] : a[i]);
    auto text = Format(a[0].as_string(), values);
    if (!text) return Error(std::move(text).error()).With(fmt::format("error on format iteration {}", k));
    out.push_back(std::move(*text));
  }
  return Value::Strings(out);
}

}  // namespace

void AddFormatFunctions(FunctionTable& table) {
  Signature signature{{Type::String()}, Type::Any()};
  signature.nulls = true;
  Define(table, "format", signature, [](const Arguments& a) -> Result<Value> {
    TRY_ASSIGN(std::string text, Format(a[0].as_string(), {a.begin() + 1, a.end()}));
    return Value(std::move(text));
  });
  Define(table, "formatlist", signature, FormatList);
}

}  // namespace varve::hcl
