// The canonical forms, one a kind. Internal to the module. An error is why a file counts whole.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace varve::packages {

struct Form : Result<std::string> {
  Form() : Result<std::string>(std::string()) {}
  Form(std::string form) : Result<std::string>(std::move(form)) {}  // NOLINT
  Form(Error error) : Result<std::string>(std::move(error)) {}      // NOLINT
};

Form FormOfPackageJson(std::string_view text);
Form FormOfPackageLock(std::string_view text);
Form FormOfRequirements(std::string_view text);
Form FormOfPyproject(std::string_view text);
Form FormOfPom(std::string_view text);
Form FormOfGoMod(std::string_view text);

}  // namespace varve::packages
