// What a Dockerfile says, as plain values: the output of the parser (parser.h) and the input of
// lowering. Nothing here is expanded: a Word is the text as written, quotes and ${…} included, to
// be given to ProcessWord (expand.h) with the environment that holds before its instruction.
// Strings that are not Words are final.
//
// Which fields the language expands: every Word below, and the values of --mount but for from=
// (run_mount.h). Not expanded: bodies of RUN, CMD, ENTRYPOINT, HEALTHCHECK and SHELL, COPY --from,
// --exclude, the values of --network, --security, --device and of the HEALTHCHECK flags.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "dockerfile/span.h"

namespace varve::dockerfile {

using Word = std::string;

// A here-document as it stands in the source.
struct Heredoc {
  std::string name;         // the end word without its quotes: EOF of <<-"EOF"
  unsigned descriptor = 0;  // 3 of 3<<EOF; 0 when not given
  bool expand = true;       // false when any part of the word was quoted
  bool strip_tabs = false;  // <<-
  std::string content;      // the body, line ends included, leading tabs still there

  // The body, without the leading tabs of its lines if `strip_tabs`.
  std::string Body() const;

  bool operator==(const Heredoc&) const = default;
};

// The operand of RUN, CMD, ENTRYPOINT and HEALTHCHECK CMD.
struct CommandLine {
  bool shell_form = true;         // not JSON: prefix SHELL
  std::vector<std::string> args;  // shell form: one string, or none when nothing was written
};

struct Device {
  std::string name;
  bool required = false;
};
// `mounts` are raw values of --mount; ParseMount (run_mount.h) reads one with its expansion. Their
// static checks (CSV, from= without variables) have passed.
struct Run {
  CommandLine command;
  std::vector<Heredoc> heredocs;  // only in shell form; MakeRunScript (parser.h) applies them
  std::vector<std::string> mounts;
  std::string network = "default";   // default, none, host
  std::string security = "sandbox";  // sandbox, insecure
  std::vector<Device> devices;
};

// A file that ADD or COPY makes from a here-document.
struct InlineFile {
  std::string name;
  std::string content;  // tabs stripped if asked for
  bool expand = true;   // expand `content` with skip_quotes and escape '\\' whatever the directive
};

// What ADD and COPY have in common.
struct CopySources {
  std::vector<Word> paths;
  std::vector<InlineFile> files;
  Word destination;
  Word chown;  // empty: not given
  Word chmod;  // empty: not given
  bool link = false;
  std::vector<std::string> exclude;
};
struct Copy {
  CopySources sources;
  std::string from;  // empty: the build context
  bool parents = false;
};
struct Add {
  CopySources sources;
  std::optional<bool> keep_git_dir;
  Word checksum;  // empty: not given
  std::optional<bool> unpack;
};

struct KeyValue {
  Word key;
  Word value;
  bool legacy = false;  // `ENV key value`
};
struct Env {
  std::vector<KeyValue> values;
};
struct Label {
  std::vector<KeyValue> values;
};

struct ArgDefinition {
  std::string name;           // not expanded in stages either (the reference forgoes it)
  std::optional<Word> value;  // the default, if any
  std::string description;    // of `# NAME text` among the comments
};
struct Arg {
  std::vector<ArgDefinition> definitions;
};

struct Workdir {
  Word path;
};
struct User {
  Word user;
};
struct Cmd {
  CommandLine command;
};
// `ENTRYPOINT []` has no args: it removes an inherited entry point.
struct Entrypoint {
  CommandLine command;
};
struct Shell {
  std::vector<std::string> shell;  // at least one
};
// ProcessWords turns each word into any number of ports, which lowering reads.
struct Expose {
  std::vector<Word> ports;  // sorted before expansion, as the reference does
};
struct Volume {
  std::vector<Word> paths;  // trimmed, not empty
};
struct StopSignal {
  Word signal;
};
struct Healthcheck {
  bool none = false;    // HEALTHCHECK NONE
  CommandLine command;  // shell form is CMD-SHELL
  // Zero: inherit.
  std::chrono::nanoseconds interval{0};
  std::chrono::nanoseconds timeout{0};
  std::chrono::nanoseconds start_period{0};
  std::chrono::nanoseconds start_interval{0};
  int retries = 0;
};
// `trigger` is what image configs store: the instruction's text, here-documents appended. Read it
// back with ParseTrigger (parser.h).
struct OnBuild {
  std::string trigger;
};
struct Maintainer {
  std::string name;
};

using Body = std::variant<Run, Copy, Add, Env, Label, Arg, Workdir, User, Cmd, Entrypoint, Shell, Expose, Volume,
                          StopSignal, Healthcheck, OnBuild, Maintainer>;

// What every instruction has, FROM included.
struct Origin {
  std::string keyword;             // as written: "RUN", "run"
  std::string text;                // continuations joined, comments gone, trimmed
  std::vector<std::string> flags;  // as written, without quotes: "--mount=type=cache,target=/c"
  // The comments since the previous instruction, without '#', in order. A comment with no text cuts
  // off what is above it; blank lines do not, whatever the language's manual says of them: so works
  // the reference, and `# check=` above a blank line is relied upon.
  std::vector<std::string> comments;
  std::optional<std::string> check;  // value of its own `# check=…`; ParseCheckOptions reads it
  std::vector<Heredoc> heredocs;     // of RUN, ADD, COPY, and of ONBUILD with one of them
  Span span;
};

struct Instruction {
  Origin origin;
  Body body;
};

struct Stage {
  Origin origin;     // of FROM
  std::string name;  // lower case; empty: unnamed
  std::string name_as_written;
  std::string as_keyword;  // "AS", "as"; empty when unnamed
  Word base;
  Word platform;            // of --platform; empty: not given
  std::string description;  // of `# NAME text` among the comments
  std::vector<Instruction> instructions;
};

struct Directive {
  std::string value;
  Span span;
};
struct Directives {
  std::optional<Directive> syntax;  // the whole value; the first word names the front end
  std::optional<Directive> escape;
  std::optional<Directive> check;  // FileCheckOptions (lint.h) reads it
};

struct Dockerfile {
  std::string source;  // the bytes that were parsed
  Directives directives;
  char escape = '\\';                     // or '`'
  std::vector<Instruction> global_args;   // ARGs before the first FROM, in order; bodies are Arg
  std::vector<Stage> stages;              // may be empty: a file of ARGs parses
  std::vector<Span> empty_continuations;  // last line of each instruction that has some
};

// Upper-case name of an instruction's kind: "RUN".
std::string_view KindName(const Body& body);

}  // namespace varve::dockerfile
