// Expressions and templates of HCL's native syntax. Internal to the module.
#pragma once

#include <string>
#include <vector>

#include "hcl/scanner.h"
#include "hcl/syntax.h"

namespace varve::hcl {

// Deeper than anybody writes, and far from the end of the stack.
inline constexpr int kMaxDepth = 200;

inline ExpressionPtr Make(Expression expression) { return std::make_shared<const Expression>(std::move(expression)); }
inline ExpressionPtr Text(std::string text, const Range& range) {
  return Make({.kind = Expression::Kind::kLiteral, .range = range, .value = Value(std::move(text))});
}

class ExpressionParser {
 public:
  explicit ExpressionParser(Scanner& in) : in_(in) {}

  Result<ExpressionPtr> Parse();
  // What is left of the input, as one template.
  Result<ExpressionPtr> ParseWholeTemplate();
  // A quoted string without templates, as labels are. The scanner is at its quote.
  Result<std::string> ParseLabel();

  // Blanks and comments; line ends too where they mean nothing.
  Status SkipBlanks();
  Status SkipBlanksAndLines();

 private:
  struct Part {
    enum class Kind { kText, kValue, kIf, kElse, kEndIf, kFor, kEndFor } kind;
    std::string text = {};
    ExpressionPtr value = {};
    std::string key_name = {}, value_name = {};
    Range range = {};
    bool trim_before = false, trim_after = false;
  };
  // Counts as long as it lives.
  class Nesting {
   public:
    explicit Nesting(int& count) : count_(count) { ++count_; }
    ~Nesting() { --count_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;

   private:
    int& count_;
  };

  Result<ExpressionPtr> ParseConditional();
  Result<ExpressionPtr> ParseBinary(size_t level);
  Result<ExpressionPtr> ParseUnary();
  Result<ExpressionPtr> ParsePostfix();
  Result<ExpressionPtr> ParseTerm();
  Result<ExpressionPtr> ParseSteps(ExpressionPtr from, bool attributes_only);
  Result<ExpressionPtr> ParseNumberLiteral();
  Result<ExpressionPtr> ParseNameOrCall();
  Result<ExpressionPtr> ParseArguments(std::string name, const Position& start);
  Result<ExpressionPtr> ParseTuple();
  Result<ExpressionPtr> ParseObject();
  Result<ExpressionPtr> ParseFor(const Position& start, bool object);
  bool LooksLikeFor();
  Result<ExpressionPtr> ParseQuoted();
  Result<ExpressionPtr> ParseHeredoc();

  Status ParseDirective(std::vector<Part>& parts);
  Status ParseInterpolation(std::vector<Part>& parts);
  Status ParseEscape(std::string& text);
  // Until `quote` (which is consumed) for a quoted one, else until the end of the input.
  Result<std::vector<Part>> ParseParts(bool quoted);
  Result<ExpressionPtr> Assemble(std::vector<Part> parts, const Range& range);
  Result<std::vector<ExpressionPtr>> AssembleUntil(std::vector<Part>& parts, size_t& at, const Part* opener);

  Result<std::string> TakeName(std::string_view what);
  Status Expect(std::string_view token, std::string_view summary, std::string_view detail);

  Scanner& in_;
  int lines_ignored_ = 0;  // inside of brackets, line ends are blanks
  int depth_ = 0;
};

}  // namespace varve::hcl
