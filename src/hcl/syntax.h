// HCL as written: bodies of attributes and blocks, expressions (HCL native syntax specification,
// github.com/hashicorp/hcl, hclsyntax/spec.md; the JSON form: json/spec.md).
//
//   TRY_ASSIGN(Body body, ParseNative({"docker-bake.hcl", text}));
//   for (const Block& block : body.blocks) …
//
// Nothing is evaluated here. Errors are ErrorAt's.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "hcl/source.h"
#include "hcl/value.h"

namespace varve::hcl {

struct Expression;
using ExpressionPtr = std::shared_ptr<const Expression>;

enum class Operator {
  kOr,
  kAnd,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kModulo,
  kNot,
  kNegate,
};

struct Expression {
  enum class Kind {
    kLiteral,      // value
    kTemplate,     // children: parts, which make one string
    kWrap,         // children[0]: "${…}" alone, which keeps its type
    kVariable,     // name
    kAttribute,    // children[0].name
    kIndex,        // children[0][children[1]]
    kSplat,        // children[0], each item given to children[1]
    kSplatItem,    // the item
    kCall,         // name(children…); expand: the last one is a list of arguments
    kConditional,  // children[0] ? children[1] : children[2]
    kUnary,        // op children[0]
    kBinary,       // children[0] op children[1]
    kTuple,        // children
    kObject,       // children: key, value, key, value, …
    kFor,          // children: collection, key or null, value, condition or null
    kJoin,         // children[0]: a tuple of strings, made one
    kParentheses,  // children[0]
  };
  Kind kind;
  Range range;
  Value value = {};
  std::string name = {};
  std::vector<ExpressionPtr> children = {};
  Operator op = Operator::kOr;
  bool expand = false;  // a call's last argument has …; a for-expression groups
  bool splat_nulls = false;
  std::string key_name, value_name;      // of a for-expression; key_name may be empty
  std::optional<std::string> json = {};  // the text of a JSON string
};

struct Attribute {
  std::string name;
  Range name_range, range;
  ExpressionPtr value;
};

struct Block;

struct Body {
  std::vector<Attribute> attributes;  // unique names in native syntax
  std::vector<Block> blocks;
  Range end;  // where something that is missing could have been

  const Attribute* Find(std::string_view name) const;
};

struct Block {
  std::string type;
  std::vector<std::string> labels;
  std::vector<Range> label_ranges;
  Range header;  // type and labels
  Body body;
};

Result<Body> ParseNative(Source source);

// JSON does not say what is a block: the names of block types do, with the number of their labels and
// what blocks they have in turn.
struct BlockType {
  size_t labels = 0;
  std::map<std::string, BlockType> nested = {};
};
Result<Body> ParseJson(Source source, const std::map<std::string, BlockType>& types);

// One expression, and nothing else: "list(string)". Its places are all `at` when that is given.
Result<ExpressionPtr> ParseExpression(std::string text, const Range& at);

// A lone name: `string`, or the JSON string "string"; nothing for anything else.
std::optional<std::string> Keyword(const Expression& expression);
// The elements of [a, b], unevaluated. kInvalid for something else.
Result<std::vector<ExpressionPtr>> ListOf(const Expression& expression);
// A type: string, list(number), object({a = bool}). any is Any.
Result<Type> TypeOf(const Expression& expression);

}  // namespace varve::hcl
