// Arithmetic, comparison and logic as functions.
#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "hcl/function_table.h"

namespace varve::hcl {

void AddNumberFunctions(FunctionTable& table) {
  const Type number = Type::Number(), boolean = Type::Bool();
  auto one = [&](const char* name, long double (*body)(long double)) {
    Define(table, name, {{number}},
           [body](const Arguments& a) -> Result<Value> { return Value(body(a[0].as_number())); });
  };
  auto two = [&](const char* name, long double (*body)(long double, long double)) {
    Define(table, name, {{number, number}},
           [body](const Arguments& a) -> Result<Value> { return Value(body(a[0].as_number(), a[1].as_number())); });
  };
  auto compare = [&](const char* name, bool (*body)(long double, long double)) {
    Define(table, name, {{number, number}},
           [body](const Arguments& a) -> Result<Value> { return Value(body(a[0].as_number(), a[1].as_number())); });
  };
  one("absolute", [](long double x) { return std::fabs(x); });
  one("ceil", [](long double x) { return std::ceil(x); });
  one("floor", [](long double x) { return std::floor(x); });
  one("int", [](long double x) { return std::trunc(x); });
  one("negate", [](long double x) { return -x; });
  one("signum", [](long double x) -> long double { return x > 0 ? 1 : x < 0 ? -1 : 0; });
  two("add", [](long double x, long double y) { return x + y; });
  two("subtract", [](long double x, long double y) { return x - y; });
  two("multiply", [](long double x, long double y) { return x * y; });
  two("pow", [](long double x, long double y) { return std::pow(x, y); });
  compare("greaterthan", [](long double x, long double y) { return x > y; });
  compare("greaterthanorequalto", [](long double x, long double y) { return x >= y; });
  compare("lessthan", [](long double x, long double y) { return x < y; });
  compare("lessthanorequalto", [](long double x, long double y) { return x <= y; });
  Define(table, "divide", {{number, number}}, [](const Arguments& a) -> Result<Value> {
    if (a[1].as_number() == 0) return Invalid("divide by zero");
    return Value(a[0].as_number() / a[1].as_number());
  });
  Define(table, "modulo", {{number, number}}, [](const Arguments& a) -> Result<Value> {
    if (a[1].as_number() == 0) return Invalid("divide by zero");
    return Value(std::fmod(a[0].as_number(), a[1].as_number()));
  });
  Define(table, "log", {{number, number}}, [](const Arguments& a) -> Result<Value> {
    long double result = std::log(a[0].as_number()) / std::log(a[1].as_number());
    if (std::isnan(result)) return Invalid("there is no such logarithm");
    // As good as cty's, which calculates with a double.
    return Value(static_cast<long double>(static_cast<double>(std::log(static_cast<double>(a[0].as_number())) /
                                                              std::log(static_cast<double>(a[1].as_number())))));
  });
  for (bool least : {true, false}) {
    Define(table, least ? "min" : "max", {{}, number}, [least](const Arguments& a) -> Result<Value> {
      if (a.empty()) return Invalid("must pass at least one number");
      auto less = [](const Value& x, const Value& y) { return x.as_number() < y.as_number(); };
      return least ? *std::ranges::min_element(a, less) : *std::ranges::max_element(a, less);
    });
  }
  Define(table, "parseint", {{Type::Any(), number}}, [](const Arguments& a) -> Result<Value> {
    if (!a[0].is_string()) return Invalid("the first argument must be a string, not {}", a[0].type().Name());
    TRY_ASSIGN(int64_t base, WholeNumber(a[1], "the base"));
    if (base < 2 || base > 62) return Invalid("the base must be a whole number between 2 and 62 inclusive");
    std::string_view text = a[0].as_string();
    bool negative = text.starts_with('-');
    if (negative || text.starts_with('+')) text.remove_prefix(1);
    long double value = 0;
    bool good = !text.empty();
    for (char c : text) {
      int digit = c >= '0' && c <= '9'   ? c - '0'
                  : c >= 'a' && c <= 'z' ? c - 'a' + 10
                  : c >= 'A' && c <= 'Z' ? c - 'A' + (base <= 36 ? 10 : 36)
                                         : 99;
      good = good && digit < base;
      value = value * static_cast<long double>(base) + digit;
    }
    if (!good) return Invalid("cannot parse \"{}\" as a base {} integer", a[0].as_string(), base);
    return Value(negative ? -value : value);
  });
  Define(table, "and", {{boolean, boolean}},
         [](const Arguments& a) -> Result<Value> { return Value(a[0].as_bool() && a[1].as_bool()); });
  Define(table, "or", {{boolean, boolean}},
         [](const Arguments& a) -> Result<Value> { return Value(a[0].as_bool() || a[1].as_bool()); });
  Define(table, "not", {{boolean}}, [](const Arguments& a) -> Result<Value> { return Value(!a[0].as_bool()); });
  for (bool equal : {true, false}) {
    Signature any{{Type::Any(), Type::Any()}};
    any.nulls = true;
    Define(table, equal ? "equal" : "notequal", any,
           [equal](const Arguments& a) -> Result<Value> { return Value((a[0] == a[1]) == equal); });
  }
}

}  // namespace varve::hcl
