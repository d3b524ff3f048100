#include "runtime/lsm.h"

#include <algorithm>

#include "base/file.h"

namespace berth::runtime {

namespace {

constexpr std::string_view kLocalhost = "localhost/";
constexpr size_t kMaxLabelPart = 256;
constexpr uint32_t kCategories = 1024;

bool KernelHasAppArmor() {
  Result<std::string> enabled = ReadFile("/sys/module/apparmor/parameters/enabled", 16);
  return enabled.ok() && enabled->starts_with('Y');
}

// Lines are "name (mode)". Nothing if the list cannot be read: then the kernel decides at the exec.
std::optional<bool> IsProfileLoaded(const std::string& name) {
  Result<std::string> profiles = ReadFile("/sys/kernel/security/apparmor/profiles");
  if (!profiles.ok()) return std::nullopt;
  const std::string prefix = name + " (";
  for (std::string_view line : Split(*profiles, '\n')) {
    if (line.starts_with(prefix)) return true;
  }
  return false;
}

Error NoProfile(const std::string& name, std::string_view why) {
  return {Code::kFailedPrecondition,
          StrCat("apparmor: profile \"", Printable(name), "\" cannot be applied: ", why)};
}

// One part of a label; ':' separates parts, but for a level's own.
Status CheckLabelPart(std::string_view field, const std::string& text, bool is_level) {
  const bool plain =
      text.size() <= kMaxLabelPart && std::all_of(text.begin(), text.end(), [&](char c) {
        const bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                          (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '-';
        return word || (is_level && (c == ':' || c == ','));
      });
  if (plain) return Ok();
  return Error(Code::kInvalidArgument, StrCat("selinux_options.", field, ": \"", Printable(text),
                                              "\" is no part of a label"));
}

// Two of the categories, the same for a pod each time (FNV-1a of its uid).
std::string OwnLevel(const std::string& pod_uid) {
  uint32_t hash = 2166136261U;
  for (unsigned char c : pod_uid) hash = (hash ^ c) * 16777619U;
  const uint32_t low = hash % (kCategories - 1);
  const uint32_t high = low + 1 + (hash / kCategories) % (kCategories - 1 - low);
  return StrCat("s0:c", low, ",c", high);
}

}  // namespace

Result<std::optional<SecurityProfile>> ParseOlderProfile(std::string_view field,
                                                         const std::string& text) {
  if (text.empty()) return std::optional<SecurityProfile>();
  SecurityProfile profile;
  if (text == "runtime/default" || text == "docker/default") {
    profile.type = ProfileType::kRuntimeDefault;
  } else if (text == "unconfined") {
    profile.type = ProfileType::kUnconfined;
  } else if (text.starts_with(kLocalhost)) {
    profile = {ProfileType::kLocalhost, text.substr(kLocalhost.size())};
  } else {
    return Error(Code::kInvalidArgument,
                 StrCat(field, ": \"", Printable(text), "\" is no profile"));
  }
  return std::optional(profile);
}

Result<std::string> AppArmorProfileFor(const std::optional<SecurityProfile>& wanted,
                                       bool privileged) {
  if (wanted && wanted->type == ProfileType::kUnconfined) {
    return std::string(KernelHasAppArmor() ? "unconfined" : "");
  }
  const bool is_default = !wanted || wanted->type == ProfileType::kRuntimeDefault;
  if (is_default && privileged) return std::string();
  std::string name = is_default ? kDefaultAppArmorProfile : wanted->localhost_ref;
  if (!is_default && name.starts_with(kLocalhost)) name.erase(0, kLocalhost.size());
  if (!KernelHasAppArmor()) {
    if (is_default) return std::string();
    return NoProfile(name, "the kernel has no AppArmor");
  }
  const bool known_missing = !IsProfileLoaded(name).value_or(true);
  if (known_missing && !wanted) return std::string();
  if (known_missing) return NoProfile(name, "it is not loaded (see apparmor_parser(8))");
  return name;
}

Result<SelinuxLabels> SelinuxLabelsFor(const std::optional<SelinuxOptions>& options,
                                       bool privileged, const std::string& pod_uid) {
  if (!options || privileged) return SelinuxLabels();
  SelinuxOptions label = *options;
  if (label.user.empty() && label.role.empty() && label.type.empty() && label.level.empty()) {
    return SelinuxLabels();
  }
  RETURN_IF_ERROR(CheckLabelPart("user", label.user, false));
  RETURN_IF_ERROR(CheckLabelPart("role", label.role, false));
  RETURN_IF_ERROR(CheckLabelPart("type", label.type, false));
  RETURN_IF_ERROR(CheckLabelPart("level", label.level, true));
  if (label.user.empty()) label.user = "system_u";
  if (label.role.empty()) label.role = "system_r";
  if (label.type.empty()) label.type = "container_t";
  if (label.level.empty()) label.level = OwnLevel(pod_uid);
  const std::string process =
      StrCat(label.user, ":", label.role, ":", label.type, ":", label.level);
  ASSIGN_OR_RETURN(bool has_selinux, Exists("/sys/fs/selinux/enforce"));
  if (has_selinux) {
    return SelinuxLabels{process, StrCat("system_u:object_r:container_file_t:", label.level)};
  }
  // Many system pods name one of these, and here every process is as free.
  if (label.type == "spc_t" || label.type == "unconfined_t") return SelinuxLabels();
  return Error(Code::kFailedPrecondition,
               StrCat("selinux_options: label \"", process,
                      "\" cannot be applied: the kernel has no SELinux"));
}

}  // namespace berth::runtime
