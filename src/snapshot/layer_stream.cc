#include "snapshot/layer_stream.h"

#include <fcntl.h>

#include <algorithm>

#include "archive/tar.h"

namespace varve::snapshot {

namespace {

constexpr size_t kPiece = 512 << 10;  // bytes that are handed over at once, at least
constexpr size_t kBudget = 2 << 20;   // bytes that wait to be hashed
constexpr size_t kTarBlock = 512;
constexpr char kZeros[kTarBlock] = {};

}  // namespace

LayerStream::LayerStream(OnEntry on_entry, IndexFile index_file)
    : on_entry_(std::move(on_entry)), index_file_(std::move(index_file)), thread_([this] { Work(); }) {}

LayerStream::~LayerStream() { Break(); }

size_t LayerStream::Begin() {
  std::scoped_lock lock(mutex_);
  segments_.emplace_back();
  return begun_++;
}

void LayerStream::Break() {
  {
    std::scoped_lock lock(mutex_);
    broken_ = true;
  }
  changed_.notify_all();
  space_.notify_all();
}

void LayerStream::Write(size_t number, Piece piece, bool last) {
  std::unique_lock lock(mutex_);
  ++blocked_;
  space_.wait(lock, [&] { return broken_ || number == current_ || waiting_ + piece.tar.size() <= kBudget; });
  // Nor may the segment that is next run away from the hash.
  space_.wait(lock, [&] { return broken_ || waiting_ <= 2 * kBudget; });
  --blocked_;
  if (broken_) return;
  waiting_ += piece.tar.size();
  Segment& segment = segments_[number - current_];
  segment.pieces.push_back(std::move(piece));
  segment.ended = last;
  if (number == current_) changed_.notify_one();
}

void LayerStream::Work() {
  while (true) {
    Piece piece;
    {
      std::unique_lock lock(mutex_);
      while (!segments_.empty() && segments_.front().ended && segments_.front().pieces.empty()) {
        segments_.pop_front();
        ++current_;
        if (blocked_ > 0) space_.notify_all();
      }
      bool at_end = finished_ && segments_.empty();
      if (broken_ || at_end) return;
      if (segments_.empty() || segments_.front().pieces.empty()) {
        changed_.wait(lock);
        continue;
      }
      piece = std::move(segments_.front().pieces.front());
      segments_.front().pieces.pop_front();
      waiting_ -= piece.tar.size();
      if (blocked_ > 0) space_.notify_all();
    }
    if (Status consumed = Consume(std::move(piece)); !consumed) {
      error_ = std::move(consumed).error();
      Break();
      return;
    }
  }
}

Status LayerStream::Consume(Piece piece) {
  TRY(tar_.Write(piece.tar));
  layer_.entries += piece.entries.size();
  index_bytes_ += piece.index.size();
  if (!piece.index.empty()) layer_.index.push_back(std::move(piece.index));
  if (!index_file_.path.empty() && index_bytes_ > index_file_.from) TRY(MoveIndexToFile());
  if (!piece.times.empty()) layer_.times.push_back(std::move(piece.times));
  for (StreamedEntry& entry : piece.entries) TRY(on_entry_(std::move(entry)));
  return Ok();
}

Status LayerStream::MoveIndexToFile() {
  if (!index_fd_) {
    TRY_ASSIGN(index_fd_, OpenFile(index_file_.path, O_WRONLY | O_CREAT | O_EXCL, 0600));
    layer_.index_file = index_file_.path;
  }
  FdWriter file(index_fd_.get());
  for (const std::string& piece : layer_.index) TRY(file.Write(piece));
  layer_.index.clear();
  index_bytes_ = 0;
  return Ok();
}

Result<WrittenLayer> LayerStream::Finish() {
  {
    std::scoped_lock lock(mutex_);
    finished_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (error_) return *error_;
  CHECK(!broken_);
  static const std::string kEnd(archive::kEmptyTarSize, '\0');
  TRY(tar_.Write(kEnd));
  layer_.tar_size = tar_.size();
  layer_.diff_id = DiffId(tar_.Finish());
  return std::move(layer_);
}

TarPart::~TarPart() {
  if (!ended_) stream_.Break();
}

void TarPart::Add(const UpperEntry& entry, bool fresh) {
  FinishEntry();
  // At once rather than in doublings, which copy every byte once more.
  if (piece_.tar.empty()) piece_.tar.reserve(std::min(expected_, kPiece + kPiece / 2));
  const tree::Node& node = entry.index.node;
  CHECK(node.type != tree::NodeType::kCharDevice && node.type != tree::NodeType::kBlockDevice);
  UpperHeader header = HeaderOf(entry);
  piece_.tar += archive::EncodeTarHeader(header.entry, header.names);
  uint64_t size = node.type == tree::NodeType::kFile ? node.size : 0;
  padding_ = (kTarBlock - size % kTarBlock) % kTarBlock;
  tree::AppendLayerEntry(piece_.index, entry.index);
  piece_.times.append(reinterpret_cast<const char*>(&entry.mtime.nanos), sizeof(entry.mtime.nanos));
  piece_.entries.push_back({entry.index, fresh});
}

std::span<char> TarPart::Space(size_t bytes) {
  if (piece_.tar.size() >= kPiece) Send(false);
  size_t at = piece_.tar.size(), end = at + bytes;
  // g++ 12 tells the function the capacity, not what was asked for.
  piece_.tar.resize_and_overwrite(end, [end](char*, size_t) { return end; });
  return {piece_.tar.data() + at, bytes};
}

void TarPart::FinishEntry() {
  piece_.tar.append(kZeros, padding_);
  padding_ = 0;
  if (piece_.tar.size() >= kPiece) Send(false);
}

void TarPart::Send(bool last) { stream_.Write(segment_, std::exchange(piece_, {}), last); }

void TarPart::End() {
  FinishEntry();
  Send(true);
  ended_ = true;
}

}  // namespace varve::snapshot
