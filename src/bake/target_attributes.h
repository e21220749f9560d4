// Which attributes a target has, and what their values become in it. Internal to the module.
#pragma once

#include <optional>
#include <string>

#include "bake/target.h"
#include "hcl/syntax.h"

namespace varve::bake {

// What an attribute's value is converted to; Any for those that take texts and objects.
hcl::Type TypeOfAttribute(const std::string& name);

// Of an attribute whose values are entries ("type=gha,scope=x"); nothing of others.
std::optional<EntryKind> EntryKindOf(const std::string& name);

// The elements of a list of strings; kInvalid at the attribute's value where one is null.
Result<Strings> StringsOf(const hcl::Value& value, const hcl::Attribute& attribute);

// `value` has the attribute's type, and is not null. kInvalid at the attribute's value where it does not do.
Status SetAttribute(Target& target, const hcl::Attribute& attribute, const hcl::Value& value);

// " Did you mean "x"?", or nothing.
std::string DidYouMean(const std::string& word, const Strings& known);

}  // namespace varve::bake
