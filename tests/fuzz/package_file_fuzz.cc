// Package files of any project: any bytes give a form or a refusal, the form of the same bytes is the
// same, and forms that are documents of their kind are their own forms.
//
// The first byte chooses the kind; the rest is the file.
#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "packages/package_file.h"

using varve::packages::Kind;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  constexpr Kind kKinds[] = {Kind::kNpm, Kind::kNpmLock, Kind::kPip, Kind::kPyproject, Kind::kMaven, Kind::kGoMod};
  Kind kind = kKinds[data[0] % std::size(kKinds)];
  std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto first = varve::packages::CanonicalForm(kind, text);
  auto second = varve::packages::CanonicalForm(kind, text);
  CHECK(first.form == second.form && first.refused == second.refused);
  if (!first.refused.empty()) {
    CHECK(first.form == text);
    return 0;
  }
  bool same_language = kind == Kind::kNpm || kind == Kind::kNpmLock || kind == Kind::kGoMod;
  if (!same_language) return 0;
  auto again = varve::packages::CanonicalForm(kind, first.form);
  CHECK(again.refused.empty() && again.form == first.form);
  return 0;
}
