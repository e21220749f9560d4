// Interpolation of Compose values: $NAME, ${NAME}, ${NAME:-default} and the like
// (compose-spec, 12-interpolation.md; reference compose-bake.md, A7).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace varve::compose {

using Lookup = std::function<std::optional<std::string>(const std::string& name)>;

// `unset` is told each variable that has no value and no default; it stands for nothing. kInvalid
// for a ${ that is no variable, and with the file's own words for ${NAME:?words}.
Result<std::string> Interpolate(std::string_view text, const Lookup& lookup,
                                const std::function<void(const std::string&)>& unset = {});

}  // namespace varve::compose
