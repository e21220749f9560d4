// The value of a bake variable: its default, or what the environment says (reference
// compose-bake.md, B8).
#pragma once

#include <optional>
#include <string>

#include "hcl/value.h"

namespace varve::bake {

// What the environment has for a variable.
struct Given {
  std::string text;
  bool json = false;  // from NAME_JSON
};

// `type`: what the file declares; nothing for an untyped variable. `fallback`: the default, converted
// already; nothing without one.
Result<hcl::Value> VariableValue(const std::string& name, const std::optional<hcl::Type>& type,
                                 const std::optional<hcl::Value>& fallback, const std::optional<Given>& given);

// As `--list=variables` shows a value; nothing for null.
std::optional<std::string> ShownValue(const hcl::Value& value, const std::optional<hcl::Type>& type);
// "list of string"
std::string ShownType(const std::optional<hcl::Type>& type);

}  // namespace varve::bake
