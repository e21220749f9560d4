#include "dockerfile/frontend.h"

#include "dockerfile/hinted.h"
#include "dockerfile/parser.h"
#include "dockerfile/runes.h"
#include "oci/reference.h"

namespace varve::dockerfile {
namespace {

bool IsBuiltIn(std::string_view frontend) {
  if (frontend == "dockerfile.v0") return true;
  auto reference = oci::ParseReference(frontend);
  if (!reference) return false;
  std::string_view name = reference->path;
  return name.substr(name.rfind('/') + 1).starts_with("dockerfile");
}

}  // namespace

Parsed<void> CheckFrontend(std::string_view text, const BuildArgs& build_args) {
  std::string wanted;
  Span place;
  if (auto it = build_args.find("BUILDKIT_SYNTAX"); it != build_args.end()) {
    wanted = TrimUnicodeSpace(it->second);
    wanted = wanted.substr(0, wanted.find(' '));
  }
  if (wanted.empty()) {
    auto syntax = DetectSyntax(text);
    if (!syntax) return {};
    wanted = syntax->frontend;
    place = syntax->span;
  }
  if (IsBuiltIn(wanted)) return {};
  Error error = Hinted(
      Invalid("the front end \"{}\" is not supported: varve runs no front-end images", wanted),
      "if the file is an ordinary Dockerfile, pass "
      "--build-arg BUILDKIT_SYNTAX=dockerfile.v0");
  return std::unexpected(SourceError{std::move(error), place});
}

}  // namespace varve::dockerfile
