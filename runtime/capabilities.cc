#include "runtime/capabilities.h"

#include <sys/prctl.h>

#include <array>

namespace berth::runtime {

namespace {

// Index = number (linux/capability.h).
constexpr std::array<std::string_view, kLastCapability + 1> kNames = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
};

constexpr std::string_view kPrefix = "CAP_";

constexpr CapabilitySet Bit(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return CapabilitySet{1} << i;
  }
  return 0;
}

}  // namespace

std::optional<int> CapabilityNumber(std::string_view name) {
  std::string wanted = ToLower(name);
  for (size_t i = 0; i < kNames.size(); ++i) {
    std::string known = ToLower(kNames[i]);
    if (wanted == known || wanted == std::string_view(known).substr(kPrefix.size())) {
      return static_cast<int>(i);
    }
  }
  return std::nullopt;
}

std::vector<std::string> CapabilityNames(CapabilitySet set) {
  std::vector<std::string> names;
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (set >> i & 1) names.emplace_back(kNames[i]);
  }
  return names;
}

Result<CapabilitySet> CapabilitiesFromNames(const std::vector<std::string>& names) {
  CapabilitySet set = 0;
  for (const std::string& name : names) {
    std::optional<int> number = CapabilityNumber(name);
    if (!number) {
      return Error(Code::kInvalidArgument, StrCat("unknown capability \"", Printable(name), "\""));
    }
    set |= CapabilitySet{1} << *number;
  }
  return set;
}

CapabilitySet DefaultCapabilities() {
  return Bit("CAP_CHOWN") | Bit("CAP_DAC_OVERRIDE") | Bit("CAP_FSETID") | Bit("CAP_FOWNER") |
         Bit("CAP_MKNOD") | Bit("CAP_NET_RAW") | Bit("CAP_SETGID") | Bit("CAP_SETUID") |
         Bit("CAP_SETFCAP") | Bit("CAP_SETPCAP") | Bit("CAP_NET_BIND_SERVICE") |
         Bit("CAP_SYS_CHROOT") | Bit("CAP_KILL") | Bit("CAP_AUDIT_WRITE");
}

CapabilitySet OwnBoundingSet() {
  static const CapabilitySet own = [] {
    CapabilitySet set = 0;
    for (int i = 0; i <= kLastCapability; ++i) {
      // -1 for a capability that the running kernel does not know (prctl(2)).
      if (prctl(PR_CAPBSET_READ, i) == 1) set |= CapabilitySet{1} << i;
    }
    return set;
  }();
  return own;
}

}  // namespace berth::runtime
