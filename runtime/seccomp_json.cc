#include "runtime/seccomp_json.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/json.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxRules = 2048;
constexpr size_t kMaxNames = 1024;  // of one rule; the kernel has fewer than 500
constexpr size_t kMaxArgs = 64;
constexpr int64_t kMaxErrno = 4095;  // as the kernel's MAX_ERRNO

template <typename T, size_t N>
std::optional<T> Lookup(const std::array<std::pair<std::string_view, T>, N>& table,
                        std::string_view name) {
  for (const auto& [known, value] : table) {
    if (known == name) return value;
  }
  return std::nullopt;
}

using Number = std::pair<std::string_view, uint32_t>;

constexpr std::array<Number, 19> kArches = {{
    {"SCMP_ARCH_X86", SCMP_ARCH_X86},
    {"SCMP_ARCH_X86_64", SCMP_ARCH_X86_64},
    {"SCMP_ARCH_X32", SCMP_ARCH_X32},
    {"SCMP_ARCH_ARM", SCMP_ARCH_ARM},
    {"SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64},
    {"SCMP_ARCH_MIPS", SCMP_ARCH_MIPS},
    {"SCMP_ARCH_MIPS64", SCMP_ARCH_MIPS64},
    {"SCMP_ARCH_MIPS64N32", SCMP_ARCH_MIPS64N32},
    {"SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL},
    {"SCMP_ARCH_MIPSEL64", SCMP_ARCH_MIPSEL64},
    {"SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32},
    {"SCMP_ARCH_PPC", SCMP_ARCH_PPC},
    {"SCMP_ARCH_PPC64", SCMP_ARCH_PPC64},
    {"SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE},
    {"SCMP_ARCH_S390", SCMP_ARCH_S390},
    {"SCMP_ARCH_S390X", SCMP_ARCH_S390X},
    {"SCMP_ARCH_PARISC", SCMP_ARCH_PARISC},
    {"SCMP_ARCH_PARISC64", SCMP_ARCH_PARISC64},
    {"SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64},
}};

constexpr std::array<std::pair<std::string_view, scmp_compare>, 7> kComparisons = {{
    {"SCMP_CMP_NE", SCMP_CMP_NE},
    {"SCMP_CMP_LT", SCMP_CMP_LT},
    {"SCMP_CMP_LE", SCMP_CMP_LE},
    {"SCMP_CMP_EQ", SCMP_CMP_EQ},
    {"SCMP_CMP_GE", SCMP_CMP_GE},
    {"SCMP_CMP_GT", SCMP_CMP_GT},
    {"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
}};

Error Invalid(std::string message) {
  return {Code::kInvalidArgument, std::move(message)};
}

Result<uint32_t> ParseAction(const Json& object, const char* key, const char* errno_key) {
  ASSIGN_OR_RETURN(std::string name, JsonString(object, key));
  ASSIGN_OR_RETURN(int64_t number, JsonInt(object, errno_key, EPERM));
  if (number < 0 || number > kMaxErrno) {
    return Invalid(StrCat(errno_key, ": ", number, " is no errno"));
  }
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_ERRNO") return SCMP_ACT_ERRNO(static_cast<uint32_t>(number));
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SCMP_ACT_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(static_cast<uint32_t>(number));
  if (name == "SCMP_ACT_NOTIFY") {
    return Error(Code::kUnimplemented, StrCat(key, ": SCMP_ACT_NOTIFY is not supported"));
  }
  return Invalid(StrCat(key, ": unknown action \"", Printable(name), "\""));
}

Result<uint32_t> ParseArch(std::string_view name) {
  std::optional<uint32_t> arch = Lookup(kArches, name);
  if (!arch) return Invalid(StrCat("unknown architecture \"", Printable(name), "\""));
  return *arch;
}

// An array, or null where the key is absent.
Result<const Json*> ArrayMember(const Json& object, const char* key, size_t max_items) {
  if (!object.is_object()) return Invalid("not a JSON object");
  auto it = object.find(key);
  if (it == object.end() || it->is_null()) return static_cast<const Json*>(nullptr);
  if (!it->is_array()) return Invalid(StrCat("\"", key, "\" is not a list"));
  if (it->size() > max_items)
    return Invalid(StrCat("\"", key, "\" has over ", max_items, " items"));
  return &*it;
}

void AddArch(std::vector<uint32_t>& arches, uint32_t arch) {
  if (std::find(arches.begin(), arches.end(), arch) == arches.end()) arches.push_back(arch);
}

Status ParseArchMap(const Json& entries, std::vector<uint32_t>& arches) {
  for (const Json& entry : entries) {
    ASSIGN_OR_RETURN(std::string name, JsonString(entry, "architecture"), "archMap");
    ASSIGN_OR_RETURN(uint32_t arch, ParseArch(name), "archMap");
    ASSIGN_OR_RETURN(std::vector<std::string> subs, JsonStrings(entry, "subArchitectures"),
                     "archMap");
    for (const std::string& sub : subs) {
      ASSIGN_OR_RETURN(uint32_t sub_arch, ParseArch(sub), "archMap");
      if (arch == seccomp_arch_native()) AddArch(arches, sub_arch);
    }
  }
  return Ok();
}

Result<std::vector<uint32_t>> ParseArches(const Json& document) {
  std::vector<uint32_t> arches = {seccomp_arch_native()};
  ASSIGN_OR_RETURN(std::vector<std::string> names, JsonStrings(document, "architectures"));
  ASSIGN_OR_RETURN(const Json* map, ArrayMember(document, "archMap", kArches.size()));
  if (!names.empty() && map != nullptr && !map->empty()) {
    return Invalid("both \"architectures\" and \"archMap\" are given");
  }
  for (const std::string& name : names) {
    ASSIGN_OR_RETURN(uint32_t arch, ParseArch(name), "architectures");
    AddArch(arches, arch);
  }
  if (map != nullptr) RETURN_IF_ERROR(ParseArchMap(*map, arches));
  return arches;
}

Result<uint64_t> UnsignedMember(const Json& object, const char* key) {
  auto it = object.find(key);
  if (it == object.end() || it->is_null()) return uint64_t{0};
  if (!it->is_number_unsigned()) return Invalid(StrCat("\"", key, "\" is not a number from 0"));
  return it->get<uint64_t>();
}

Result<scmp_arg_cmp> ParseArg(const Json& arg) {
  if (!arg.is_object()) return Invalid("not a JSON object");
  ASSIGN_OR_RETURN(uint64_t index, UnsignedMember(arg, "index"));
  if (index > 5) return Invalid("\"index\" is not from 0 to 5");
  ASSIGN_OR_RETURN(std::string name, JsonString(arg, "op"));
  std::optional<scmp_compare> op = Lookup(kComparisons, name);
  if (!op) return Invalid(StrCat("unknown comparison \"", Printable(name), "\""));
  ASSIGN_OR_RETURN(uint64_t value, UnsignedMember(arg, "value"));
  ASSIGN_OR_RETURN(uint64_t value_two, UnsignedMember(arg, "valueTwo"));
  return scmp_arg_cmp{static_cast<unsigned>(index), *op, value, value_two};
}

Result<SeccompConditions> ParseConditions(const Json& rule, const char* key) {
  SeccompConditions conditions;
  auto it = rule.find(key);
  if (it == rule.end() || it->is_null()) return conditions;
  ASSIGN_OR_RETURN(std::vector<std::string> caps, JsonStrings(*it, "caps"), key);
  ASSIGN_OR_RETURN(conditions.capabilities, CapabilitiesFromNames(caps), key, ".caps");
  ASSIGN_OR_RETURN(conditions.arches, JsonStrings(*it, "arches"), key);
  ASSIGN_OR_RETURN(std::string kernel, JsonString(*it, "minKernel"), key);
  if (kernel.empty()) return conditions;
  std::vector<std::string_view> parts = Split(kernel, '.');
  std::optional<int> major, minor;
  if (parts.size() == 2) {
    major = ParseNumber<int>(parts[0]);
    minor = ParseNumber<int>(parts[1]);
  }
  if (!major || !minor || *major < 1 || *major > 999 || *minor < 0 || *minor > 999) {
    return Invalid(StrCat(key, ".minKernel: \"", Printable(kernel), "\" is not MAJOR.MINOR"));
  }
  conditions.min_kernel = *major * 1000 + *minor;
  return conditions;
}

Result<SeccompRule> ParseRule(const Json& json) {
  SeccompRule rule;
  ASSIGN_OR_RETURN(rule.names, JsonStrings(json, "names"));
  // The older form of the same.
  ASSIGN_OR_RETURN(std::string name, JsonString(json, "name"));
  if (!name.empty()) rule.names.push_back(name);
  if (rule.names.empty()) return Invalid("no \"names\"");
  if (rule.names.size() > kMaxNames) return Invalid(StrCat("over ", kMaxNames, " names"));
  ASSIGN_OR_RETURN(rule.action, ParseAction(json, "action", "errnoRet"));
  ASSIGN_OR_RETURN(const Json* args, ArrayMember(json, "args", kMaxArgs));
  for (size_t i = 0; args != nullptr && i < args->size(); ++i) {
    ASSIGN_OR_RETURN(scmp_arg_cmp arg, ParseArg((*args)[i]), "args[", i, "]");
    rule.args.push_back(arg);
  }
  ASSIGN_OR_RETURN(rule.includes, ParseConditions(json, "includes"));
  ASSIGN_OR_RETURN(rule.excludes, ParseConditions(json, "excludes"));
  return rule;
}

// What a filter alone cannot do is refused rather than left out.
Status CheckFlags(const Json& document) {
  ASSIGN_OR_RETURN(std::vector<std::string> flags, JsonStrings(document, "flags"));
  for (const std::string& flag : flags) {
    // One thread only installs the filter; and mitigations of Spectre are not seccomp's since 5.16.
    if (flag == "SECCOMP_FILTER_FLAG_TSYNC" || flag == "SECCOMP_FILTER_FLAG_SPEC_ALLOW") continue;
    return Error(Code::kUnimplemented, StrCat("flags: \"", Printable(flag), "\" is not supported"));
  }
  ASSIGN_OR_RETURN(std::string listener, JsonString(document, "listenerPath"));
  if (!listener.empty()) return Error(Code::kUnimplemented, "\"listenerPath\" is not supported");
  return Ok();
}

}  // namespace

Result<SeccompDocument> ParseSeccompJson(std::string_view text) {
  if (text.size() > kMaxSeccompJsonBytes) {
    return Invalid(StrCat("larger than ", kMaxSeccompJsonBytes, " bytes"));
  }
  ASSIGN_OR_RETURN(Json json, ParseJson(text));
  SeccompDocument document;
  ASSIGN_OR_RETURN(document.default_action, ParseAction(json, "defaultAction", "defaultErrnoRet"));
  RETURN_IF_ERROR(CheckFlags(json));
  ASSIGN_OR_RETURN(document.arches, ParseArches(json));
  ASSIGN_OR_RETURN(const Json* rules, ArrayMember(json, "syscalls", kMaxRules));
  for (size_t i = 0; rules != nullptr && i < rules->size(); ++i) {
    ASSIGN_OR_RETURN(SeccompRule rule, ParseRule((*rules)[i]), "syscalls[", i, "]");
    document.capabilities |= rule.includes.capabilities | rule.excludes.capabilities;
    document.rules.push_back(std::move(rule));
  }
  return document;
}

namespace {

template <typename Table, typename Value>
std::string NameOf(const Table& table, Value value) {
  for (const auto& [name, known] : table) {
    if (known == value) return std::string(name);
  }
  return "";
}

// Members of "action" and, where it has a number, "errnoRet" (or the default's).
void SetAction(uint32_t action, const char* key, const char* errno_key, Json& out) {
  const uint32_t number = action & 0xffffU;
  if (action == SCMP_ACT_ALLOW) {
    out[key] = "SCMP_ACT_ALLOW";
  } else if (action == SCMP_ACT_ERRNO(number)) {
    out[key] = "SCMP_ACT_ERRNO";
    out[errno_key] = number;
  } else if (action == SCMP_ACT_TRACE(number)) {
    out[key] = "SCMP_ACT_TRACE";
    out[errno_key] = number;
  } else if (action == SCMP_ACT_KILL_PROCESS) {
    out[key] = "SCMP_ACT_KILL_PROCESS";
  } else if (action == SCMP_ACT_TRAP) {
    out[key] = "SCMP_ACT_TRAP";
  } else if (action == SCMP_ACT_LOG) {
    out[key] = "SCMP_ACT_LOG";
  } else {
    out[key] = "SCMP_ACT_KILL";
  }
}

Json RuleJson(const SeccompRule& rule) {
  Json names = Json::array();
  for (const std::string& name : rule.names) {
    if (seccomp_syscall_resolve_name(name.c_str()) != __NR_SCMP_ERROR) names.push_back(name);
  }
  Json out = {{"names", std::move(names)}};
  SetAction(rule.action, "action", "errnoRet", out);
  for (const scmp_arg_cmp& arg : rule.args) {
    out["args"].push_back({{"index", arg.arg},
                           {"op", NameOf(kComparisons, arg.op)},
                           {"value", arg.datum_a},
                           {"valueTwo", arg.datum_b}});
  }
  return out;
}

}  // namespace

std::string SeccompOciJson(const SeccompDocument& document,
                           const std::function<bool(const SeccompRule&)>& applies) {
  Json out = Json::object();
  SetAction(document.default_action, "defaultAction", "defaultErrnoRet", out);
  for (uint32_t arch : document.arches) {
    out["architectures"].push_back(NameOf(kArches, arch));
  }
  Json& rules = out["syscalls"] = Json::array();
  for (const SeccompRule& rule : document.rules) {
    if (rule.action == document.default_action || !applies(rule)) continue;
    Json one = RuleJson(rule);
    if (!one.at("names").empty()) rules.push_back(std::move(one));
  }
  return ToText(out);
}

}  // namespace berth::runtime
