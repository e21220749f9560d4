#include "tier/directory_storage.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>

#include "base/fd.h"
#include "base/log.h"
#include "oci/layout.h"
#include "oci/manifest.h"
#include "sys/flock.h"

namespace varve::tier {

namespace {

namespace fs = std::filesystem;

// An exporter puts its blobs first and lists them afterwards: what is younger may be about to be named.
constexpr int64_t kGraceSeconds = 3600;

class DirectoryStorage final : public BlobStorage {
 public:
  explicit DirectoryStorage(DirectoryOptions options) : options_(std::move(options)) {}

  Result<std::vector<GroupEntry>> List(std::stop_token) override {
    auto top = ReadTop();
    if (!top) {
      if (top.error().code == Code::kNotFound) return std::vector<GroupEntry>();
      return Error(std::move(top).error());
    }
    return GroupsOf(*top);
  }

  Status Replace(const GroupEntry& added, const std::string& manifest_text, const std::vector<Digest>& old,
                 std::stop_token stop) override {
    TRY(PutText(manifest_text));
    TRY_ASSIGN(auto lock, sys::FlockGuard::Lock(options_.path + "/index.json.lock", sys::LockMode::kExclusive, stop));
    oci::Index top;
    if (auto read = ReadTop()) {
      top = std::move(*read);
    } else if (read.error().code == Code::kCorrupt) {
      LOG_WARN("{}", read.error().message);
    } else if (read.error().code != Code::kNotFound) {
      return Error(std::move(read).error());
    }
    std::vector<GroupEntry> groups;
    if (auto listed = GroupsOf(top)) {
      groups = std::move(*listed);
    } else if (listed.error().code == Code::kInvalid) {
      return Error(std::move(listed).error());  // somebody else's image
    } else {
      // The list is damaged, and with it what it led to: begin anew rather than never write again.
      LOG_WARN("{}: {}", options_.path, listed.error().message);
    }
    std::string index = SerialiseGroupIndex(Merged(std::move(groups), added, old));
    TRY(PutText(index));
    oci::Descriptor entry{.media_type = std::string(oci::kOciIndex), .digest = Digest::Of(index), .size = index.size()};
    entry.artifact_type = kArtifactType;
    entry.annotations = {{std::string(oci::kAnnotationRefName), options_.tag}};
    oci::PutInLayout(top, std::move(entry));
    TRY(WriteFileAtomically(options_.path + "/oci-layout", oci::LayoutFileText()));
    TRY(WriteFileAtomically(options_.path + "/index.json", oci::SerialiseLayoutIndex(top)));
    Sweep(top);
    return Ok();
  }

  Result<bool> Has(const oci::Descriptor& blob, std::stop_token) override {
    std::string path = PathOf(blob.digest);
    struct stat st;
    if (stat(path.c_str(), &st) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) return false;
      return ErrnoError(errno, "stat " + path);
    }
    if (static_cast<uint64_t>(st.st_size) != blob.size) return false;  // cut short: send it again
    utimensat(AT_FDCWD, path.c_str(), nullptr, 0);
    return true;
  }

  Status Get(const oci::Descriptor& blob, Writer& out, std::stop_token) override {
    TRY_ASSIGN(Fd fd, OpenFile(PathOf(blob.digest), O_RDONLY));
    FdReader in(fd.get());
    TRY(Copy(in, out));
    return Ok();
  }

  bool HasParts() const override { return true; }

  Status GetPart(const oci::Descriptor& blob, uint64_t offset, uint64_t size, Writer& out, std::stop_token) override {
    std::string path = PathOf(blob.digest);
    TRY_ASSIGN(Fd fd, OpenFile(path, O_RDONLY));
    if (lseek(fd.get(), static_cast<off_t>(offset), SEEK_SET) < 0) return ErrnoError(errno, "seek in " + path);
    FdReader in(fd.get());
    std::vector<char> buffer(std::min<uint64_t>(size, 1 << 20));
    while (size > 0) {
      TRY_ASSIGN(size_t n, in.Read(std::span(buffer.data(), std::min<uint64_t>(size, buffer.size()))));
      if (n == 0) break;
      TRY(out.Write(std::string_view(buffer.data(), n)));
      size -= n;
    }
    return Ok();
  }

  Result<bool> Put(const oci::Descriptor& blob, const OpenAt& open, IfThere if_there, std::stop_token stop) override {
    if (if_there == IfThere::kKeep) {
      TRY_ASSIGN(bool there, Has(blob, stop));
      if (there) return false;
    }
    TRY_ASSIGN(auto in, open(0));
    TRY(Write(blob.digest, *in));
    return true;
  }

  Result<Freed> Free(const std::vector<oci::Descriptor>& blobs, std::stop_token stop) override {
    TRY_ASSIGN(auto lock, sys::FlockGuard::Lock(options_.path + "/index.json.lock", sys::LockMode::kExclusive, stop));
    TRY_ASSIGN(oci::Index top, ReadTop());
    auto reached = Reached(top);
    if (!reached) return Invalid("{} holds an index of an unknown kind", options_.path);
    Freed freed;
    for (const oci::Descriptor& blob : blobs) {
      if (reached->contains(blob.digest.Hex())) continue;
      std::string path = PathOf(blob.digest);
      struct stat st;
      if (stat(path.c_str(), &st) != 0) continue;
      if (unlink(path.c_str()) != 0) return ErrnoError(errno, "remove " + path);
      ++freed.count;
      freed.bytes += static_cast<uint64_t>(st.st_size);
    }
    return freed;
  }

 private:
  std::string PathOf(const Digest& digest) const { return options_.path + "/" + oci::LayoutBlobPath(digest); }

  Status PutText(const std::string& text) {
    StringReader in(text);
    return Write(Digest::Of(text), in);
  }

  Status Write(const Digest& digest, Reader& in) {
    static std::atomic<int> number = 0;
    std::error_code failed;
    fs::create_directories(options_.path + "/blobs/sha256", failed);
    fs::create_directories(options_.path + "/ingest", failed);
    if (failed) return ErrnoError(failed.value(), "create " + options_.path);
    std::string draft = fmt::format("{}/ingest/{}-{}", options_.path, getpid(), ++number);
    auto write = [&]() -> Status {
      TRY_ASSIGN(Fd fd, OpenFile(draft, O_WRONLY | O_CREAT | O_TRUNC, 0644));
      FdWriter out(fd.get());
      HashingWriter hashed(&out);
      TRY(Copy(in, hashed));
      if (hashed.Finish() != digest) return Corrupt("blob {} changed while it was copied", digest.ToString());
      std::string path = PathOf(digest);
      if (rename(draft.c_str(), path.c_str()) != 0) return ErrnoError(errno, "rename to " + path);
      return Ok();
    };
    Status written = write();
    if (!written) unlink(draft.c_str());
    return written;
  }

  Result<oci::Index> ReadTop() const {
    const std::string path = options_.path + "/index.json";
    TRY_ASSIGN(std::string text, ReadFile(path, oci::kMaxManifestSize));
    // A crash of the machine or a full disk cuts a file; another tool's is a whole one.
    if (!Json::Parse(text)) return Corrupt("{} is damaged", path);
    return oci::ParseLayoutIndex(text);
  }

  Result<std::vector<GroupEntry>> GroupsOf(const oci::Index& top) const {
    std::optional<Digest> digest = options_.digest;
    if (auto entry = oci::FindInLayout(top, options_.tag); entry && !digest) digest = entry->digest;
    if (!digest) return std::vector<GroupEntry>();
    TRY_ASSIGN(std::string text, ReadFile(PathOf(*digest), oci::kMaxManifestSize));
    if (Digest::Of(text) != *digest) return Corrupt("the list of groups in {} is damaged", options_.path);
    return ParseGroupIndex(text);
  }

  // What an index or a manifest leads to, of any tag and any tool; false: not to be told.
  bool Reach(const Digest& digest, int depth, std::set<std::string>& reached) const {
    if (!reached.insert(digest.Hex()).second) return true;
    auto text = ReadFile(PathOf(digest), oci::kMaxManifestSize);
    if (!text) return text.error().code == Code::kNotFound;
    if (auto manifest = oci::ParseManifest(*text)) {
      reached.insert(manifest->config.digest.Hex());
      for (const oci::Descriptor& layer : manifest->layers) reached.insert(layer.digest.Hex());
      return true;
    }
    auto index = oci::ParseIndex(*text);
    if (!index || depth == 0) return false;
    return std::ranges::all_of(index->manifests,
                               [&](const oci::Descriptor& entry) { return Reach(entry.digest, depth - 1, reached); });
  }

  // Of all entries; nothing: not to be told.
  std::optional<std::set<std::string>> Reached(const oci::Index& top) const {
    constexpr int kDepth = 4;
    std::set<std::string> reached;
    for (const oci::Descriptor& entry : top.manifests) {
      if (!Reach(entry.digest, kDepth, reached)) return std::nullopt;
    }
    return reached;
  }

  // Removes blobs that no entry leads to. Under the lock; the next one removes what this one could not.
  void Sweep(const oci::Index& top) const {
    auto reached = Reached(top);
    if (!reached) return;
    std::error_code failed;
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    auto old = [&](const std::string& path) {
      struct stat st;
      return stat(path.c_str(), &st) == 0 && st.st_mtim.tv_sec + kGraceSeconds < now.tv_sec;
    };
    for (const auto& file : fs::directory_iterator(options_.path + "/blobs/sha256", failed)) {
      std::string path = file.path();
      if (!reached->contains(file.path().filename()) && (options_.reset || old(path))) {
        unlink(path.c_str());
      }
    }
    for (const auto& file : fs::directory_iterator(options_.path + "/ingest", failed)) {
      if (old(file.path())) unlink(file.path().c_str());
    }
  }

  const DirectoryOptions options_;
};

}  // namespace

std::unique_ptr<BlobStorage> MakeDirectoryStorage(DirectoryOptions options) {
  return std::make_unique<DirectoryStorage>(std::move(options));
}

}  // namespace varve::tier
