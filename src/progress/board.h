// What happens in a build, told once and shown in one of several ways.
//
//   Board board(MakePlainDisplay(out, {}), SystemClock());
//   uint32_t v = board.Add("[build 2/5] RUN make");
//   board.Start(v);  board.Log(v, 1, "cc …\n");  board.Finish(v, {});
//   board.Close();
//
// A vertex is one line of work: a step, a pull, an export. All methods are safe from any thread; the
// display is only called under the board's lock, in the order of events.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/guarded.h"

namespace varve::progress {

// A part of a vertex's work, such as one layer's download.
struct Item {
  std::string id;
  uint64_t current = 0;
  uint64_t total = 0;  // 0: unknown
  Timestamp started;
  std::optional<Timestamp> completed;
};

struct Vertex {
  uint32_t id = 0;  // position of its Add
  std::string name;
  std::string why;  // why it ran, when that was told
  std::vector<uint32_t> inputs;
  std::optional<Timestamp> started;
  std::optional<Timestamp> completed;
  bool cached = false;
  bool cancelled = false;
  std::string error;     // empty: none
  bool excused = false;  // the error has been mended: it is not shown again at the end
  std::vector<Item> items;
  std::string log_tail;  // the last kLogTail bytes of output
  static constexpr size_t kLogTail = 64 << 10;
};

struct Warning {
  std::string text;  // "Rule: message (line N)"
  std::string detail;
  std::string url;
  std::string excerpt;
  std::string file;   // what it is about, for those who mark lines; empty: nothing
  uint32_t line = 0;  // 1-based; 0: none
};

// How events become bytes. Called by Board only.
class Display {
 public:
  virtual ~Display() = default;
  virtual void OnStart(const Vertex&, Timestamp) {}
  virtual void OnWhy(const Vertex&, Timestamp) {}
  virtual void OnLog(const Vertex&, int, std::string_view, Timestamp) {}
  virtual void OnItem(const Vertex&, const Item&, Timestamp) {}
  virtual void OnWarning(const Warning&, Timestamp) {}
  virtual void OnFinish(const Vertex&, Timestamp) {}
  // For what moves without events (running times). Every `TickEvery`, if that is not zero.
  virtual void OnTick(const std::vector<Vertex>&, Timestamp) {}
  virtual Nanos TickEvery() const { return Nanos(0); }
  // The end: failed vertices once more with their last lines, the warnings.
  virtual void OnClose(const std::vector<Vertex>&, const std::vector<Warning>&, Timestamp) {}
};

class Board {
 public:
  Board(std::unique_ptr<Display> display, Clock& clock);
  ~Board();  // closes

  uint32_t Add(std::string name, std::vector<uint32_t> inputs = {});
  void Start(uint32_t vertex);
  void Why(uint32_t vertex, std::string why);
  void Log(uint32_t vertex, int stream, std::string_view data);
  void Progress(uint32_t vertex, const std::string& item, uint64_t current, uint64_t total, bool done);
  void Warn(Warning warning);

  struct Result {
    bool cached = false;
    bool cancelled = false;
    std::string error;
  };
  void Finish(uint32_t vertex, Result result);
  void ExcuseErrors();  // of all that have finished: their work is done again
  void Close();

  Vertex Snapshot(uint32_t vertex);  // a copy, for tests and reports
  std::vector<Vertex> Timeline();    // copies of all, without their logs
  std::vector<Warning> Warnings();   // copies, in the order in which they were said

 private:
  struct State {
    std::vector<Vertex> vertices;
    std::vector<Warning> warnings;
    bool closed = false;
  };

  std::unique_ptr<Display> display_;
  Clock& clock_;
  Guarded<State> state_;
  std::condition_variable stop_ticking_;
  std::jthread ticker_;  // last: ends before the rest
};

struct PlainOptions {
  std::string header;     // text of line "#0 …"; empty: no such line
  bool truncate = false;  // PROGRESS_NO_TRUNC=0 cuts names at 72
};
struct TtyOptions {
  std::string header;  // right side of the first line
  int width = 80;
  int height = 24;
  int log_lines = 6;    // BUILDKIT_TTY_LOG_LINES
  bool color = true;    // NO_COLOR
  bool ticking = true;  // tests tick by hand
};

// `out` gets whole lines at a time and outlives the display.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual void Write(std::string_view text) = 0;
};
std::unique_ptr<Display> MakePlainDisplay(Writer& out, PlainOptions options);
std::unique_ptr<Display> MakeTtyDisplay(Writer& out, TtyOptions options);
std::unique_ptr<Display> MakeRawJsonDisplay(Writer& out);
std::unique_ptr<Display> MakeQuietDisplay();

}  // namespace varve::progress
