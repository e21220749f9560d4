#include "job/build_display.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>

#include "base/strings.h"
#include "job/console.h"
#include "job/version.h"

namespace varve::job {

namespace {

class Stderr final : public progress::Writer {
 public:
  void Write(std::string_view text) override { ToStderr(text); }
};

int Environment(const char* name, int fallback) {
  const char* text = std::getenv(name);
  auto value = text ? ParseInt(text) : std::nullopt;
  return value ? static_cast<int>(*value) : fallback;
}

progress::TtyOptions TerminalOptions(std::string header) {
  progress::TtyOptions options{.header = std::move(header)};
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    options.width = size.ws_col;
    options.height = size.ws_row;
  }
  options.log_lines = Environment("BUILDKIT_TTY_LOG_LINES", options.log_lines);
  const char* no_color = std::getenv("NO_COLOR");
  options.color = no_color == nullptr || *no_color == '\0';
  return options;
}

}  // namespace

std::unique_ptr<progress::Board> MakeBoard(const BuildFlags& flags) {
  static Stderr out;
  std::string header = std::string("varve ") + kVersion;
  ProgressMode mode = flags.progress;
  if (flags.quiet) mode = ProgressMode::kQuiet;
  if (mode == ProgressMode::kAuto) {
    mode = isatty(STDERR_FILENO) != 0 ? ProgressMode::kTty : ProgressMode::kPlain;
  }
  std::unique_ptr<progress::Display> display;
  switch (mode) {
    case ProgressMode::kTty:
      display = progress::MakeTtyDisplay(out, TerminalOptions(header));
      break;
    case ProgressMode::kRawJson:
      display = progress::MakeRawJsonDisplay(out);
      break;
    case ProgressMode::kQuiet:
    case ProgressMode::kNone:
      display = progress::MakeQuietDisplay();
      break;
    default:
      display = progress::MakePlainDisplay(
          out, {.header = "building with " + header, .truncate = Environment("PROGRESS_NO_TRUNC", 1) == 0});
  }
  return std::make_unique<progress::Board>(std::move(display), SystemClock());
}

BoardObserver::BoardObserver(progress::Board& board, const graph::Graph& graph) : board_(board) {
  std::vector<uint32_t> ids;
  for (const graph::Step& step : graph.steps) {
    std::vector<uint32_t> inputs;
    for (const graph::Ref& input : step.inputs) inputs.push_back(ids[input.step]);
    ids.push_back(board.Add(step.name, std::move(inputs)));
    sinks_.push_back(std::make_unique<VertexSink>(board, ids.back()));
  }
}

void BoardObserver::Started(graph::StepIndex step) { board_.Start(sinks_[step]->vertex()); }

void BoardObserver::Explained(graph::StepIndex step, const std::vector<engine::Reason>& reasons) {
  if (!reasons.empty()) board_.Why(sinks_[step]->vertex(), engine::Summarise(reasons));
}

void BoardObserver::Finished(graph::StepIndex step, const engine::StepOutcome& outcome, const Error* error) {
  if (outcome.status == engine::StepStatus::kCached && !outcome.tier.empty()) {
    sinks_[step]->Log(2, "from " + outcome.tier + "\n");
  }
  if (!outcome.replayed.empty()) board_.Why(sinks_[step]->vertex(), outcome.replayed);
  board_.Finish(sinks_[step]->vertex(), {.cached = outcome.status == engine::StepStatus::kCached,
                                         .cancelled = outcome.status == engine::StepStatus::kCancelled,
                                         .error = error ? error->message : ""});
}

}  // namespace varve::job
