#include "hcl/value.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/strings.h"

namespace varve::hcl {

using Kind = Type::Kind;

const Type* Type::Attribute(std::string_view name) const {
  auto it = std::ranges::lower_bound(names, name);
  if (kind != Kind::kObject || it == names.end() || *it != name) return nullptr;
  return &elements[static_cast<size_t>(it - names.begin())];
}

std::string Type::Name() const {
  switch (kind) {
    case Kind::kAny:
      return "dynamic";
    case Kind::kBool:
      return "bool";
    case Kind::kNumber:
      return "number";
    case Kind::kString:
      return "string";
    case Kind::kList:
      return "list of " + (element().is_any() ? "any single type" : element().Name());
    case Kind::kSet:
      return "set of " + (element().is_any() ? "any single type" : element().Name());
    case Kind::kMap:
      return "map of " + (element().is_any() ? "any single type" : element().Name());
    case Kind::kTuple:
      return "tuple";
    case Kind::kObject:
      return "object";
  }
  return "";
}

Value Value::Null(Type type) { return {std::move(type), std::monostate()}; }

Value Value::List(Type element, Items items) { return {Type::List(std::move(element)), std::move(items)}; }

Value Value::Map(Type element, Members members) { return {Type::Map(std::move(element)), std::move(members)}; }

Value Value::Tuple(Items items) {
  Type type{Kind::kTuple, {}, {}};
  for (const Value& item : items) type.elements.push_back(item.type());
  return {std::move(type), std::move(items)};
}

Value Value::Object(Members members) {
  Type type{Kind::kObject, {}, {}};
  for (const auto& [name, value] : members) {
    type.names.push_back(name);
    type.elements.push_back(value.type());
  }
  return {std::move(type), std::move(members)};
}

Value Value::Set(Type element, Items items) {
  std::ranges::stable_sort(items, [](const Value& a, const Value& b) { return a.Compare(b) < 0; });
  items.erase(std::unique(items.begin(), items.end()), items.end());
  return {Type::Set(std::move(element)), std::move(items)};
}

Value Value::Strings(const std::vector<std::string>& items) {
  return List(Type::String(), Items(items.begin(), items.end()));
}

bool Value::operator==(const Value& other) const {
  if (is_null() || other.is_null()) return is_null() && other.is_null();
  return type_ == other.type_ && data_ == other.data_;
}

std::weak_ordering Value::Compare(const Value& other) const {
  if (data_.index() != other.data_.index()) return data_.index() <=> other.data_.index();
  if (is_bool()) return as_bool() <=> other.as_bool();
  if (is_string()) return as_string() <=> other.as_string();
  if (is_number()) {
    if (as_number() == other.as_number()) return std::weak_ordering::equivalent;
    return as_number() < other.as_number() ? std::weak_ordering::less : std::weak_ordering::greater;
  }
  if (is_sequence()) {
    for (size_t i = 0; i < std::min(items().size(), other.items().size()); ++i) {
      if (auto order = items()[i].Compare(other.items()[i]); order != 0) return order;
    }
    return items().size() <=> other.items().size();
  }
  if (!is_mapping()) return std::weak_ordering::equivalent;
  auto a = members().begin(), b = other.members().begin();
  for (; a != members().end() && b != other.members().end(); ++a, ++b) {
    if (auto order = a->first <=> b->first; order != 0) return order;
    if (auto order = a->second.Compare(b->second); order != 0) return order;
  }
  return members().size() <=> other.members().size();
}

std::string NumberText(long double number) {
  if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
  if (number == std::floor(number)) {
    std::string text = fmt::format("{:.0f}", number);
    return text == "-0" ? "0" : text;
  }
  // Eighteen digits survive any calculation that stays exact in cty's precision: 0.1 + 0.2 is 0.3.
  int before = std::max(0, static_cast<int>(std::floor(std::log10(std::fabs(number)))) + 1);
  std::string text = fmt::format("{:.{}f}", number, std::clamp(18 - before, 1, 40));
  text.erase(text.find_last_not_of('0') + 1);
  if (text.ends_with('.')) text.pop_back();
  return text;
}

std::optional<long double> ParseNumber(std::string_view text) {
  bool digits = false, exponent = false, dot = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c >= '0' && c <= '9') {
      digits = true;
    } else if (c == '.' && !dot && !exponent) {
      dot = true;
    } else if ((c == 'e' || c == 'E') && digits && !exponent) {
      exponent = true;
      digits = false;
    } else if ((c == '-' || c == '+') && (i == 0 || text[i - 1] == 'e' || text[i - 1] == 'E')) {
    } else {
      return std::nullopt;
    }
  }
  if (!digits) return std::nullopt;
  long double number = std::strtold(std::string(text).c_str(), nullptr);
  if (std::isinf(number)) return std::nullopt;
  return number;
}

namespace {

Error Required(const Type& type) { return Invalid("{} required", type.Name()); }

Result<Value> ConvertPrimitive(const Value& value, const Type& type) {
  if (type.kind == Kind::kString) {
    if (value.is_number()) return Value(NumberText(value.as_number()));
    if (value.is_bool()) return Value(value.as_bool() ? "true" : "false");
  } else if (value.is_string() && type.kind == Kind::kNumber) {
    if (auto number = ParseNumber(value.as_string())) return Value(*number);
    return Invalid("a number is required");
  } else if (value.is_string() && type.kind == Kind::kBool) {
    const std::string& text = value.as_string();
    if (text == "true" || text == "1") return Value(true);
    if (text == "false" || text == "0") return Value(false);
    return Invalid("a bool is required");
  }
  return Required(type);
}

Result<Value::Items> ConvertItems(const Value::Items& items, const Type& type) {
  Value::Items converted;
  for (const Value& item : items) {
    auto value = Convert(item, type);
    if (!value) return Error(std::move(value).error()).With(fmt::format("element {}", converted.size()));
    converted.push_back(std::move(*value));
  }
  return converted;
}

// The element type of a collection that takes all of these.
Result<Type> ElementType(const Type& wanted, const std::vector<Type>& types, const Type& whole) {
  if (!wanted.is_any()) return wanted;
  if (types.empty()) return Type::Any();
  if (auto type = Unify(types)) return *type;
  return Invalid("all {} elements must have the same type", whole.Name().substr(0, whole.Name().find(' ')));
}

std::vector<Type> TypesOf(const Value::Items& items) {
  std::vector<Type> types;
  for (const Value& item : items) types.push_back(item.type());
  return types;
}

Result<Value> ConvertToSequence(const Value& value, const Type& type) {
  if (!value.is_sequence()) return Required(type);
  if (type.kind == Kind::kTuple) {
    if (value.type().kind == Kind::kSet || value.items().size() != type.elements.size()) return Required(type);
    Value::Items items;
    for (size_t i = 0; i < value.items().size(); ++i) {
      auto item = Convert(value.items()[i], type.elements[i]);
      if (!item) return Error(std::move(item).error()).With(fmt::format("element {}", i));
      items.push_back(std::move(*item));
    }
    return Value::Tuple(std::move(items));
  }
  TRY_ASSIGN(Type element, ElementType(type.element(), TypesOf(value.items()), type));
  TRY_ASSIGN(auto items, ConvertItems(value.items(), element));
  return type.kind == Kind::kSet ? Value::Set(element, std::move(items)) : Value::List(element, std::move(items));
}

Result<Value> ConvertToMapping(const Value& value, const Type& type) {
  if (!value.is_mapping()) return Required(type);
  Value::Members members;
  auto put = [&](const std::string& name, const Value& member, const Type& wanted) -> Status {
    auto converted = Convert(member, wanted);
    if (!converted)
      return Error(std::move(converted).error())
          .With(fmt::format("{} \"{}\"", type.kind == Kind::kMap ? "element" : "attribute", name));
    members[name] = std::move(*converted);
    return Ok();
  };
  if (type.kind == Kind::kMap) {
    std::vector<Type> types;
    for (const auto& [name, member] : value.members()) types.push_back(member.type());
    TRY_ASSIGN(Type element, ElementType(type.element(), types, type));
    for (const auto& [name, member] : value.members()) TRY(put(name, member, element));
    return Value::Map(element, std::move(members));
  }
  for (size_t i = 0; i < type.names.size(); ++i) {
    auto it = value.members().find(type.names[i]);
    if (it == value.members().end()) return Invalid("attribute \"{}\" is required", type.names[i]);
    TRY(put(type.names[i], it->second, type.elements[i]));
  }
  return Value::Object(std::move(members));
}

}  // namespace

Result<Value> Convert(const Value& value, const Type& type) {
  if (type.is_any() || value.type() == type) return value;
  if (value.is_null()) {
    if (value.type().is_any() || Unify({value.type(), type})) return Value::Null(type);
    return Required(type);
  }
  if (type.is_primitive()) return ConvertPrimitive(value, type);
  return type.is_mapping() ? ConvertToMapping(value, type) : ConvertToSequence(value, type);
}

namespace {

bool Converts(const Type& from, const Type& to) {
  if (from == to || to.is_any() || from.is_any()) return true;
  return from.is_primitive() && to.kind == Kind::kString;
}

std::optional<Type> UnifyElements(const std::vector<Type>& types) {
  std::vector<Type> all;
  for (const Type& type : types) all.insert(all.end(), type.elements.begin(), type.elements.end());
  return all.empty() ? Type::Any() : Unify(all);
}

}  // namespace

std::optional<Type> Unify(const std::vector<Type>& given) {
  std::vector<Type> types;
  for (const Type& type : given) {
    if (!type.is_any() && std::ranges::find(types, type) == types.end()) types.push_back(type);
  }
  if (types.empty()) return Type::Any();
  if (types.size() == 1) return types[0];
  auto all = [&](auto is) { return std::ranges::all_of(types, is); };
  if (all([](const Type& type) { return type.is_primitive(); })) {
    for (const Type& to : types) {
      if (all([&](const Type& from) { return Converts(from, to); })) return to;
    }
    return std::nullopt;
  }
  if (all([](const Type& type) { return type.is_mapping(); })) {
    bool same = all([&](const Type& type) { return type.kind == Kind::kObject && type.names == types[0].names; });
    if (same) {
      Type object = types[0];
      for (size_t i = 0; same && i < object.elements.size(); ++i) {
        std::vector<Type> column;
        for (const Type& type : types) column.push_back(type.elements[i]);
        auto unified = Unify(column);
        if (unified) object.elements[i] = *unified;
        same = unified.has_value();
      }
      if (same) return object;
    }
    auto element = UnifyElements(types);
    return element ? std::optional(Type::Map(*element)) : std::nullopt;
  }
  if (!all([](const Type& type) { return type.is_sequence(); })) return std::nullopt;
  bool same = all(
      [&](const Type& type) { return type.kind == Kind::kTuple && type.elements.size() == types[0].elements.size(); });
  if (same) {
    Type tuple = types[0];
    for (size_t i = 0; same && i < tuple.elements.size(); ++i) {
      std::vector<Type> column;
      for (const Type& type : types) column.push_back(type.elements[i]);
      auto unified = Unify(column);
      if (unified) tuple.elements[i] = *unified;
      same = unified.has_value();
    }
    if (same) return tuple;
  }
  auto element = UnifyElements(types);
  if (!element) return std::nullopt;
  bool set = std::ranges::any_of(types, [](const Type& type) { return type.kind == Kind::kSet; });
  return set ? Type::Set(*element) : Type::List(*element);
}

Json ToJson(const Value& value) {
  if (value.is_null()) return nullptr;
  if (value.is_bool()) return value.as_bool();
  if (value.is_string()) return value.as_string();
  if (value.is_number()) {
    long double number = value.as_number();
    if (number == std::floor(number) && std::fabs(number) < 9.2e18L) return static_cast<int64_t>(number);
    return static_cast<double>(number);
  }
  Json json = value.is_sequence() ? Json::EmptyArray() : Json::EmptyObject();
  if (value.is_sequence()) {
    for (const Value& item : value.items()) json.Append(ToJson(item));
  } else {
    for (const auto& [name, member] : value.members()) json.Set(name, ToJson(member));
  }
  return json;
}

Value FromJson(const Json& json) {
  if (json.is_bool()) return json.as_bool();
  if (json.is_string()) return json.as_string();
  if (json.is_int()) return Value::Number(json.as_int());
  // Through its decimal form, so that 0.1 is the number that a file would have written.
  if (json.is_number()) return *ParseNumber(fmt::format("{}", json.as_double()));
  if (json.is_array()) {
    Value::Items items;
    for (const Json& item : json.as_array()) items.push_back(FromJson(item));
    return Value::Tuple(std::move(items));
  }
  if (!json.is_object()) return {};
  Value::Members members;
  for (const auto& [name, member] : json.as_object()) members[name] = FromJson(member);
  return Value::Object(std::move(members));
}

}  // namespace varve::hcl
