#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>
#include <unordered_map>

#include "runtime/oci_spec_parts.h"

namespace berth::runtime {

namespace {

constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

// The kernel's bounds of execve(2): MAX_ARG_STRLEN for one string, and a quarter of the stack limit
// (8 MiB, set below) for all of them with their pointers. Something is left for the auxiliary
// vector and for what a shell adds for its children.
constexpr size_t kMaxStringBytes = 128 << 10;
constexpr size_t kMaxTotalBytes = (2 << 20) - (64 << 10);
constexpr uint64_t kStackBytes = 8 << 20;

constexpr uint64_t kUnlimited = UINT64_MAX;

std::string_view NameOf(std::string_view entry) {
  return entry.substr(0, entry.find('='));
}

// "NAME=value" entries; setting a name again replaces the value where it stands.
class Environment {
 public:
  void Set(std::string_view name, std::string_view value) {
    auto [it, is_new] = index_.try_emplace(std::string(name), entries_.size());
    if (is_new) entries_.emplace_back();
    entries_[it->second] = StrCat(name, "=", value);
  }
  bool Has(const std::string& name) const { return index_.count(name) > 0; }
  // Its value, empty if there is none.
  std::string_view Get(const std::string& name) const {
    auto it = index_.find(name);
    return it == index_.end() ? std::string_view()
                              : std::string_view(entries_[it->second]).substr(name.size() + 1);
  }
  std::vector<std::string> Take() { return std::move(entries_); }

 private:
  std::unordered_map<std::string, size_t> index_;
  std::vector<std::string> entries_;
};

// A program's argument or variable ends at the first NUL: more than that would be lost unseen.
Status CheckString(std::string_view field, std::string_view text) {
  if (text.find('\0') != std::string_view::npos) return InvalidField(field, "has a NUL byte");
  if (text.size() >= kMaxStringBytes) {
    return InvalidField(field, StrCat("has ", text.size(), " bytes; the kernel takes fewer than ",
                                      kMaxStringBytes));
  }
  return Ok();
}

Status CheckStrings(std::string_view field, const std::vector<std::string>& strings) {
  for (size_t i = 0; i < strings.size(); ++i) {
    RETURN_IF_ERROR(CheckString(StrCat(field, "[", i, "]"), strings[i]));
  }
  return Ok();
}

// Kubernetes' table of command and args against the image's ENTRYPOINT and CMD: a command replaces
// both, args alone replace CMD.
Status BuildArgs(const SpecInputs& inputs, OciProcess& process) {
  const ContainerConfig& container = inputs.container;
  const image::ImageConfig& image = inputs.image;
  RETURN_IF_ERROR(CheckStrings("command", container.command));
  RETURN_IF_ERROR(CheckStrings("args", container.args));
  RETURN_IF_ERROR(CheckStrings("image's Entrypoint", image.entrypoint));
  RETURN_IF_ERROR(CheckStrings("image's Cmd", image.cmd));

  bool own_command = !container.command.empty();
  process.args = own_command ? container.command : image.entrypoint;
  const std::vector<std::string>& rest =
      own_command || !container.args.empty() ? container.args : image.cmd;
  process.args.insert(process.args.end(), rest.begin(), rest.end());
  if (process.args.empty()) {
    return InvalidField("command", "nothing to run: neither the container nor its image has any");
  }
  if (process.args[0].empty()) return InvalidField("command", "the program's name is empty");
  return Ok();
}

// The image's entries are untrusted: one without a name or without '=' never means a variable of
// somebody else's environment (CVE-2021-3602), it means nothing.
Status AddImageEnv(const std::vector<std::string>& entries, Environment& env) {
  for (size_t i = 0; i < entries.size(); ++i) {
    const std::string& entry = entries[i];
    RETURN_IF_ERROR(CheckString(StrCat("image's Env[", i, "]"), entry));
    std::string_view name = NameOf(entry);
    if (name.empty() || name.size() == entry.size()) continue;
    env.Set(name, std::string_view(entry).substr(name.size() + 1));
  }
  return Ok();
}

Status AddCriEnv(const std::vector<EnvVar>& envs, Environment& env) {
  for (size_t i = 0; i < envs.size(); ++i) {
    const EnvVar& variable = envs[i];
    std::string field = StrCat("envs[", i, "]");
    RETURN_IF_ERROR(CheckString(StrCat(field, ".key"), variable.key));
    if (variable.key.empty() || variable.key.find('=') != std::string::npos) {
      return InvalidField(StrCat(field, ".key"),
                          StrCat("\"", Printable(variable.key), "\" is empty or has a '='"));
    }
    RETURN_IF_ERROR(
        CheckString(StrCat(field, " (", Printable(variable.key), ").value"), variable.value));
    env.Set(variable.key, variable.value);
  }
  return Ok();
}

std::string HostnameOf(const SpecInputs& inputs) {
  if (!inputs.paths.uts_ns.empty() && !inputs.pod.hostname.empty()) return inputs.pod.hostname;
  utsname name{};
  uname(&name);
  return name.nodename;
}

Status BuildEnv(const SpecInputs& inputs, OciProcess& process) {
  Environment env;
  env.Set("PATH", kDefaultPath);
  env.Set("HOSTNAME", HostnameOf(inputs));
  if (inputs.container.tty) env.Set("TERM", "xterm");
  RETURN_IF_ERROR(AddImageEnv(inputs.image.env, env));
  RETURN_IF_ERROR(AddCriEnv(inputs.container.envs, env));
  if (!env.Has("HOME")) env.Set("HOME", inputs.home.empty() ? "/" : inputs.home);
  // Whoever writes a passwd line from it must not write two (CVE-2022-4318).
  if (env.Get("HOME").find_first_of("\r\n") != std::string_view::npos) {
    return InvalidField("envs", "HOME has a line break");
  }
  process.env = env.Take();
  return Ok();
}

Status CheckTotal(const OciProcess& process) {
  size_t total = 0;
  for (const auto* strings : {&process.args, &process.env}) {
    for (const std::string& text : *strings) total += text.size() + 1 + sizeof(char*);
  }
  if (total <= kMaxTotalBytes) return Ok();
  return InvalidField(
      "command, args and envs",
      StrCat("together ", total, " bytes with the image's; at most ", kMaxTotalBytes, " fit"));
}

// A directory of procfs can be a door to the host's file system (CVE-2024-21626), and /dev/fd leads
// there.
Status BuildCwd(const SpecInputs& inputs, OciProcess& process) {
  bool from_cri = !inputs.container.working_dir.empty();
  const std::string& wanted = from_cri ? inputs.container.working_dir : inputs.image.working_dir;
  if (wanted.empty()) {
    process.cwd = "/";
    return Ok();
  }
  std::string_view field = from_cri ? "working_dir" : "image's WorkingDir";
  ASSIGN_OR_RETURN(process.cwd, CleanContainerPath(field, wanted));
  for (std::string_view door : {"/proc", "/dev/fd"}) {
    if (IsAtOrBelow(process.cwd, door)) {
      return InvalidField(field, StrCat("\"", Printable(wanted), "\" is below ", door));
    }
  }
  return Ok();
}

// "ALL" alone; the other names as a set.
struct CapabilityList {
  bool all = false;
  CapabilitySet set = 0;
};

Result<CapabilityList> ParseCapabilityList(std::string_view field,
                                           const std::vector<std::string>& names) {
  CapabilityList list;
  std::vector<std::string> single;
  for (const std::string& name : names) {
    if (ToLower(name) == "all") {
      list.all = true;
    } else {
      single.push_back(name);
    }
  }
  ASSIGN_OR_RETURN(list.set, CapabilitiesFromNames(single), field);
  return list;
}

struct GrantedCapabilities {
  CapabilitySet permitted = 0, ambient = 0;
};

// ALL first, then single names, and a drop wins over an add: {add: [ALL], drop: [X]} is all but X.
// add: [ALL] with drop: [ALL] leaves the names that are added one by one.
Result<GrantedCapabilities> Grant(const Capabilities& wanted, CapabilitySet own) {
  ASSIGN_OR_RETURN(CapabilityList add, ParseCapabilityList("capabilities.add", wanted.add));
  ASSIGN_OR_RETURN(CapabilityList drop, ParseCapabilityList("capabilities.drop", wanted.drop));
  ASSIGN_OR_RETURN(CapabilitySet ambient, CapabilitiesFromNames(wanted.add_ambient),
                   "capabilities.add_ambient");
  CapabilitySet missing = (add.set | ambient) & ~own;
  if (missing != 0) {
    return Error(Code::kFailedPrecondition, StrCat("capabilities.add: berthd itself does not have ",
                                                   Join(CapabilityNames(missing), ", ")));
  }
  CapabilitySet set = add.all ? own : DefaultCapabilities() & own;
  if (drop.all) set = 0;
  set = (set | add.set | ambient) & ~drop.set;
  if ((ambient & ~set) != 0) {
    return InvalidField("capabilities.add_ambient",
                        StrCat(Join(CapabilityNames(ambient & ~set), ", "), " is also dropped"));
  }
  return GrantedCapabilities{set, ambient};
}

Status BuildCapabilities(const SpecInputs& inputs, OciProcess& process) {
  const ContainerSecurityContext& security = inputs.container.security;
  GrantedCapabilities granted;
  if (security.privileged) {
    granted.permitted = OwnBoundingSet();
  } else {
    ASSIGN_OR_RETURN(granted,
                     Grant(security.capabilities.value_or(Capabilities{}), OwnBoundingSet()));
  }
  std::vector<std::string> names = CapabilityNames(granted.permitted);
  process.capabilities.bounding = names;
  process.capabilities.effective = names;
  process.capabilities.permitted = names;
  // Nothing is inheritable (CVE-2022-24769) but what is ambient, which the kernel wants in both.
  process.capabilities.ambient = CapabilityNames(granted.ambient);
  process.capabilities.inheritable = process.capabilities.ambient;
  return Ok();
}

struct Limit {
  const char* name;
  __rlimit_resource resource;
  uint64_t soft, hard;
};

// Every limit that Linux has, so that none is the daemon's by accident. The values are the kernel's
// own for a fresh machine, except: NOFILE is configured; core dumps are off until a program raises
// its soft limit; NPROC and SIGPENDING count per user over all containers of the machine, so a
// finite one would let one container starve another, while the pids and memory cgroups bound each
// by itself.
std::array<Limit, RLIM_NLIMITS> WantedLimits(const SpecInputs& inputs) {
  return {{
      {"RLIMIT_AS", RLIMIT_AS, kUnlimited, kUnlimited},
      {"RLIMIT_CORE", RLIMIT_CORE, 0, kUnlimited},
      {"RLIMIT_CPU", RLIMIT_CPU, kUnlimited, kUnlimited},
      {"RLIMIT_DATA", RLIMIT_DATA, kUnlimited, kUnlimited},
      {"RLIMIT_FSIZE", RLIMIT_FSIZE, kUnlimited, kUnlimited},
      {"RLIMIT_LOCKS", RLIMIT_LOCKS, kUnlimited, kUnlimited},
      {"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK, 8 << 20, 8 << 20},
      {"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE, 819200, 819200},
      {"RLIMIT_NICE", RLIMIT_NICE, 0, 0},
      {"RLIMIT_NOFILE", RLIMIT_NOFILE, inputs.rlimit_nofile_soft, inputs.rlimit_nofile_hard},
      {"RLIMIT_NPROC", RLIMIT_NPROC, kUnlimited, kUnlimited},
      {"RLIMIT_RSS", RLIMIT_RSS, kUnlimited, kUnlimited},
      {"RLIMIT_RTPRIO", RLIMIT_RTPRIO, 0, 0},
      {"RLIMIT_RTTIME", RLIMIT_RTTIME, kUnlimited, kUnlimited},
      {"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING, kUnlimited, kUnlimited},
      {"RLIMIT_STACK", RLIMIT_STACK, kStackBytes, kUnlimited},
  }};
}

// A hard limit above one's own takes CAP_SYS_RESOURCE. A daemon without it, as in some containers,
// gives what it has rather than nothing.
std::vector<OciRlimit> Rlimits(const SpecInputs& inputs) {
  const bool may_raise = (OwnBoundingSet() >> CAP_SYS_RESOURCE & 1) != 0;
  std::vector<OciRlimit> limits;
  for (const Limit& wanted : WantedLimits(inputs)) {
    uint64_t most = kUnlimited;
    rlimit own{};
    if (!may_raise && getrlimit(wanted.resource, &own) == 0) most = own.rlim_max;
    limits.push_back({wanted.name, std::min(wanted.soft, most), std::min(wanted.hard, most)});
  }
  return limits;
}

}  // namespace

Status BuildProcess(const SpecInputs& inputs, OciSpec& spec) {
  OciProcess& process = spec.process;
  process.terminal = inputs.container.tty;
  process.user = inputs.user;
  process.no_new_privileges = inputs.container.security.no_new_privs;
  RETURN_IF_ERROR(BuildArgs(inputs, process));
  RETURN_IF_ERROR(BuildEnv(inputs, process));
  RETURN_IF_ERROR(CheckTotal(process));
  RETURN_IF_ERROR(BuildCwd(inputs, process));
  RETURN_IF_ERROR(BuildCapabilities(inputs, process));
  process.rlimits = Rlimits(inputs);
  int64_t score = inputs.container.resources.oom_score_adj;
  if (score < -1000 || score > 1000) {
    return InvalidField("resources.oom_score_adj", StrCat(score, " is not from -1000 to 1000"));
  }
  process.oom_score_adj = static_cast<int>(score);
  return Ok();
}

}  // namespace berth::runtime
