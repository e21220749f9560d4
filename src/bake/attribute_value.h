// Values of HCL as what a target's attributes take. Internal to the module.
#pragma once

#include <map>
#include <string>

#include "bake/entry.h"
#include "hcl/syntax.h"

namespace varve::bake {

// kInvalid at the attribute's value where they cannot be.
Result<hcl::Value> ConvertAt(const hcl::Value& value, const hcl::Type& type, const hcl::Attribute& attribute);
Result<std::map<std::string, std::string>> FieldsOf(const hcl::Value& value, const hcl::Attribute& attribute);
Result<Entries> EntriesOf(EntryKind kind, const hcl::Value& value, const hcl::Attribute& attribute);

// As other attributes see them: a list of objects.
hcl::Value EntriesValue(EntryKind kind, const Entries& entries);

}  // namespace varve::bake
