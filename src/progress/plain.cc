// The field's line format (reference cli.md §9 "plain"): one block of lines per vertex, numbered by
// first appearance, the output of one vertex at a time.
//
// While one vertex is shown, what others say is kept for them. The display moves on when the shown
// one is complete, has been silent for kQuiet while another has something to say, or another has
// been waiting for kHidden.
#include <fmt/core.h>

#include <map>
#include <optional>

#include "progress/text.h"

namespace varve::progress {

namespace {

constexpr int64_t kQuiet = 5'000'000'000;
constexpr int64_t kHidden = 10'000'000'000;

class PlainDisplay final : public Display {
 public:
  PlainDisplay(Writer& out, PlainOptions options) : out_(out), options_(std::move(options)) {
    if (!options_.header.empty()) out_.Write(fmt::format("#0 {}\n", options_.header));
  }

  void OnStart(const Vertex& v, Timestamp now) override { Say(v, "", now); }

  void OnWhy(const Vertex& v, Timestamp now) override { Say(v, fmt::format("#{{}} why: {}\n", v.why), now); }

  void OnLog(const Vertex& v, int, std::string_view data, Timestamp now) override {
    std::string text;
    Channel& channel = ChannelOf(v);
    while (!data.empty()) {
      size_t newline = data.find('\n');
      std::string_view line = data.substr(0, newline);
      if (!channel.in_line) text += "#{} " + Since(v, now) + " ";
      text.append(line);
      channel.in_line = newline == data.npos;
      if (newline != data.npos) text += '\n';
      data = newline == data.npos ? std::string_view() : data.substr(newline + 1);
    }
    Say(v, text, now);
  }

  void OnItem(const Vertex& v, const Item& item, Timestamp now) override {
    // Every update would be thousands of lines: each 5 % or 5 s, and the end.
    Shown& shown = shown_[{v.id, item.id}];
    bool step = item.total > 0 && item.current >= shown.bytes + item.total / 20;
    if (!item.completed && shown.time.nanos != 0 && !step && now.nanos - shown.time.nanos < kQuiet) {
      return;
    }
    shown = {item.current, now};
    std::string text = "#{} " + item.id;
    if (item.total > 0) {
      text += fmt::format(" {} / {}", FormatSize(item.current), FormatSize(item.total));
    } else if (item.current > 0) {
      text += " " + FormatSize(item.current);
    }
    if (now.nanos - item.started.nanos > 10'000'000) text += " " + Seconds(item.started, now) + "s";
    Say(v, text + (item.completed ? " done\n" : "\n"), now);
  }

  void OnWarning(const Warning&, Timestamp) override {}

  void OnFinish(const Vertex& v, Timestamp now) override {
    std::string end;
    if (v.cancelled) {
      end = "#{} CANCELED\n";
    } else if (!v.error.empty()) {
      end = "#{} ERROR: " + v.error + "\n";
    } else if (v.cached) {
      end = "#{} CACHED\n";
    } else {
      end = "#{} DONE " + Seconds(*v.started, now) + "s\n";
    }
    Channel& channel = ChannelOf(v);
    channel.completed = true;
    Say(v, (channel.in_line ? "\n" : "") + end, now);
  }

  void OnClose(const std::vector<Vertex>& vertices, const std::vector<Warning>& warnings, Timestamp now) override {
    for (auto& [id, channel] : channels_) {
      if (!channel.pending.empty()) Show(id, now);
    }
    std::string end = FailureBlocks(vertices);
    if (!end.empty()) end.insert(0, "\n");
    out_.Write(end + WarningBlock(warnings));
  }

 private:
  struct Channel {
    std::string name;
    int number = 0;       // 0: never shown
    std::string pending;  // "{}" at line starts stands for the number
    std::optional<Timestamp> waiting_since;
    Timestamp last_said;
    bool in_line = false;
    bool completed = false;
  };
  struct Shown {
    uint64_t bytes = 0;
    Timestamp time;
  };

  static std::string Since(const Vertex& v, Timestamp now) {
    double s = static_cast<double>(now.nanos - (v.started ? v.started->nanos : now.nanos)) / 1e9;
    return s < 10 ? fmt::format("{:.3f}", s) : s < 100 ? fmt::format("{:.2f}", s) : fmt::format("{:.1f}", s);
  }

  Channel& ChannelOf(const Vertex& v) {
    Channel& channel = channels_[v.id];
    if (channel.name.empty()) channel.name = options_.truncate ? Fit(v.name, 72) : v.name;
    return channel;
  }

  void Say(const Vertex& v, const std::string& text, Timestamp now) {
    Channel& channel = ChannelOf(v);
    if (channel.pending.empty()) channel.waiting_since = now;
    channel.pending += text;
    channel.last_said = now;
    if (current_ == v.id || MayMoveTo(channel, now)) Show(v.id, now);
    if (current_ && channels_[*current_].completed) {
      // Complete vertices first: they will not interrupt anybody again.
      for (bool completed : {true, false}) {
        for (auto& [id, other] : channels_) {
          if (!other.pending.empty() && other.completed == completed) {
            Show(id, now);
            if (!completed) return;
          }
        }
      }
    }
  }

  bool MayMoveTo(const Channel& channel, Timestamp now) {
    if (!current_ || channels_[*current_].completed) return true;
    return now.nanos - channels_[*current_].last_said.nanos > kQuiet ||
           (channel.waiting_since && now.nanos - channel.waiting_since->nanos > kHidden);
  }

  void Show(uint32_t id, Timestamp) {
    Channel& channel = channels_[id];
    std::string text;
    if (current_ != id) {
      if (current_ && !channels_[*current_].completed) {
        text += fmt::format("{}#{} ...\n", channels_[*current_].in_line ? "\n" : "", channels_[*current_].number);
      }
      text += '\n';
      if (channel.number == 0) channel.number = ++numbers_;
      text += fmt::format("#{} {}\n", channel.number, channel.name);
      current_ = id;
    }
    const std::string number = fmt::format("#{}", channel.number);
    bool line_start = true;
    for (size_t i = 0; i < channel.pending.size(); ++i) {
      if (line_start && channel.pending.compare(i, 3, "#{}") == 0) {
        text += number;
        i += 2;
        line_start = false;
        continue;
      }
      line_start = channel.pending[i] == '\n';
      text += channel.pending[i];
    }
    channel.pending.clear();
    channel.waiting_since.reset();
    out_.Write(text);
  }

  Writer& out_;
  PlainOptions options_;
  std::map<uint32_t, Channel> channels_;
  std::map<std::pair<uint32_t, std::string>, Shown> shown_;
  std::optional<uint32_t> current_;
  int numbers_ = 0;
};

class QuietDisplay final : public Display {};

}  // namespace

std::unique_ptr<Display> MakePlainDisplay(Writer& out, PlainOptions options) {
  return std::make_unique<PlainDisplay>(out, std::move(options));
}

std::unique_ptr<Display> MakeQuietDisplay() { return std::make_unique<QuietDisplay>(); }

}  // namespace varve::progress
