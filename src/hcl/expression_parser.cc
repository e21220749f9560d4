#include "hcl/expression_parser.h"

#include <algorithm>
#include <climits>

#include "base/strings.h"

namespace varve::hcl {

using Kind = Expression::Kind;

Status ExpressionParser::SkipBlanks() {
  for (;;) {
    char c = in_.Peek();
    if (c == ' ' || c == '\t' || (c == '\r' && in_.Peek(1) == '\n' && lines_ignored_ > 0)) {
      in_.Next();
    } else if (c == '\n' && lines_ignored_ > 0) {
      in_.Next();
    } else if (c == '#' || in_.Looking("//")) {
      // The line's end stays: it ends what stands before the comment.
      while (!in_.AtEnd() && in_.Peek() != '\n') in_.Next();
    } else if (in_.Looking("/*")) {
      Position start = in_.position();
      in_.Skip(2);
      while (!in_.AtEnd() && !in_.Looking("*/")) in_.Next();
      if (!in_.Take("*/")) {
        return ErrorAt(in_.From(start), "Unterminated comment", "There is no */ after this /*.");
      }
    } else {
      return Ok();
    }
  }
}

Status ExpressionParser::SkipBlanksAndLines() {
  Nesting lines(lines_ignored_);
  return SkipBlanks();
}

Result<std::string> ExpressionParser::TakeName(std::string_view what) {
  TRY(SkipBlanks());
  if (!Scanner::IsNameStart(in_.Peek())) {
    return ErrorAt(in_.Here(), "Invalid expression", fmt::format("Expected {}.", what));
  }
  return in_.Name();
}

Status ExpressionParser::Expect(std::string_view token, std::string_view summary, std::string_view detail) {
  TRY(SkipBlanks());
  if (in_.Take(token)) return Ok();
  return ErrorAt(in_.Here(), summary, detail);
}

Result<ExpressionPtr> ExpressionParser::Parse() {
  Nesting deeper(depth_);
  if (depth_ > kMaxDepth) return ErrorAt(in_.Here(), "Invalid expression", "This is nested too deeply.");
  return ParseConditional();
}

Result<ExpressionPtr> ExpressionParser::ParseConditional() {
  TRY(SkipBlanks());
  Position start = in_.position();
  TRY_ASSIGN(ExpressionPtr condition, ParseBinary(0));
  TRY(SkipBlanks());
  if (in_.Peek() != '?') return condition;
  in_.Next();
  TRY_ASSIGN(ExpressionPtr yes, Parse());
  TRY(Expect(":", "Missing false expression in conditional",
             "The conditional operator (...?...:...) requires a false expression, delimited by a colon."));
  TRY_ASSIGN(ExpressionPtr no, Parse());
  return Make({.kind = Kind::kConditional, .range = in_.From(start), .children = {condition, yes, no}});
}

Result<ExpressionPtr> ExpressionParser::ParseBinary(size_t level) {
  struct Token {
    std::string_view text;
    Operator op;
  };
  static const std::vector<std::vector<Token>> kLevels = {
      {{"||", Operator::kOr}},
      {{"&&", Operator::kAnd}},
      {{"==", Operator::kEqual}, {"!=", Operator::kNotEqual}},
      {{"<=", Operator::kLessEqual},
       {">=", Operator::kGreaterEqual},
       {"<", Operator::kLess},
       {">", Operator::kGreater}},
      {{"+", Operator::kAdd}, {"-", Operator::kSubtract}},
      {{"*", Operator::kMultiply}, {"/", Operator::kDivide}, {"%", Operator::kModulo}},
  };
  if (level == kLevels.size()) return ParseUnary();
  Position start = in_.position();
  TRY_ASSIGN(ExpressionPtr left, ParseBinary(level + 1));
  for (;;) {
    TRY(SkipBlanks());
    auto token = std::ranges::find_if(kLevels[level], [&](const Token& t) { return in_.Looking(t.text); });
    if (token == kLevels[level].end()) return left;
    in_.Skip(token->text.size());
    TRY(SkipBlanks());
    TRY_ASSIGN(ExpressionPtr right, ParseBinary(level + 1));
    left = Make({.kind = Kind::kBinary, .range = in_.From(start), .children = {left, right}, .op = token->op});
  }
}

Result<ExpressionPtr> ExpressionParser::ParseUnary() {
  Nesting deeper(depth_);
  if (depth_ > kMaxDepth) return ErrorAt(in_.Here(), "Invalid expression", "This is nested too deeply.");
  TRY(SkipBlanks());
  Position start = in_.position();
  char c = in_.Peek();
  if (c != '!' && c != '-') return ParsePostfix();
  in_.Next();
  TRY_ASSIGN(ExpressionPtr operand, ParseUnary());
  return Make({.kind = Kind::kUnary,
               .range = in_.From(start),
               .children = {operand},
               .op = c == '!' ? Operator::kNot : Operator::kNegate});
}

Result<ExpressionPtr> ExpressionParser::ParsePostfix() {
  TRY_ASSIGN(ExpressionPtr term, ParseTerm());
  return ParseSteps(std::move(term), false);
}

Result<ExpressionPtr> ExpressionParser::ParseSteps(ExpressionPtr from, bool attributes_only) {
  const Position start = from->range.start;
  auto range = [&] { return in_.From(start); };
  for (;;) {
    // A step follows at once, or on a later line inside of brackets.
    Position before = in_.position();
    TRY(SkipBlanks());
    if (in_.Peek() == '.' && !in_.Looking("...")) {
      in_.Next();
      TRY(SkipBlanks());
      if (in_.Peek() == '*') {
        in_.Next();
        TRY_ASSIGN(auto each, ParseSteps(Make({.kind = Kind::kSplatItem, .range = range()}), true));
        from = Make({.kind = Kind::kSplat, .range = range(), .children = {from, each}});
      } else if (Scanner::IsDigit(in_.Peek())) {
        std::string digits;
        while (Scanner::IsDigit(in_.Peek())) digits += in_.Next();
        auto index = Make({.kind = Kind::kLiteral, .range = range(), .value = *ParseNumber(digits)});
        from = Make({.kind = Kind::kIndex, .range = range(), .children = {from, index}});
      } else if (Scanner::IsNameStart(in_.Peek())) {
        std::string name = in_.Name();
        from = Make({.kind = Kind::kAttribute, .range = range(), .name = name, .children = {from}});
      } else {
        return ErrorAt(in_.Here(), "Invalid attribute name", "An attribute name is required after a dot.");
      }
    } else if (in_.Peek() == '[' && !attributes_only) {
      in_.Next();
      Nesting lines(lines_ignored_);
      TRY(SkipBlanks());
      if (in_.Peek() == '*') {
        in_.Next();
        TRY(Expect("]", "Missing close bracket on splat index",
                   "The star for a full splat operator must be immediately followed by a closing bracket (\"]\")."));
        --lines_ignored_;
        auto each = ParseSteps(Make({.kind = Kind::kSplatItem, .range = range()}), false);
        ++lines_ignored_;
        if (!each) return each;
        from = Make({.kind = Kind::kSplat, .range = range(), .children = {from, *each}});
        continue;
      }
      TRY_ASSIGN(ExpressionPtr index, Parse());
      TRY(Expect("]", "Missing close bracket on index", "The index operator must end with a closing bracket (\"]\")."));
      from = Make({.kind = Kind::kIndex, .range = range(), .children = {from, index}});
    } else {
      in_.Return(before);
      return from;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::ParseTerm() {
  TRY(SkipBlanks());
  Position start = in_.position();
  char c = in_.Peek();
  if (c == '(') {
    in_.Next();
    Nesting lines(lines_ignored_);
    TRY_ASSIGN(ExpressionPtr inner, Parse());
    TRY(Expect(")", "Unbalanced parentheses", "Expected a closing parenthesis to terminate the expression."));
    return Make({.kind = Kind::kParentheses, .range = in_.From(start), .children = {inner}});
  }
  if (c == '"') return ParseQuoted();
  if (in_.Looking("<<")) return ParseHeredoc();
  if (c == '[') return ParseTuple();
  if (c == '{') return ParseObject();
  if (Scanner::IsDigit(c)) return ParseNumberLiteral();
  if (Scanner::IsNameStart(c)) return ParseNameOrCall();
  if (c == '\'') {
    return ErrorAt(in_.Here(), "Invalid character",
                   "Single quotes are not valid. Use double quotes (\") to enclose strings.");
  }
  return ErrorAt(in_.Here(), "Invalid expression",
                 "Expected the start of an expression, but found an invalid expression token.");
}

Result<ExpressionPtr> ExpressionParser::ParseNumberLiteral() {
  Position start = in_.position();
  std::string digits;
  auto take_digits = [&] {
    while (Scanner::IsDigit(in_.Peek())) digits += in_.Next();
  };
  take_digits();
  if (in_.Peek() == '.' && Scanner::IsDigit(in_.Peek(1))) {
    digits += in_.Next();
    take_digits();
  }
  if (in_.Peek() == 'e' || in_.Peek() == 'E') {
    size_t sign = in_.Peek(1) == '+' || in_.Peek(1) == '-' ? 1 : 0;
    if (Scanner::IsDigit(in_.Peek(1 + sign))) {
      for (size_t i = 0; i <= sign; ++i) digits += in_.Next();
      take_digits();
    }
  }
  auto number = ParseNumber(digits);
  if (!number || Scanner::IsNameStart(in_.Peek())) {
    return ErrorAt(in_.From(start), "Invalid number literal", "This is no decimal number.");
  }
  return Make({.kind = Kind::kLiteral, .range = in_.From(start), .value = *number});
}

Result<ExpressionPtr> ExpressionParser::ParseNameOrCall() {
  Position start = in_.position();
  std::string name = in_.Name();
  Position after = in_.position();
  // Names of functions may have a namespace, which no function of ours has.
  while (in_.Looking("::")) {
    in_.Skip(2);
    name += "::" + in_.Name();
  }
  TRY(SkipBlanks());
  if (in_.Peek() == '(') return ParseArguments(std::move(name), start);
  in_.Return(after);
  auto literal = [&](Value value) {
    return Make({.kind = Kind::kLiteral, .range = in_.From(start), .value = std::move(value), .name = name});
  };
  if (name == "true") return literal(true);
  if (name == "false") return literal(false);
  if (name == "null") return literal({});
  return Make({.kind = Kind::kVariable, .range = in_.From(start), .name = name});
}

Result<ExpressionPtr> ExpressionParser::ParseArguments(std::string name, const Position& start) {
  in_.Next();
  Nesting lines(lines_ignored_);
  Expression call{.kind = Kind::kCall, .range = {}, .name = std::move(name)};
  for (;;) {
    TRY(SkipBlanks());
    if (in_.Take(")")) break;
    TRY_ASSIGN(ExpressionPtr argument, Parse());
    call.children.push_back(std::move(argument));
    TRY(SkipBlanks());
    if (in_.Take("...")) {
      call.expand = true;
      in_.Take(",");
      TRY(Expect(")", "Missing closing parenthesis",
                 "An expanded function argument (with ...) must be immediately followed by closing parentheses."));
      break;
    }
    if (in_.Take(",")) continue;
    TRY(Expect(")", "Missing argument separator",
               "A comma is required to separate each function argument from the next."));
    break;
  }
  call.range = in_.From(start);
  return Make(std::move(call));
}

bool ExpressionParser::LooksLikeFor() {
  Position before = in_.position();
  bool is = in_.Take("for") && !Scanner::IsNamePart(in_.Peek()) && SkipBlanks().has_value() &&
            Scanner::IsNameStart(in_.Peek());
  in_.Return(before);
  return is;
}

Result<ExpressionPtr> ExpressionParser::ParseTuple() {
  Position start = in_.position();
  in_.Next();
  Nesting lines(lines_ignored_);
  TRY(SkipBlanks());
  if (LooksLikeFor()) return ParseFor(start, false);
  Expression tuple{.kind = Kind::kTuple, .range = {}};
  for (;;) {
    TRY(SkipBlanks());
    if (in_.Take("]")) break;
    if (in_.AtEnd()) {
      return ErrorAt(in_.From(start), "Unterminated tuple constructor expression",
                     "There is no corresponding closing bracket before the end of the file. This may be caused by "
                     "incorrect bracket nesting elsewhere in this file.");
    }
    TRY_ASSIGN(ExpressionPtr item, Parse());
    tuple.children.push_back(std::move(item));
    TRY(SkipBlanks());
    if (in_.Take(",")) continue;
    TRY(Expect("]", "Missing item separator", "Expected a comma to mark the beginning of the next item."));
    break;
  }
  tuple.range = in_.From(start);
  return Make(std::move(tuple));
}

Result<ExpressionPtr> ExpressionParser::ParseObject() {
  Position start = in_.position();
  in_.Next();
  TRY(SkipBlanksAndLines());
  if (LooksLikeFor()) {
    Nesting lines(lines_ignored_);
    return ParseFor(start, true);
  }
  // Line ends separate the items, whatever stands around the object.
  const int outer = std::exchange(lines_ignored_, 0);
  auto parsed = [&]() -> Result<ExpressionPtr> {
    Expression object{.kind = Kind::kObject, .range = {}};
    for (;;) {
      TRY(SkipBlanksAndLines());
      if (in_.Take("}")) break;
      if (in_.AtEnd()) {
        return ErrorAt(in_.From(start), "Unterminated object constructor expression",
                       "There is no corresponding closing brace before the end of the file. This may be caused by "
                       "incorrect brace nesting elsewhere in this file.");
      }
      TRY_ASSIGN(ExpressionPtr key, Parse());
      // A bare name is the key itself; (name) is a variable's value.
      if (auto keyword = Keyword(*key)) key = Text(*keyword, key->range);
      TRY(SkipBlanks());
      if (!in_.Take(":") && !in_.Take("=")) {
        return ErrorAt(in_.Here(), "Missing attribute value",
                       "Expected an attribute value, introduced by an equals sign (\"=\").");
      }
      TRY_ASSIGN(ExpressionPtr value, Parse());
      object.children.push_back(std::move(key));
      object.children.push_back(std::move(value));
      TRY(SkipBlanks());
      if (in_.Take(",") || in_.Peek() == '\n' || in_.Looking("\r\n")) continue;
      TRY(Expect("}", "Missing attribute separator",
                 "Expected a newline or comma to mark the beginning of the next attribute."));
      break;
    }
    object.range = in_.From(start);
    return Make(std::move(object));
  }();
  lines_ignored_ = outer;
  return parsed;
}

// [for k, v in coll : value if cond], {for k, v in coll : key => value... if cond}
Result<ExpressionPtr> ExpressionParser::ParseFor(const Position& start, bool object) {
  in_.Take("for");
  Expression loop{.kind = Kind::kFor, .range = {}};
  TRY_ASSIGN(loop.value_name, TakeName("the name of a variable after \"for\""));
  TRY(SkipBlanks());
  if (in_.Take(",")) {
    loop.key_name = std::move(loop.value_name);
    TRY_ASSIGN(loop.value_name, TakeName("the name of a second variable after the comma"));
  }
  TRY_ASSIGN(std::string in, TakeName("\"in\" after the variables of \"for\""));
  if (in != "in") {
    return ErrorAt(in_.Here(), "Invalid 'for' expression",
                   "For expression requires the 'in' keyword after its name declarations.");
  }
  TRY_ASSIGN(ExpressionPtr collection, Parse());
  TRY(Expect(":", "Invalid 'for' expression", "For expression requires a colon after the collection expression."));
  ExpressionPtr key, value, condition;
  TRY_ASSIGN(value, Parse());
  TRY(SkipBlanks());
  if (in_.Take("=>")) {
    if (!object)
      return ErrorAt(in_.Here(), "Invalid 'for' expression", "Key expression is not valid when building a tuple.");
    key = std::move(value);
    TRY_ASSIGN(value, Parse());
    TRY(SkipBlanks());
    loop.expand = in_.Take("...");
    TRY(SkipBlanks());
  } else if (object) {
    return ErrorAt(in_.Here(), "Invalid 'for' expression", "Key expression is required when building an object.");
  }
  if (in_.Looking("if") && !Scanner::IsNamePart(in_.Peek(2))) {
    in_.Skip(2);
    TRY_ASSIGN(condition, Parse());
  }
  TRY(Expect(object ? "}" : "]", "Invalid 'for' expression",
             "Extra characters after the end of the 'for' expression."));
  loop.range = in_.From(start);
  loop.children = {collection, key, value, condition};
  return Make(std::move(loop));
}

}  // namespace varve::hcl
