#include "compose/node.h"

#include <yaml.h>

#include <charconv>
#include <cmath>
#include <set>

#include "base/yaml.h"

namespace varve::compose {

namespace {

constexpr int kMaxDepth = 200;
constexpr size_t kMaxValues = 100'000;

class Reader {
 public:
  Reader(std::string_view text, const std::string& file) : file_(std::make_shared<const std::string>(file)) {
    CHECK(yaml_parser_initialize(&parser_) == 1);
    yaml_parser_set_input_string(&parser_, reinterpret_cast<const unsigned char*>(text.data()), text.size());
  }
  ~Reader() { yaml_parser_delete(&parser_); }

  Result<std::vector<Node>> Run() {
    std::vector<Node> documents;
    for (;;) {
      if (yaml_parser_load(&parser_, &document_) != 1) {
        return ErrorAt(At(parser_.problem_mark), parser_.problem ? parser_.problem : "malformed YAML");
      }
      std::unique_ptr<yaml_document_t, void (*)(yaml_document_t*)> owner(&document_, yaml_document_delete);
      if (yaml_document_get_root_node(&document_) == nullptr) return documents;
      TRY_ASSIGN(Node node, Convert(1, 0));
      if (!node.is_null()) documents.push_back(std::move(node));
    }
  }

 private:
  Place At(const yaml_mark_t& mark) const { return {file_, mark.line + 1, mark.column + 1}; }

  static std::string Text(const yaml_node_t& node) {
    return {reinterpret_cast<const char*>(node.data.scalar.value), node.data.scalar.length};
  }

  Result<Node> Convert(int id, int depth) {
    const yaml_node_t& from = *yaml_document_get_node(&document_, id);
    Node node{.place = At(from.start_mark)};
    if (depth > kMaxDepth) return ErrorAt(node.place, "nested too deeply");
    if (++values_ > kMaxValues) return ErrorAt(node.place, "too many values: aliases may repeat them");
    std::string_view tag = from.tag ? reinterpret_cast<const char*>(from.tag) : "";
    if (tag == "!reset") node.tag = Node::Tag::kReset;
    if (tag == "!override") node.tag = Node::Tag::kOverride;
    if (from.type == YAML_SEQUENCE_NODE) {
      node.kind = Node::Kind::kSequence;
      for (auto* item = from.data.sequence.items.start; item < from.data.sequence.items.top; ++item) {
        TRY_ASSIGN(Node value, Convert(*item, depth + 1));
        node.items.push_back(std::move(value));
      }
    } else if (from.type == YAML_MAPPING_NODE) {
      node.kind = Node::Kind::kMapping;
      TRY(ConvertMembers(from, depth, node));
    } else if (from.data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
      node.scalar = ResolveYamlScalar(Text(from));
    } else {
      node.scalar = Text(from);
    }
    return node;
  }

  Status ConvertMembers(const yaml_node_t& from, int depth, Node& node) {
    std::vector<Node> merged;  // what << names, the strongest first
    std::set<std::string> seen;
    for (auto* pair = from.data.mapping.pairs.start; pair < from.data.mapping.pairs.top; ++pair) {
      const yaml_node_t& key = *yaml_document_get_node(&document_, pair->key);
      const Place place = At(key.start_mark);
      if (key.type != YAML_SCALAR_NODE) return ErrorAt(place, "a key must be text");
      std::string name = Text(key);
      TRY_ASSIGN(Node value, Convert(pair->value, depth + 1));
      if (name == "<<" && key.data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        TRY(AddMerged(std::move(value), merged));
        continue;
      }
      if (!seen.insert(name).second) {
        return ErrorAt(place, fmt::format("mapping key \"{}\" stands twice", name));
      }
      node.members.push_back({std::move(name), place, std::move(value)});
    }
    for (Node& source : merged) {
      for (Node::Member& member : source.members) {
        if (seen.insert(member.key).second) node.members.push_back(std::move(member));
      }
    }
    return Ok();
  }

  static Status AddMerged(Node value, std::vector<Node>& merged) {
    if (value.is_mapping()) {
      merged.push_back(std::move(value));
      return Ok();
    }
    if (value.is_null()) return Ok();
    if (!value.is_sequence()) return ErrorAt(value.place, "<< needs a mapping or a list of mappings");
    for (Node& item : value.items) {
      if (!item.is_mapping()) return ErrorAt(item.place, "<< needs a mapping or a list of mappings");
      merged.push_back(std::move(item));
    }
    return Ok();
  }

  std::shared_ptr<const std::string> file_;
  yaml_parser_t parser_;
  yaml_document_t document_{};
  size_t values_ = 0;
};

// As Go's strconv writes it with 'g' and -1: the shortest digits that give it back, and an exponent where that is below
// -4 or above 5. Docker Compose hands over such build arguments, so 1e6 is "1e+06" there and here.
std::string GoFloat(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Inf" : "+Inf";
  char text[400];
  auto written = [&](std::chars_format format) {
    return std::string(text, std::to_chars(text, text + sizeof text, value, format).ptr);
  };
  std::string scientific = written(std::chars_format::scientific);
  const int exponent = std::atoi(scientific.c_str() + scientific.find('e') + 1);
  return exponent < -4 || exponent > 5 ? scientific : written(std::chars_format::fixed);
}

}  // namespace

std::string Place::ToString() const {
  if (!file) return "";
  return line == 0 ? *file : fmt::format("{}:{}:{}", *file, line, column);
}

Error ErrorAt(const Place& place, std::string_view message) {
  std::string where = place.ToString();
  return Invalid("{}{}{}", where, where.empty() ? "" : ": ", message);
}

const Node* Node::Find(std::string_view key) const {
  for (const Member& member : members) {
    if (member.key == key) return &member.value;
  }
  return nullptr;
}

Node* Node::Find(std::string_view key) { return const_cast<Node*>(std::as_const(*this).Find(key)); }

Node& Node::Set(std::string_view key, Node value) {
  if (Node* found = Find(key)) {
    *found = std::move(value);
    return *found;
  }
  Place at = value.place;
  members.push_back({std::string(key), std::move(at), std::move(value)});
  return members.back().value;
}

void Node::Erase(std::string_view key) {
  std::erase_if(members, [&](const Member& member) { return member.key == key; });
}

std::string Node::Text() const {
  if (scalar.is_null()) return "";
  if (scalar.is_string()) return scalar.as_string();
  if (scalar.is_bool()) return scalar.as_bool() ? "true" : "false";
  if (scalar.is_int()) return fmt::format("{}", scalar.as_int());
  return GoFloat(scalar.as_double());
}

Json Node::ToJson() const {
  if (is_scalar()) return scalar;
  Json json = is_sequence() ? Json::EmptyArray() : Json::EmptyObject();
  for (const Node& item : items) json.Append(item.ToJson());
  for (const Member& member : members) json.Set(member.key, member.value.ToJson());
  return json;
}

Node Node::String(std::string text, Place place) {
  return {.scalar = Json(std::move(text)), .place = std::move(place)};
}
Node Node::Null(Place place) { return {.place = std::move(place)}; }
Node Node::Mapping(Place place) { return {.kind = Kind::kMapping, .place = std::move(place)}; }
Node Node::Sequence(Place place) { return {.kind = Kind::kSequence, .place = std::move(place)}; }

Result<std::vector<Node>> ParseDocuments(std::string_view text, const std::string& file) {
  return Reader(text, file).Run();
}

}  // namespace varve::compose
