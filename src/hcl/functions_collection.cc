// Lists, maps, and what works on both.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "hcl/function_table.h"

namespace varve::hcl {

namespace {

using Kind = Type::Kind;

// A list where the items have one type, else a tuple.
Value Sequence(Value::Items items, const Value& like) {
  if (like.type().kind == Kind::kTuple) return Value::Tuple(std::move(items));
  Type element = like.type().element();
  return Value::List(std::move(element), std::move(items));
}

Result<Value> ListFrom(Value::Items items) { return Convert(Value::Tuple(std::move(items)), Type::List(Type::Any())); }

Status NeedSequence(const Value& value) {
  if (value.is_sequence()) return Ok();
  return Invalid("argument must be a list, set or tuple, and is {}", value.type().Name());
}

Status NeedList(const Value& value) {
  if (value.is_sequence() && value.type().kind != Kind::kSet) return Ok();
  return Invalid("argument must be a list or tuple, and is {}", value.type().Name());
}

Status NeedMapping(const Value& value) {
  if (value.is_mapping()) return Ok();
  return Invalid("argument must be a map or object, and is {}", value.type().Name());
}

void Flatten(const Value& value, Value::Items& out) {
  for (const Value& item : value.items()) {
    if (item.is_sequence()) {
      Flatten(item, out);
    } else {
      out.push_back(item);
    }
  }
}

Result<Value> Numbers(const Arguments& a) {
  long double from = 0, to = a[0].as_number();
  if (a.size() > 1) from = std::exchange(to, a[1].as_number());
  if (a.size() > 3) return Invalid("must have one, two, or three arguments");
  long double step = a.size() > 2 ? a[2].as_number() : to < from ? -1 : 1;
  if (step == 0) return Invalid("step must not be zero");
  if (step > 0 && to < from) return Invalid("end must be greater than start when step is positive");
  if (step < 0 && to > from) return Invalid("end must be less than start when step is negative");
  Value::Items items;
  for (long double at = from; step > 0 ? at < to : at > to; at += step) {
    if (items.size() >= 1024)
      return Invalid(
          "more than 1024 values were generated; either decrease the difference between start and end or use a smaller "
          "step");
    items.emplace_back(at);
  }
  return Value::List(Type::Number(), std::move(items));
}

Result<Value> Merge(const Arguments& a) {
  Value::Members merged;
  bool maps = true;
  for (const Value& value : a) {
    if (value.is_null()) continue;
    TRY(NeedMapping(value));
    maps = maps && value.type().kind == Kind::kMap;
    for (const auto& [name, member] : value.members()) merged[name] = member;
  }
  Value object = Value::Object(std::move(merged));
  if (!maps || a.empty()) return object;
  auto map = Convert(object, Type::Map(Type::Any()));
  return map ? *map : object;
}

Result<Value> HasIndex(const Arguments& a) {
  // cty's takes no objects here.
  if (a[0].type().kind == Kind::kObject) return Invalid("collection must be a list, a map or a tuple");
  if (a[0].is_mapping()) {
    auto key = Convert(a[1], Type::String());
    return Value(key && a[0].members().contains(key->as_string()));
  }
  TRY(NeedList(a[0]));
  auto number = Convert(a[1], Type::Number());
  if (!number) return Value(false);
  long double index = number->as_number();
  return Value(index == std::floor(index) && index >= 0 && index < static_cast<long double>(a[0].items().size()));
}

Result<Value> Index(const Arguments& a) {
  TRY_ASSIGN(Value has, HasIndex(a));
  if (!has.as_bool()) return Invalid("invalid index");
  if (a[0].is_mapping()) {
    TRY_ASSIGN(Value key, Convert(a[1], Type::String()));
    return a[0].members().at(key.as_string());
  }
  TRY_ASSIGN(Value index, Convert(a[1], Type::Number()));
  return a[0].items()[static_cast<size_t>(index.as_number())];
}

Result<Value> Product(const Arguments& a) {
  if (a.size() < 2) return Invalid("at least two arguments are required");
  std::vector<Value::Items> rows{{}};
  bool set = false;
  for (const Value& list : a) {
    TRY(NeedSequence(list));
    set = set || list.type().kind == Kind::kSet;
    std::vector<Value::Items> longer;
    if (rows.size() * list.items().size() > 100'000) return Invalid("the product has more than 100000 elements");
    for (const Value::Items& row : rows) {
      for (const Value& item : list.items()) {
        longer.push_back(row);
        longer.back().push_back(item);
      }
    }
    rows = std::move(longer);
  }
  Value::Items tuples;
  for (Value::Items& row : rows) tuples.push_back(Value::Tuple(std::move(row)));
  TRY_ASSIGN(Value list, ListFrom(std::move(tuples)));
  return set ? Convert(list, Type::Set(Type::Any())) : Result<Value>(std::move(list));
}

}  // namespace

void AddCollectionFunctions(FunctionTable& table) {
  const Type any = Type::Any(), text = Type::String(), number = Type::Number();
  auto with_nulls = [](Signature signature) {
    signature.nulls = true;
    return signature;
  };
  Define(table, "length", {{any}}, [](const Arguments& a) -> Result<Value> {
    if (a[0].is_mapping()) return Value::Number(a[0].members().size());
    if (a[0].is_sequence()) return Value::Number(a[0].items().size());
    return Invalid("collection type required, and this is {}", a[0].type().Name());
  });
  Define(table, "keys", {{any}}, [](const Arguments& a) -> Result<Value> {
    TRY(NeedMapping(a[0]));
    std::vector<std::string> keys;
    for (const auto& [name, member] : a[0].members()) keys.push_back(name);
    return Value::Strings(keys);
  });
  Define(table, "values", {{any}}, [](const Arguments& a) -> Result<Value> {
    TRY(NeedMapping(a[0]));
    Value::Items items;
    for (const auto& [name, member] : a[0].members()) items.push_back(member);
    if (a[0].type().kind == Kind::kMap) return Value::List(a[0].type().element(), std::move(items));
    return Value::Tuple(std::move(items));
  });
  Define(table, "lookup", {{any, text, any}}, [](const Arguments& a) -> Result<Value> {
    TRY(NeedMapping(a[0]));
    auto it = a[0].members().find(a[1].as_string());
    if (it == a[0].members().end())
      return a[0].type().kind == Kind::kMap ? Convert(a[2], a[0].type().element()) : Result<Value>(a[2]);
    return it->second;
  });
  Define(table, "merge", with_nulls({{}, any}), Merge);
  Define(table, "zipmap", {{Type::List(text), any}}, [](const Arguments& a) -> Result<Value> {
    TRY(NeedList(a[1]));
    if (a[0].items().size() != a[1].items().size())
      return Invalid("number of keys ({}) does not match number of values ({})", a[0].items().size(),
                     a[1].items().size());
    Value::Members members;
    for (size_t i = 0; i < a[0].items().size(); ++i) members[a[0].items()[i].as_string()] = a[1].items()[i];
    if (a[1].type().kind == Kind::kList) return Value::Map(a[1].type().element(), std::move(members));
    return Value::Object(std::move(members));
  });
  Define(table, "hasindex", {{any, any}}, HasIndex);
  Define(table, "index", {{any, any}}, Index);
  Define(table, "indexof", {{any, any}}, [](const Arguments& a) -> Result<Value> {
    if (!NeedList(a[0])) return Invalid("argument must be a list or tuple");
    if (a[0].items().empty()) return Invalid("cannot search an empty list");
    auto it = std::ranges::find(a[0].items(), a[1]);
    if (it == a[0].items().end()) return Invalid("item not found");
    return Value::Number(it - a[0].items().begin());
  });
  Define(table, "element", {{any, number}}, [](const Arguments& a) -> Result<Value> {
    TRY(NeedList(a[0]));
    TRY_ASSIGN(int64_t index, WholeNumber(a[1], "the index"));
    auto size = static_cast<int64_t>(a[0].items().size());
    if (size == 0) return Invalid("cannot use element function with an empty list");
    return a[0].items()[static_cast<size_t>(((index % size) + size) % size)];
  });
  Define(table, "contains", with_nulls({{any, any}}), [](const Arguments& a) -> Result<Value> {
    TRY(NeedSequence(a[0]));
    return Value(std::ranges::any_of(a[0].items(), [&](const Value& item) {
      if (item == a[1]) return true;
      auto converted = Convert(a[1], item.type());
      return converted && !a[1].is_null() && *converted == item;
    }));
  });
  Define(table, "concat", {{}, any}, [](const Arguments& a) -> Result<Value> {
    Value::Items all;
    bool lists = true;
    for (const Value& value : a) {
      TRY(NeedList(value));
      lists = lists && value.type().kind == Kind::kList;
      all.insert(all.end(), value.items().begin(), value.items().end());
    }
    Value tuple = Value::Tuple(std::move(all));
    if (!lists || a.empty()) return tuple;
    auto list = Convert(tuple, Type::List(Type::Any()));
    return list ? *list : tuple;
  });
  Define(table, "coalesce", with_nulls({{}, any}), [](const Arguments& a) -> Result<Value> {
    std::vector<Type> types;
    for (const Value& value : a) types.push_back(value.type());
    auto type = Unify(types);
    if (a.empty() || !type)
      return Invalid("{}", a.empty() ? "at least one argument is required" : "all arguments must have the same type");
    for (const Value& value : a) {
      if (!value.is_null()) return Convert(value, *type);
    }
    return Invalid("no non-null arguments");
  });
  Define(table, "coalescelist", with_nulls({{}, any}), [](const Arguments& a) -> Result<Value> {
    for (const Value& value : a) {
      if (value.is_null()) continue;
      TRY(NeedSequence(value));
      if (!value.items().empty()) return value;
    }
    return Invalid("no non-null arguments");
  });
  Define(table, "compact", {{Type::List(text)}}, [](const Arguments& a) -> Result<Value> {
    std::vector<std::string> kept;
    for (const Value& item : a[0].items()) {
      if (!item.is_null() && !item.as_string().empty()) kept.push_back(item.as_string());
    }
    return Value::Strings(kept);
  });
  Define(table, "distinct", {{any}}, [](const Arguments& a) -> Result<Value> {
    TRY(NeedList(a[0]));
    Value::Items kept;
    for (const Value& item : a[0].items()) {
      if (std::ranges::find(kept, item) == kept.end()) kept.push_back(item);
    }
    auto list = ListFrom(kept);
    return list ? list : Result<Value>(Value::Tuple(std::move(kept)));
  });
  Define(table, "chunklist", {{any, number}}, [](const Arguments& a) -> Result<Value> {
    TRY(NeedList(a[0]));
    TRY_ASSIGN(int64_t size, WholeNumber(a[1], "the size"));
    if (size < 0) return Invalid("the size argument must be positive");
    Value::Items chunks, chunk;
    for (const Value& item : a[0].items()) {
      chunk.push_back(item);
      if (size != 0 && chunk.size() == static_cast<size_t>(size))
        chunks.push_back(Sequence(std::exchange(chunk, {}), a[0]));
    }
    if (!chunk.empty()) chunks.push_back(Sequence(std::move(chunk), a[0]));
    return ListFrom(std::move(chunks));
  });
  Define(table, "flatten", {{any}}, [](const Arguments& a) -> Result<Value> {
    TRY(NeedSequence(a[0]));
    Value::Items out;
    Flatten(a[0], out);
    return Value::Tuple(std::move(out));
  });
  Define(table, "range", {{number}, number}, Numbers);
  Define(table, "reverselist", {{any}}, [](const Arguments& a) -> Result<Value> {
    TRY(NeedSequence(a[0]));
    return Sequence({a[0].items().rbegin(), a[0].items().rend()}, a[0]);
  });
  Define(table, "setproduct", {{}, any}, Product);
  Define(table, "slice", {{any, number, number}}, [](const Arguments& a) -> Result<Value> {
    TRY(NeedList(a[0]));
    TRY_ASSIGN(int64_t from, WholeNumber(a[1], "the start index"));
    TRY_ASSIGN(int64_t to, WholeNumber(a[2], "the end index"));
    auto size = static_cast<int64_t>(a[0].items().size());
    if (from < 0) return Invalid("start index must not be less than zero");
    if (to > size) return Invalid("end index must not be greater than the length of the list");
    if (from > to) return Invalid("start index must not be greater than end index");
    return Sequence({a[0].items().begin() + from, a[0].items().begin() + to}, a[0]);
  });
  Define(table, "sort", {{Type::List(text)}}, [](const Arguments& a) -> Result<Value> {
    std::vector<std::string> all;
    for (const Value& item : a[0].items()) {
      if (item.is_null()) return Invalid("given list element is null; a null string cannot be sorted");
      all.push_back(item.as_string());
    }
    std::ranges::sort(all);
    return Value::Strings(all);
  });
}

void AddSetFunctions(FunctionTable& table) {
  const Type set = Type::Set(Type::Any());
  // Sets of one type, folded from the left.
  auto fold = [&](const char* name, Value::Items (*body)(const Value&, const Value&)) {
    Define(table, name, {{set}, set}, [body, set](const Arguments& a) -> Result<Value> {
      std::vector<Type> types;
      for (const Value& value : a) types.push_back(value.type().element());
      auto element = Unify(types);
      if (!element) return Invalid("given sets must all have compatible element types");
      TRY_ASSIGN(Value all, Convert(a[0], Type::Set(*element)));
      for (size_t i = 1; i < a.size(); ++i) {
        TRY_ASSIGN(Value next, Convert(a[i], Type::Set(*element)));
        all = Value::Set(*element, body(all, next));
      }
      return all;
    });
  };
  static constexpr auto kHas = [](const Value& in, const Value& item) {
    return std::ranges::find(in.items(), item) != in.items().end();
  };
  fold("setunion", [](const Value& a, const Value& b) {
    Value::Items all = a.items();
    all.insert(all.end(), b.items().begin(), b.items().end());
    return all;
  });
  fold("setintersection", [](const Value& a, const Value& b) {
    Value::Items both;
    for (const Value& item : a.items()) {
      if (kHas(b, item)) both.push_back(item);
    }
    return both;
  });
  fold("setsubtract", [](const Value& a, const Value& b) {
    Value::Items left;
    for (const Value& item : a.items()) {
      if (!kHas(b, item)) left.push_back(item);
    }
    return left;
  });
  fold("setsymmetricdifference", [](const Value& a, const Value& b) {
    Value::Items one;
    for (const Value& item : a.items()) {
      if (!kHas(b, item)) one.push_back(item);
    }
    for (const Value& item : b.items()) {
      if (!kHas(a, item)) one.push_back(item);
    }
    return one;
  });
  Define(table, "sethaselement", {{set, Type::Any()}}, [](const Arguments& a) -> Result<Value> {
    auto item = Convert(a[1], a[0].type().element());
    return Value(item && kHas(a[0], *item));
  });
}

}  // namespace varve::hcl
