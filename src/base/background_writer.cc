#include "base/background_writer.h"

#include <algorithm>
#include <utility>

namespace varve {

namespace {
constexpr size_t kPieces = 8;
}

BackgroundWriter::BackgroundWriter(Writer& out, size_t limit)
    : out_(out), piece_(std::max<size_t>(limit / kPieces, 1)), thread_([this] { Loop(); }) {
  filling_.reserve(piece_);
  // One is being filled, one passed on.
  state_.Lock()->free.resize(kPieces - 2);
}

BackgroundWriter::~BackgroundWriter() {
  {
    auto state = state_.Lock();
    state->abandoned = true;
  }
  changed_.notify_all();
}

Status BackgroundWriter::Write(std::string_view data) {
  while (!data.empty()) {
    size_t n = std::min(piece_ - filling_.size(), data.size());
    filling_.append(data.substr(0, n));
    data.remove_prefix(n);
    if (filling_.size() == piece_) TRY(Submit());
  }
  return Ok();
}

Status BackgroundWriter::Finish() {
  if (!filling_.empty()) TRY(Submit());
  {
    auto state = state_.Lock();
    state->ended = true;
  }
  changed_.notify_all();
  thread_.join();
  auto state = state_.Lock();
  if (state->error) return *state->error;
  return Ok();
}

Status BackgroundWriter::Submit() {
  {
    auto state = state_.Lock();
    state.Wait(changed_, [&] { return !state->free.empty() || state->error; });
    if (state->error) return *state->error;
    state->full.push_back(std::exchange(filling_, std::move(state->free.back())));
    state->free.pop_back();
  }
  changed_.notify_all();
  filling_.clear();
  filling_.reserve(piece_);
  return Ok();
}

void BackgroundWriter::Loop() {
  std::optional<std::string> piece;
  while (true) {
    {
      auto state = state_.Lock();
      if (piece) state->free.push_back(std::move(*piece));
      state.Wait(changed_, [&] { return state->abandoned || state->ended || !state->full.empty(); });
      if (state->abandoned || state->full.empty()) return;
      piece = std::move(state->full.front());
      state->full.pop_front();
    }
    changed_.notify_all();
    Status written = out_.Write(*piece);
    if (!written) {
      auto state = state_.Lock();
      state->error = std::move(written).error();
      changed_.notify_all();
      return;
    }
  }
}

}  // namespace varve
