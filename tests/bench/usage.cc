#include "tests/bench/usage.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cstring>
#include <vector>

#include "base/file.h"
#include "base/socket.h"

namespace berth::bench {
namespace {

std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  for (std::string_view word : Split(line, ' ')) {
    if (!word.empty()) words.push_back(word);
  }
  return words;
}

// The number behind "key" at the beginning of a line.
Result<int64_t> NumberAfter(std::string_view text, std::string_view key) {
  for (std::string_view line : Split(text, '\n')) {
    auto words = Words(line);
    if (words.size() < 2 || words[0] != key) continue;
    if (auto number = ParseNumber<int64_t>(words[1])) return *number;
  }
  return Error(Code::kInternal, StrCat("no number behind ", key));
}

// Kernel threads have no command line; nor have zombies, which use no memory.
bool IsUserProcess(const std::string& pid) {
  Result<std::string> command = ReadFile(StrCat("/proc/", pid, "/cmdline"));
  return command.ok() && !command->empty();
}

bool IsWorkload(pid_t pid) {
  Result<std::string> command = ReadFile(StrCat("/proc/", pid, "/cmdline"));
  if (!command.ok()) return false;
  std::string end = StrCat('\0', kWorkloadMark, '\0');
  return command->starts_with("/pause") && command->ends_with(end);
}

}  // namespace

Result<int64_t> ParseBusyTicks(std::string_view proc_stat) {
  auto words = Words(proc_stat.substr(0, proc_stat.find('\n')));
  if (words.size() < 9 || words[0] != "cpu") {
    return Error(Code::kInternal, "/proc/stat does not begin with the line of all CPUs");
  }
  int64_t ticks = 0;
  // user nice system (idle iowait) irq softirq steal; guest time is part of user.
  for (size_t i : {1, 2, 3, 6, 7, 8}) ticks += ParseNumber<int64_t>(words[i]).value_or(0);
  return ticks;
}

Result<int64_t> MachineBusyNs() {
  ASSIGN_OR_RETURN(std::string text, ReadFile("/proc/stat"));
  ASSIGN_OR_RETURN(int64_t ticks, ParseBusyTicks(text));
  return ticks * (1'000'000'000 / sysconf(_SC_CLK_TCK));
}

Result<int64_t> CgroupCpuNs(const std::string& cgroup) {
  Result<std::string> v2 = ReadFile(StrCat("/sys/fs/cgroup/", cgroup, "/cpu.stat"));
  if (v2.ok()) {
    ASSIGN_OR_RETURN(int64_t usec, NumberAfter(*v2, "usage_usec"), "cgroup ", cgroup);
    return usec * 1000;
  }
  std::string path = StrCat("/sys/fs/cgroup/cpuacct/", cgroup, "/cpuacct.usage");
  ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  auto usage = ParseNumber<int64_t>(Trim(text));
  if (!usage) return Error(Code::kInternal, StrCat(path, " is not a number"));
  return *usage;
}

Result<int64_t> ProcessCpuNs(pid_t pid) {
  clockid_t clock{};
  timespec time{};
  const int error = clock_getcpuclockid(pid, &clock);
  if (error != 0) return ErrnoError(error, StrCat("CPU clock of process ", pid));
  if (clock_gettime(clock, &time) != 0) return ErrnoError(StrCat("CPU time of process ", pid));
  return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

Result<double> LoadAverage() {
  double load = 0;
  if (getloadavg(&load, 1) != 1) return Error(Code::kInternal, "no load average");
  return load;
}

Result<int64_t> ParsePss(std::string_view smaps_rollup) {
  ASSIGN_OR_RETURN(int64_t kib, NumberAfter(smaps_rollup, "Pss:"));
  return kib * 1024;
}

Result<int64_t> PssBytes(pid_t pid) {
  std::string path = StrCat("/proc/", pid, "/smaps_rollup");
  ASSIGN_OR_RETURN(std::string text, ReadFile(path));
  ASSIGN_OR_RETURN(int64_t bytes, ParsePss(text), path);
  return bytes;
}

Result<std::set<pid_t>> Processes() {
  std::set<pid_t> processes;
  ASSIGN_OR_RETURN(UniqueFd proc, Open("/proc", O_RDONLY | O_DIRECTORY));
  RETURN_IF_ERROR(ForEachEntry(proc.get(), [&](const std::string& name) -> Status {
    auto pid = ParseNumber<pid_t>(name);
    if (pid && IsUserProcess(name)) processes.insert(*pid);
    return Ok();
  }));
  return processes;
}

Result<std::set<pid_t>> HelpersSince(const std::set<pid_t>& before) {
  ASSIGN_OR_RETURN(std::set<pid_t> now, Processes());
  std::erase_if(now, [&](pid_t pid) { return before.contains(pid) || IsWorkload(pid); });
  return now;
}

Result<int64_t> PssBytes(const std::set<pid_t>& processes) {
  int64_t sum = 0;
  for (pid_t pid : processes) {
    Result<int64_t> bytes = PssBytes(pid);
    if (bytes.ok()) sum += *bytes;
  }
  return sum;
}

Result<pid_t> ListenerPid(const std::string& socket_path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof(address.sun_path)) {
    return Error(Code::kInvalidArgument, StrCat("socket path is too long: ", socket_path));
  }
  memcpy(address.sun_path, socket_path.data(), socket_path.size());
  UniqueFd socket_fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket_fd.ok()) return ErrnoError("socket");
  if (connect(socket_fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoError(StrCat("connect to ", socket_path));
  }
  ASSIGN_OR_RETURN(PeerCredentials peer, PeerOf(socket_fd.get()));
  return peer.pid;
}

}  // namespace berth::bench
