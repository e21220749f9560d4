#include "hcl/syntax.h"

#include <algorithm>

#include "base/strings.h"
#include "hcl/expression_parser.h"

namespace varve::hcl {

namespace {

using Kind = Expression::Kind;

class BodyParser {
 public:
  explicit BodyParser(std::shared_ptr<const Source> source) : in_(std::move(source), {}), expressions_(in_) {}

  Result<Body> Run() { return ParseBody(false); }

 private:
  // Up to the end, or to the brace that closes a block.
  Result<Body> ParseBody(bool in_block) {
    Body body;
    if (++depth_ > 100) return ErrorAt(in_.Here(), "Invalid block definition", "Blocks are nested too deeply.");
    for (;;) {
      TRY(expressions_.SkipBlanksAndLines());
      // A byte order mark, and carriage returns of line ends.
      if (in_.position().byte == 0 && in_.Take("\xef\xbb\xbf")) continue;
      if (in_.Take("\r")) continue;
      if (in_.AtEnd()) {
        if (in_block)
          return ErrorAt(in_.Here(), "Unclosed configuration block",
                         "There is no closing brace for this block before the end of the file. This may be caused by "
                         "incorrect brace nesting elsewhere in this file.");
        break;
      }
      if (in_block && in_.Peek() == '}') break;
      TRY(ParseItem(body, false));
    }
    body.end = in_.Here();
    --depth_;
    return body;
  }

  Status ParseItem(Body& body, bool attributes_only) {
    Position start = in_.position();
    if (!Scanner::IsNameStart(in_.Peek())) {
      return ErrorAt(in_.Here(), "Argument or block definition required",
                     "An argument or block definition is required here.");
    }
    std::string name = in_.Name();
    Range name_range = in_.From(start);
    TRY(expressions_.SkipBlanks());
    if (in_.Peek() == '=') {
      in_.Next();
      TRY_ASSIGN(ExpressionPtr value, expressions_.Parse());
      const Attribute* earlier = body.Find(name);
      Range range = in_.From(start);
      if (earlier != nullptr) {
        return ErrorAt(name_range, "Attribute redefined",
                       fmt::format("The argument \"{}\" was already set at {}. Each argument may be set only once.",
                                   name, earlier->name_range.ToString()));
      }
      if (!attributes_only) TRY(ExpectLineEnd("argument definition"));
      body.attributes.push_back({std::move(name), name_range, range, std::move(value)});
      return Ok();
    }
    if (attributes_only) {
      return ErrorAt(
          in_.Here(), "Invalid single-argument block definition",
          "A single-line block definition can contain only a single argument. If you meant to define argument \"" +
              name + "\", use an equals sign to assign it a value.");
    }
    return ParseBlock(body, std::move(name), start);
  }

  Status ParseBlock(Body& body, std::string type, const Position& start) {
    Block block{.type = std::move(type), .labels = {}, .label_ranges = {}, .header = {}, .body = {}};
    block.header = in_.From(start);
    for (;;) {
      TRY(expressions_.SkipBlanks());
      Position label = in_.position();
      if (in_.Peek() == '"') {
        TRY_ASSIGN(std::string text, expressions_.ParseLabel());
        block.labels.push_back(std::move(text));
      } else if (Scanner::IsNameStart(in_.Peek())) {
        block.labels.push_back(in_.Name());
      } else {
        break;
      }
      block.label_ranges.push_back(in_.From(label));
      block.header = in_.From(start);
    }
    if (in_.Peek() != '{') {
      return ErrorAt(in_.Here(), "Invalid block definition",
                     block.labels.empty()
                         ? "A block definition must have block content delimited by \"{\" and \"}\", starting on the "
                           "same line as the block header. An argument is set with an equals sign (\"=\")."
                         : "Either a quoted string block label or an opening brace (\"{\") is expected here.");
    }
    in_.Next();
    TRY(expressions_.SkipBlanks());
    if (in_.Peek() == '\n' || in_.Looking("\r\n") || in_.AtEnd()) {
      TRY_ASSIGN(block.body, ParseBody(true));
      in_.Next();
    } else {
      // On one line: nothing, or one argument.
      if (in_.Peek() != '}') {
        Position argument = in_.position();
        TRY(ParseItem(block.body, true));
        TRY(expressions_.SkipBlanks());
        if (in_.Peek() != '}') {
          return ErrorAt(in_.From(argument), "Invalid single-argument block definition",
                         "An argument definition on the same line as its containing block creates a single-line block "
                         "definition, which must also be closed on the same line. Place the block's closing brace "
                         "immediately after the argument definition.");
        }
      }
      block.body.end = in_.Here();
      in_.Next();
    }
    TRY(ExpectLineEnd("block definition"));
    body.blocks.push_back(std::move(block));
    return Ok();
  }

  Status ExpectLineEnd(std::string_view after) {
    TRY(expressions_.SkipBlanks());
    in_.Take("\r");
    if (in_.AtEnd() || in_.Peek() == '\n') return Ok();
    if (after == "argument definition") {
      return ErrorAt(in_.Here(), "Missing newline after argument", "An argument definition must end with a newline.");
    }
    return ErrorAt(in_.Here(), "Missing newline after block definition", "A block definition must end with a newline.");
  }

  Scanner in_;
  ExpressionParser expressions_;
  int depth_ = 0;
};

}  // namespace

const Attribute* Body::Find(std::string_view name) const {
  auto it = std::ranges::find(attributes, name, &Attribute::name);
  return it == attributes.end() ? nullptr : &*it;
}

Result<Body> ParseNative(Source source) { return BodyParser(std::make_shared<const Source>(std::move(source))).Run(); }

Result<ExpressionPtr> ParseExpression(std::string text, const Range& at) {
  auto source = std::make_shared<const Source>(Source{at.source ? at.source->name : "", std::move(text)});
  Scanner in(source, at);
  ExpressionParser parser(in);
  TRY_ASSIGN(ExpressionPtr expression, parser.Parse());
  TRY(parser.SkipBlanksAndLines());
  if (in.AtEnd()) return expression;
  return ErrorAt(in.Here(), "Extra characters after expression",
                 "An expression was successfully parsed, but extra characters were found after it.");
}

std::optional<std::string> Keyword(const Expression& expression) {
  if (expression.json) {
    auto parsed = ParseExpression(*expression.json, expression.range);
    return parsed ? Keyword(**parsed) : std::nullopt;
  }
  if (expression.kind == Kind::kVariable) return expression.name;
  // true, false and null are names to who asks for a name.
  if (expression.kind == Kind::kLiteral && !expression.name.empty()) return expression.name;
  return std::nullopt;
}

Result<std::vector<ExpressionPtr>> ListOf(const Expression& expression) {
  if (expression.kind == Kind::kTuple) return expression.children;
  return ErrorAt(expression.range, "Invalid expression", "A static list expression is required.");
}

Result<Type> TypeOf(const Expression& expression) {
  if (expression.json) {
    TRY_ASSIGN(auto parsed, ParseExpression(*expression.json, expression.range));
    return TypeOf(*parsed);
  }
  auto bad = [&](std::string_view detail) { return ErrorAt(expression.range, "Invalid type specification", detail); };
  if (auto name = Keyword(expression)) {
    if (*name == "string") return Type::String();
    if (*name == "number") return Type::Number();
    if (*name == "bool") return Type::Bool();
    if (*name == "any") return Type::Any();
    if (*name == "list" || *name == "set" || *name == "map") {
      return bad(fmt::format("The {} type constructor requires one argument specifying the element type.", *name));
    }
    if (*name == "object")
      return bad(
          "The object type constructor requires one argument specifying the attribute types and values as a map.");
    if (*name == "tuple")
      return bad("The tuple type constructor requires one argument specifying the element types as a list.");
    return bad(fmt::format("The keyword \"{}\" is not a valid type specification.", *name));
  }
  if (expression.kind != Kind::kCall) {
    return bad(
        "A type specification is either a primitive type keyword (bool, number, string) or a complex type constructor "
        "call, like list(string).");
  }
  const std::string& name = expression.name;
  static constexpr std::string_view kKnown[] = {"list", "set", "map", "object", "tuple"};
  if (std::ranges::find(kKnown, name) == std::end(kKnown)) {
    if (name == "string" || name == "number" || name == "bool")
      return bad(fmt::format("Primitive type keyword \"{}\" does not expect arguments.", name));
    return bad(fmt::format("Keyword \"{}\" is not a valid type constructor.", name));
  }
  if (expression.children.size() != 1) return bad(fmt::format("The {} type constructor requires one argument.", name));
  const Expression& of = *expression.children[0];
  if (name == "tuple") {
    Type tuple{Type::Kind::kTuple, {}, {}};
    if (of.kind != Kind::kTuple) return bad("Tuple type constructor requires a list of element types.");
    for (const ExpressionPtr& element : of.children) {
      TRY_ASSIGN(Type type, TypeOf(*element));
      tuple.elements.push_back(std::move(type));
    }
    return tuple;
  }
  if (name == "object") {
    if (of.kind != Kind::kObject)
      return bad(
          "Object type constructor requires a map whose keys are attribute names and whose values are the "
          "corresponding attribute types.");
    std::map<std::string, Type> attributes;
    for (size_t i = 0; i + 1 < of.children.size(); i += 2) {
      const Expression& key = *of.children[i];
      if (key.kind != Kind::kLiteral || !key.value.is_string())
        return bad("Object constructor map keys must be attribute names.");
      TRY_ASSIGN(Type type, TypeOf(*of.children[i + 1]));
      attributes[key.value.as_string()] = std::move(type);
    }
    Type object{Type::Kind::kObject, {}, {}};
    for (auto& [attribute, type] : attributes) {
      object.names.push_back(attribute);
      object.elements.push_back(std::move(type));
    }
    return object;
  }
  TRY_ASSIGN(Type element, TypeOf(of));
  if (name == "list") return Type::List(std::move(element));
  return name == "set" ? Type::Set(std::move(element)) : Type::Map(std::move(element));
}

}  // namespace varve::hcl
