#include "dockerfile/raw.h"

#include <optional>
#include <utility>

#include "base/strings.h"
#include "dockerfile/directives.h"
#include "dockerfile/heredoc.h"
#include "dockerfile/hinted.h"
#include "dockerfile/operands.h"
#include "dockerfile/runes.h"

namespace varve::dockerfile {
namespace {

constexpr size_t kMaxLine = 65535;

struct Operands {
  std::vector<std::string> args;
  bool json = false;
};

// How an instruction's operands are cut. Unknown keywords have no form; they fail in the second
// pass, so that an error of cutting further down is reported first, as users know it.
enum class Form { kNone, kBlanks, kWords, kText, kKeyValues, kJsonOrText, kJsonOrBlanks, kHealthcheck, kTrigger };

Form FormOf(std::string_view upper) {
  if (upper == "ADD" || upper == "COPY" || upper == "VOLUME") return Form::kJsonOrBlanks;
  if (upper == "CMD" || upper == "ENTRYPOINT" || upper == "RUN" || upper == "SHELL") {
    return Form::kJsonOrText;
  }
  if (upper == "ENV" || upper == "LABEL") return Form::kKeyValues;
  if (upper == "EXPOSE" || upper == "FROM") return Form::kBlanks;
  if (upper == "MAINTAINER" || upper == "STOPSIGNAL" || upper == "USER" || upper == "WORKDIR") {
    return Form::kText;
  }
  if (upper == "ARG") return Form::kWords;
  if (upper == "HEALTHCHECK") return Form::kHealthcheck;
  if (upper == "ONBUILD") return Form::kTrigger;
  return Form::kNone;
}

Result<Operands> CutJsonOr(Form form, std::string_view text) {
  TRY_ASSIGN(auto json, ParseJsonForm(text));
  if (json) return Operands{std::move(*json), true};
  if (form == Form::kJsonOrBlanks) return Operands{SplitBlanks(text)};
  return text.empty() ? Operands{} : Operands{{std::string(text)}};
}

Result<Operands> CutHealthcheck(std::string_view text) {
  if (text.empty()) return Operands{};
  size_t end = text.find_first_of("\t\n\v\f\r ");
  std::string type(text.substr(0, end));
  size_t rest = text.find_first_not_of("\t\n\v\f\r ", end);
  std::string_view command =
      rest == std::string_view::npos || end == std::string_view::npos ? std::string_view() : text.substr(rest);
  TRY_ASSIGN(Operands operands, CutJsonOr(Form::kJsonOrText, command));
  operands.args.insert(operands.args.begin(), std::move(type));
  return operands;
}

Result<Operands> Cut(std::string_view upper, std::string_view text, char escape) {
  switch (FormOf(upper)) {
    case Form::kNone:
      return Operands{};
    case Form::kBlanks:
      return Operands{SplitBlanks(text)};
    case Form::kWords:
      return Operands{SplitWords(text, escape)};
    case Form::kText:
      return text.empty() ? Operands{} : Operands{{std::string(text)}};
    case Form::kJsonOrText:
    case Form::kJsonOrBlanks:
      return CutJsonOr(FormOf(upper), text);
    case Form::kHealthcheck:
      return CutHealthcheck(text);
    case Form::kKeyValues: {
      TRY_ASSIGN(std::vector<std::string> triples, SplitKeyValues(text, upper, escape));
      return Operands{std::move(triples)};
    }
    case Form::kTrigger: {
      if (text.empty()) return Operands{};
      CommandParts inner = SplitCommand(text, escape);
      Operands operands{{inner.keyword}};
      // A chain of ONBUILDs is refused later; following it here would be unbounded recursion.
      std::string inner_upper = ToUpper(inner.keyword);
      if (inner_upper == "ONBUILD") return operands;
      TRY_ASSIGN(Operands of_inner, Cut(inner_upper, inner.operands, escape));
      operands.args.insert(operands.args.end(), of_inner.args.begin(), of_inner.args.end());
      operands.json = of_inner.json;
      return operands;
    }
  }
  return Operands{};
}

std::string_view TrimLineEnd(std::string_view line) {
  size_t end = line.find_last_not_of("\r\n");
  return line.substr(0, end == std::string_view::npos ? 0 : end + 1);
}

bool IsComment(std::string_view line) { return TrimLeftSpace(line).starts_with('#'); }

// Whether `line` goes on in the next one; if so, cuts the escape character off. One that follows
// another is escaped itself.
bool TakeContinuation(std::string_view& line, char escape) {
  size_t last = line.find_last_not_of(" \t");
  if (last == std::string_view::npos || line[last] != escape) return false;
  if (last > 0 && line[last - 1] == escape) return false;
  line = line.substr(0, last);
  return true;
}

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(SkipByteOrderMark(text)) {
    for (HeadDirective& head : ReadHead(text, "#")) {
      Directive directive{std::move(head.found.value), Span::Lines(head.line, head.line)};
      if (head.found.name == "syntax") {
        file_.directives.syntax = std::move(directive);
      } else if (head.found.name == "check") {
        file_.directives.check = std::move(directive);
      }
    }
  }

  Parsed<RawFile> Read() {
    while (std::optional<std::string_view> line = NextLine()) {
      if (auto error = ReadInstruction(*line)) return std::unexpected(std::move(*error));
    }
    if (too_long_) return std::unexpected(TooLong());
    if (file_.instructions.empty()) {
      return std::unexpected(SourceError{Hinted(Invalid("file with no instructions"), "begin with FROM IMAGE"),
                                         Span::Lines(line_, line_)});
    }
    return std::move(file_);
  }

 private:
  using MaybeError = std::optional<SourceError>;

  // The next physical line with its end; nothing at the end of the file or of what can be read.
  std::optional<std::string_view> NextLine() {
    if (rest_.empty() || too_long_) return std::nullopt;
    size_t end = rest_.find('\n');
    size_t length = end == std::string_view::npos ? rest_.size() : end;
    ++line_;
    if (length > kMaxLine) {
      too_long_ = true;
      return std::nullopt;
    }
    std::string_view line = rest_.substr(0, end == std::string_view::npos ? length : length + 1);
    rest_.remove_prefix(line.size());
    return line;
  }

  SourceError TooLong() const {
    return {Invalid("dockerfile line greater than max allowed size of {}", kMaxLine), Span::Lines(line_, line_)};
  }
  SourceError Fail(Error error, int start) const { return {std::move(error), Span::Lines(start, line_)}; }

  MaybeError ReadInstruction(std::string_view physical) {
    int start = line_;
    std::string_view line = TrimLeftSpace(TrimLineEnd(physical));
    auto directive = directives_.Read(line);
    if (!directive) return Fail(std::move(directive).error(), start);
    if (*directive) {
      if ((*directive)->name != "escape") return std::nullopt;
      return SetEscape((*directive)->value);
    }
    if (line.starts_with('#')) {
      std::string_view comment = TrimUnicodeSpace(line.substr(1));
      if (comment.empty()) comments_.clear();
      else comments_.emplace_back(comment);
      return std::nullopt;
    }
    bool more = TakeContinuation(line, file_.escape);
    if (!more && line.empty()) {
      return std::nullopt;
    }
    // A keyword that is not all in the first line has no columns.
    size_t keyword = std::min(line.find_first_of("\t\v\f\r "), line.size());
    bool whole = keyword > 0 && (keyword < line.size() || !more);
    int column = whole ? static_cast<int>(line.data() - physical.data()) + 1 : 0;
    std::string text(line);
    bool has_empty = false;
    while (more) {
      std::optional<std::string_view> next = NextLine();
      if (!next) break;
      line = TrimLineEnd(*next);
      if (IsComment(line)) continue;
      if (TrimLeftSpace(line).empty()) {
        has_empty = true;
        continue;
      }
      more = TakeContinuation(line, file_.escape);
      text += line;
    }
    if (too_long_) return TooLong();
    if (has_empty) file_.empty_continuations.push_back(Span::Lines(line_, line_));
    return Finish(std::move(text), start, column);
  }

  MaybeError SetEscape(const std::string& value) {
    Span here = Span::Lines(line_, line_);
    if (value != "\\" && value != "`") {
      return SourceError{
          Hinted(Invalid("invalid escape token '{}' does not match ` or \\", value), "write # escape=` or # escape=\\"),
          here};
    }
    file_.escape = value[0];
    file_.directives.escape = Directive{value, here};
    return std::nullopt;
  }

  // A logical line is complete: cuts it and reads the here-documents that follow.
  MaybeError Finish(std::string text, int start, int column) {
    CommandParts parts = SplitCommand(text, file_.escape);
    std::string upper = ToUpper(parts.keyword);
    auto operands = Cut(upper, parts.operands, file_.escape);
    if (!operands) return Fail(std::move(operands).error(), start);

    RawInstruction raw;
    raw.args = std::move(operands->args);
    raw.json = operands->json;
    raw.keyword = Span::Lines(start, start);
    if (column > 0) {
      raw.keyword.start_column = column;
      raw.keyword.end_column = column + static_cast<int>(parts.keyword.size()) - 1;
    }
    std::string_view reader = upper;  // who reads the documents
    std::string trigger = upper == "ONBUILD" && !raw.args.empty() ? ToUpper(raw.args[0]) : "";
    if (!trigger.empty()) reader = trigger;
    bool can = (reader == "RUN" || reader == "COPY" || reader == "ADD") && !raw.json;
    if (can && text.find("<<") != std::string::npos) {
      auto heads = HeredocHeads(text);
      if (!heads) return Fail(std::move(heads).error(), start);
      for (Heredoc& head : *heads) {
        if (!ReadBody(head)) return too_long_ ? TooLong() : Unterminated(head, start);
        raw.origin.heredocs.push_back(std::move(head));
      }
    }
    raw.origin.keyword = std::move(parts.keyword);
    raw.origin.text = std::move(text);
    raw.origin.flags = std::move(parts.flags);
    raw.origin.check = CheckOfComments(comments_);
    raw.origin.comments = std::exchange(comments_, {});
    raw.origin.span = Span::Lines(start, line_);
    file_.instructions.push_back(std::move(raw));
    return std::nullopt;
  }

  bool ReadBody(Heredoc& head) {
    while (std::optional<std::string_view> line = NextLine()) {
      std::string_view end = TrimLineEnd(*line);
      if (head.strip_tabs) end.remove_prefix(std::min(end.find_first_not_of('\t'), end.size()));
      if (end == head.name) return true;
      head.content += *line;
    }
    return false;
  }

  SourceError Unterminated(const Heredoc& head, int start) const {
    SourceError error = Fail(Invalid("unterminated heredoc"), start);
    error.error.hint = fmt::format("end it with a line that is just {}", head.name);
    return error;
  }

  std::string_view rest_;
  int line_ = 0;  // of the last physical line that NextLine returned
  bool too_long_ = false;
  DirectiveReader directives_{"#"};
  std::vector<std::string> comments_;
  RawFile file_;
};

}  // namespace

Parsed<RawFile> ReadRaw(std::string_view text) { return Reader(text).Read(); }

}  // namespace varve::dockerfile
