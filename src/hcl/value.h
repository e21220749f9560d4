// Values and types of HCL: cty's (github.com/zclconf/go-cty, docs/types.md, docs/convert.md).
//
// Numbers are long double: integers are exact up to 2^64, fractions have 18 digits where cty has 150.
// Strings are bytes; they are not brought into Unicode's normal form.
#pragma once

#include <compare>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace varve::hcl {

struct Type {
  enum class Kind { kAny, kBool, kNumber, kString, kList, kSet, kMap, kTuple, kObject };

  Kind kind = Kind::kAny;
  std::vector<Type> elements;      // one of a list, set or map; those of a tuple or object
  std::vector<std::string> names;  // of an object's attributes, sorted; as many as elements

  bool is_any() const { return kind == Kind::kAny; }
  bool is_primitive() const { return kind == Kind::kBool || kind == Kind::kNumber || kind == Kind::kString; }
  bool is_sequence() const { return kind == Kind::kList || kind == Kind::kSet || kind == Kind::kTuple; }
  bool is_mapping() const { return kind == Kind::kMap || kind == Kind::kObject; }
  const Type& element() const { return elements.at(0); }
  const Type* Attribute(std::string_view name) const;  // of an object

  // "list of string": as cty names types in messages.
  std::string Name() const;
  bool operator==(const Type&) const = default;

  static Type Any() { return {}; }
  static Type Bool() { return {Kind::kBool, {}, {}}; }
  static Type Number() { return {Kind::kNumber, {}, {}}; }
  static Type String() { return {Kind::kString, {}, {}}; }
  static Type List(Type element) { return {Kind::kList, {std::move(element)}, {}}; }
  static Type Set(Type element) { return {Kind::kSet, {std::move(element)}, {}}; }
  static Type Map(Type element) { return {Kind::kMap, {std::move(element)}, {}}; }
};

class Value {
 public:
  using Items = std::vector<Value>;
  using Members = std::map<std::string, Value>;

  Value() = default;                                                            // null of any type
  Value(bool value) : type_(Type::Bool()), data_(value) {}                      // NOLINT
  Value(long double value) : type_(Type::Number()), data_(value) {}             // NOLINT
  Value(std::string value) : type_(Type::String()), data_(std::move(value)) {}  // NOLINT
  Value(const char* value) : Value(std::string(value)) {}                       // NOLINT
  static Value Number(auto value) { return {static_cast<long double>(value)}; }
  static Value Null(Type type);
  static Value Tuple(Items items);
  static Value Object(Members members);
  static Value List(Type element, Items items);
  static Value Map(Type element, Members members);
  // Sorted, each once.
  static Value Set(Type element, Items items);
  static Value Strings(const std::vector<std::string>& items);  // a list

  const Type& type() const { return type_; }
  bool is_null() const { return std::holds_alternative<std::monostate>(data_); }
  bool is_string() const { return std::holds_alternative<std::string>(data_); }
  bool is_number() const { return std::holds_alternative<long double>(data_); }
  bool is_bool() const { return std::holds_alternative<bool>(data_); }
  bool is_sequence() const { return std::holds_alternative<Items>(data_); }
  bool is_mapping() const { return std::holds_alternative<Members>(data_); }

  // Those of the kind; anything else throws std::bad_variant_access, a bug.
  bool as_bool() const { return std::get<bool>(data_); }
  long double as_number() const { return std::get<long double>(data_); }
  const std::string& as_string() const { return std::get<std::string>(data_); }
  const Items& items() const { return std::get<Items>(data_); }
  const Members& members() const { return std::get<Members>(data_); }

  // Equal types and contents.
  bool operator==(const Value&) const;
  // An order for sets: by kind, then by content.
  std::weak_ordering Compare(const Value& other) const;

 private:
  Value(Type type, std::variant<std::monostate, bool, long double, std::string, Items, Members> data)
      : type_(std::move(type)), data_(std::move(data)) {}

  Type type_;
  std::variant<std::monostate, bool, long double, std::string, Items, Members> data_;
};

// "5", "0.1", never an exponent.
std::string NumberText(long double number);
// Decimal, with fraction and exponent; nothing for other texts.
std::optional<long double> ParseNumber(std::string_view text);

// cty's automatic conversions (docs/convert.md). kInvalid says what is required.
Result<Value> Convert(const Value& value, const Type& type);
// A type that values of all of them convert to; nothing where there is none.
std::optional<Type> Unify(const std::vector<Type>& types);

// As jsonencode writes it; object keys sorted. And back: arrays are tuples, objects objects.
Json ToJson(const Value& value);
Value FromJson(const Json& json);

}  // namespace varve::hcl
