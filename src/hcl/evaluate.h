// What expressions are worth.
//
//   class Names : public hcl::Scope { … };
//   TRY_ASSIGN(Value value, Evaluate(*attribute.value, names));
//
// Names are asked for when an expression comes to them, so that a scope may work them out then.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "hcl/syntax.h"

namespace varve::hcl {

struct Function {
  size_t least = 0, most = 0;  // arguments; most is SIZE_MAX for variadic ones
  // The error's text is about the arguments; the caller adds the place.
  std::function<Result<Value>(const std::vector<Value>& arguments)> call;
  bool takes_nulls = false;
};

class Scope {
 public:
  virtual ~Scope() = default;

  struct Found {
    Value value;
    size_t steps = 0;  // how many of the attributes have been followed already
  };
  // The value of `root`, or of `root.attributes[0]…`. Nothing for a name that there is not.
  virtual Result<std::optional<Found>> Find(const std::string& root, std::span<const std::string> attributes) const = 0;
  // Nothing for one that there is not.
  virtual Result<std::optional<Function>> FindFunction(const std::string& name) const = 0;
  // For "did you mean".
  virtual std::vector<std::string> Names() const = 0;
  virtual std::vector<std::string> FunctionNames() const = 0;
};

// Some names over those of another scope.
class InnerScope final : public Scope {
 public:
  InnerScope(const Scope& outer, std::map<std::string, Value> values) : outer_(outer), values_(std::move(values)) {}
  Result<std::optional<Found>> Find(const std::string& root, std::span<const std::string> attributes) const override;
  Result<std::optional<Function>> FindFunction(const std::string& name) const override {
    return outer_.FindFunction(name);
  }
  std::vector<std::string> Names() const override;
  std::vector<std::string> FunctionNames() const override { return outer_.FunctionNames(); }

 private:
  const Scope& outer_;
  std::map<std::string, Value> values_;
};

// kInvalid, with the place, for everything that has no value.
Result<Value> Evaluate(const Expression& expression, const Scope& scope);

}  // namespace varve::hcl
