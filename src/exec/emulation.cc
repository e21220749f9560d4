#include "exec/emulation.h"

#include <elf.h>

#include <algorithm>
#include <climits>
#include <cstdlib>

#include "base/strings.h"
#include "sys/process.h"

namespace varve::exec {

namespace {

// Architectures that Go, and so the platforms of images, know; with the names that qemu has for
// them.
struct Machine {
  std::string_view architecture;
  std::string_view qemu;
  unsigned char elf_class;
  unsigned char data;
  uint16_t machine;
};
constexpr Machine kMachines[] = {
    {"amd64", "x86_64", ELFCLASS64, ELFDATA2LSB, EM_X86_64},
    {"386", "i386", ELFCLASS32, ELFDATA2LSB, EM_386},
    {"arm64", "aarch64", ELFCLASS64, ELFDATA2LSB, EM_AARCH64},
    {"arm", "arm", ELFCLASS32, ELFDATA2LSB, EM_ARM},
    {"riscv64", "riscv64", ELFCLASS64, ELFDATA2LSB, EM_RISCV},
    {"ppc64le", "ppc64le", ELFCLASS64, ELFDATA2LSB, EM_PPC64},
    {"s390x", "s390x", ELFCLASS64, ELFDATA2MSB, EM_S390},
    {"mips64le", "mips64el", ELFCLASS64, ELFDATA2LSB, EM_MIPS},
    {"mips64", "mips64", ELFCLASS64, ELFDATA2MSB, EM_MIPS},
    {"loong64", "loongarch64", ELFCLASS64, ELFDATA2LSB, 258},
};

const Machine* FindMachine(const std::string& architecture) {
  auto found = std::ranges::find(kMachines, std::string_view(architecture), &Machine::architecture);
  return found == std::end(kMachines) ? nullptr : &*found;
}

std::string Remedy(const oci::Platform& platform, const sys::BinfmtMisc& binfmt) {
  std::string natively = "let the step run natively: FROM --platform=$BUILDPLATFORM";
  if (platform.os != "linux") return natively;
  if (!binfmt.supported) {
    return "this kernel's binfmt_misc cannot be read, which emulation needs; " + natively;
  }
  if (!binfmt.enabled) {
    return "emulation is switched off: echo 1 > /proc/sys/fs/binfmt_misc/status; or " + natively;
  }
  std::string header = ProgramHeader(platform.architecture);
  for (const sys::BinfmtHandler& handler : binfmt.handlers) {
    if (!handler.Takes(header) || handler.enabled) continue;
    return fmt::format("its emulator is switched off: echo 1 > /proc/sys/fs/binfmt_misc/{}; or {}", handler.name,
                       natively);
  }
  const Machine* machine = FindMachine(platform.architecture);
  std::string qemu = machine ? fmt::format("qemu-{}-static", machine->qemu) : "";
  if (machine && sys::FindProgram(qemu)) {
    return fmt::format(
        "{} is here but not registered: apt-get install binfmt-support && "
        "update-binfmts --enable qemu-{}; or {}",
        qemu, machine->qemu, natively);
  }
  return "install an emulator (apt-get install qemu-user-static binfmt-support), or " + natively;
}

}  // namespace

bool RunsNatively(const oci::Platform& platform) {
  const oci::Platform& host = oci::HostPlatform();
  if (platform.os != host.os) return false;
  return platform.architecture == host.architecture || oci::Matches(host, platform);
}

std::string ProgramHeader(const std::string& architecture) {
  const Machine* machine = FindMachine(architecture);
  if (machine == nullptr) return "";
  // An ELF header as a linker writes it for a static program; its size differs with the class, and
  // handlers look at no more than its first 20 bytes.
  std::string header(64, '\0');
  header.replace(0, SELFMAG, ELFMAG);
  header[EI_CLASS] = static_cast<char>(machine->elf_class);
  header[EI_DATA] = static_cast<char>(machine->data);
  header[EI_VERSION] = EV_CURRENT;
  bool little = machine->data == ELFDATA2LSB;
  auto put = [&](size_t at, uint16_t value) {
    header[at + (little ? 0 : 1)] = static_cast<char>(value & 0xff);
    header[at + (little ? 1 : 0)] = static_cast<char>(value >> 8);
  };
  put(16, ET_EXEC);
  put(18, machine->machine);
  header[little ? 20 : 23] = EV_CURRENT;
  return header;
}

Result<Emulation> EmulationFor(const oci::Platform& platform, const sys::BinfmtMisc& binfmt) {
  if (RunsNatively(platform)) return Emulation();
  std::string header = platform.os == "linux" ? ProgramHeader(platform.architecture) : "";
  Emulation emulation;
  bool handled = false;
  for (const sys::BinfmtHandler& handler : binfmt.handlers) {
    if (!binfmt.enabled || !handler.enabled || !handler.Takes(header)) continue;
    handled = true;
    if (handler.fixed) continue;
    char resolved[PATH_MAX];
    if (realpath(handler.interpreter.c_str(), resolved) == nullptr) {
      Error error =
          Invalid("programs of {} are given to {}, which is not there", platform.ToString(), handler.interpreter);
      error.hint = "apt-get install qemu-user-static, or remove the handler " + handler.name;
      return error;
    }
    TRY_ASSIGN(bool dynamic, sys::IsDynamicallyLinked(resolved));
    if (dynamic) {
      Error error = Invalid(
          "programs of {} are given to {}, which does not run inside of an image: "
          "it needs libraries of this machine",
          platform.ToString(), handler.interpreter);
      error.hint = "use a static emulator: apt-get install qemu-user-static";
      return error;
    }
    emulation.interpreters.push_back(handler.interpreter);
  }
  if (handled) return emulation;
  Error error = Invalid("this machine does not run programs of {} (it runs {})", platform.ToString(),
                        Join(RunnablePlatforms(binfmt), ", "));
  error.hint = Remedy(platform, binfmt);
  return error;
}

std::vector<std::string> RunnablePlatforms(const sys::BinfmtMisc& binfmt) {
  std::vector<std::string> native, emulated;
  for (const Machine& machine : kMachines) {
    oci::Platform platform = oci::Normalise({.os = "linux", .architecture = std::string(machine.architecture)});
    if (RunsNatively(platform)) {
      bool host = platform == oci::HostPlatform();
      native.insert(host ? native.begin() : native.end(), platform.ToString());
      continue;
    }
    std::string header = ProgramHeader(platform.architecture);
    bool taken = binfmt.enabled && std::ranges::any_of(binfmt.handlers, [&](const auto& handler) {
                   return handler.enabled && handler.Takes(header);
                 });
    if (taken) emulated.push_back(platform.ToString());
  }
  native.insert(native.end(), emulated.begin(), emulated.end());
  return native;
}

}  // namespace varve::exec
