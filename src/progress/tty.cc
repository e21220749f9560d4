// A terminal: one line per step, redrawn in place, the tail of the output below the step that speaks.
//
// Finished steps scroll off the top once there are more lines than the terminal has: only the last
// screenful is redrawn, since a cursor cannot go above the top.
#include <fmt/core.h>

#include <algorithm>

#include "progress/text.h"

namespace varve::progress {

namespace {

constexpr std::string_view kBlue = "\x1b[34m", kRed = "\x1b[31m", kYellow = "\x1b[33m", kDim = "\x1b[2m",
                           kReset = "\x1b[0m";

class TtyDisplay final : public Display {
 public:
  TtyDisplay(Writer& out, TtyOptions options) : out_(out), options_(std::move(options)) {
    options_.width = std::max(options_.width, 20);
    options_.height = std::max(options_.height, 6);
  }

  Nanos TickEvery() const override { return Nanos(options_.ticking ? 100'000'000 : 0); }

  void OnStart(const Vertex&, Timestamp now) override {
    if (begin_.nanos == 0) begin_ = now;
  }

  void OnTick(const std::vector<Vertex>& vertices, Timestamp now) override { Draw(vertices, now, false); }

  void OnClose(const std::vector<Vertex>& vertices, const std::vector<Warning>& warnings, Timestamp now) override {
    Draw(vertices, now, true);
    out_.Write(FailureBlocks(vertices) + WarningBlock(warnings));
  }

 private:
  std::string Paint(std::string_view color, std::string text) const {
    return options_.color ? fmt::format("{}{}{}", color, text, kReset) : text;
  }

  // Name on the left, time on the right edge.
  std::string Row(std::string_view color, std::string left, const std::string& right) const {
    size_t room = static_cast<size_t>(options_.width) - right.size() - 1;
    left = Fit(left, room);
    size_t columns =
        static_cast<size_t>(std::ranges::count_if(left, [](unsigned char c) { return (c & 0xc0) != 0x80; }));
    std::string line = left + std::string(room > columns ? room - columns : 0, ' ') + " " + right;
    return color.empty() ? line : Paint(color, line);
  }

  void AppendVertex(const Vertex& v, Timestamp now, bool last, std::vector<std::string>& lines) const {
    Timestamp end = v.completed ? *v.completed : now;
    std::string time = Seconds(*v.started, end) + "s";
    if (v.cancelled) {
      lines.push_back(Row(kYellow, " => CANCELED " + v.name, time));
    } else if (!v.error.empty()) {
      lines.push_back(Row(kRed, " => ERROR " + v.name, time));
    } else if (v.cached) {
      lines.push_back(Row(kBlue, " => CACHED " + v.name, time));
    } else {
      std::string why = v.why.empty() ? "" : fmt::format("  ({})", v.why);
      lines.push_back(Row(v.completed ? kBlue : "", " => " + v.name + why, time));
    }
    if (v.completed) return;
    for (const Item& item : v.items) {
      std::string size = item.total > 0 ? fmt::format("{} / {}", FormatSize(item.current), FormatSize(item.total))
                                        : FormatSize(item.current);
      Timestamp item_end = item.completed ? *item.completed : now;
      lines.push_back(Row(item.completed ? kBlue : "", fmt::format(" => => {} {}", item.id, size),
                          Seconds(item.started, item_end) + "s"));
    }
    if (last) return;
    for (const std::string& line : LastLines(v.log_tail, static_cast<size_t>(options_.log_lines))) {
      lines.push_back(Paint(kDim, Fit(" => => # " + line, static_cast<size_t>(options_.width) - 1)));
    }
  }

  void Draw(const std::vector<Vertex>& vertices, Timestamp now, bool last) {
    size_t total = 0, done = 0;
    std::vector<const Vertex*> started;
    for (const Vertex& v : vertices) {
      if (!v.started) continue;
      ++total;
      done += v.completed.has_value();
      started.push_back(&v);
    }
    if (started.empty()) return;
    std::ranges::stable_sort(started, {}, [](const Vertex* v) { return *v->started; });
    std::vector<std::string> lines;
    std::string title = fmt::format("[+] Building {}s ({}/{}){}", Seconds(begin_, now), done, total,
                                    last && done == total ? " FINISHED" : "");
    lines.push_back(Row("", title, options_.header));
    for (const Vertex* v : started) AppendVertex(*v, now, last, lines);

    std::string text;
    if (drawn_ > 0) text += fmt::format("\x1b[{}A\r", drawn_);
    text += "\x1b[J";
    size_t room = static_cast<size_t>(options_.height) - 1;
    size_t first = !last && lines.size() > room ? lines.size() - room + 1 : 1;
    text += lines[0] + "\n";
    for (size_t i = first; i < lines.size(); ++i) text += lines[i] + "\n";
    drawn_ = 1 + lines.size() - first;
    out_.Write(text);
  }

  Writer& out_;
  TtyOptions options_;
  Timestamp begin_;
  size_t drawn_ = 0;
};

}  // namespace

std::unique_ptr<Display> MakeTtyDisplay(Writer& out, TtyOptions options) {
  return std::make_unique<TtyDisplay>(out, std::move(options));
}

}  // namespace varve::progress
