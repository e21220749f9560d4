#include "trace/traced_layers.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <span>
#include <thread>

#include "base/fd.h"
#include "base/guarded.h"
#include "base/metric.h"
#include "sys/mounts.h"

namespace varve::trace {

namespace {

using tree::kAbsent;
using tree::kContent;
using tree::kExists;
using tree::kLink;
using tree::kList;
using tree::kStat;
using tree::kXattr;
using tree::Question;
using tree::WalksBefore;

constexpr uint64_t kForever = UINT64_MAX / 2;  // seconds; the kernel turns more into less
constexpr uint32_t kMaxRead = 1 << 20;
constexpr size_t kThreads = 2;
constexpr size_t kRequestSize = FUSE_MIN_READ_BUFFER + 4096;
// Without these the kernel would ask to open files, and every open would look like a read.
constexpr uint32_t kNeeded = FUSE_NO_OPEN_SUPPORT | FUSE_NO_OPENDIR_SUPPORT;
constexpr uint32_t kWelcome =
    FUSE_DO_READDIRPLUS | FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS | FUSE_CACHE_SYMLINKS | FUSE_MAX_PAGES;

// A step that asks about more than kExactPaths gets answers to what it is likely to ask next, noted as if it had.
// With a listing come the attributes, and with what is read of a directory the files that come next in it, so that
// 20,000 files that are listed, looked up and read are 4,000 questions instead of 60,000.
constexpr uint32_t kMostAhead = 64;      // files at a time; half as many as that are read in vain, at the end
constexpr size_t kSmallFile = 64 << 10;  // what is longer is not read ahead

struct Node {
  uint32_t layer = 0;
  std::string path;  // in the layer
  uint64_t parent = FUSE_ROOT_ID;
  uint8_t facets = 0;
  std::map<std::string, uint64_t, std::less<>> children;
  std::map<std::string, bool, std::less<>> absent;
  uint8_t type = DT_UNKNOWN;
  bool listed = false;  // children holds all entries, and listing their numbers, by name
  uint32_t ahead = 0;   // of a directory: files that were read ahead, the last time
  std::vector<uint64_t> listing;

  std::string_view Name() const { return std::string_view(path).substr(path.rfind('/') + 1); }
};

fuse_attr AttributesOf(uint64_t number, const struct stat& st) {
  fuse_attr attr = {};
  attr.ino = number;
  attr.mode = st.st_mode;
  attr.uid = st.st_uid;
  attr.gid = st.st_gid;
  attr.nlink = 1;
  attr.blksize = 4096;
  // What a Tree does not have is the same for every step: a directory's size is its file system's.
  attr.size = S_ISDIR(st.st_mode) ? 4096 : static_cast<uint64_t>(st.st_size);
  attr.blocks = (attr.size + 511) / 512;
  attr.rdev = makedev(major(st.st_rdev), minor(st.st_rdev));
  attr.mtime = attr.atime = attr.ctime = static_cast<uint64_t>(st.st_mtim.tv_sec);
  attr.mtimensec = attr.atimensec = attr.ctimensec = static_cast<uint32_t>(st.st_mtim.tv_nsec);
  return attr;
}

class Server final : public TracedLayers {
 public:
  Server(std::vector<Layer> layers, const std::string& point, size_t exact_paths)
      : layers_(std::move(layers)), point_(point) {
    nodes_.Lock()->exact_paths = exact_paths;
  }

  ~Server() override { Stop(); }

  Status Start() {
    auto nodes = nodes_.Lock();
    nodes->resize(FUSE_ROOT_ID + 1);
    for (uint32_t i = 0; i < layers_.size(); ++i) {
      TRY_ASSIGN(Fd root, OpenFile(layers_[i].directory, O_PATH | O_DIRECTORY));
      roots_.push_back(std::move(root));
      (*nodes)[FUSE_ROOT_ID].children[std::to_string(i)] = nodes->size();
      nodes->push_back({.layer = i, .path = {}, .children = {}, .absent = {}, .listing = {}});
    }
    (*nodes)[FUSE_ROOT_ID].listed = true;
    device_ = Fd(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!device_) return ErrnoError(errno, "open /dev/fuse");
    std::string options = fmt::format("fd={},rootmode=40000,user_id={},group_id={},default_permissions,allow_other",
                                      device_.get(), geteuid(), getegid());
    if (mount("varve", point_.c_str(), "fuse.varve", MS_RDONLY | MS_NODEV, options.c_str()) != 0) {
      return ErrnoError(errno, "mount fuse on " + point_);
    }
    mount_ = sys::Mount(point_);
    // The first question waits since the mount. Who asks others does so once it is answered.
    std::vector<char> request(kRequestSize);
    ssize_t n = read(device_.get(), request.data(), request.size());
    const auto& head = *reinterpret_cast<fuse_in_header*>(request.data());
    if (n < static_cast<ssize_t>(sizeof(head) + sizeof(fuse_init_in)) || head.opcode != FUSE_INIT) {
      return Invalid("this kernel's FUSE does not begin with INIT");
    }
    Init(head, *reinterpret_cast<fuse_init_in*>(request.data() + sizeof(head)));
    if (auto failure = failure_.Lock(); *failure) return **failure;
    alive_ = kThreads;
    for (size_t i = 0; i < kThreads; ++i) threads_.emplace_back([this] { Serve(); });
    return Ok();
  }

  std::string Directory(size_t layer) const override { return fmt::format("{}/{}", point_, layer); }

  Result<Asked> Finish() override {
    Stop();
    if (!mount_.target().empty()) TRY(mount_.Unmount());
    if (auto failure = failure_.Lock(); *failure) return **failure;
    Asked asked(layers_.size());
    for (const auto& [layer, question] : Questions()) asked[layer].push_back(question);
    for (auto& questions : asked) {
      std::ranges::sort(questions, [](const Question& a, const Question& b) { return WalksBefore(a.path, b.path); });
    }
    return asked;
  }

 private:
  // By the number that the kernel knows; only ever grows.
  struct Nodes : std::vector<Node> {
    size_t asked = 0;  // have facets
    size_t exact_paths = 0;

    void Ask(uint64_t number, uint8_t facets) {
      Node& node = (*this)[number];
      asked += node.facets == 0 ? 1 : 0;
      node.facets |= facets;
    }
    bool MayAnswerMore() const { return asked > exact_paths; }
  };

  std::vector<std::pair<uint32_t, Question>> Questions() {
    std::vector<std::pair<uint32_t, Question>> all;
    auto nodes = nodes_.Lock();
    for (size_t i = FUSE_ROOT_ID + 1; i < nodes->size(); ++i) {
      const Node& node = (*nodes)[i];
      uint8_t facets = node.facets & kStat ? node.facets & static_cast<uint8_t>(~kExists) : node.facets;
      if (facets != 0) all.push_back({node.layer, {node.path, facets}});
      for (const auto& [name, unused] : node.absent) all.push_back({node.layer, {Below(node, name), kAbsent}});
    }
    return all;
  }

  static std::string Below(const Node& directory, std::string_view name) {
    return directory.path.empty() ? std::string(name) : fmt::format("{}/{}", directory.path, name);
  }

  // The threads block in the kernel, where each question wakes one of them, so they are asked until all have left. With
  // the device closed, the unmount does not tell of each file that it forgets.
  void Stop() {
    stopping_ = true;
    struct statfs unused;
    while (alive_ > 0) (void)statfs(point_.c_str(), &unused);
    threads_.clear();  // joins
    device_.Reset();
  }

  void Fail(const Error& error) {
    auto failure = failure_.Lock();
    if (!*failure) *failure = error;
  }

  // A thread that gives the kernel what is read ahead may wait there for a question that another is to answer.
  bool MayLeave() { return stopping_ && std::unique_lock(reading_ahead_, std::try_to_lock).owns_lock(); }

  void Serve() {
    std::vector<char> request(kRequestSize);
    // Most steps get small answers: pages of it that nobody touches cost nothing.
    auto reply = std::make_unique_for_overwrite<char[]>(kMaxRead);
    while (!MayLeave()) {
      ssize_t n = read(device_.get(), request.data(), request.size());
      if (n >= static_cast<ssize_t>(sizeof(fuse_in_header))) {
        Handle(*reinterpret_cast<fuse_in_header*>(request.data()), request.data() + sizeof(fuse_in_header),
               {reply.get(), kMaxRead});
        continue;
      }
      if (n < 0 && (errno == EINTR || errno == ENOENT)) continue;  // ENOENT: the question was withdrawn
      Fail(ErrnoError(n < 0 ? errno : EIO, "read /dev/fuse"));
      break;
    }
    timespec used{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    Counter("trace.cpu_us").Add(used.tv_sec * 1'000'000 + used.tv_nsec / 1000);
    // Whoever still waits for an answer gets an error then.
    if (--alive_ == 0) device_.Reset();
  }

  // `error`: 0, or an errno. ENOENT of the write: whoever asked is gone.
  void Reply(const fuse_in_header& in, int error, const void* data = nullptr, size_t size = 0) {
    fuse_out_header out = {.len = static_cast<uint32_t>(sizeof(out) + size), .error = -error, .unique = in.unique};
    iovec parts[] = {{&out, sizeof(out)}, {const_cast<void*>(data), size}};
    if (writev(device_.get(), parts, size > 0 ? 2 : 1) < 0 && errno != ENOENT && errno != ENODEV) {
      Fail(ErrnoError(errno, "answer a question of the kernel"));
    }
  }

  // What a layer's own files refuse is a hole in the notes, whatever the step makes of it.
  void Refuse(const fuse_in_header& in, int error, const std::string& what) {
    Fail(ErrnoError(error, what));
    Reply(in, EIO);
  }

  void Handle(const fuse_in_header& in, const char* body, std::span<char> buffer) {
    static Counter requests("trace.requests");
    requests.Add();
    switch (in.opcode) {
      case FUSE_LOOKUP:
        return Lookup(in, body);
      case FUSE_GETATTR:
        return GetAttributes(in);
      case FUSE_READLINK:
        return ReadLink(in, buffer);
      case FUSE_READ:
        return Read(in, *reinterpret_cast<const fuse_read_in*>(body), buffer);
      case FUSE_READDIR:
      case FUSE_READDIRPLUS:
        return ReadDirectory(in, *reinterpret_cast<const fuse_read_in*>(body), buffer);
      case FUSE_GETXATTR: {
        const auto& get = *reinterpret_cast<const fuse_getxattr_in*>(body);
        return GetXattr(in, get.size, body + sizeof(get), buffer);
      }
      case FUSE_LISTXATTR:
        return GetXattr(in, reinterpret_cast<const fuse_getxattr_in*>(body)->size, nullptr, buffer);
      case FUSE_STATFS: {
        fuse_statfs_out out = {};
        out.st.bsize = out.st.frsize = 4096;
        out.st.namelen = 255;
        return Reply(in, 0, &out, sizeof(out));
      }
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT:
        return;  // no answer is expected
      case FUSE_DESTROY:
        return Reply(in, 0);
      case FUSE_IOCTL:
        return Reply(in, ENOTTY);  // copy-up asks for FS_IOC_GETFLAGS
      // OPEN, OPENDIR: not needed, and never asked again. Others: the kernel does without, or the caller
      // learns that this file system cannot do it, which is so for every step.
      default:
        return Reply(in, ENOSYS);
    }
  }

  void Init(const fuse_in_header& in, const fuse_init_in& offer) {
    fuse_init_out out = {};
    out.major = FUSE_KERNEL_VERSION;
    out.minor = FUSE_KERNEL_MINOR_VERSION;
    if (offer.major != FUSE_KERNEL_VERSION || (offer.flags & kNeeded) != kNeeded) {
      Fail(Invalid("this kernel's FUSE ({}.{}) cannot serve files without opening them", offer.major, offer.minor));
      return Reply(in, EPROTO);
    }
    out.flags = offer.flags & (kNeeded | kWelcome);
    out.max_readahead = std::min(offer.max_readahead, kMaxRead);
    out.max_write = 4096;
    out.max_pages = kMaxRead / 4096;
    out.max_background = 64;
    out.congestion_threshold = 48;
    out.time_gran = 1;
    Reply(in, 0, &out, sizeof(out));
  }

  struct Place {
    int root = -1;
    std::string path;
  };

  // Notes the facets; where to find the node's files. The top directory is nobody's layer.
  Place Note(uint64_t number, uint8_t facets) {
    auto nodes = nodes_.Lock();
    if (number <= FUSE_ROOT_ID || number >= nodes->size()) return {};
    nodes->Ask(number, facets);
    const Node& node = (*nodes)[number];
    return {roots_[node.layer].get(), node.path};
  }

  static int StatOf(const Place& place, struct stat* st) {
    int flags = AT_SYMLINK_NOFOLLOW | (place.path.empty() ? AT_EMPTY_PATH : 0);
    return fstatat(place.root, place.path.c_str(), st, flags) == 0 ? 0 : errno;
  }

  static void TopAttributes(struct stat* st) {
    *st = {};
    st->st_mode = S_IFDIR | 0755;
  }

  void Lookup(const fuse_in_header& in, const char* name) {
    fuse_entry_out out = {};
    out.entry_valid = kForever;
    uint64_t number = 0;
    Place place;
    // The attributes are asked for again when somebody wants them or opens it: overlayfs looks up what it lists
    // in a directory of several layers, for its number, and that is not yet to see a file's size.
    uint8_t facets = kExists;
    {
      auto nodes = nodes_.Lock();
      CHECK(in.nodeid < nodes->size());
      if (nodes->MayAnswerMore()) facets = kStat;
      Node& parent = (*nodes)[in.nodeid];
      auto child = parent.children.find(std::string_view(name));
      if (child != parent.children.end()) {
        number = child->second;
        nodes->Ask(number, facets);
        const Node& node = (*nodes)[number];
        place = {roots_[node.layer].get(), node.path};
      } else if (parent.listed || in.nodeid == FUSE_ROOT_ID) {
        parent.absent[name] = true;
      } else {
        place = {roots_[parent.layer].get(), Below(parent, name)};
      }
    }
    if (place.root < 0) return Reply(in, 0, &out, sizeof(out));
    struct stat st;
    int error = StatOf(place, &st);
    if (error != 0 && (error != ENOENT || number != 0)) return Refuse(in, error, "stat " + place.path);
    if (number == 0) {
      auto nodes = nodes_.Lock();
      if (error == ENOENT) {
        (*nodes)[in.nodeid].absent[name] = true;
      } else {
        number = AddChild(*nodes, in.nodeid, name);
        nodes->Ask(number, facets);
      }
    }
    out.nodeid = number;  // 0: known to be absent
    if (number != 0) out.attr = AttributesOf(number, st);
    if (facets == kStat) out.attr_valid = kForever;
    Reply(in, 0, &out, sizeof(out));
  }

  static uint64_t AddChild(Nodes& nodes, uint64_t parent, std::string_view name) {
    auto [child, is_new] = nodes[parent].children.try_emplace(std::string(name), nodes.size());
    if (!is_new) return child->second;
    Node node{.layer = nodes[parent].layer,
              .path = Below(nodes[parent], name),
              .parent = parent,
              .children = {},
              .absent = {},
              .listing = {}};
    nodes.push_back(std::move(node));
    return nodes.size() - 1;
  }

  void GetAttributes(const fuse_in_header& in) {
    struct stat st;
    if (in.nodeid == FUSE_ROOT_ID) {
      TopAttributes(&st);
    } else {
      Place place = Note(in.nodeid, kStat);
      if (int error = StatOf(place, &st); error != 0) return Refuse(in, error, "stat " + place.path);
    }
    fuse_attr_out out = {};
    out.attr_valid = kForever;
    out.attr = AttributesOf(in.nodeid, st);
    Reply(in, 0, &out, sizeof(out));
  }

  void ReadLink(const fuse_in_header& in, std::span<char> buffer) {
    Place place = Note(in.nodeid, kLink);
    ssize_t n = readlinkat(place.root, place.path.c_str(), buffer.data(), buffer.size());
    if (n < 0) return Refuse(in, errno, "readlink " + place.path);
    Reply(in, 0, buffer.data(), static_cast<size_t>(n));
  }

  void Read(const fuse_in_header& in, const fuse_read_in& read, std::span<char> buffer) {
    Place place = Note(in.nodeid, kContent);
    Fd file(openat(place.root, place.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file) return Refuse(in, errno, "open " + place.path);
    size_t wanted = std::min<size_t>(read.size, buffer.size()), got = 0;
    while (got < wanted) {
      ssize_t n = pread(file.get(), buffer.data() + got, wanted - got, static_cast<off_t>(read.offset + got));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Refuse(in, errno, "read " + place.path);
      got += static_cast<size_t>(n);
      if (n == 0 || got < wanted) break;  // less than asked for: the file's end
    }
    Reply(in, 0, buffer.data(), got);
    if (read.offset == 0) ReadAhead(in.nodeid, buffer);
  }

  // Of a step that asks much, the files that come next in the listing: twice as many each time, since then the others
  // were of use. One thread at a time: see MayLeave.
  void ReadAhead(uint64_t number, std::span<char> buffer) {
    std::unique_lock only_one(reading_ahead_, std::try_to_lock);
    if (!only_one.owns_lock()) return;
    std::vector<std::pair<uint64_t, Place>> files;
    {
      auto nodes = nodes_.Lock();
      if (!nodes->MayAnswerMore()) return;
      Node& parent = (*nodes)[(*nodes)[number].parent];
      if (!parent.listed) return;
      parent.ahead = std::min(std::max(parent.ahead * 2, 4U), kMostAhead);
      auto name_of = [&](uint64_t of) { return (*nodes)[of].Name(); };
      auto next = std::ranges::upper_bound(parent.listing, name_of(number), {}, name_of);
      for (; next != parent.listing.end() && files.size() < parent.ahead; ++next) {
        const Node& node = (*nodes)[*next];
        // Without attributes the kernel does not know of it.
        const bool unread = (node.facets & (kStat | kContent)) == kStat;
        if (unread && node.type == DT_REG) files.push_back({*next, {roots_[node.layer].get(), node.path}});
      }
    }
    for (const auto& [file, place] : files) Store(file, place, buffer);
  }

  // Gives the kernel a small file's content before it asks.
  void Store(uint64_t number, const Place& place, std::span<char> buffer) {
    Fd file(openat(place.root, place.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    ssize_t n = file ? pread(file.get(), buffer.data(), kSmallFile + 1, 0) : -1;
    if (n <= 0 || n > static_cast<ssize_t>(kSmallFile)) return;  // errors are told when it is asked for
    Note(number, kContent);
    fuse_notify_store_out store = {.nodeid = number, .offset = 0, .size = static_cast<uint32_t>(n), .padding = 0};
    fuse_out_header out = {.len = static_cast<uint32_t>(sizeof(out) + sizeof(store) + store.size),
                           .error = FUSE_NOTIFY_STORE,
                           .unique = 0};
    iovec parts[] = {{&out, sizeof(out)}, {&store, sizeof(store)}, {buffer.data(), store.size}};
    static Counter read_ahead("trace.read_ahead");
    if (writev(device_.get(), parts, 3) > 0) read_ahead.Add();  // an error: the kernel asks when it needs it
  }

  struct Name {
    std::string name;
    uint8_t type = DT_UNKNOWN;
  };

  // Sorted, so that the order says nothing about the file system below.
  static Result<std::vector<Name>> NamesIn(const Place& place) {
    Fd directory(openat(place.root, place.path.empty() ? "." : place.path.c_str(),
                        O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    if (!directory) return ErrnoError(errno, "open " + place.path);
    DIR* stream = fdopendir(directory.get());
    if (stream == nullptr) return ErrnoError(errno, "list " + place.path);
    directory.Release();
    std::vector<Name> names;
    errno = 0;
    while (const dirent* entry = readdir(stream)) {
      std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.push_back({std::string(name), entry->d_type});
      errno = 0;
    }
    int error = errno;
    closedir(stream);
    if (error != 0) return ErrnoError(error, "list " + place.path);
    std::ranges::sort(names, {}, &Name::name);
    return names;
  }

  // Reads the directory the first time: the kernel asks for it a page at a time.
  Status List(uint64_t number, const Place& place) {
    {
      auto nodes = nodes_.Lock();
      if ((*nodes)[number].listed) return Ok();
    }
    TRY_ASSIGN(std::vector<Name> names, NamesIn(place));
    auto nodes = nodes_.Lock();
    if ((*nodes)[number].listed) return Ok();
    std::vector<uint64_t> listing;
    for (const Name& name : names) {
      listing.push_back(AddChild(*nodes, number, name.name));
      (*nodes)[listing.back()].type = name.type;
    }
    (*nodes)[number].listing = std::move(listing);
    (*nodes)[number].listed = true;
    return Ok();
  }

  void ReadDirectory(const fuse_in_header& in, const fuse_read_in& read, std::span<char> buffer) {
    Place place = Note(in.nodeid, kList);
    if (place.root < 0) return Reply(in, 0);  // the top: nobody but the kernel's overlay walks there
    if (Status listed = List(in.nodeid, place); !listed) {
      Fail(listed.error());
      return Reply(in, EIO);
    }
    const bool plus = in.opcode == FUSE_READDIRPLUS;
    size_t limit = std::min<size_t>(read.size, buffer.size()), size = 0;
    auto put = [&](std::string_view name, uint64_t number, uint8_t type, uint64_t next, const fuse_entry_out& known) {
      size_t head = plus ? FUSE_NAME_OFFSET_DIRENTPLUS : FUSE_NAME_OFFSET;
      size_t padded = FUSE_DIRENT_ALIGN(head + name.size());
      if (size + padded > limit) return false;
      fuse_direntplus entry = {.entry_out = known, .dirent = {}};
      entry.dirent.ino = number;
      entry.dirent.off = next;
      entry.dirent.namelen = static_cast<uint32_t>(name.size());
      entry.dirent.type = type;
      char* at = buffer.data() + size;
      std::memset(at, 0, padded);
      if (plus) std::memcpy(at, &entry, head);
      else std::memcpy(at, &entry.dirent, head);
      std::memcpy(at + head, name.data(), name.size());
      size += padded;
      return true;
    };
    {
      auto nodes = nodes_.Lock();
      const bool more = plus && nodes->MayAnswerMore();
      const std::vector<uint64_t>& listing = (*nodes)[in.nodeid].listing;
      for (uint64_t i = read.offset; i < listing.size() + 2; ++i) {
        if (i < 2) {
          uint64_t number = i == 0 ? in.nodeid : (*nodes)[in.nodeid].parent;
          if (!put(i == 0 ? "." : "..", number, DT_DIR, i + 1, {})) break;
          continue;
        }
        const uint64_t number = listing[i - 2];
        const Node& child = (*nodes)[number];
        // Without a node it is a name and a type, as of a plain READDIR.
        fuse_entry_out known = {};
        struct stat st;
        if (more && StatOf({roots_[child.layer].get(), child.path}, &st) == 0) {
          known.nodeid = number;
          known.entry_valid = known.attr_valid = kForever;
          known.attr = AttributesOf(number, st);
        }
        if (!put(child.Name(), number, child.type, i + 1, known)) break;
        if (known.nodeid != 0) nodes->Ask(number, kStat);
      }
    }
    Reply(in, 0, buffer.data(), size);
  }

  // `name` null: the list of names. Overlayfs's own marks are its business and no facet: COPY makes none.
  void GetXattr(const fuse_in_header& in, uint32_t size, const char* name, std::span<char> buffer) {
    uint32_t layer;
    {
      auto nodes = nodes_.Lock();
      CHECK(in.nodeid < nodes->size());
      layer = (*nodes)[in.nodeid].layer;
    }
    // For a mount without any, the kernel asks once and never again.
    if (std::ranges::none_of(layers_, &Layer::has_xattrs)) return Reply(in, ENOSYS);
    std::string_view wanted = name == nullptr ? "" : name;
    bool overlays = wanted.starts_with("trusted.overlay.") || wanted.starts_with("user.overlay.");
    if (in.nodeid == FUSE_ROOT_ID || overlays || !layers_[layer].has_xattrs) {
      if (name != nullptr) return Reply(in, ENODATA);
      fuse_getxattr_out none = {};
      return size == 0 ? Reply(in, 0, &none, sizeof(none)) : Reply(in, 0);
    }
    Place place = Note(in.nodeid, kXattr);
    // Of a symlink too, and without following it: by the path of the directory's own descriptor.
    std::string path = fmt::format("/proc/self/fd/{}/{}", place.root, place.path);
    size_t room = std::min<size_t>(size, buffer.size());
    ssize_t n = name == nullptr ? llistxattr(path.c_str(), buffer.data(), room)
                                : lgetxattr(path.c_str(), name, buffer.data(), room);
    if (n < 0) return Reply(in, errno);
    if (size > 0) return Reply(in, 0, buffer.data(), static_cast<size_t>(n));
    fuse_getxattr_out out = {.size = static_cast<uint32_t>(n), .padding = 0};
    Reply(in, 0, &out, sizeof(out));
  }

  const std::vector<Layer> layers_;
  const std::string point_;
  std::vector<Fd> roots_;
  Fd device_;
  sys::Mount mount_;
  std::atomic<bool> stopping_ = false;
  std::atomic<size_t> alive_ = 0;  // threads; the last one closes the device
  std::mutex reading_ahead_;
  Guarded<Nodes> nodes_;
  Guarded<std::optional<Error>> failure_;
  std::vector<std::jthread> threads_;
};

}  // namespace

Result<std::unique_ptr<TracedLayers>> TracedLayers::Mount(std::vector<Layer> layers, const std::string& point,
                                                          size_t exact_paths) {
  auto server = std::make_unique<Server>(std::move(layers), point, exact_paths);
  TRY(server->Start());
  return std::unique_ptr<TracedLayers>(std::move(server));
}

}  // namespace varve::trace
