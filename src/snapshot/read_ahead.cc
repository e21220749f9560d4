#include "snapshot/read_ahead.h"

#include <algorithm>
#include <cstring>

namespace varve::snapshot {

ReadAhead::ReadAhead(Reader& in) : in_(in), reader_([this] { ReadBlocks(); }), hasher_([this] { HashBlocks(); }) {}

ReadAhead::~ReadAhead() {
  std::scoped_lock lock(mutex_);
  stopped_ = true;
  changed_.notify_all();
}

void ReadAhead::ReadBlocks() {
  while (true) {
    auto block = std::make_shared<std::vector<char>>(kBlock);
    size_t have = 0;
    Result<size_t> n = size_t{0};
    while (have < kBlock && (n = in_.Read(std::span(*block).subspan(have))) && *n > 0) have += *n;
    block->resize(have);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopped_ || (to_parse_.size() < kBlocks && to_hash_.size() < kBlocks); });
    if (have > 0 && n) {
      to_parse_.push_back(block);
      to_hash_.push_back(block);
    }
    if (!n) error_ = n.error();
    ended_ = stopped_ || have < kBlock || !n;
    changed_.notify_all();
    if (ended_) return;
  }
}

void ReadAhead::HashBlocks() {
  Sha256 hash;
  while (true) {
    Block block;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopped_ || !to_hash_.empty() || ended_; });
      if (stopped_ || to_hash_.empty()) break;
      block = std::move(to_hash_.front());
      to_hash_.pop_front();
      changed_.notify_all();
    }
    hash.Update(std::string_view(block->data(), block->size()));
  }
  digest_ = hash.Finish();
}

Result<size_t> ReadAhead::Read(std::span<char> buffer) {
  if (!current_ || at_ == current_->size()) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !to_parse_.empty() || ended_; });
    if (to_parse_.empty()) {
      if (error_) return *error_;
      return size_t{0};
    }
    current_ = std::move(to_parse_.front());
    to_parse_.pop_front();
    at_ = 0;
    size_ += current_->size();
    changed_.notify_all();
  }
  size_t n = std::min(buffer.size(), current_->size() - at_);
  std::memcpy(buffer.data(), current_->data() + at_, n);
  at_ += n;
  return n;
}

Digest ReadAhead::Finish() {
  hasher_.join();
  return digest_;
}

}  // namespace varve::snapshot
