#include "sandbox/seccomp_compiler.h"

#ifdef VARVE_HAVE_SECCOMP
#include <seccomp.h>
#endif
#include <linux/filter.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <memory>

#include "base/digest.h"
#include "base/fd.h"
#include "base/guarded.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/strings.h"
#include "sandbox/seccomp_profile.h"

namespace varve::sandbox {

#ifdef VARVE_HAVE_SECCOMP
namespace {

struct ReleaseFilter {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, ReleaseFilter>;

Error SeccompError(int negative_errno, std::string_view what) {
  return ErrnoError(-negative_errno, fmt::format("seccomp: {}", what));
}

Result<uint32_t> Action(const Json& rule, std::string_view action_key, std::string_view errno_key) {
  std::string action = rule.GetString(action_key);
  if (action == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (action == "SCMP_ACT_ERRNO") {
    return SCMP_ACT_ERRNO(static_cast<uint16_t>(rule.GetInt(errno_key, EPERM)));
  }
  return Internal("seccomp: unknown action {}", action);
}

Result<scmp_arg_cmp> Comparison(const Json& argument) {
  scmp_arg_cmp comparison{};
  comparison.arg = static_cast<unsigned>(argument.GetInt("index"));
  comparison.datum_a = static_cast<uint64_t>(argument.GetInt("value"));
  comparison.datum_b = static_cast<uint64_t>(argument.GetInt("valueTwo"));
  std::string op = argument.GetString("op");
  if (op == "SCMP_CMP_EQ") {
    comparison.op = SCMP_CMP_EQ;
  } else if (op == "SCMP_CMP_LT") {
    comparison.op = SCMP_CMP_LT;
  } else if (op == "SCMP_CMP_GT") {
    comparison.op = SCMP_CMP_GT;
  } else if (op == "SCMP_CMP_MASKED_EQ") {
    comparison.op = SCMP_CMP_MASKED_EQ;
  } else {
    return Internal("seccomp: unknown comparison {}", op);
  }
  return comparison;
}

Status AddArchitectures(scmp_filter_ctx filter, const Json& profile) {
  for (const std::string& name : profile.GetStrings("architectures")) {
    std::string short_name = ToLower(name.substr(std::string_view("SCMP_ARCH_").size()));
    uint32_t token = seccomp_arch_resolve_name(short_name.c_str());
    if (token == 0) return Internal("seccomp: unknown architecture {}", name);
    int failed = seccomp_arch_add(filter, token);
    if (failed != 0 && failed != -EEXIST) return SeccompError(failed, name);
  }
  return Ok();
}

Status AddRule(scmp_filter_ctx filter, const Json& rule) {
  TRY_ASSIGN(uint32_t action, Action(rule, "action", "errnoRet"));
  std::vector<scmp_arg_cmp> comparisons;
  for (const Json& argument : rule.GetArray("args")) {
    TRY_ASSIGN(scmp_arg_cmp comparison, Comparison(argument));
    comparisons.push_back(comparison);
  }
  for (const std::string& name : rule.GetStrings("names")) {
    int number = seccomp_syscall_resolve_name(name.c_str());
    if (number == __NR_SCMP_ERROR) continue;
    int failed =
        seccomp_rule_add_array(filter, action, number, static_cast<unsigned>(comparisons.size()), comparisons.data());
    if (failed != 0) return SeccompError(failed, name);
  }
  return Ok();
}

Result<std::string> Export(scmp_filter_ctx filter) {
  Fd memory(memfd_create("seccomp", MFD_CLOEXEC));
  if (!memory) return ErrnoError(errno, "memfd_create");
  if (int failed = seccomp_export_bpf(filter, memory.get()); failed != 0) {
    return SeccompError(failed, "export");
  }
  if (lseek(memory.get(), 0, SEEK_SET) != 0) return ErrnoError(errno, "seek");
  FdReader reader(memory.get());
  return ReadAll(reader, 1 << 20);
}

}  // namespace

Result<std::string> CompileSeccomp(const Json& profile) {
  TRY_ASSIGN(uint32_t action, Action(profile, "defaultAction", "defaultErrnoRet"));
  Filter filter(seccomp_init(action));
  if (filter == nullptr) return Internal("seccomp: cannot make a filter");
  // A binary tree over the numbers instead of a list of 350 comparisons.
  seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  TRY(AddArchitectures(filter.get(), profile));
  for (const Json& rule : profile.GetArray("syscalls")) TRY(AddRule(filter.get(), rule));
  return Export(filter.get());
}

static std::string CompilerVersion() {
  const scmp_version* version = seccomp_version();
  return fmt::format("libseccomp {}.{}.{}", version->major, version->minor, version->micro);
}

#else

Result<std::string> CompileSeccomp(const Json&) { return Invalid("this varve was built without libseccomp"); }

static std::string CompilerVersion() { return "none"; }

#endif

namespace {

constexpr size_t kDigestSize = 64;  // in hexadecimal, before the program

std::string LoadOrCompile(const std::string& machine, const std::string& directory) {
  static Counter loaded("sandbox.seccomp_loaded"), compiled("sandbox.seccomp_compiled");
  Json profile = DefaultSeccompProfile(machine);
  // The file is named after everything that its content depends on.
  Sha256 hash;
  hash.Update(CompilerVersion());
  hash.Update(profile.Dump());
  std::string path = fmt::format("{}/seccomp-{}", directory, hash.Finish().Short());
  if (auto kept = ReadFile(path, 1 << 20); kept && kept->size() > kDigestSize) {
    std::string_view kept_program = std::string_view(*kept).substr(kDigestSize);
    // The file is not synced: after a crash of the machine it may have any content.
    if (kept->starts_with(Digest::Of(kept_program).Hex())) {
      loaded.Add();
      return Base64Encode(kept_program);
    }
  }
  compiled.Add();
  auto program = CompileSeccomp(profile);
  if (!program) {
    LOG_DEBUG("{}", program.error().ToString());
    return {};
  }
  std::string file = Digest::Of(*program).Hex() + *program;
  if (Status written = WriteFileAtomically(path, file); !written) {
    LOG_DEBUG("{}", written.error().ToString());
  }
  return Base64Encode(*program);
}

}  // namespace

std::string CompiledDefaultProfile(const std::string& machine, const std::string& directory) {
  static Guarded<std::map<std::string, std::string>> compiled;
  auto programs = compiled.Lock();
  auto known = programs->find(machine);
  if (known == programs->end()) {
    known = programs->emplace(machine, LoadOrCompile(machine, directory)).first;
  }
  return known->second;
}

}  // namespace varve::sandbox
