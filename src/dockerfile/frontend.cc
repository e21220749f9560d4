#include "dockerfile/frontend.h"

#include "dockerfile/hinted.h"
#include "dockerfile/runes.h"
#include "oci/reference.h"

namespace varve::dockerfile {
namespace {

std::optional<std::string> PathOf(std::string_view image) {
  auto reference = oci::ParseReference(image);
  return reference ? std::optional(reference->path) : std::nullopt;
}

bool IsNamedDockerfile(std::string_view image) {
  auto path = PathOf(image);
  return path && path->substr(path->rfind('/') + 1).starts_with("dockerfile");
}

}  // namespace

bool IsDockersFrontend(std::string_view image) {
  if (image == "dockerfile.v0") return true;
  auto path = PathOf(image);
  if (!path) return false;
  for (const char* known : {"/docker/dockerfile", "/docker/dockerfile-upstream"}) {
    if (("/" + *path).ends_with(known)) return true;
  }
  return false;
}

std::optional<Syntax> FrontendOf(std::string_view text, const BuildArgs& build_args) {
  if (auto it = build_args.find("BUILDKIT_SYNTAX"); it != build_args.end()) {
    Syntax wanted{.frontend = {}, .command = std::string(TrimUnicodeSpace(it->second)), .span = {}};
    wanted.frontend = wanted.command.substr(0, wanted.command.find(' '));
    if (!wanted.frontend.empty()) return wanted;
  }
  return DetectSyntax(text);
}

Parsed<void> CheckFrontend(std::string_view text, const BuildArgs& build_args) {
  auto wanted = FrontendOf(text, build_args);
  if (!wanted || IsDockersFrontend(wanted->frontend) || IsNamedDockerfile(wanted->frontend)) return {};
  Error error = Hinted(
      Invalid("the front end \"{}\" is not supported by varve build, which runs no front-end images", wanted->frontend),
      "build it through the daemon: `varve serve`, and docker buildx with --builder; or, if the file is an ordinary "
      "Dockerfile, pass --build-arg BUILDKIT_SYNTAX=dockerfile.v0");
  return std::unexpected(SourceError{std::move(error), wanted->span});
}

}  // namespace varve::dockerfile
