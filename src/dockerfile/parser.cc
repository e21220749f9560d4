#include "dockerfile/parser.h"

#include <utility>

#include "base/strings.h"
#include "dockerfile/raw.h"
#include "dockerfile/runes.h"
#include "dockerfile/typed.h"

namespace varve::dockerfile {
namespace {

bool IsFrom(const RawInstruction& raw) { return EqualsIgnoreCase(raw.origin.keyword, "FROM"); }

Origin Finished(Origin origin) {
  origin.text = TrimUnicodeSpace(origin.text);
  return origin;
}

SourceError InstructionError(Error error, const RawInstruction& raw) {
  Span span = raw.origin.span;
  if (error.message.starts_with("unknown instruction")) {
    span.start_column = raw.keyword.start_column;
    span.end_column = raw.keyword.end_column;
  }
  std::string line = fmt::format("dockerfile parse error on line {}", span.start_line);
  return SourceError{std::move(error).With(line), span};
}

}  // namespace

Parsed<Dockerfile> ParseDockerfile(std::string_view text) {
  Parsed<RawFile> raw_file = ReadRaw(text);
  if (!raw_file) return std::unexpected(std::move(raw_file).error());
  Dockerfile file{.source = std::string(text),
                  .directives = std::move(raw_file->directives),
                  .escape = raw_file->escape,
                  .global_args = {},
                  .stages = {},
                  .empty_continuations = std::move(raw_file->empty_continuations)};
  for (RawInstruction& raw : raw_file->instructions) {
    if (IsFrom(raw)) {
      auto stage = TypeStage(raw);
      if (!stage) return std::unexpected(InstructionError(std::move(stage).error(), raw));
      stage->origin = Finished(std::move(stage->origin));
      file.stages.push_back(std::move(*stage));
      continue;
    }
    auto body = TypeBody(raw);
    if (!body) return std::unexpected(InstructionError(std::move(body).error(), raw));
    Instruction instruction{Finished(std::move(raw.origin)), std::move(*body)};
    if (!file.stages.empty()) {
      file.stages.back().instructions.push_back(std::move(instruction));
    } else if (std::holds_alternative<Arg>(instruction.body)) {
      file.global_args.push_back(std::move(instruction));
    } else {
      Error error = Invalid("no build stage in current context");
      error.hint =
          fmt::format("put a FROM above {}; only ARG may come before the first FROM", KindName(instruction.body));
      return std::unexpected(SourceError{std::move(error), instruction.origin.span});
    }
  }
  return file;
}

Parsed<Instruction> ParseTrigger(std::string_view trigger, const Span& span) {
  Parsed<RawFile> raw_file = ReadRaw(trigger);
  if (!raw_file) return std::unexpected(SourceError{std::move(raw_file).error().error, span});
  if (raw_file->instructions.size() != 1) {
    return std::unexpected(SourceError{Invalid("onbuild trigger should be a single expression"), span});
  }
  RawInstruction& raw = raw_file->instructions[0];
  raw.origin.span = span;
  if (IsFrom(raw)) {
    return std::unexpected(SourceError{Invalid("FROM isn't allowed as an ONBUILD trigger"), span});
  }
  auto body = TypeBody(raw);
  if (!body) return std::unexpected(SourceError{std::move(body).error(), span});
  return Instruction{Finished(std::move(raw.origin)), std::move(*body)};
}

std::string_view KindName(const Body& body) {
  // In the order of the variant.
  static constexpr std::string_view kNames[] = {
      "RUN",        "COPY",  "ADD",    "ENV",    "LABEL",      "ARG",         "WORKDIR", "USER",      "CMD",
      "ENTRYPOINT", "SHELL", "EXPOSE", "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "ONBUILD", "MAINTAINER"};
  static_assert(std::size(kNames) == std::variant_size_v<Body>);
  return kNames[body.index()];
}

}  // namespace varve::dockerfile
