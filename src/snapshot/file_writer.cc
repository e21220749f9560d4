#include "snapshot/file_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/log.h"
#include "sys/namespace.h"

namespace varve::snapshot {

Status SetAttributes(int fd, tree::Node& node, Timestamp mtime, const std::string& path) {
  // Owner first: chown clears the setuid bits that chmod sets, and the capabilities.
  if ((node.uid != geteuid() || node.gid != getegid()) && fchown(fd, node.uid, node.gid) != 0) {
    return sys::OwnerError(errno, "chown " + path, node.uid, node.gid);
  }
  if (fchmod(fd, node.mode) != 0) return ErrnoError(errno, "chmod " + path);
  for (auto it = node.xattrs.begin(); it != node.xattrs.end();) {
    if (fsetxattr(fd, it->first.c_str(), it->second.data(), it->second.size(), 0) == 0) {
      ++it;
    } else if (errno == ENOTSUP || errno == EPERM) {
      LOG_WARN("{}: attribute {} cannot be set here and is left out", path, it->first);
      it = node.xattrs.erase(it);
    } else {
      return ErrnoError(errno, fmt::format("set attribute {} of {}", it->first, path));
    }
  }
  int64_t seconds = mtime.seconds();
  timespec time{seconds, mtime.nanos - seconds * 1'000'000'000};
  timespec times[2] = {time, time};
  if (futimens(fd, times) != 0) return ErrnoError(errno, "set the time of " + path);
  return Ok();
}

namespace {

Status Write(NewFile& file) {
  tree::Node& node = *file.node;
  Fd fd(openat(file.parent->get(), file.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return ErrnoError(errno, "create " + file.path);
  TRY(FdWriter(fd.get()).Write(file.content));
  node.digest = Digest::Of(file.content);
  return SetAttributes(fd.get(), node, file.mtime, file.path);
}

}  // namespace

FileWriter::FileWriter() : pool_(CpuCount()) {}

FileWriter::~FileWriter() = default;

Status FileWriter::Add(NewFile file) {
  batch_bytes_ += file.content.size();
  batch_.push_back(std::move(file));
  if (batch_.size() < kBatchFiles && batch_bytes_ < kBatchBytes) return Ok();
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return bytes_ < kMaxBytes && batches_ < kMaxBatches; });
  if (error_) return *error_;
  lock.unlock();
  Submit();
  return Ok();
}

void FileWriter::Submit() {
  if (batch_.empty()) return;
  {
    std::scoped_lock lock(mutex_);
    ++batches_;
    bytes_ += batch_bytes_;
  }
  pool_.Submit([this, files = std::exchange(batch_, {}), size = std::exchange(batch_bytes_, 0)]() mutable {
    Status status = Ok();
    for (NewFile& file : files) {
      status = Write(file);
      if (!status) break;
    }
    files.clear();
    std::scoped_lock lock(mutex_);
    if (!status && !error_) error_ = status.error();
    --batches_;
    bytes_ -= size;
    done_.notify_all();
  });
}

Status FileWriter::Wait() {
  Submit();
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return batches_ == 0; });
  if (error_) return *error_;
  return Ok();
}

}  // namespace varve::snapshot
