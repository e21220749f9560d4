// Any bytes as a Dockerfile: parse, check, and expand what came out. Besides the sanitizers, the
// places that the parser names have to lie inside the file.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dockerfile/excerpt.h"
#include "dockerfile/expand.h"
#include "dockerfile/lint.h"
#include "dockerfile/parser.h"
#include "dockerfile/run_mount.h"

namespace {

using namespace varve;              // NOLINT
using namespace varve::dockerfile;  // NOLINT

class Checker {
 public:
  explicit Checker(std::string_view text)
      : text_(text), lines_(1 + static_cast<int>(std::count(text.begin(), text.end(), '\n'))) {}

  void Run() {
    (void)DetectSyntax(text_);
    auto file = ParseDockerfile(text_);
    if (!file) {
      CHECK(!file.error().error.message.empty());
      Place(file.error().span, true);
      (void)RenderExcerpt("Dockerfile", text_, {&file.error().span, 1});
      return;
    }
    escape_ = file->escape;
    auto options = FileCheckOptions(file->directives, std::nullopt);
    Linter linter(options ? *options : CheckOptions{.experimental_all = true});
    CheckFile(*file, linter);
    for (const Warning& warning : linter.warnings()) Place(warning.span);
    for (const Instruction& arg : file->global_args) Visit(arg);
    for (const Stage& stage : file->stages) {
      Place(stage.origin.span);
      Expand(stage.base);
      Expand(stage.platform);
      for (const Instruction& instruction : stage.instructions) Visit(instruction);
    }
  }

 private:
  // An empty file's error has no line.
  void Place(const Span& span, bool may_be_unknown = false) const {
    CHECK(span.start_line >= (may_be_unknown ? 0 : 1));
    CHECK(span.start_line <= span.end_line && span.end_line <= lines_);
  }

  void Expand(const std::string& word) const {
    for (int i = 0; i < 4; ++i) {
      ExpandOptions options{.escape = escape_, .raw_quotes = (i & 1) != 0, .skip_unset = (i & 2) != 0};
      (void)ProcessWord(word, get_, options);
    }
  }

  void Visit(const Instruction& instruction) {
    Place(instruction.origin.span);
    CHECK(!instruction.origin.keyword.empty());
    Expand(instruction.origin.text);
    if (auto* run = std::get_if<dockerfile::Run>(&instruction.body)) {
      CHECK(!MakeRunScript(*run, false).args.empty() || run->command.args.empty());
      for (const std::string& mount : run->mounts) {
        (void)ParseMount(mount, [&](std::string_view word) -> Result<std::string> {
          TRY_ASSIGN(Expansion expansion, ProcessWord(word, get_, {.escape = escape_}));
          return std::move(expansion.text);
        });
      }
    }
    if (auto* on_build = std::get_if<OnBuild>(&instruction.body)) {
      auto inner = ParseTrigger(on_build->trigger, instruction.origin.span);
      if (inner) CHECK(inner->origin.span == instruction.origin.span);
    }
  }

  std::string_view text_;
  int lines_;
  char escape_ = '\\';
  GetVariable get_ = [](std::string_view name) -> std::optional<std::string> {
    if (name == "A") return "abc/abc.abc";
    if (name == "E") return "";
    return std::nullopt;
  };
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Checker(std::string_view(reinterpret_cast<const char*>(data), size)).Run();
  return 0;
}
