// Text of a Dockerfile → ast.h.
//
//   auto file = ParseDockerfile(text);
//   if (!file) fmt::print("{}{}\n", RenderExcerpt("Dockerfile", text, {file.error().span}),
//                         file.error().error.ToString());
//
// The whole language of docker/dockerfile 1.26 with its labs features. Errors are kInvalid; their
// texts are those users know ("dockerfile parse error on line 3: unknown instruction: RNU (did you
// mean RUN?)"). Pure: no I/O, safe from any thread.
#pragma once

#include <string>
#include <string_view>

#include "dockerfile/ast.h"

namespace varve::dockerfile {

// Lines end in \n or \r\n. A line is at most 65535 bytes.
Parsed<Dockerfile> ParseDockerfile(std::string_view text);

// An ONBUILD trigger as an image config stores it. All spans of the result are `span` (the FROM
// that pulls it in). The escape character is '\\' whatever the file that wrote it used.
Parsed<Instruction> ParseTrigger(std::string_view trigger, const Span& span);

// The front end that the file asks for: `# syntax=…`, `// syntax=…`, {"syntax": …}, after a line #!
// if there is one. Looks at the head only: the rest need not be a Dockerfile.
struct Syntax {
  std::string frontend;  // the first word
  std::string command;   // the whole value
  Span span;
};
std::optional<Syntax> DetectSyntax(std::string_view text);

// How RUN here-documents run: the command line given to the shell or the kernel, and the file to
// mount at /dev/pipes when the only document starts with "#!".
struct RunScript {
  std::vector<std::string> args;   // without SHELL
  bool shell_form = true;          // prefix SHELL
  std::optional<InlineFile> file;  // mode 0755, mounted read-only in /dev/pipes; args runs it
  std::string suffix;              // " (first line...)" for the step's name, or empty
};
RunScript MakeRunScript(const Run& run, bool windows);

}  // namespace varve::dockerfile
