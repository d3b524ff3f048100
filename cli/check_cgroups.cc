// Cgroups: their version, the controllers that kubelet and Berth need, and who makes them.
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "base/strings.h"
#include "cli/check.h"

namespace berth::cli {

namespace {

constexpr char kRoot[] = "/sys/fs/cgroup";

// The names of those that the machine has, of both versions.
std::vector<std::string> Controllers(bool unified) {
  std::vector<std::string> names;
  if (unified) {
    auto text = ReadFile(StrCat(kRoot, "/cgroup.controllers"));
    if (!text.ok()) return names;
    for (std::string_view name : Split(Trim(*text), ' ')) names.emplace_back(name);
    return names;
  }
  auto mounts = ReadFile("/proc/self/mountinfo");
  if (!mounts.ok()) return names;
  for (std::string_view line : Split(*mounts, '\n')) {
    const size_t at = line.find(" - cgroup cgroup ");
    if (at == std::string_view::npos) continue;
    for (std::string_view name : Split(line.substr(line.rfind(' ') + 1), ',')) {
      if (name != "rw" && name != "ro") names.emplace_back(name);
    }
  }
  return names;
}

bool Has(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// What is lost without a controller.
void CheckController(const std::vector<std::string>& there, std::string_view name, Level level,
                     std::string_view lost, Findings& findings) {
  if (Has(there, name)) return;
  findings.push_back(
      {StrCat("controller ", name), level, "missing",
       StrCat(lost, "; boot with cgroup_enable=", name, " or a kernel that has it built in")});
}

}  // namespace

void CheckCgroups(const config::Config& config, Findings& findings) {
  const bool unified = access(StrCat(kRoot, "/cgroup.controllers").c_str(), F_OK) == 0;
  const bool hybrid =
      !unified && access(StrCat(kRoot, "/unified/cgroup.controllers").c_str(), F_OK) == 0;
  const auto there = Controllers(unified);
  Finding version{"cgroups", Level::kOk,
                  StrCat(unified ? "version 2" : (hybrid ? "version 1, hybrid" : "version 1"), ": ",
                         Join(there, " ")),
                  ""};
  if (!unified) {
    version.level = Level::kWarning;
    version.advice = "Kubernetes gives version 1 up: boot with systemd.unified_cgroup_hierarchy=1";
  }
  findings.push_back(std::move(version));
  CheckController(there, "cpu", Level::kProblem, "no CPU shares and limits", findings);
  CheckController(there, "memory", Level::kProblem, "no memory limits", findings);
  CheckController(there, "pids", Level::kProblem, "no limits of processes", findings);
  CheckController(there, "cpuset", Level::kWarning, "no pinning to processors", findings);
  CheckController(there, "hugetlb", Level::kWarning, "no limits of huge pages", findings);
  if (unified) {
    CheckController(there, "io", Level::kWarning, "no limits of I/O", findings);
    const bool pressure = access("/proc/pressure/cpu", R_OK) == 0;
    findings.push_back({"pressure stall information", pressure ? Level::kOk : Level::kWarning,
                        pressure ? "there" : "missing",
                        pressure ? "" : "statistics lack it; boot with psi=1"});
  }

  const bool systemd = access("/run/systemd/private", F_OK) == 0 && unified;
  const std::string& wanted = config.cgroup.driver;
  Finding driver{"cgroup driver", Level::kOk,
                 wanted != "auto" ? wanted : (systemd ? "systemd" : "cgroupfs"), ""};
  if (wanted == "systemd" && !systemd) {
    driver.level = Level::kProblem;
    driver.advice = "it needs systemd as process 1 and cgroup v2: set cgroup.driver to auto";
  } else if (wanted == "cgroupfs" && systemd) {
    driver.level = Level::kWarning;
    driver.advice = "systemd manages this machine's cgroups: set cgroup.driver to auto";
  }
  findings.push_back(std::move(driver));
}

}  // namespace berth::cli
