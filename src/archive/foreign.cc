#include "archive/foreign.h"

namespace varve::archive {

namespace {

// Tells errors of the source from errors of what it holds.
class WatchedReader final : public Reader {
 public:
  explicit WatchedReader(Reader& in) : in_(in) {}
  Result<size_t> Read(std::span<char> buffer) override {
    auto n = in_.Read(buffer);
    if (!n) error_ = n.error();
    return n;
  }
  const std::optional<Error>& error() const { return error_; }

 private:
  Reader& in_;
  std::optional<Error> error_;
};

Result<bool> HasHeader(Reader& in) {
  TRY_ASSIGN(auto archive, ForeignArchive::Open(in));
  TRY_ASSIGN(auto entry, archive->tar().Next());
  return entry.has_value();
}

}  // namespace

Result<std::unique_ptr<ForeignArchive>> ForeignArchive::Open(Reader& in, ForeignLimits limits) {
  TRY_ASSIGN(auto plain, MakeDecompressor(in, limits.expansion));
  return std::unique_ptr<ForeignArchive>(new ForeignArchive(std::move(plain), limits.tar));
}

Result<bool> IsTar(Reader& in) {
  WatchedReader watched(in);
  auto answer = HasHeader(watched);
  if (!answer && watched.error()) return *watched.error();
  return answer.value_or(false);
}

}  // namespace varve::archive
