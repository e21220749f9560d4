// The JSON form of HCL: strings are templates, and what is a block is said by a schema.
#include <algorithm>

#include "base/strings.h"
#include "hcl/expression_parser.h"
#include "hcl/syntax.h"

namespace varve::hcl {

namespace {

using Kind = Expression::Kind;

// A JSON value with places. Objects keep all members, also those of the same name.
struct Node {
  enum class Is { kScalar, kString, kArray, kObject } is = Is::kScalar;
  Range range;
  Value scalar;
  std::string text;  // of a string
  std::vector<Node> items;
  struct Member;
  std::vector<Member> members;
};
struct Node::Member {
  std::string name;
  Range range;
  Node value;
};

class Reader {
 public:
  explicit Reader(Scanner& in) : in_(in) {}

  Result<Node> Run() {
    in_.Take("\xef\xbb\xbf");
    TRY_ASSIGN(Node node, Read(0));
    SkipBlanks();
    if (!in_.AtEnd()) return Bad("Extraneous data after value", "Extra characters appear after the JSON value.");
    return node;
  }

 private:
  Error Bad(std::string_view summary, std::string_view detail) { return ErrorAt(in_.Here(), summary, detail); }

  void SkipBlanks() {
    while (!in_.AtEnd() && std::string_view(" \t\r\n").find(in_.Peek()) != std::string_view::npos) in_.Next();
  }

  Result<Node> Read(int depth) {
    SkipBlanks();
    if (depth > 100) return Bad("Invalid JSON value", "This is nested too deeply.");
    Position start = in_.position();
    Node node;
    if (in_.Peek() == '{') {
      node.is = Node::Is::kObject;
      TRY(ReadItems('}', [&]() -> Status {
        Position key = in_.position();
        if (in_.Peek() != '"')
          return Bad("Invalid object property name", "A JSON object property name must be a string in double quotes.");
        TRY_ASSIGN(std::string name, ReadString());
        Range range = in_.From(key);
        SkipBlanks();
        if (!in_.Take(":"))
          return Bad("Missing property value colon",
                     "A colon must appear between an object property's name and its value.");
        TRY_ASSIGN(Node value, Read(depth + 1));
        node.members.push_back({std::move(name), range, std::move(value)});
        return Ok();
      }));
    } else if (in_.Peek() == '[') {
      node.is = Node::Is::kArray;
      TRY(ReadItems(']', [&]() -> Status {
        TRY_ASSIGN(Node item, Read(depth + 1));
        node.items.push_back(std::move(item));
        return Ok();
      }));
    } else if (in_.Peek() == '"') {
      node.is = Node::Is::kString;
      TRY_ASSIGN(node.text, ReadString());
    } else {
      std::string word;
      while (!in_.AtEnd() && std::string_view(" \t\r\n,]}:").find(in_.Peek()) == std::string_view::npos)
        word += in_.Next();
      if (word == "true" || word == "false") {
        node.scalar = word == "true";
      } else if (auto number = ParseNumber(word); number && word[0] != '+') {
        node.scalar = *number;
      } else if (word != "null") {
        return ErrorAt(in_.From(start), "Invalid JSON value", fmt::format("\"{}\" is not a JSON value.", word));
      }
    }
    node.range = in_.From(start);
    return node;
  }

  template <class F>
  Status ReadItems(char close, F&& read) {
    in_.Next();
    SkipBlanks();
    if (in_.Peek() == close) {
      in_.Next();
      return Ok();
    }
    for (;;) {
      SkipBlanks();
      TRY(read());
      SkipBlanks();
      if (in_.Peek() == close) {
        in_.Next();
        return Ok();
      }
      if (in_.AtEnd())
        return Bad("Unclosed value", fmt::format("There is no closing {} before the end of the file.", close));
      if (!in_.Take(","))
        return Bad("Missing comma", "A comma must appear between the items of a JSON object or array.");
    }
  }

  Result<std::string> ReadString() {
    Position start = in_.position();
    in_.Next();
    while (!in_.AtEnd() && in_.Peek() != '"' && in_.Peek() != '\n') {
      if (in_.Next() == '\\' && !in_.AtEnd()) in_.Next();
    }
    if (!in_.Take("\"")) return ErrorAt(in_.From(start), "Invalid JSON string", "The string does not end on its line.");
    auto text = Json::Parse(in_.text().substr(start.byte, in_.position().byte - start.byte));
    if (!text || !text->is_string())
      return ErrorAt(in_.From(start), "Invalid JSON string", "It has an escape sequence that JSON does not know.");
    return text->as_string();
  }

  Scanner& in_;
};

Result<ExpressionPtr> ToExpression(const Node& node) {
  Expression expression{.kind = Kind::kLiteral, .range = node.range};
  if (node.is == Node::Is::kString) {
    auto source = std::make_shared<const Source>(Source{node.range.source->name, node.text});
    Scanner in(source, node.range);
    ExpressionParser parser(in);
    TRY_ASSIGN(ExpressionPtr parsed, parser.ParseWholeTemplate());
    expression = *parsed;
    expression.json = node.text;
  } else if (node.is == Node::Is::kArray) {
    expression.kind = Kind::kTuple;
    for (const Node& item : node.items) {
      TRY_ASSIGN(ExpressionPtr child, ToExpression(item));
      expression.children.push_back(std::move(child));
    }
  } else if (node.is == Node::Is::kObject) {
    expression.kind = Kind::kObject;
    for (const Node::Member& member : node.members) {
      Node name{.is = Node::Is::kString, .range = member.range, .text = member.name};
      TRY_ASSIGN(ExpressionPtr key, ToExpression(name));
      TRY_ASSIGN(ExpressionPtr value, ToExpression(member.value));
      expression.children.push_back(std::move(key));
      expression.children.push_back(std::move(value));
    }
  } else {
    expression.value = node.scalar;
  }
  return std::make_shared<const Expression>(std::move(expression));
}

// Calls `each` for an object, or for the objects of an array.
template <class F>
Status ForObjects(const Node& node, F&& each) {
  if (node.is == Node::Is::kObject) return each(node);
  if (node.is == Node::Is::kArray) {
    for (const Node& item : node.items) TRY(ForObjects(item, each));
    return Ok();
  }
  if (node.is == Node::Is::kScalar && node.scalar.is_null()) return Ok();
  return ErrorAt(node.range, "Incorrect JSON value type",
                 "Either a JSON object or a JSON array of objects is required here.");
}

Status AddBody(const Node& node, const std::map<std::string, BlockType>& types, Body& body);

Status AddBlocks(const Node& node, const BlockType& type, const Block& so_far, Body& body) {
  return ForObjects(node, [&](const Node& object) -> Status {
    if (so_far.labels.size() == type.labels) {
      Block block = so_far;
      block.body.end = object.range;
      TRY(AddBody(object, type.nested, block.body));
      body.blocks.push_back(std::move(block));
      return Ok();
    }
    for (const Node::Member& member : object.members) {
      Block block = so_far;
      block.labels.push_back(member.name);
      block.label_ranges.push_back(member.range);
      block.header = member.range;
      TRY(AddBlocks(member.value, type, block, body));
    }
    return Ok();
  });
}

Status AddBody(const Node& node, const std::map<std::string, BlockType>& types, Body& body) {
  for (const Node::Member& member : node.members) {
    if (member.name == "//") continue;  // a comment, at the top of any body
    if (auto type = types.find(member.name); type != types.end()) {
      TRY(AddBlocks(member.value, type->second,
                    {.type = member.name, .labels = {}, .label_ranges = {}, .header = member.range, .body = {}}, body));
      continue;
    }
    TRY_ASSIGN(ExpressionPtr value, ToExpression(member.value));
    if (const Attribute* earlier = body.Find(member.name)) {
      return ErrorAt(member.range, "Duplicate argument",
                     fmt::format("Argument \"{}\" was already set at {}", member.name, earlier->name_range.ToString()));
    }
    body.attributes.push_back(
        {member.name, member.range, RangeOver(member.range, member.value.range), std::move(value)});
  }
  return Ok();
}

}  // namespace

Result<Body> ParseJson(Source source, const std::map<std::string, BlockType>& types) {
  auto shared = std::make_shared<const Source>(std::move(source));
  Scanner in(shared, {});
  TRY_ASSIGN(Node root, Reader(in).Run());
  Body body;
  body.end = {root.range.source, root.range.start, root.range.start};
  TRY(ForObjects(root, [&](const Node& object) { return AddBody(object, types, body); }));
  return body;
}

}  // namespace varve::hcl
