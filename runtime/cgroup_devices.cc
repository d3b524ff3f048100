#include "runtime/cgroup_devices.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>

namespace berth::runtime {

namespace {

constexpr size_t kMaxRules = 512;
constexpr size_t kMaxLoaded = 16;
constexpr int64_t kMaxNumber = (1 << 20) - 1;  // the kernel's MINORBITS

int AccessBits(const std::string& access) {
  int bits = 0;
  for (char c : access) {
    bits |= c == 'm' ? BPF_DEVCG_ACC_MKNOD : c == 'r' ? BPF_DEVCG_ACC_READ : BPF_DEVCG_ACC_WRITE;
  }
  return bits;
}

std::string AccessText(int bits) {
  std::string text;
  if (bits & BPF_DEVCG_ACC_READ) text += 'r';
  if (bits & BPF_DEVCG_ACC_WRITE) text += 'w';
  if (bits & BPF_DEVCG_ACC_MKNOD) text += 'm';
  return text;
}

Status CheckRule(const DeviceRule& rule) {
  bool known = rule.type == 'a' || rule.type == 'b' || rule.type == 'c';
  bool plain = rule.access.find_first_not_of("rwm") == std::string::npos && !rule.access.empty() &&
               rule.access.size() <= 3;
  bool in_range =
      rule.major >= -1 && rule.major <= kMaxNumber && rule.minor >= -1 && rule.minor <= kMaxNumber;
  if (known && plain && in_range) return Ok();
  return Error(Code::kInvalidArgument,
               StrCat("device rule \"", Printable(StrCat(rule.type), 4), " ", rule.major, ":",
                      rule.minor, " ", Printable(rule.access, 8), "\" is malformed"));
}

bool NumbersMeet(int64_t a, int64_t b) {
  return a == b || a == -1 || b == -1;
}

bool SameDevices(const DeviceRule& a, const DeviceRule& b) {
  return a.type == b.type && a.major == b.major && a.minor == b.minor;
}

bool Overlap(const DeviceRule& a, const DeviceRule& b) {
  return a.type == b.type && NumbersMeet(a.major, b.major) && NumbersMeet(a.minor, b.minor) &&
         (AccessBits(a.access) & AccessBits(b.access)) != 0;
}

bool Covers(const DeviceRule& wide, const DeviceRule& narrow) {
  return wide.type == narrow.type && (wide.major == -1 || wide.major == narrow.major) &&
         (wide.minor == -1 || wide.minor == narrow.minor);
}

void AddException(DevicePolicy& policy, const DeviceRule& rule) {
  for (DeviceRule& known : policy.exceptions) {
    if (!SameDevices(known, rule)) continue;
    known.access = AccessText(AccessBits(known.access) | AccessBits(rule.access));
    return;
  }
  policy.exceptions.push_back(rule);
}

// The rule says again what the default is: takes that much out of the exceptions.
Status RemoveException(DevicePolicy& policy, const DeviceRule& rule) {
  for (DeviceRule& known : policy.exceptions) {
    if (!Overlap(known, rule)) continue;
    if (!Covers(rule, known)) {
      return Error(Code::kInvalidArgument,
                   StrCat("device rule \"", V1DeviceLine(rule), "\" makes a hole in \"",
                          V1DeviceLine(known), "\", which cgroups cannot express"));
    }
    known.access = AccessText(AccessBits(known.access) & ~AccessBits(rule.access));
  }
  std::erase_if(policy.exceptions, [](const DeviceRule& r) { return r.access.empty(); });
  return Ok();
}

bpf_insn Insn(uint8_t code, uint8_t dst, uint8_t src, int16_t off, int32_t imm) {
  bpf_insn insn{};
  insn.code = code;
  insn.dst_reg = dst & 15;
  insn.src_reg = src & 15;
  insn.off = off;
  insn.imm = imm;
  return insn;
}

bpf_insn LoadWord(uint8_t dst, size_t offset) {
  return Insn(BPF_LDX | BPF_W | BPF_MEM, dst, BPF_REG_1, static_cast<int16_t>(offset), 0);
}
bpf_insn Alu(uint8_t op, uint8_t dst, int32_t imm) {
  return Insn(BPF_ALU64 | op | BPF_K, dst, 0, 0, imm);
}
bpf_insn Move(uint8_t dst, uint8_t src) {
  return Insn(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}
bpf_insn Jump(uint8_t op, uint8_t dst, int32_t imm) {
  return Insn(BPF_JMP | op | BPF_K, dst, 0, 0, imm);
}
bpf_insn Exit() {
  return Insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

long Bpf(int command, bpf_attr& attr) {
  return syscall(SYS_bpf, command, &attr, sizeof attr);
}

uint64_t Address(const void* p) {
  return reinterpret_cast<uint64_t>(p);
}

Result<std::vector<uint32_t>> AttachedPrograms(int directory) {
  std::vector<uint32_t> ids(64);
  bpf_attr attr{};
  attr.query.target_fd = static_cast<uint32_t>(directory);
  attr.query.attach_type = BPF_CGROUP_DEVICE;
  attr.query.prog_ids = Address(ids.data());
  attr.query.prog_cnt = static_cast<uint32_t>(ids.size());
  if (Bpf(BPF_PROG_QUERY, attr) != 0) return ErrnoError("query device programs");
  ids.resize(attr.query.prog_cnt);
  return ids;
}

Result<uint32_t> ProgramId(int program) {
  bpf_prog_info info{};
  bpf_attr attr{};
  attr.info.bpf_fd = static_cast<uint32_t>(program);
  attr.info.info_len = sizeof info;
  attr.info.info = Address(&info);
  if (Bpf(BPF_OBJ_GET_INFO_BY_FD, attr) != 0) return ErrnoError("inspect device program");
  return info.id;
}

Status DetachProgram(int directory, uint32_t id) {
  bpf_attr get{};
  get.prog_id = id;
  UniqueFd program(static_cast<int>(Bpf(BPF_PROG_GET_FD_BY_ID, get)));
  if (!program.ok()) return ErrnoError("open former device program");
  bpf_attr detach{};
  detach.target_fd = static_cast<uint32_t>(directory);
  detach.attach_bpf_fd = static_cast<uint32_t>(program.get());
  detach.attach_type = BPF_CGROUP_DEVICE;
  if (Bpf(BPF_PROG_DETACH, detach) != 0) return ErrnoError("detach former device program");
  return Ok();
}

Result<UniqueFd> LoadProgram(const std::vector<bpf_insn>& code) {
  bpf_attr attr{};
  attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
  attr.insn_cnt = static_cast<uint32_t>(code.size());
  attr.insns = Address(code.data());
  attr.license = Address("Apache-2.0");
  attr.expected_attach_type = BPF_CGROUP_DEVICE;
  // EAGAIN: the verifier was interrupted by a signal.
  for (int attempt = 0; attempt < 5; ++attempt) {
    UniqueFd program(static_cast<int>(Bpf(BPF_PROG_LOAD, attr)));
    if (program.ok()) return program;
    if (errno != EAGAIN) break;
  }
  return ErrnoError("load device program");
}

}  // namespace

Result<DevicePolicy> MakeDevicePolicy(const std::vector<DeviceRule>& rules) {
  if (rules.size() > kMaxRules) {
    return Error(Code::kInvalidArgument, StrCat("more than ", kMaxRules, " device rules"));
  }
  DevicePolicy policy;
  for (const DeviceRule& rule : rules) {
    RETURN_IF_ERROR(CheckRule(rule));
    if (rule.type == 'a') {
      // v1 ignores numbers and access beside 'a': so does everybody who has to agree with it.
      policy.default_allow = rule.allow;
      policy.exceptions.clear();
    } else if (rule.allow == policy.default_allow) {
      RETURN_IF_ERROR(RemoveException(policy, rule));
    } else {
      AddException(policy, rule);
    }
  }
  return policy;
}

std::string V1DeviceLine(const DeviceRule& rule) {
  auto number = [](int64_t n) { return n < 0 ? std::string("*") : StrCat(n); };
  return StrCat(rule.type, " ", number(rule.major), ":", number(rule.minor), " ", rule.access);
}

std::vector<bpf_insn> AssembleDeviceProgram(const DevicePolicy& policy) {
  constexpr uint8_t kType = BPF_REG_2, kAccess = BPF_REG_3, kMajor = BPF_REG_4, kMinor = BPF_REG_5,
                    kScratch = BPF_REG_6;
  std::vector<bpf_insn> code = {
      LoadWord(kAccess, offsetof(bpf_cgroup_dev_ctx, access_type)),
      Move(kType, kAccess),
      Alu(BPF_AND, kType, 0xffff),
      Alu(BPF_RSH, kAccess, 16),
      LoadWord(kMajor, offsetof(bpf_cgroup_dev_ctx, major)),
      LoadWord(kMinor, offsetof(bpf_cgroup_dev_ctx, minor)),
  };
  for (const DeviceRule& rule : policy.exceptions) {
    std::vector<bpf_insn> test;
    test.push_back(
        Jump(BPF_JNE, kType, rule.type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR));
    if (rule.major >= 0) test.push_back(Jump(BPF_JNE, kMajor, static_cast<int32_t>(rule.major)));
    if (rule.minor >= 0) test.push_back(Jump(BPF_JNE, kMinor, static_cast<int32_t>(rule.minor)));
    int bits = AccessBits(rule.access);
    test.push_back(Move(kScratch, kAccess));
    if (rule.allow) {
      // All that is asked for must be in the rule.
      test.push_back(Alu(BPF_AND, kScratch, 7 & ~bits));
      test.push_back(Jump(BPF_JNE, kScratch, 0));
    } else {
      test.push_back(Alu(BPF_AND, kScratch, bits));
      test.push_back(Jump(BPF_JEQ, kScratch, 0));
    }
    test.push_back(Alu(BPF_MOV, BPF_REG_0, rule.allow ? 1 : 0));
    test.push_back(Exit());
    // A test that fails goes on behind this rule.
    for (size_t i = 0; i < test.size(); ++i) {
      if (BPF_CLASS(test[i].code) == BPF_JMP && BPF_OP(test[i].code) != BPF_EXIT) {
        test[i].off = static_cast<int16_t>(test.size() - i - 1);
      }
    }
    code.insert(code.end(), test.begin(), test.end());
  }
  code.push_back(Alu(BPF_MOV, BPF_REG_0, policy.default_allow ? 1 : 0));
  code.push_back(Exit());
  return code;
}

Result<UniqueFd> DevicePrograms::Load(const DevicePolicy& policy) {
  std::vector<bpf_insn> code = AssembleDeviceProgram(policy);
  std::string key(reinterpret_cast<const char*>(code.data()), code.size() * sizeof(bpf_insn));
  MutexLock lock(mutex_);
  for (const Loaded& loaded : loaded_) {
    if (loaded.code == key) return Duplicate(loaded.program.get());
  }
  ASSIGN_OR_RETURN(UniqueFd program, LoadProgram(code));
  ASSIGN_OR_RETURN(UniqueFd copy, Duplicate(program.get()));
  if (loaded_.size() == kMaxLoaded) loaded_.erase(loaded_.begin());
  loaded_.push_back({std::move(key), std::move(program)});
  return copy;
}

Status DevicePrograms::Attach(int directory, const DevicePolicy& policy, bool fresh) {
  ASSIGN_OR_RETURN(UniqueFd program, Load(policy));
  std::vector<uint32_t> former;
  if (!fresh) {
    ASSIGN_OR_RETURN(former, AttachedPrograms(directory));
  }
  bool attached = false;
  if (!former.empty()) {
    ASSIGN_OR_RETURN(uint32_t own, ProgramId(program.get()));
    attached = std::erase(former, own) > 0;
  }
  bpf_attr attr{};
  attr.target_fd = static_cast<uint32_t>(directory);
  attr.attach_bpf_fd = static_cast<uint32_t>(program.get());
  attr.attach_type = BPF_CGROUP_DEVICE;
  // MULTI: cgroups below may have programs of their own (a systemd in the container), and all of
  // them must agree.
  attr.attach_flags = BPF_F_ALLOW_MULTI;
  if (!attached && Bpf(BPF_PROG_ATTACH, attr) != 0) return ErrnoError("attach device program");
  for (uint32_t id : former) RETURN_IF_ERROR(DetachProgram(directory, id));
  return Ok();
}

}  // namespace berth::runtime
