#include "base/yaml.h"

#include <yaml.h>

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <string>

#include "base/strings.h"

namespace varve {

namespace {

constexpr int kMaxDepth = 200;
constexpr size_t kMaxValues = 1'000'000;

struct Parser {
  yaml_parser_t parser;
  Parser() { CHECK(yaml_parser_initialize(&parser) == 1); }
  ~Parser() { yaml_parser_delete(&parser); }
};

struct Document {
  yaml_document_t document{};
  bool loaded = false;
  ~Document() {
    if (loaded) yaml_document_delete(&document);
  }
};

Error ParseError(const yaml_parser_t& parser) {
  return Invalid("line {}, column {}: {}", parser.problem_mark.line + 1, parser.problem_mark.column + 1,
                 parser.problem ? parser.problem : "malformed YAML");
}

class Converter {
 public:
  explicit Converter(yaml_document_t& document) : document_(document) {}

  Result<Json> Convert(int id, int depth) {
    const yaml_node_t& node = *yaml_document_get_node(&document_, id);
    if (depth > kMaxDepth) return At(node, "nested too deeply");
    if (++values_ > kMaxValues) return At(node, "too many values");
    if (node.type == YAML_SEQUENCE_NODE) {
      Json list = Json::EmptyArray();
      for (auto* item = node.data.sequence.items.start; item < node.data.sequence.items.top; ++item) {
        TRY_ASSIGN(Json value, Convert(*item, depth + 1));
        list.Append(std::move(value));
      }
      return list;
    }
    if (node.type == YAML_MAPPING_NODE) {
      Json object = Json::EmptyObject();
      for (auto* pair = node.data.mapping.pairs.start; pair < node.data.mapping.pairs.top; ++pair) {
        const yaml_node_t& key = *yaml_document_get_node(&document_, pair->key);
        if (key.type != YAML_SCALAR_NODE) return At(key, "a key that is no text");
        const std::string name = Text(key);
        if (object.Find(name) != nullptr) return At(key, "the key \"" + name + "\" stands twice");
        TRY_ASSIGN(Json value, Convert(pair->value, depth + 1));
        object.Set(name, std::move(value));
      }
      return object;
    }
    if (node.data.scalar.style == YAML_PLAIN_SCALAR_STYLE) return ResolveYamlScalar(Text(node));
    return Json(Text(node));
  }

 private:
  static std::string Text(const yaml_node_t& node) {
    return {reinterpret_cast<const char*>(node.data.scalar.value), node.data.scalar.length};
  }
  static Error At(const yaml_node_t& node, std::string_view what) {
    return Invalid("line {}, column {}: {}", node.start_mark.line + 1, node.start_mark.column + 1, what);
  }

  yaml_document_t& document_;
  size_t values_ = 0;
};

// Decimal, or with 0b, 0o, 0x or a bare 0 in front (octal), and a sign; a number above the signed range is its text.
std::optional<Json> Integer(const std::string& text) {
  const bool negative = text[0] == '-';
  std::string_view digits = std::string_view(text).substr(negative || text[0] == '+' ? 1 : 0);
  int base = 10;
  if (digits.size() > 1 && digits[0] == '0') {
    const char letter = digits[1] | 0x20;
    base = letter == 'b' ? 2 : letter == 'x' ? 16 : 8;
    digits.remove_prefix(letter == 'b' || letter == 'x' || letter == 'o' ? 2 : 1);
  }
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  if (value <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return Json(negative ? -static_cast<int64_t>(value) : static_cast<int64_t>(value));
  }
  if (negative) return std::nullopt;
  return Json(fmt::format("{}", value));
}

}  // namespace

Json ResolveYamlScalar(const std::string& text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return {};
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  const size_t sign = text[0] == '-' || text[0] == '+' ? 1 : 0;
  const std::string_view digits = std::string_view(text).substr(sign);
  if (digits == ".inf" || digits == ".Inf" || digits == ".INF") {
    const double infinity = std::numeric_limits<double>::infinity();
    return text[0] == '-' ? -infinity : infinity;
  }
  if (text == ".nan" || text == ".NaN" || text == ".NAN") return std::nan("");
  if (digits.empty() || (digits[0] != '.' && (digits[0] < '0' || digits[0] > '9'))) return text;
  std::string plain = text;
  std::erase(plain, '_');
  if (auto number = Integer(plain)) return *number;
  // [-+]? ( . digits | digits ( . digits* )? ) ( [eE] [-+]? digits )?
  if (plain.find_first_not_of("0123456789.eE+-") == plain.npos && plain.find_first_of("0123456789") != plain.npos) {
    char* end = nullptr;
    const double value = std::strtod(plain.c_str(), &end);
    if (*end == '\0' && std::isfinite(value)) return value;
  }
  return text;
}

Result<Json> ParseYaml(std::string_view text) {
  Parser parser;
  yaml_parser_set_input_string(&parser.parser, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  Document first;
  if (yaml_parser_load(&parser.parser, &first.document) != 1) return ParseError(parser.parser);
  first.loaded = true;
  if (yaml_document_get_root_node(&first.document) == nullptr) return Json();
  TRY_ASSIGN(Json json, Converter(first.document).Convert(1, 0));
  Document second;
  if (yaml_parser_load(&parser.parser, &second.document) != 1) return ParseError(parser.parser);
  second.loaded = true;
  if (const yaml_node_t* more = yaml_document_get_root_node(&second.document)) {
    return Invalid("line {}: a second document", more->start_mark.line + 1);
  }
  return json;
}

}  // namespace varve
