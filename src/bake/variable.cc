#include "bake/variable.h"

#include <cmath>
#include <cstdlib>

#include "base/strings.h"

namespace varve::bake {

using hcl::Type;
using hcl::Value;
using Kind = hcl::Type::Kind;

namespace {

Result<Value> Primitive(const std::string& name, const std::string& text, const Type& type) {
  if (type.kind == Kind::kString) return Value(text);
  if (type.kind == Kind::kBool) {
    if (auto value = ParseBool(text)) return Value(*value);
    return Invalid("failed to parse {} as bool: \"{}\" is none", name, text);
  }
  auto number = hcl::ParseNumber(text);
  if (!number) return Invalid("failed to parse {} as number: \"{}\" is none", name, text);
  return Value(*number);
}

Result<Value> FromCsv(const std::string& name, const std::string& text, const Type& type) {
  std::vector<std::string> fields;
  auto unsupported = [&] {
    Error error = Invalid("unsupported type {} for CSV specification", type.Name());
    error.hint = fmt::format("set {}_JSON to a JSON value", name);
    return error;
  };
  TRY_ASSIGN(fields, ParseCsvRecord(text));
  auto convert = [&](const std::string& field, const Type& element) -> Result<Value> {
    if (!element.is_primitive()) return unsupported();
    auto value = Primitive(name, field, element);
    if (!value) return Error(std::move(value).error()).With("failed to parse element of type " + type.Name());
    return value;
  };
  if (type.kind == Kind::kMap) {
    Value::Members members;
    for (const std::string& field : fields) {
      size_t colon = field.find(':');
      if (colon == field.npos || field.find(':', colon + 1) != field.npos) {
        return Invalid("expected one k/v pair but got {} pieces from {}", Split(field, ':').size(), field);
      }
      TRY_ASSIGN(members[field.substr(0, colon)], convert(field.substr(colon + 1), type.element()));
    }
    return Value::Map(type.element(), std::move(members));
  }
  if (type.kind == Kind::kTuple && type.elements.size() != fields.size()) {
    return Invalid("{} expects {} elements but only {} provided", type.Name(), type.elements.size(), fields.size());
  }
  Value::Items items;
  for (size_t i = 0; i < fields.size(); ++i) {
    TRY_ASSIGN(Value item, convert(fields[i], type.kind == Kind::kTuple ? type.elements[i] : type.element()));
    items.push_back(std::move(item));
  }
  if (type.kind == Kind::kTuple) return Value::Tuple(std::move(items));
  return type.kind == Kind::kSet ? Value::Set(type.element(), std::move(items))
                                 : Value::List(type.element(), std::move(items));
}

}  // namespace

Result<Value> VariableValue(const std::string& name, const std::optional<Type>& type,
                            const std::optional<Value>& fallback, const std::optional<Given>& given) {
  if (!given) {
    if (fallback) return *fallback;
    if (type) return Value::Null(*type);
    return Value("");
  }
  auto unsupported = [&](const Type& of) {
    Error error = Invalid("unsupported type {} for variable {}", of.Name(), name);
    error.hint = type ? fmt::format("set {}_JSON to a JSON value", name)
                      : "give the variable a type: then the environment can set it";
    return error;
  };
  if (type) {
    if (given->json) {
      auto json = Json::Parse(given->text);
      auto value = json ? hcl::Convert(hcl::FromJson(*json), *type) : Result<Value>(json.error());
      if (!value)
        return Error(std::move(value).error()).With(fmt::format("failed to convert variable {} from JSON", name));
      return value;
    }
    if (type->kind == Kind::kList || type->kind == Kind::kSet || type->kind == Kind::kTuple ||
        type->kind == Kind::kMap) {
      auto value = FromCsv(name, given->text, *type);
      if (!value)
        return Error(std::move(value).error()).With(fmt::format("failed to convert variable {} from CSV", name));
      return value;
    }
    if (type->is_primitive()) return Primitive(name, given->text, *type);
    return unsupported(*type);
  }
  if (!fallback || fallback->type().is_any()) return Value(given->text);
  if (fallback->type().is_primitive()) return Primitive(name, given->text, fallback->type());
  return unsupported(fallback->type());
}

std::optional<std::string> ShownValue(const Value& value, const std::optional<Type>&) {
  if (value.is_null()) return std::nullopt;
  if (value.is_string()) return value.as_string();
  if (value.type().is_primitive()) return hcl::Convert(value, Type::String())->as_string();
  return hcl::ToJson(value).Dump({.sort_keys = true, .escape_html = true});
}

std::string ShownType(const std::optional<Type>& type) {
  if (!type) return "";
  return type->is_any() ? "any type" : type->Name();
}

}  // namespace varve::bake
