// YAML documents as JSON values, read as Go's yaml package reads them: Compose files and CDI specifications are
// written for it.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace varve {

// The single document of the text. Plain scalars are null, booleans, integers, floats, else strings; quoted ones are
// strings; keys become strings; aliases are copied. An empty text is null. kInvalid with line and column for malformed
// text, for more than one document, a key that is no scalar or stands twice, nesting deeper than 200, and aliases that
// blow the document up to more than a million values.
Result<Json> ParseYaml(std::string_view text);

// A plain scalar's value: the core schema (YAML 1.2.2, section 10.3.2), and of YAML 1.1 octal 0755, binary 0b101 and
// underscores in numbers, but not its yes and no.
Json ResolveYamlScalar(const std::string& text);

}  // namespace varve
