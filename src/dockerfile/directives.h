// Parser directives: `# key=value` lines at the head of a file.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "dockerfile/ast.h"

namespace varve::dockerfile {

struct FoundDirective {
  std::string name;   // syntax, escape, check
  std::string value;  // trimmed
};

// Fed with the lines of a file from the top, until one of them is not a directive: whatever follows
// is none either.
class DirectiveReader {
 public:
  // `marker` begins a line: "#", "//", or nothing for the text of a comment.
  explicit DirectiveReader(std::string_view marker) : marker_(marker) {}

  // kInvalid: `only one escape parser directive can be used`.
  Result<std::optional<FoundDirective>> Read(std::string_view line);
  bool done() const { return done_; }

 private:
  std::string_view marker_;
  bool done_ = false;
  std::set<std::string> seen_;
};

// The directives at the head of `text`, after a byte-order mark and a `#!` line, that precede a
// repeated one. Unlike the parser's own reading, blanks in front of the marker end the head.
struct HeadDirective {
  FoundDirective found;
  int line;
};
std::vector<HeadDirective> ReadHead(std::string_view text, std::string_view marker);

std::string_view SkipByteOrderMark(std::string_view text);

// Value of the first `check=` among an instruction's comments, up to a blank.
std::optional<std::string> CheckOfComments(const std::vector<std::string>& comments);

// Whether a RUN is traced: `# varve:trace=off` among its comments says no, the last one counts. Text
// after the value is for people. kInvalid for another value than on and off.
Result<bool> TraceOfComments(const std::vector<std::string>& comments);

}  // namespace varve::dockerfile
