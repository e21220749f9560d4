#include "hcl/evaluate.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"

namespace varve::hcl {

Result<std::optional<Scope::Found>> InnerScope::Find(const std::string& root,
                                                     std::span<const std::string> attributes) const {
  if (auto it = values_.find(root); it != values_.end()) return Found{it->second, 0};
  return outer_.Find(root, attributes);
}

std::vector<std::string> InnerScope::Names() const {
  std::vector<std::string> names = outer_.Names();
  for (const auto& [name, value] : values_) names.push_back(name);
  return names;
}

namespace {

using Kind = Expression::Kind;

std::string Suggestion(std::string_view word, const std::vector<std::string>& names) {
  std::vector<std::string_view> views(names.begin(), names.end());
  auto near = NearestWord(word, views);
  return near ? fmt::format(" Did you mean \"{}\"?", *near) : "";
}

// What the values of one expression may take, those inside of it included. A file of a few lines in which
// each variable holds the one before it twice would take all memory of the machine.
constexpr size_t kMaxBytes = 64 << 20;

// Bytes that a value takes, about; what is beyond `room` is not looked at.
size_t WeightOf(const Value& value, size_t room) {
  size_t bytes = sizeof(Value);
  if (value.is_string()) return bytes + value.as_string().size();
  if (value.is_sequence()) {
    for (const Value& item : value.items()) {
      if (bytes > room) break;
      bytes += WeightOf(item, room - bytes);
    }
  }
  if (value.is_mapping()) {
    for (const auto& [name, member] : value.members()) {
      if (bytes > room) break;
      bytes += name.size() + WeightOf(member, room - bytes);
    }
  }
  return bytes;
}

class Evaluator {
 public:
  Evaluator(const Scope& scope, const Value* item) : scope_(scope), item_(item) {}

  Result<Value> Run(const Expression& e) {
    auto value = Evaluated(e);
    if (!value || e.kind == Kind::kLiteral) return value;
    produced_ += WeightOf(*value, kMaxBytes - produced_);
    if (produced_ <= kMaxBytes) return value;
    produced_ = kMaxBytes;
    return ErrorAt(e.range, "Value too large",
                   fmt::format("The values of one expression may take at most {} MiB.", kMaxBytes >> 20));
  }

 private:
  Result<Value> Evaluated(const Expression& e) {
    switch (e.kind) {
      case Kind::kLiteral:
        return e.value;
      case Kind::kTemplate:
        return Template(e);
      case Kind::kWrap:
      case Kind::kParentheses:
        return Run(*e.children[0]);
      case Kind::kVariable:
        return Variable(e, {}).transform_found();
      case Kind::kAttribute:
        return Attributes(e);
      case Kind::kIndex:
        return Index(e);
      case Kind::kSplat:
        return Splat(e);
      case Kind::kSplatItem:
        return *item_;
      case Kind::kCall:
        return Call(e);
      case Kind::kConditional:
        return Conditional(e);
      case Kind::kUnary:
        return Unary(e);
      case Kind::kBinary:
        return Binary(e);
      case Kind::kTuple:
        return Tuple(e);
      case Kind::kObject:
        return Object(e);
      case Kind::kFor:
        return For(e);
      case Kind::kJoin:
        return Join(e);
    }
    return Value();
  }

  // A found name as a result of its value.
  struct Located : Result<Scope::Found> {
    using Result<Scope::Found>::Result;
    Result<Value> transform_found() && {
      if (!*this) return Error(std::move(*this).error());
      return std::move((*this)->value);
    }
  };

  Located Variable(const Expression& e, std::span<const std::string> attributes) {
    auto found = scope_.Find(e.name, attributes);
    if (!found) {
      Error error = std::move(found).error();
      // What is wrong elsewhere has its place; a rule of names (a cycle) gets this one.
      if (error.code == Code::kNotFound) {
        Error placed = ErrorAt(e.range, "Invalid expression", error.message);
        return Located(std::move(placed));
      }
      return Located(std::move(error));
    }
    if (!*found) {
      return Located(
          ErrorAt(e.range, "Unknown variable",
                  fmt::format("There is no variable named \"{}\".{}", e.name, Suggestion(e.name, scope_.Names()))));
    }
    return Located(std::move(**found));
  }

  Result<Value> Attributes(const Expression& e) {
    // a.b.c is asked for as a whole: the scope may know a.b without the rest of a.
    std::vector<std::string> names;
    std::vector<const Expression*> steps;
    const Expression* root = &e;
    for (; root->kind == Kind::kAttribute; root = root->children[0].get()) steps.push_back(root);
    // target["name"].attr, too.
    const Expression* index = nullptr;
    if (root->kind == Kind::kIndex && root->children[0]->kind == Kind::kVariable &&
        root->children[1]->kind == Kind::kLiteral && root->children[1]->value.is_string()) {
      index = root;
      root = root->children[0].get();
      names.push_back(index->children[1]->value.as_string());
    }
    std::ranges::reverse(steps);
    for (const Expression* step : steps) names.push_back(step->name);
    Value value;
    size_t done = 0;
    if (root->kind == Kind::kVariable) {
      auto found = Variable(*root, names);
      if (!found) return Error(std::move(found).error());
      value = std::move(found->value);
      done = found->steps;
    } else {
      TRY_ASSIGN(value, Run(*root));
    }
    if (index != nullptr) {
      if (done == 0) {
        TRY_ASSIGN(value, At(value, index->children[1]->value, index->range));
      } else {
        --done;
      }
    }
    for (size_t i = done; i < steps.size(); ++i) {
      TRY_ASSIGN(value, Attribute(value, steps[i]->name, steps[i]->range));
    }
    return value;
  }

  static Result<Value> Attribute(const Value& value, const std::string& name, const Range& range) {
    if (value.is_null()) {
      return ErrorAt(range, "Attempt to get attribute from null value",
                     "This value is null, so it does not have any attributes.");
    }
    if (!value.is_mapping()) {
      return ErrorAt(
          range, "Unsupported attribute",
          value.is_sequence()
              ? fmt::format("Can't access attributes on a list of values. Did you mean to access an attribute for a "
                            "specific element of the list, or across all elements with [*].{}?",
                            name)
              : "Can't access attributes on a primitive-typed value (" + value.type().Name() + ").");
    }
    auto it = value.members().find(name);
    if (it != value.members().end()) return it->second;
    std::vector<std::string> names;
    for (const auto& [known, member] : value.members()) names.push_back(known);
    if (value.type().kind == Type::Kind::kMap) {
      return ErrorAt(
          range, "Missing map element",
          fmt::format("This map does not have an element with the key \"{}\".{}", name, Suggestion(name, names)));
    }
    return ErrorAt(
        range, "Unsupported attribute",
        fmt::format("This object does not have an attribute named \"{}\".{}", name, Suggestion(name, names)));
  }

  static Result<Value> At(const Value& value, const Value& key, const Range& range) {
    auto bad = [&](std::string_view detail) { return ErrorAt(range, "Invalid index", detail); };
    if (value.is_null())
      return ErrorAt(range, "Attempt to index null value", "This value is null, so it does not have any indices.");
    if (key.is_null()) return bad("Can't use a null value as an indexing key.");
    if (value.is_mapping()) {
      auto name = Convert(key, Type::String());
      if (!name) return bad("The given key does not identify an element in this collection value: string required.");
      auto it = value.members().find(name->as_string());
      if (it == value.members().end())
        return bad("The given key does not identify an element in this collection value.");
      return it->second;
    }
    if (!value.is_sequence()) return bad("This value does not have any indices.");
    if (value.type().kind == Type::Kind::kSet)
      return bad(
          "Elements of a set are identified only by their value and don't have any separate index or key to select "
          "with, so it's only possible to perform operations across all elements of the set.");
    auto number = Convert(key, Type::Number());
    if (!number)
      return bad("The given key does not identify an element in this collection value: a number is required.");
    long double index = number->as_number();
    if (index != std::floor(index))
      return bad(
          "The given key does not identify an element in this collection value: indexing a sequence requires a whole "
          "number, but the given index has a fractional part.");
    if (index < 0)
      return bad(
          "The given key does not identify an element in this collection value: a negative number is not a valid index "
          "for a sequence.");
    if (index >= static_cast<long double>(value.items().size())) {
      return bad(
          value.items().empty()
              ? "The given key does not identify an element in this collection value: the collection has no elements."
              : "The given key does not identify an element in this collection value: the given index is greater than "
                "or equal to the length of the collection.");
    }
    return value.items()[static_cast<size_t>(index)];
  }

  Result<Value> Index(const Expression& e) {
    const Expression& from = *e.children[0];
    if (from.kind == Kind::kVariable) {
      TRY_ASSIGN(Value key, Run(*e.children[1]));
      std::vector<std::string> names;
      if (key.is_string()) names.push_back(key.as_string());
      auto found = Variable(from, names);
      if (!found) return Error(std::move(found).error());
      return found->steps > 0 ? Result<Value>(std::move(found->value)) : At(found->value, key, e.range);
    }
    TRY_ASSIGN(Value value, Run(from));
    TRY_ASSIGN(Value key, Run(*e.children[1]));
    return At(value, key, e.range);
  }

  Result<Value> Splat(const Expression& e) {
    TRY_ASSIGN(Value value, Run(*e.children[0]));
    Value::Items items, results;
    if (value.is_sequence()) {
      items = value.items();
    } else if (!value.is_null()) {
      items.push_back(value);  // one value is a list of one, and null of none
    }
    for (const Value& item : items) {
      TRY_ASSIGN(Value result, Evaluator(scope_, &item).Run(*e.children[1]));
      results.push_back(std::move(result));
    }
    if (value.type().kind != Type::Kind::kList && value.type().kind != Type::Kind::kSet)
      return Value::Tuple(std::move(results));
    Value tuple = Value::Tuple(std::move(results));
    auto list = Convert(tuple, Type::List(Type::Any()));
    return list ? *list : tuple;
  }

  static Result<std::string> TextOf(const Value& value, const Range& range) {
    if (value.is_null()) {
      return ErrorAt(range, "Invalid template interpolation value",
                     "The expression result is null. Cannot include a null value in a string template.");
    }
    auto text = Convert(value, Type::String());
    if (!text) {
      return ErrorAt(range, "Invalid template interpolation value",
                     fmt::format("Cannot include the given value in a string template: {}.", text.error().message));
    }
    return text->as_string();
  }

  Result<Value> Template(const Expression& e) {
    std::string all;
    for (const ExpressionPtr& part : e.children) {
      TRY_ASSIGN(Value value, Run(*part));
      TRY_ASSIGN(std::string text, TextOf(value, part->range));
      all += text;
    }
    return Value(std::move(all));
  }

  Result<Value> Join(const Expression& e) {
    TRY_ASSIGN(Value tuple, Run(*e.children[0]));
    std::string all;
    for (const Value& item : tuple.items()) {
      TRY_ASSIGN(std::string text, TextOf(item, e.range));
      all += text;
    }
    return Value(std::move(all));
  }

  Result<Value> Conditional(const Expression& e) {
    TRY_ASSIGN(Value condition, Run(*e.children[0]));
    auto yes = Run(*e.children[1]);
    auto no = Run(*e.children[2]);
    if (condition.is_null())
      return ErrorAt(e.children[0]->range, "Null condition",
                     "The condition value is null. Conditions must either be true or false.");
    auto chosen = Convert(condition, Type::Bool());
    if (!chosen) {
      return ErrorAt(e.children[0]->range, "Incorrect condition type",
                     "The condition expression must be of type bool.");
    }
    auto& result = chosen->as_bool() ? yes : no;
    if (!result) return result;
    // What was not chosen has a say in the type, unless it has no value at all.
    auto& other = chosen->as_bool() ? no : yes;
    if (!other) return result;
    auto type = Unify({result->type(), other->type()});
    if (!type) {
      return ErrorAt(e.range, "Inconsistent conditional result types",
                     fmt::format("The true and false result expressions must have consistent types. The 'true' value "
                                 "is {}, but the 'false' value is {}.",
                                 yes->type().Name(), no->type().Name()));
    }
    auto converted = Convert(*result, *type);
    return converted ? converted : result;
  }

  Result<Value> Operand(const Expression& e, const Type& type, std::string_view which) {
    TRY_ASSIGN(Value value, Run(e));
    if (value.is_null())
      return ErrorAt(e.range, "Operation failed", "Error during operation: argument must not be null.");
    auto converted = Convert(value, type);
    if (!converted)
      return ErrorAt(e.range, "Invalid operand",
                     fmt::format("Unsuitable value for {} operand: {}.", which, converted.error().message));
    return converted;
  }

  Result<Value> Unary(const Expression& e) {
    if (e.op == Operator::kNot) {
      TRY_ASSIGN(Value value, Operand(*e.children[0], Type::Bool(), "unary"));
      return Value(!value.as_bool());
    }
    TRY_ASSIGN(Value value, Operand(*e.children[0], Type::Number(), "unary"));
    return Value(-value.as_number());
  }

  Result<Value> Binary(const Expression& e) {
    if (e.op == Operator::kEqual || e.op == Operator::kNotEqual) {
      TRY_ASSIGN(Value left, Run(*e.children[0]));
      TRY_ASSIGN(Value right, Run(*e.children[1]));
      return Value((left == right) == (e.op == Operator::kEqual));
    }
    bool logical = e.op == Operator::kAnd || e.op == Operator::kOr;
    Type type = logical ? Type::Bool() : Type::Number();
    TRY_ASSIGN(Value left, Operand(*e.children[0], type, "left"));
    if (logical && left.as_bool() == (e.op == Operator::kOr)) return left;
    TRY_ASSIGN(Value right, Operand(*e.children[1], type, "right"));
    if (logical) return right;
    long double a = left.as_number(), b = right.as_number();
    switch (e.op) {
      case Operator::kLess:
        return Value(a < b);
      case Operator::kLessEqual:
        return Value(a <= b);
      case Operator::kGreater:
        return Value(a > b);
      case Operator::kGreaterEqual:
        return Value(a >= b);
      case Operator::kAdd:
        return Value(a + b);
      case Operator::kSubtract:
        return Value(a - b);
      case Operator::kMultiply:
        return Value(a * b);
      default:
        break;
    }
    if (b == 0) return ErrorAt(e.range, "Division by zero", "Cannot divide by zero.");
    return Value(e.op == Operator::kDivide ? a / b : std::fmod(a, b));
  }

  Result<Value> Tuple(const Expression& e) {
    Value::Items items;
    for (const ExpressionPtr& child : e.children) {
      TRY_ASSIGN(Value item, Run(*child));
      items.push_back(std::move(item));
    }
    return Value::Tuple(std::move(items));
  }

  Result<std::string> KeyOf(const Expression& e, const Scope& scope) {
    TRY_ASSIGN(Value value, Evaluator(scope, item_).Run(e));
    if (value.is_null()) return ErrorAt(e.range, "Null value as key", "Can't use a null value as a key.");
    auto key = Convert(value, Type::String());
    if (!key)
      return ErrorAt(e.range, "Incorrect key type",
                     fmt::format("Can't use this value as a key: {}.", key.error().message));
    return key->as_string();
  }

  Result<Value> Object(const Expression& e) {
    Value::Members members;
    for (size_t i = 0; i + 1 < e.children.size(); i += 2) {
      TRY_ASSIGN(std::string key, KeyOf(*e.children[i], scope_));
      TRY_ASSIGN(members[key], Run(*e.children[i + 1]));
    }
    return Value::Object(std::move(members));
  }

  Result<Value> For(const Expression& e) {
    TRY_ASSIGN(Value collection, Run(*e.children[0]));
    if (collection.is_null())
      return ErrorAt(e.children[0]->range, "Iteration over null value",
                     "A null value cannot be used as the collection in a 'for' expression.");
    std::vector<std::pair<Value, Value>> items;
    if (collection.is_mapping()) {
      for (const auto& [key, value] : collection.members()) items.emplace_back(key, value);
    } else if (collection.is_sequence()) {
      bool set = collection.type().kind == Type::Kind::kSet;
      for (const Value& value : collection.items()) {
        items.emplace_back(set ? value : Value::Number(items.size()), value);
      }
    } else {
      return ErrorAt(e.children[0]->range, "Iteration over non-iterable value",
                     fmt::format("A value of type {} cannot be used as the collection in a 'for' expression.",
                                 collection.type().Name()));
    }
    const ExpressionPtr &key_of = e.children[1], &condition = e.children[3];
    Value::Items tuple;
    Value::Members object;
    std::map<std::string, Value::Items> groups;
    for (auto& [key, value] : items) {
      std::map<std::string, Value> names{{e.value_name, value}};
      if (!e.key_name.empty()) names[e.key_name] = key;
      InnerScope inner(scope_, std::move(names));
      Evaluator each(inner, item_);
      if (condition) {
        TRY_ASSIGN(Value wanted, each.Run(*condition));
        auto decided = Convert(wanted, Type::Bool());
        if (wanted.is_null() || !decided)
          return ErrorAt(condition->range, "Invalid 'for' condition",
                         wanted.is_null() ? "The value of the 'if' clause must not be null."
                                          : "The 'if' clause value is invalid: bool required.");
        if (!decided->as_bool()) continue;
      }
      if (!key_of) {
        TRY_ASSIGN(Value result, each.Run(*e.children[2]));
        tuple.push_back(std::move(result));
        continue;
      }
      TRY_ASSIGN(std::string name, each.KeyOf(*key_of, inner));
      TRY_ASSIGN(Value result, each.Run(*e.children[2]));
      if (e.expand) {
        groups[name].push_back(std::move(result));
      } else if (!object.emplace(name, std::move(result)).second) {
        return ErrorAt(
            key_of->range, "Duplicate object key",
            fmt::format("Two different items produced the key \"{}\" in this 'for' expression. If duplicates are "
                        "expected, use the ellipsis (...) after the value expression to enable grouping by key.",
                        name));
      }
    }
    for (auto& [name, values] : groups) object.emplace(name, Value::Tuple(std::move(values)));
    return key_of ? Value::Object(std::move(object)) : Value::Tuple(std::move(tuple));
  }

  Result<Value> Call(const Expression& e) {
    // Those that look at their arguments themselves.
    if (e.name == "try" || e.name == "can" || e.name == "convert") {
      if (auto special = Special(e)) return std::move(*special);
    }
    TRY_ASSIGN(auto function, scope_.FindFunction(e.name));
    if (!function) {
      return ErrorAt(
          e.range, "Call to unknown function",
          fmt::format("There is no function named \"{}\".{}", e.name, Suggestion(e.name, scope_.FunctionNames())));
    }
    std::vector<Value> arguments;
    for (size_t i = 0; i < e.children.size(); ++i) {
      TRY_ASSIGN(Value argument, Run(*e.children[i]));
      if (!e.expand || i + 1 < e.children.size()) {
        arguments.push_back(std::move(argument));
      } else if (argument.is_sequence()) {
        arguments.insert(arguments.end(), argument.items().begin(), argument.items().end());
      } else {
        return ErrorAt(e.children[i]->range, "Invalid expanding argument value",
                       "The expanding argument (indicated by ...) must be of a tuple, list, or set type.");
      }
    }
    if (arguments.size() < function->least) {
      return ErrorAt(e.range, "Not enough function arguments",
                     fmt::format("Function \"{}\" expects {}{} argument{}, and has {}.", e.name,
                                 function->most > function->least ? "at least " : "", function->least,
                                 function->least == 1 ? "" : "s", arguments.size()));
    }
    if (arguments.size() > function->most) {
      return ErrorAt(e.range, "Too many function arguments",
                     fmt::format("Function \"{}\" expects only {} argument{}.", e.name, function->most,
                                 function->most == 1 ? "" : "s"));
    }
    if (!function->takes_nulls && std::ranges::any_of(arguments, [](const Value& v) { return v.is_null(); })) {
      return ErrorAt(e.range, "Invalid function argument",
                     fmt::format("Call to function \"{}\" failed: argument must not be null.", e.name));
    }
    auto result = function->call(arguments);
    if (result) return result;
    // An error inside of a function of the file has its place already.
    if (result.error().message.find("\n-----") != std::string::npos) return result;
    return ErrorAt(e.range, "Error in function call",
                   fmt::format("Call to function \"{}\" failed: {}.", e.name, result.error().message));
  }

  std::optional<Result<Value>> Special(const Expression& e) {
    if (e.name == "convert") {
      if (e.children.size() != 2) return std::nullopt;
      auto value = Run(*e.children[0]);
      if (!value) return value;
      auto type = TypeOf(*e.children[1]);
      if (!type) return Result<Value>(Error(std::move(type).error()));
      auto converted = Convert(*value, *type);
      if (converted) return converted;
      return Result<Value>(ErrorAt(e.range, "Error in function call",
                                   fmt::format("Call to function \"convert\" failed: {}.", converted.error().message)));
    }
    if (e.name == "can") {
      if (e.children.size() != 1) return std::nullopt;
      return Result<Value>(Value(Run(*e.children[0]).has_value()));
    }
    for (const ExpressionPtr& child : e.children) {
      if (auto value = Run(*child)) return value;
    }
    return Result<Value>(
        ErrorAt(e.range, "Error in function call", "Call to function \"try\" failed: no expression succeeded."));
  }

  const Scope& scope_;
  const Value* item_;
  size_t produced_ = 0;  // bytes, at most kMaxBytes
};

}  // namespace

Result<Value> Evaluate(const Expression& expression, const Scope& scope) {
  return Evaluator(scope, nullptr).Run(expression);
}

}  // namespace varve::hcl
