// Programs of other machines that this kernel runs through an interpreter, such as qemu-user
// (kernel documentation, admin-guide/binfmt-misc.rst).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace varve::sys {

// One entry of binfmt_misc. Entries that go by file extension have no magic and take no header.
struct BinfmtHandler {
  std::string name;
  bool enabled = false;
  std::string interpreter;  // absolute path, in the file system of whoever executes, …
  bool fixed = false;       // … unless flag F opened it when it was registered
  uint64_t offset = 0;
  std::string magic, mask;  // bytes, of equal length

  // Whether a file that begins with these bytes is given to the interpreter.
  bool Takes(std::string_view header) const;
};

struct BinfmtMisc {
  bool supported = false;  // the kernel has it, and it may be read
  bool enabled = false;    // not switched off as a whole
  std::vector<BinfmtHandler> handlers;
};

// What the kernel has registered at this moment. Where /proc/sys/fs/binfmt_misc is not mounted the
// file system is opened without a mount point, so that nothing is left behind. Never fails: what
// cannot be read is not supported.
BinfmtMisc ReadBinfmtMisc();

// The text of one entry's file. kInvalid for what the kernel does not write.
Result<BinfmtHandler> ParseBinfmtHandler(std::string name, std::string_view text);

// A dynamically linked program needs its loader and libraries beside it: it has a PT_INTERP.
// kInvalid for what is no ELF file.
Result<bool> IsDynamicallyLinked(const std::string& path);

}  // namespace varve::sys
