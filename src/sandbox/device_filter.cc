#include "sandbox/device_filter.h"

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <map>
#include <string>

#include "base/digest.h"
#include "base/guarded.h"

namespace varve::sandbox {
namespace {

bpf_insn Instruction(uint8_t code, uint8_t to, uint8_t from, int16_t offset, int32_t immediate) {
  bpf_insn instruction{};
  instruction.code = code;
  instruction.dst_reg = to & 0xf;
  instruction.src_reg = from & 0xf;
  instruction.off = offset;
  instruction.imm = immediate;
  return instruction;
}

// r1: struct bpf_cgroup_dev_ctx; the result is 1 to allow.
class FilterProgram {
 public:
  explicit FilterProgram(const std::vector<DeviceAccess>& devices) {
    Load(BPF_REG_2, offsetof(bpf_cgroup_dev_ctx, access_type));
    Load(BPF_REG_3, offsetof(bpf_cgroup_dev_ctx, major));
    Load(BPF_REG_4, offsetof(bpf_cgroup_dev_ctx, minor));
    // access_type is access << 16 | type.
    Add(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_5, BPF_REG_2, 0, 0);
    Add(BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_5, 0, 0, 16);
    Add(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
    SkipUnless(BPF_REG_5, BPF_DEVCG_ACC_MKNOD, 2);
    Return(1);
    for (const DeviceAccess& device : devices) {
      const int16_t minor_test = device.minor >= 0 ? 1 : 0;
      SkipUnless(BPF_REG_2, device.block ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR,
                 static_cast<int16_t>(3 + minor_test));
      SkipUnless(BPF_REG_3, static_cast<int32_t>(device.major), static_cast<int16_t>(2 + minor_test));
      if (minor_test) SkipUnless(BPF_REG_4, static_cast<int32_t>(device.minor), 2);
      Return(1);
    }
    Return(0);
  }

  Result<Fd> Load() const {
    static const char kLicense[] = "Apache-2.0";
    bpf_attr attributes{};
    attributes.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    attributes.expected_attach_type = BPF_CGROUP_DEVICE;
    attributes.insns = reinterpret_cast<uintptr_t>(code_.data());
    attributes.insn_cnt = static_cast<uint32_t>(code_.size());
    attributes.license = reinterpret_cast<uintptr_t>(kLicense);
    long fd = syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
    if (fd < 0) return ErrnoError(errno, "load the device filter");
    return Fd(static_cast<int>(fd));
  }

 private:
  void Add(int code, uint8_t to, uint8_t from, int16_t offset, int32_t immediate) {
    code_.push_back(Instruction(static_cast<uint8_t>(code), to, from, offset, immediate));
  }
  void Load(uint8_t to, size_t offset) {
    Add(BPF_LDX | BPF_MEM | BPF_W, to, BPF_REG_1, static_cast<int16_t>(offset), 0);
  }
  void SkipUnless(uint8_t reg, int32_t value, int16_t count) { Add(BPF_JMP | BPF_JNE | BPF_K, reg, 0, count, value); }
  void Return(int32_t value) {
    Add(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, value);
    Add(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  }

  std::vector<bpf_insn> code_;
};

// The root of the cgroup2 hierarchy (or of this process's cgroup namespace). Where the host has it mounted as usual,
// that mount: in Linux 6.18 a new one waits for an RCU grace period (cgroup_favor_dynmods), and its end for another, 8
// to 15 ms each. It may be read-only, or nowhere.
Result<Fd> OpenCgroup2() {
  for (const char* path : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    Fd mounted(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct statfs fs;
    if (mounted && fstatfs(mounted.get(), &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC && access(path, W_OK) == 0) {
      return mounted;
    }
  }
  Fd fs(fsopen("cgroup2", FSOPEN_CLOEXEC));
  if (!fs || fsconfig(fs.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) {
    return ErrnoError(errno, "open the cgroup2 hierarchy");
  }
  Fd tree(fsmount(fs.get(), FSMOUNT_CLOEXEC, 0));
  if (!tree) return ErrnoError(errno, "open the cgroup2 hierarchy");
  return tree;
}

Result<Fd> MakeCgroup(const std::vector<DeviceAccess>& devices) {
  Sha256 hash;
  for (const DeviceAccess& d : devices) {
    hash.Update(fmt::format("{} {} {}\n", d.block ? 'b' : 'c', d.major, d.minor));
  }
  std::string name = "varve-devices-" + hash.Finish().Short();
  TRY_ASSIGN(Fd root, OpenCgroup2());
  if (mkdirat(root.get(), name.c_str(), 0755) != 0 && errno != EEXIST) {
    return ErrnoError(errno, "make the control group " + name);
  }
  Fd cgroup(openat(root.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup) return ErrnoError(errno, "open the control group " + name);
  TRY_ASSIGN(Fd program, FilterProgram(devices).Load());
  // Without flags an attachment replaces the former one, which is the same program by the name.
  bpf_attr attributes{};
  attributes.target_fd = static_cast<uint32_t>(cgroup.get());
  attributes.attach_bpf_fd = static_cast<uint32_t>(program.get());
  attributes.attach_type = BPF_CGROUP_DEVICE;
  if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attributes, sizeof(attributes)) != 0) {
    return ErrnoError(errno, "attach the device filter to " + name);
  }
  return cgroup;
}

}  // namespace

const std::vector<DeviceAccess>& DefaultDevices() {
  static const std::vector<DeviceAccess> devices = {{false, 1, 3}, {false, 1, 5}, {false, 1, 7},
                                                    {false, 1, 8}, {false, 1, 9}, {false, 5, 0},
                                                    {false, 5, 1}, {false, 5, 2}, {false, 136, -1}};
  return devices;
}

Result<int> DeviceCgroup(const std::vector<DeviceAccess>& extra) {
  std::vector<DeviceAccess> devices = DefaultDevices();
  devices.insert(devices.end(), extra.begin(), extra.end());
  std::ranges::sort(devices);
  static Guarded<std::map<std::vector<DeviceAccess>, Fd>> made;
  auto cgroups = made.Lock();
  auto known = cgroups->find(devices);
  if (known == cgroups->end()) {
    TRY_ASSIGN(Fd cgroup, MakeCgroup(devices));
    known = cgroups->emplace(std::move(devices), std::move(cgroup)).first;
  }
  return known->second.get();
}

}  // namespace varve::sandbox
