#include "archive/piecewise.h"

#include <algorithm>

namespace varve::archive {

PiecewiseWriter::PiecewiseWriter(size_t size, size_t threads, Pack pack, Pass pass)
    : size_(size), window_(threads + 1), pack_(std::move(pack)), pass_(std::move(pass)), pool_(threads) {}

Status PiecewiseWriter::Write(std::string_view data) {
  while (!data.empty()) {
    if (!filling_) filling_ = TakePiece();
    std::string& chunk = filling_->chunk;
    size_t n = std::min(size_ - chunk.size(), data.size());
    chunk.append(data.substr(0, n));
    data.remove_prefix(n);
    if (chunk.size() == size_) TRY(Submit());
  }
  return Ok();
}

Status PiecewiseWriter::Finish() {
  if (filling_) TRY(Submit());
  return Drain(0);
}

std::unique_ptr<Piece> PiecewiseWriter::TakePiece() {
  if (free_.empty()) {
    auto piece = std::make_unique<Piece>();
    piece->chunk.reserve(size_);
    return piece;
  }
  auto piece = std::move(free_.back());
  free_.pop_back();
  piece->chunk.clear();
  return piece;
}

Status PiecewiseWriter::Submit() {
  TRY(Drain(window_));
  pool_.Submit([this, number = submitted_++, piece = std::move(filling_)]() mutable {
    if (Status packed = pack_(*piece); !packed) piece->error = std::move(packed).error();
    auto done = done_.Lock();
    done->emplace(number, std::move(piece));
    // Under the lock: this object may end as soon as the last piece is seen.
    finished_.notify_one();
  });
  return Ok();
}

// Passes pieces on until at most `left` are under way.
Status PiecewiseWriter::Drain(size_t left) {
  while (submitted_ - written_ > left) {
    std::unique_ptr<Piece> piece;
    {
      auto done = done_.Lock();
      done.Wait(finished_, [&] { return done->contains(written_); });
      piece = std::move(done->extract(written_).mapped());
    }
    ++written_;
    if (piece->error) return *piece->error;
    TRY(pass_(*piece));
    free_.push_back(std::move(piece));
  }
  return Ok();
}

}  // namespace varve::archive
