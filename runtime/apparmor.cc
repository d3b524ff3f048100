#include "runtime/apparmor.h"

#include <unistd.h>

#include "base/file.h"
#include "base/process.h"
#include "runtime/lsm.h"

namespace berth::runtime {

namespace {

constexpr char kParser[] = "/sbin/apparmor_parser";
constexpr char kProfiles[] = "/sys/kernel/security/apparmor/profiles";

// Lines are "name (mode)". Nothing if the list cannot be read.
std::optional<bool> IsProfileLoaded(const std::string& name) {
  Result<std::string> profiles = ReadFile(kProfiles);
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

}  // namespace

bool KernelHasAppArmor() {
  Result<std::string> enabled = ReadFile("/sys/module/apparmor/parameters/enabled", 16);
  return enabled.ok() && enabled->starts_with('Y');
}

Result<std::string> AppArmorProfileFor(const std::optional<SecurityProfile>& wanted,
                                       bool privileged) {
  if (wanted && wanted->type == ProfileType::kUnconfined) {
    return std::string(KernelHasAppArmor() ? "unconfined" : "");
  }
  const bool is_default = !wanted || wanted->type == ProfileType::kRuntimeDefault;
  if (is_default && privileged) return std::string();
  const std::string name =
      is_default ? kDefaultAppArmorProfile : WithoutLocalhost(wanted->localhost_ref);
  if (!KernelHasAppArmor()) {
    if (is_default) return std::string();
    return NoProfile(name, "the kernel has no AppArmor");
  }
  const std::optional<bool> loaded = IsProfileLoaded(name);
  if (!wanted && !loaded.value_or(false)) return std::string();
  // Where nobody can tell, the kernel decides at the exec.
  if (!loaded.value_or(true)) return NoProfile(name, "it is not loaded (see apparmor_parser(8))");
  return name;
}

Status LoadDefaultAppArmorProfile(const Context& context) {
  if (!KernelHasAppArmor()) return Ok();
  const std::optional<bool> loaded = IsProfileLoaded(kDefaultAppArmorProfile);
  if (!loaded) {
    return Error(Code::kFailedPrecondition,
                 StrCat(kProfiles, " cannot be read: mount securityfs on /sys/kernel/security"));
  }
  if (*loaded) return Ok();
  if (access(kParser, X_OK) != 0) {
    return Error(Code::kFailedPrecondition,
                 StrCat("there is no ", kParser, ": install the package apparmor"));
  }
  SpawnOptions parser;
  parser.path = kParser;
  // Replacing, should somebody else be about to load it, and without its cache of files.
  parser.args = {"apparmor_parser", "--replace", "--skip-cache"};
  parser.env = {kProgramsPath};
  ASSIGN_OR_RETURN(const RunOutput ran, RunProgram(context, parser, DefaultAppArmorText()));
  if (ran.exit_code == 0) return Ok();
  return Error(Code::kFailedPrecondition,
               StrCat("apparmor_parser ended with code ", ran.exit_code, ": ", Printable(ran.err)));
}

}  // namespace berth::runtime
