// Templates: quoted strings, heredocs, what is between ${ and }, and directives.
#include <algorithm>
#include <climits>

#include "base/strings.h"
#include "hcl/expression_parser.h"

namespace varve::hcl {

using Kind = Expression::Kind;

namespace {

// What ~ trims: blanks, and line ends.
bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

}  // namespace

void AppendUtf8(uint32_t code, std::string& out) {
  auto put = [&](uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0 | code >> 6), put(0x80 | (code & 0x3f));
  } else if (code < 0x10000) {
    put(0xe0 | code >> 12), put(0x80 | (code >> 6 & 0x3f)), put(0x80 | (code & 0x3f));
  } else {
    put(0xf0 | code >> 18), put(0x80 | (code >> 12 & 0x3f)), put(0x80 | (code >> 6 & 0x3f)), put(0x80 | (code & 0x3f));
  }
}

Result<ExpressionPtr> ExpressionParser::ParseQuoted() {
  Position start = in_.position();
  in_.Next();
  TRY_ASSIGN(auto parts, ParseParts(true));
  return Assemble(std::move(parts), in_.From(start));
}

Result<ExpressionPtr> ExpressionParser::ParseWholeTemplate() {
  Position start = in_.position();
  TRY_ASSIGN(auto parts, ParseParts(false));
  return Assemble(std::move(parts), in_.From(start));
}

Result<std::string> ExpressionParser::ParseLabel() {
  Position start = in_.position();
  TRY_ASSIGN(ExpressionPtr label, ParseQuoted());
  if (label->kind != Kind::kLiteral) {
    return ErrorAt(in_.From(start), "Invalid string literal",
                   "Template sequences are not allowed in this string. To include a literal \"$\", double it (as "
                   "\"$$\") to escape it.");
  }
  return label->value.as_string();
}

Status ExpressionParser::ParseEscape(std::string& text) {
  Position start = in_.position();
  in_.Next();
  char c = in_.AtEnd() ? '\0' : in_.Next();
  static constexpr std::string_view kNames = "nrt\"\\", kMeant = "\n\r\t\"\\";
  if (size_t at = kNames.find(c); at != kNames.npos && c != '\0') {
    text += kMeant[at];
    return Ok();
  }
  if (c == 'u' || c == 'U') {
    std::string digits;
    for (int i = c == 'u' ? 4 : 8; i > 0 && isxdigit(static_cast<unsigned char>(in_.Peek())); --i) digits += in_.Next();
    auto code = ParseInt(digits, 16);
    if (code && digits.size() == (c == 'u' ? 4 : 8) && *code <= 0x10ffff) {
      AppendUtf8(static_cast<uint32_t>(*code), text);
      return Ok();
    }
    return ErrorAt(in_.From(start), "Invalid escape sequence",
                   c == 'u' ? "The \\u escape sequence must be followed by four hexadecimal digits."
                            : "The \\U escape sequence must be followed by eight hexadecimal digits.");
  }
  return ErrorAt(in_.From(start), "Invalid escape sequence",
                 fmt::format("The symbol \"{}\" is not a valid escape sequence selector.", c));
}

Status ExpressionParser::ParseInterpolation(std::vector<Part>& parts) {
  Position start = in_.position();
  in_.Skip(2);
  Part part{.kind = Part::Kind::kValue, .trim_before = in_.Take("~")};
  Nesting lines(lines_ignored_);
  TRY_ASSIGN(part.value, Parse());
  TRY(SkipBlanks());
  part.trim_after = in_.Take("~");
  TRY(Expect("}", "Extra characters after interpolation expression",
             "Expected a closing brace to end the interpolation expression, but found extra characters."));
  part.range = in_.From(start);
  parts.push_back(std::move(part));
  return Ok();
}

Status ExpressionParser::ParseDirective(std::vector<Part>& parts) {
  Position start = in_.position();
  in_.Skip(2);
  bool trim_before = in_.Take("~");
  Nesting lines(lines_ignored_);
  TRY_ASSIGN(std::string keyword, TakeName("a template directive: if, else, endif, for or endfor"));
  Part part{.kind = Part::Kind::kIf, .trim_before = trim_before};
  if (keyword == "if") {
    TRY_ASSIGN(part.value, Parse());
  } else if (keyword == "else") {
    part.kind = Part::Kind::kElse;
  } else if (keyword == "endif") {
    part.kind = Part::Kind::kEndIf;
  } else if (keyword == "endfor") {
    part.kind = Part::Kind::kEndFor;
  } else if (keyword == "for") {
    part.kind = Part::Kind::kFor;
    TRY_ASSIGN(part.value_name, TakeName("the name of a variable after \"for\""));
    TRY(SkipBlanks());
    if (in_.Take(",")) {
      part.key_name = std::move(part.value_name);
      TRY_ASSIGN(part.value_name, TakeName("the name of a second variable after the comma"));
    }
    TRY_ASSIGN(std::string in, TakeName("\"in\" after the variables of \"for\""));
    if (in != "in")
      return ErrorAt(in_.Here(), "Invalid 'for' directive",
                     "For directive requires the 'in' keyword after its name declarations.");
    TRY_ASSIGN(part.value, Parse());
  } else {
    return ErrorAt(in_.From(start), "Invalid template directive",
                   fmt::format("\"{}\" is not a template directive: use if, else, endif, for or endfor.", keyword));
  }
  TRY(SkipBlanks());
  part.trim_after = in_.Take("~");
  TRY(Expect("}", "Extra characters in directive",
             "Expected a closing brace to end the template directive, but found extra characters."));
  part.range = in_.From(start);
  parts.push_back(std::move(part));
  return Ok();
}

Result<std::vector<ExpressionParser::Part>> ExpressionParser::ParseParts(bool quoted) {
  std::vector<Part> parts;
  Position start = in_.position();
  std::string text;
  auto flush = [&] {
    if (!text.empty()) parts.push_back({.kind = Part::Kind::kText, .text = std::move(text), .range = in_.From(start)});
    text.clear();
  };
  for (;;) {
    if (in_.AtEnd()) {
      if (!quoted) break;
      return ErrorAt(in_.From(start), "Unterminated template string", "No closing marker was found for the string.");
    }
    char c = in_.Peek();
    if (quoted && c == '"') {
      flush();
      in_.Next();
      break;
    }
    if (quoted && c == '\n') {
      return ErrorAt(
          in_.From(start), "Invalid multi-line string",
          "Quoted strings may not be split over multiple lines. To produce a multi-line string, either use the \\n "
          "escape to represent a newline character or use the \"heredoc\" multi-line template syntax.");
    }
    if (quoted && c == '\\') {
      TRY(ParseEscape(text));
    } else if (in_.Looking("$${") || in_.Looking("%%{")) {
      text += in_.Next();
      in_.Next();
      text += in_.Next();
    } else if (in_.Looking("${") || in_.Looking("%{")) {
      flush();
      TRY(c == '$' ? ParseInterpolation(parts) : ParseDirective(parts));
      start = in_.position();
    } else {
      text += in_.Next();
      // Lines of a heredoc are parts of their own: indentation is a matter of lines.
      if (!quoted && c == '\n') flush();
    }
  }
  flush();
  return parts;
}

Result<ExpressionPtr> ExpressionParser::ParseHeredoc() {
  Position start = in_.position();
  in_.Skip(2);
  const bool indented = in_.Take("-");
  std::string marker = in_.Name();
  in_.Take("\r");
  if (marker.empty() || in_.Peek() != '\n') {
    return ErrorAt(in_.From(start), "Invalid expression", "A heredoc needs a marker and the end of the line: <<END.");
  }
  in_.Next();
  // Its text ends before the line that is the marker; what is inside cannot hide that line.
  std::string_view rest = in_.text().substr(in_.position().byte);
  size_t length = 0;
  for (bool found = false; !found;) {
    if (length >= rest.size()) {
      return ErrorAt(in_.From(start), "Unterminated template string",
                     fmt::format("No line \"{}\" was found that ends the text.", marker));
    }
    size_t end = std::min(rest.find('\n', length), rest.size());
    found = TrimSpace(rest.substr(length, end - length)) == marker;
    if (!found) length = end + 1;
  }
  Position body = in_.position();
  std::vector<Part> parts;
  {
    // A scanner of its own that stops there. Places are those of the file.
    std::string text(in_.text().substr(0, body.byte + length));
    auto source = std::make_shared<const Source>(Source{in_.source().name, std::move(text)});
    Scanner inner(source, in_.fixed());
    inner.Return(body);
    ExpressionParser parser(inner);
    parser.depth_ = depth_;
    TRY_ASSIGN(parts, parser.ParseParts(false));
  }
  in_.Skip(length);
  while (in_.Peek() == ' ' || in_.Peek() == '\t') in_.Next();
  in_.Skip(marker.size());
  if (indented) {
    size_t least = SIZE_MAX;
    bool line_start = true;
    std::vector<Part*> adjust;
    for (Part& part : parts) {
      if (line_start) {
        line_start = false;
        size_t blanks = 0;
        if (part.kind == Part::Kind::kText) {
          blanks = std::min(part.text.find_first_not_of(" \t\r\n"), part.text.size());
          if (blanks == part.text.size() && part.text.ends_with('\n')) {
            blanks = SIZE_MAX;  // an empty line says nothing about the indentation
          } else {
            adjust.push_back(&part);
          }
        }
        least = std::min(least, blanks);
      }
      if (part.kind == Part::Kind::kText && part.text.ends_with('\n')) line_start = true;
    }
    for (Part* part : adjust) part->text.erase(0, least);
  }
  return Assemble(std::move(parts), in_.From(start));
}

Result<ExpressionPtr> ExpressionParser::Assemble(std::vector<Part> parts, const Range& range) {
  for (size_t i = 0; i < parts.size(); ++i) {
    auto is_text = [](const Part& part) { return part.kind == Part::Kind::kText; };
    if (parts[i].trim_before) {
      for (size_t j = i; j-- > 0 && is_text(parts[j]);) {
        std::string& text = parts[j].text;
        while (!text.empty() && IsSpace(text.back())) text.pop_back();
        if (!text.empty()) break;
      }
    }
    if (parts[i].trim_after) {
      for (size_t j = i + 1; j < parts.size() && is_text(parts[j]); ++j) {
        std::string& text = parts[j].text;
        text.erase(0, std::min(text.find_first_not_of(" \t\r\n"), text.size()));
        if (!text.empty()) break;
      }
    }
  }
  // "${x}" and nothing else keeps the type of x.
  if (parts.size() == 1 && parts[0].kind == Part::Kind::kValue) {
    return Make({.kind = Kind::kWrap, .range = range, .children = {parts[0].value}});
  }
  size_t at = 0;
  TRY_ASSIGN(auto children, AssembleUntil(parts, at, nullptr));
  bool constant = std::ranges::all_of(children, [](const ExpressionPtr& e) {
    return e->kind == Kind::kLiteral && e->value.is_string() && e->name.empty();
  });
  if (constant) {
    std::string text;
    for (const ExpressionPtr& child : children) text += child->value.as_string();
    return Text(std::move(text), range);
  }
  return Make({.kind = Kind::kTemplate, .range = range, .children = std::move(children)});
}

// Parts up to the one that ends `opener`, or its else. `at` is left there.
Result<std::vector<ExpressionPtr>> ExpressionParser::AssembleUntil(std::vector<Part>& parts, size_t& at,
                                                                   const Part* opener) {
  using PartKind = Part::Kind;
  std::vector<ExpressionPtr> children;
  auto whole = [](std::vector<ExpressionPtr> inner, const Range& range) {
    return Make({.kind = Kind::kTemplate, .range = range, .children = std::move(inner)});
  };
  Nesting deeper(depth_);
  if (depth_ > kMaxDepth) return ErrorAt(in_.Here(), "Invalid expression", "This is nested too deeply.");
  for (; at < parts.size(); ++at) {
    const Part part = parts[at];
    if (part.kind == PartKind::kText) {
      children.push_back(Text(part.text, part.range));
    } else if (part.kind == PartKind::kValue) {
      // One that is a literal is still to be turned into text.
      children.push_back(Make({.kind = Kind::kParentheses, .range = part.range, .children = {part.value}}));
    } else if (part.kind == PartKind::kIf) {
      ++at;
      TRY_ASSIGN(auto yes, AssembleUntil(parts, at, &part));
      std::vector<ExpressionPtr> no;
      if (parts[at].kind == PartKind::kElse) {
        ++at;
        TRY_ASSIGN(no, AssembleUntil(parts, at, &part));
      }
      if (parts[at].kind != PartKind::kEndIf)
        return ErrorAt(parts[at].range, "Unexpected else directive", "This \"if\" has an \"else\" already.");
      children.push_back(
          Make({.kind = Kind::kConditional,
                .range = part.range,
                .children = {part.value, whole(std::move(yes), part.range), whole(std::move(no), part.range)}}));
    } else if (part.kind == PartKind::kFor) {
      ++at;
      TRY_ASSIGN(auto body, AssembleUntil(parts, at, &part));
      if (parts[at].kind != PartKind::kEndFor)
        return ErrorAt(parts[at].range, "Unexpected else directive", "An \"else\" belongs to an \"if\".");
      Expression loop{.kind = Kind::kFor,
                      .range = part.range,
                      .children = {part.value, nullptr, whole(std::move(body), part.range), nullptr}};
      loop.key_name = part.key_name;
      loop.value_name = part.value_name;
      children.push_back(Make({.kind = Kind::kJoin, .range = part.range, .children = {Make(std::move(loop))}}));
    } else if (opener != nullptr &&
               (part.kind == (opener->kind == PartKind::kIf ? PartKind::kEndIf : PartKind::kEndFor) ||
                part.kind == PartKind::kElse)) {
      return children;
    } else {
      return ErrorAt(part.range, "Unexpected template directive", "There is nothing open that this directive ends.");
    }
  }
  if (opener != nullptr) {
    return ErrorAt(opener->range, "Unexpected end of template",
                   fmt::format("The {0} directive is missing its corresponding end{0} directive.",
                               opener->kind == PartKind::kIf ? "if" : "for"));
  }
  return children;
}

}  // namespace varve::hcl
