#include "sys/binfmt.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/fd.h"
#include "base/hex.h"
#include "base/io.h"
#include "base/strings.h"
#include "sys/open.h"

namespace varve::sys {

namespace {

constexpr const char* kMountPoint = "/proc/sys/fs/binfmt_misc";
constexpr size_t kMaxEntry = 64 << 10;

Result<std::string> ReadEntry(int directory, const std::string& name) {
  Fd fd(openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd) return ErrnoError(errno, "open " + name);
  FdReader in(fd.get());
  return ReadAll(in, kMaxEntry);
}

bool IsBinfmtMisc(int directory) {
  return faccessat(directory, "register", F_OK, 0) == 0 && faccessat(directory, "status", F_OK, 0) == 0;
}

// Invalid where there is none.
Fd OpenDirectory() {
  Fd mounted(open(kMountPoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (mounted && IsBinfmtMisc(mounted.get())) return mounted;
  Fd fs(fsopen("binfmt_misc", FSOPEN_CLOEXEC));
  if (!fs || fsconfig(fs.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return Fd();
  Fd tree(fsmount(fs.get(), FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY));
  if (!tree) return Fd();
  // The mount itself is open by path only; its directory can be read.
  return Fd(openat(tree.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

}  // namespace

bool BinfmtHandler::Takes(std::string_view header) const {
  if (magic.empty() || header.size() < offset + magic.size()) return false;
  for (size_t i = 0; i < magic.size(); ++i) {
    if (((header[offset + i] ^ magic[i]) & mask[i]) != 0) return false;
  }
  return true;
}

Result<BinfmtHandler> ParseBinfmtHandler(std::string name, std::string_view text) {
  BinfmtHandler handler{.name = std::move(name)};
  std::vector<std::string> lines = Split(text, '\n');
  if (lines[0] != "enabled" && lines[0] != "disabled") {
    return Invalid("binfmt_misc entry {} begins with \"{}\"", handler.name, lines[0]);
  }
  handler.enabled = lines[0] == "enabled";
  for (const std::string& line : lines) {
    size_t space = line.find(' ');
    if (space == line.npos) continue;
    std::string key = line.substr(0, space), value = line.substr(space + 1);
    if (key == "interpreter") {
      handler.interpreter = value;
    } else if (key == "flags:") {
      handler.fixed = value.find('F') != value.npos;
    } else if (key == "offset") {
      handler.offset = static_cast<uint64_t>(ParseInt(value).value_or(0));
    } else if (key == "magic" || key == "mask") {
      std::string& bytes = key == "magic" ? handler.magic : handler.mask;
      if (!HexDecode(value, &bytes)) {
        return Invalid("binfmt_misc entry {} has the {} \"{}\"", handler.name, key, value);
      }
    }
  }
  if (handler.mask.empty()) handler.mask.assign(handler.magic.size(), '\xff');
  if (handler.mask.size() != handler.magic.size()) {
    return Invalid("binfmt_misc entry {} has a mask of another length than its magic", handler.name);
  }
  return handler;
}

BinfmtMisc ReadBinfmtMisc() {
  BinfmtMisc misc;
  Fd directory = OpenDirectory();
  if (!directory) return misc;
  auto status = ReadEntry(directory.get(), "status");
  auto entries = ListDirectory(directory.get());
  if (!status || !entries) return misc;
  misc.supported = true;
  misc.enabled = status->starts_with("enabled");
  for (const DirEntry& entry : *entries) {
    if (entry.name == "register" || entry.name == "status") continue;
    auto text = ReadEntry(directory.get(), entry.name);
    auto handler = text ? ParseBinfmtHandler(entry.name, *text) : Result<BinfmtHandler>(text.error());
    if (handler) misc.handlers.push_back(std::move(*handler));
  }
  return misc;
}

Result<bool> IsDynamicallyLinked(const std::string& path) {
  TRY_ASSIGN(Fd fd, OpenFile(path, O_RDONLY));
  Elf64_Ehdr header;
  auto bad = [&] { return Invalid("{} is no 64-bit program of this machine", path); };
  if (pread(fd.get(), &header, sizeof(header), 0) != sizeof(header)) return bad();
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_phentsize != sizeof(Elf64_Phdr)) {
    return bad();
  }
  for (uint16_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    off_t at = static_cast<off_t>(header.e_phoff + uint64_t{i} * sizeof(segment));
    if (pread(fd.get(), &segment, sizeof(segment), at) != sizeof(segment)) return bad();
    if (segment.p_type == PT_INTERP) return true;
  }
  return false;
}

}  // namespace varve::sys
