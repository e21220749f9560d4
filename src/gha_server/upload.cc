#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "gha_server/entry_store.h"

namespace varve::gha_server {

namespace {

Result<uint64_t> SizeOf(int fd) {
  struct stat st;
  if (fstat(fd, &st) != 0) return ErrnoError(errno, "stat of an upload");
  return static_cast<uint64_t>(st.st_size);
}

Status Append(int from, int to) {
  while (true) {
    ssize_t n = copy_file_range(from, nullptr, to, nullptr, size_t{1} << 30, 0);
    if (n < 0) return ErrnoError(errno, "join the blocks of an upload");
    if (n == 0) return Ok();
  }
}

}  // namespace

Result<Upload::Part> Upload::StartRange(uint64_t offset, uint64_t size) {
  auto state = state_.Lock();
  if (state->closed) return Invalid("'{}' is committed already", entry_.key);
  TRY_ASSIGN(Fd fd, OpenFile(DataPath(), O_WRONLY | O_CREAT, 0600));
  if (lseek(fd.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return ErrnoError(errno, "seek in an upload");
  return Part{.fd = std::move(fd), .offset = offset, .size = size, .writing = writers_};
}

Result<Upload::Part> Upload::StartBlock(std::string_view block_id) {
  std::string temporary = folder_ + "/part-" + std::to_string(state_.Lock()->parts++);
  TRY_ASSIGN(Fd fd, OpenFile(temporary, O_WRONLY | O_CREAT | O_EXCL, 0600));
  return Part{
      .fd = std::move(fd), .temporary = temporary, .final_name = folder_ + "/block-" + Digest::Of(block_id).Hex()};
}

Result<Upload::Part> Upload::StartWhole() {
  TRY_ASSIGN(Part part, StartBlock(""));
  part.final_name = DataPath();
  return part;
}

Status Upload::Done(Part part) {
  if (!part.temporary.empty()) {
    TRY_ASSIGN(uint64_t size, SizeOf(part.fd.get()));
    auto state = state_.Lock();
    if (state->closed) return Invalid("'{}' is committed already", entry_.key);
    if (rename(part.temporary.c_str(), part.final_name.c_str()) != 0) {
      return ErrnoError(errno, "rename to " + part.final_name);
    }
    if (part.final_name == DataPath()) state->whole = size;
    return Ok();
  }
  auto state = state_.Lock();
  uint64_t begin = part.offset, end = part.offset + part.size;
  auto& ranges = state->ranges;
  auto it = ranges.upper_bound(begin);
  if (it != ranges.begin() && std::prev(it)->second >= begin) --it;
  while (it != ranges.end() && it->first <= end) {
    begin = std::min(begin, it->first);
    end = std::max(end, it->second);
    it = ranges.erase(it);
  }
  ranges[begin] = end;
  return Ok();
}

Status Upload::JoinBlocks(const std::vector<std::string>& block_ids) {
  TRY_ASSIGN(Part whole, StartWhole());
  std::set<std::string> used;
  for (const std::string& id : block_ids) {
    std::string path = folder_ + "/block-" + Digest::Of(id).Hex();
    auto block = OpenFile(path, O_RDONLY);
    if (!block) return Invalid("block '{}' was not uploaded", id);
    TRY(Append(block->get(), whole.fd.get()));
    used.insert(path);
  }
  TRY(Done(std::move(whole)));
  for (const std::string& path : used) unlink(path.c_str());
  return Ok();
}

Status Upload::Close(uint64_t size) {
  auto state = state_.Lock();
  if (state->closed) return Invalid("'{}' is committed already", entry_.key);
  uint64_t uploaded = 0;
  if (state->whole) {
    uploaded = *state->whole;
  } else if (!state->ranges.empty()) {
    if (writers_.use_count() > 1) return Invalid("the upload of '{}' is still going on", entry_.key);
    if (state->ranges.size() != 1 || state->ranges.begin()->first != 0) {
      return Invalid("the upload of '{}' has a hole", entry_.key);
    }
    uploaded = state->ranges.begin()->second;
  }
  if (uploaded != size) return Invalid("{} bytes of '{}' were uploaded, not {}", uploaded, entry_.key, size);
  state->closed = true;
  return Ok();
}

}  // namespace varve::gha_server
