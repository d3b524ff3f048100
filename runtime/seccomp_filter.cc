#include "runtime/seccomp_filter.h"

#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <bitset>
#include <cstddef>
#include <memory>

#include "base/fd.h"

namespace berth::runtime {

namespace {

#if defined(__x86_64__)
constexpr std::string_view kGoArch = "amd64";
#elif defined(__aarch64__)
constexpr std::string_view kGoArch = "arm64";
#elif defined(__powerpc64__)
constexpr std::string_view kGoArch = "ppc64le";
#elif defined(__s390x__)
constexpr std::string_view kGoArch = "s390x";
#elif defined(__riscv)
constexpr std::string_view kGoArch = "riscv64";
#else
#error "which architecture is this in Go's words?"
#endif

// System calls of x32 carry this bit (asm/unistd.h, __X32_SYSCALL_BIT).
constexpr uint32_t kX32Bit = 0x40000000;
// libseccomp's own measure of effort: a binary search instead of a list of comparisons.
constexpr uint32_t kOptimizeBinaryTree = 2;

struct Release {
  void operator()(void* filter) const { seccomp_release(filter); }
};
using Filter = std::unique_ptr<void, Release>;

int RunningKernel() {
  static const int version = [] {
    utsname name{};
    uname(&name);
    std::vector<std::string_view> parts = Split(name.release, '.');
    if (parts.size() < 2) return 0;
    std::string_view minor = parts[1].substr(0, parts[1].find_first_not_of("0123456789"));
    return ParseNumber<int>(parts[0]).value_or(0) * 1000 + ParseNumber<int>(minor).value_or(0);
  }();
  return version;
}

bool HasThisArch(const std::vector<std::string>& arches) {
  return std::find(arches.begin(), arches.end(), kGoArch) != arches.end();
}

}  // namespace

bool Applies(const SeccompRule& rule, CapabilitySet capabilities) {
  const SeccompConditions& in = rule.includes;
  const SeccompConditions& out = rule.excludes;
  if ((in.capabilities & ~capabilities) != 0) return false;
  if (!in.arches.empty() && !HasThisArch(in.arches)) return false;
  if (in.min_kernel > RunningKernel()) return false;
  if ((out.capabilities & capabilities) != 0) return false;
  if (HasThisArch(out.arches)) return false;
  return out.min_kernel == 0 || out.min_kernel > RunningKernel();
}

namespace {

bool IsPermissive(uint32_t action) {
  return action == SCMP_ACT_ALLOW || action == SCMP_ACT_LOG;
}

Status AddOne(scmp_filter_ctx filter, uint32_t action, int number, const scmp_arg_cmp* args,
              size_t count) {
  int status = seccomp_rule_add_array(filter, action, number, static_cast<unsigned>(count), args);
  if (status == 0 || status == -EEXIST) return Ok();
  return ErrnoError(-status, "libseccomp refuses the rule").WithCode(Code::kInvalidArgument);
}

Status AddRule(scmp_filter_ctx filter, const SeccompRule& rule, int number) {
  std::bitset<6> seen;
  bool alternatives = false;
  for (const scmp_arg_cmp& arg : rule.args) {
    if (seen.test(arg.arg)) alternatives = true;
    seen.set(arg.arg);
  }
  if (!alternatives) {
    return AddOne(filter, rule.action, number, rule.args.data(), rule.args.size());
  }
  for (const scmp_arg_cmp& arg : rule.args) {
    RETURN_IF_ERROR(AddOne(filter, rule.action, number, &arg, 1));
  }
  return Ok();
}

Status AddRules(scmp_filter_ctx filter, const SeccompDocument& document,
                CapabilitySet capabilities) {
  for (size_t i = 0; i < document.rules.size(); ++i) {
    const SeccompRule& rule = document.rules[i];
    // libseccomp calls a rule that does what is done anyway an error.
    if (rule.action == document.default_action || !Applies(rule, capabilities)) continue;
    for (const std::string& name : rule.names) {
      int number = seccomp_syscall_resolve_name(name.c_str());
      if (number == __NR_SCMP_ERROR) {
        // Unknown to this libseccomp. Not to allow it is safe; not to deny it would be a hole.
        if (IsPermissive(rule.action) || !IsPermissive(document.default_action)) continue;
        return Error(Code::kInvalidArgument, StrCat("syscalls[", i, "]: unknown system call \"",
                                                    Printable(name), "\" cannot be denied"));
      }
      RETURN_IF_ERROR(AddRule(filter, rule, number), "syscalls[", i, "]: ", Printable(name));
    }
  }
  return Ok();
}

int NewestSyscall(const SeccompDocument& document, uint32_t arch) {
  int newest = -1;
  for (const SeccompRule& rule : document.rules) {
    for (const std::string& name : rule.names) {
      newest = std::max(newest, seccomp_syscall_resolve_name_arch(arch, name.c_str()));
    }
  }
  return newest;
}

// Instructions that go in front of libseccomp's: ENOSYS for what is newer than the profile.
std::vector<sock_filter> NoSysPrologue(const SeccompDocument& document) {
  constexpr uint16_t kLoad = BPF_LD | BPF_W | BPF_ABS;
  constexpr uint16_t kEqual = BPF_JMP | BPF_JEQ | BPF_K;
  constexpr uint16_t kGreater = BPF_JMP | BPF_JGT | BPF_K;
  constexpr uint16_t kAtLeast = BPF_JMP | BPF_JGE | BPF_K;
  std::vector<sock_filter> program;
  for (uint32_t arch : document.arches) {
    // x32 shares x86_64's number and is left to libseccomp's part.
    if (arch == SCMP_ARCH_X32) continue;
    int newest = NewestSyscall(document, arch);
    if (newest < 0) continue;
    program.push_back(BPF_STMT(kLoad, offsetof(seccomp_data, arch)));
    program.push_back(BPF_JUMP(kEqual, arch, 0, 4));
    program.push_back(BPF_STMT(kLoad, offsetof(seccomp_data, nr)));
    program.push_back(BPF_JUMP(kAtLeast, kX32Bit, 2, 0));
    program.push_back(BPF_JUMP(kGreater, static_cast<uint32_t>(newest), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS));
  }
  return program;
}

Result<std::string> Export(scmp_filter_ctx filter) {
  UniqueFd file(memfd_create("seccomp", MFD_CLOEXEC));
  if (!file.ok()) return ErrnoError("memfd_create");
  int status = seccomp_export_bpf(filter, file.get());
  if (status < 0) return ErrnoError(-status, "export the filter");
  if (lseek(file.get(), 0, SEEK_SET) != 0) return ErrnoError("seek in the filter");
  return ReadToEnd(file.get(), BPF_MAXINSNS * sizeof(sock_filter) * 4);
}

}  // namespace

Result<SeccompFilter> CompileSeccomp(const SeccompDocument& document, CapabilitySet capabilities) {
  Filter filter(seccomp_init(document.default_action));
  if (filter == nullptr) return Error(Code::kInternal, "libseccomp cannot begin a filter");
  // Only speed depends on it, and an older libseccomp does not know it.
  (void)seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_OPTIMIZE, kOptimizeBinaryTree);
  for (uint32_t arch : document.arches) {
    int status = seccomp_arch_add(filter.get(), arch);
    if (status != 0 && status != -EEXIST) return ErrnoError(-status, "add an architecture");
  }
  RETURN_IF_ERROR(AddRules(filter.get(), document, capabilities));

  std::vector<sock_filter> prologue;
  if ((document.default_action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO) {
    prologue = NoSysPrologue(document);
  }
  SeccompFilter program(reinterpret_cast<const char*>(prologue.data()),
                        prologue.size() * sizeof(sock_filter));
  ASSIGN_OR_RETURN(std::string body, Export(filter.get()));
  program += body;
  if (program.size() > BPF_MAXINSNS * sizeof(sock_filter)) {
    return Error(Code::kInvalidArgument,
                 StrCat("the filter has ", program.size() / sizeof(sock_filter),
                        " instructions; the kernel takes ", BPF_MAXINSNS));
  }
  return program;
}

}  // namespace berth::runtime
