#include "progress/board.h"

#include <algorithm>

namespace varve::progress {

Board::Board(std::unique_ptr<Display> display, Clock& clock) : display_(std::move(display)), clock_(clock) {
  Nanos every = display_->TickEvery();
  if (every.count() == 0) return;
  ticker_ = std::jthread([this, every] {
    auto state = state_.Lock();
    while (!state.WaitFor(stop_ticking_, every, [&] { return state->closed; })) {
      display_->OnTick(state->vertices, clock_.Now());
    }
  });
}

Board::~Board() { Close(); }

uint32_t Board::Add(std::string name, std::vector<uint32_t> inputs) {
  auto state = state_.Lock();
  auto id = static_cast<uint32_t>(state->vertices.size());
  state->vertices.push_back({.id = id, .name = std::move(name), .inputs = std::move(inputs)});
  return id;
}

void Board::Start(uint32_t vertex) {
  auto state = state_.Lock();
  Vertex& v = state->vertices[vertex];
  if (v.started) return;
  v.started = clock_.Now();
  display_->OnStart(v, *v.started);
}

void Board::Why(uint32_t vertex, std::string why) {
  auto state = state_.Lock();
  Vertex& v = state->vertices[vertex];
  v.why = std::move(why);
  display_->OnWhy(v, clock_.Now());
}

void Board::Log(uint32_t vertex, int stream, std::string_view data) {
  auto state = state_.Lock();
  Vertex& v = state->vertices[vertex];
  v.log_tail += data;
  if (v.log_tail.size() > 2 * Vertex::kLogTail) {
    v.log_tail.erase(0, v.log_tail.size() - Vertex::kLogTail);
  }
  display_->OnLog(v, stream, data, clock_.Now());
}

void Board::Progress(uint32_t vertex, const std::string& item, uint64_t current, uint64_t total, bool done) {
  auto state = state_.Lock();
  Vertex& v = state->vertices[vertex];
  auto it = std::ranges::find(v.items, item, &Item::id);
  if (it == v.items.end()) {
    v.items.push_back({.id = item, .started = clock_.Now()});
    it = v.items.end() - 1;
  }
  if (it->completed) return;
  it->current = current;
  it->total = total;
  if (done) it->completed = clock_.Now();
  display_->OnItem(v, *it, clock_.Now());
}

void Board::Warn(Warning warning) {
  auto state = state_.Lock();
  state->warnings.push_back(std::move(warning));
  display_->OnWarning(state->warnings.back(), clock_.Now());
}

void Board::Finish(uint32_t vertex, Result result) {
  auto state = state_.Lock();
  Vertex& v = state->vertices[vertex];
  if (v.completed) return;
  Timestamp now = clock_.Now();
  if (!v.started) v.started = now;
  v.completed = now;
  v.cached = result.cached;
  v.cancelled = result.cancelled;
  v.error = std::move(result.error);
  display_->OnFinish(v, now);
}

void Board::ExcuseErrors() {
  auto state = state_.Lock();
  for (Vertex& v : state->vertices) v.excused = !v.error.empty();
}

void Board::Close() {
  {
    auto state = state_.Lock();
    if (state->closed) return;
    state->closed = true;
    display_->OnClose(state->vertices, state->warnings, clock_.Now());
  }
  stop_ticking_.notify_all();
}

std::vector<Vertex> Board::Timeline() {
  auto state = state_.Lock();
  std::vector<Vertex> out;
  for (const Vertex& v : state->vertices) {
    out.push_back({.id = v.id,
                   .name = v.name,
                   .why = v.why,
                   .inputs = v.inputs,
                   .started = v.started,
                   .completed = v.completed,
                   .cached = v.cached,
                   .cancelled = v.cancelled,
                   .error = v.error,
                   .items = v.items,
                   .log_tail = {}});
  }
  return out;
}

std::vector<Warning> Board::Warnings() { return state_.Lock()->warnings; }

Vertex Board::Snapshot(uint32_t vertex) { return state_.Lock()->vertices[vertex]; }

}  // namespace varve::progress
