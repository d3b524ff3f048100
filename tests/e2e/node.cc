#include "tests/e2e/node.h"

#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "base/time.h"

namespace berth::e2e {
namespace {

using testing::BuildImage;
using testing::EntryType;
using testing::MakeTar;
using testing::TarEntry;
using testing::TestRegistry;

constexpr char kPath[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr int64_t kStartTimeoutNs = 20'000'000'000;

// Each node has a bridge and a subnet of its own, so that several can run beside each other.
int NextNodeNumber() {
  static int number = 0;
  return ++number;
}

void SleepMs(int ms) {
  (void)poll(nullptr, 0, ms);
}

Result<std::vector<TarEntry>> BusyboxEntries() {
  ASSIGN_OR_RETURN(const std::string busybox, ReadFile("/bin/busybox"), "busybox-static");
  ASSIGN_OR_RETURN(
      const RunOutput list,
      RunProgram(Context::WithTimeoutMs(5000), Program("/bin/busybox", {"busybox", "--list"}), ""));
  std::vector<TarEntry> entries;
  for (const char* name : {"bin", "etc", "root", "proc", "sys", "dev", "home", "var"}) {
    entries.push_back({.path = name, .type = EntryType::kDirectory, .mode = 0755});
  }
  entries.push_back({.path = "tmp", .type = EntryType::kDirectory, .mode = 01777});
  entries.push_back({.path = "bin/busybox", .content = busybox, .mode = 0755});
  for (std::string_view applet : Split(list.out, '\n')) {
    if (applet.empty() || applet == "busybox") continue;
    entries.push_back({.path = StrCat("bin/", applet),
                       .content = "busybox",
                       .type = EntryType::kSymlink,
                       .mode = 0777});
  }
  entries.push_back({.path = "etc/passwd",
                     .content = "root:x:0:0:root:/root:/bin/sh\n"
                                "app:x:1000:1000::/home/app:/bin/sh\n"
                                "nobody:x:65534:65534::/:/bin/false\n"});
  entries.push_back({.path = "etc/group",
                     .content = "root:x:0:\napp:x:1000:\nextra:x:2000:app\nnogroup:x:65534:\n"});
  return entries;
}

bool Listens(const std::string& path) {
  const UniqueFd connection(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return false;
  path.copy(address.sun_path, path.size());
  return connect(connection.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
}

// The words of a process's command line, empty for one that has gone or is a zombie.
std::string CommandLine(const std::string& pid) {
  auto text = ReadFile(StrCat("/proc/", pid, "/cmdline"));
  if (!text.ok()) return "";
  for (char& c : *text) c = c == '\0' ? ' ' : c;
  return *text;
}

std::string_view LastLines(std::string_view text, int count) {
  size_t begin = text.size();
  while (begin > 0 && (text[begin - 1] != '\n' || count-- > 0)) --begin;
  return text.substr(begin);
}

void AddProcesses(const std::string& needle, pid_t except, std::vector<std::string>& found) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    const auto pid = ParseNumber<pid_t>(name);
    if (!pid || *pid == getpid() || *pid == except) continue;
    const std::string command = CommandLine(name);
    if (command.find(needle) != std::string::npos) {
      found.push_back(StrCat("process ", name, ": ", Printable(command)));
    }
  }
}

void AddMounts(const std::string& needle, std::vector<std::string>& found) {
  auto mounts = ReadFile("/proc/self/mountinfo");
  if (!mounts.ok()) return;
  for (std::string_view line : Split(*mounts, '\n')) {
    if (line.find(needle) != std::string_view::npos) found.push_back(StrCat("mount ", line));
  }
}

bool IsCgroupFs(const std::filesystem::path& path) {
  struct statfs info {};
  return statfs(path.c_str(), &info) == 0 && info.f_type != TMPFS_MAGIC;
}

// The cgroup of that name in every hierarchy that has it.
std::vector<std::filesystem::path> CgroupDirectories(const std::string& cgroup) {
  std::error_code error;
  std::vector<std::filesystem::path> roots = {"/sys/fs/cgroup"}, found;
  for (const auto& entry : std::filesystem::directory_iterator(roots[0], error)) {
    if (entry.is_directory() && !entry.is_symlink()) roots.push_back(entry.path());
  }
  for (const auto& root : roots) {
    if (std::filesystem::exists(root / cgroup, error) && IsCgroupFs(root / cgroup)) {
      found.push_back(root / cgroup);
    }
  }
  return found;
}

void AddCgroups(const std::string& cgroup, std::vector<std::string>& found) {
  std::error_code error;
  for (const auto& top : CgroupDirectories(cgroup)) {
    // The parent itself may stay: it is configured, like a slice that an administrator made.
    for (const auto& entry : std::filesystem::directory_iterator(top, error)) {
      if (entry.is_directory()) found.push_back(StrCat("cgroup ", entry.path().string()));
    }
  }
}

// As whoever made it would: kubelet removes its pods' cgroups itself.
void RemoveParent(const std::string& cgroup, bool systemd) {
  if (!systemd) {
    for (const auto& directory : CgroupDirectories(cgroup)) (void)rmdir(directory.c_str());
    return;
  }
  const std::string slice = cgroup.substr(cgroup.rfind('/') + 1);
  (void)RunProgram(Context::WithTimeoutMs(10'000),
                   Program("/bin/systemctl", {"systemctl", "stop", slice}), "");
}

}  // namespace

SpawnOptions Program(const std::string& path, std::vector<std::string> args) {
  SpawnOptions options;
  options.path = path;
  options.args = std::move(args);
  options.env = {kPath};
  return options;
}

bool UsesSystemd() {
  const char* driver = getenv("BERTH_TEST_CGROUP_DRIVER");
  return driver != nullptr && std::string_view(driver) == "systemd";
}

bool HasCgroupV1() {
  return access("/sys/fs/cgroup/memory/memory.limit_in_bytes", F_OK) == 0;
}

bool HasController(const std::string& name) {
  if (HasCgroupV1()) return access(("/sys/fs/cgroup/" + name).c_str(), F_OK) == 0;
  auto text = ReadFile("/sys/fs/cgroup/cgroup.controllers");
  if (!text.ok()) return false;
  for (std::string_view one : Split(Trim(*text), ' ')) {
    if (one == name) return true;
  }
  return false;
}

std::string BinDir() {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
}

Result<TestRegistry*> SharedRegistry() {
  static std::unique_ptr<TestRegistry> registry;
  if (registry == nullptr) {
    ASSIGN_OR_RETURN(registry, TestRegistry::Start({}));
    class EndOfRegistry : public ::testing::Environment {
      void TearDown() override { registry.reset(); }
    };
    ::testing::AddGlobalTestEnvironment(new EndOfRegistry);
  }
  return registry.get();
}

Result<testing::TestImage> BusyboxImage() {
  static std::string* tar = nullptr;
  if (tar == nullptr) {
    ASSIGN_OR_RETURN(const std::vector<TarEntry> entries, BusyboxEntries());
    tar = new std::string(MakeTar(entries));
  }
  testing::TestImage image;
  image.layers.push_back({.tar = *tar});
  image.config = Json{{"Env", {kPath}}, {"Cmd", {"sh"}}};
  return image;
}

Result<std::string> TestImage() {
  static std::string* reference = nullptr;
  if (reference == nullptr) {
    ASSIGN_OR_RETURN(TestRegistry * registry, SharedRegistry());
    ASSIGN_OR_RETURN(const testing::TestImage image, BusyboxImage());
    RETURN_IF_ERROR(registry->Push("test/busybox", "1", BuildImage(image)), "push the test image");
    reference = new std::string(StrCat(registry->address(), "/test/busybox:1"));
  }
  return *reference;
}

Node::Node(int number, bool systemd)
    : number_(number),
      systemd_(systemd),
      cgroup_(systemd ? StrCat("berth_e2e_", getpid(), "_", number, ".slice")
                      : StrCat("berth-e2e-", getpid(), "-", number)) {}

Result<std::unique_ptr<Node>> Node::Start(const NodeOptions& options) {
  std::unique_ptr<Node> node(new Node(NextNodeNumber(), UsesSystemd()));
  node->env_ = options.env;
  node->launcher_ = options.launcher;
  node->root_ = options.root.empty() ? node->dir_ / "root" : options.root;
  RETURN_IF_ERROR(MakeDirs(node->cni_dir(), 0755));
  RETURN_IF_ERROR(MakeDirs(node->log_dir(), 0755));
  RETURN_IF_ERROR(node->WriteConfig(options));
  if (options.with_cni) RETURN_IF_ERROR(node->WriteCniConfig());
  RETURN_IF_ERROR(node->StartDaemon(options.failpoint));
  return node;
}

Node::~Node() {
  if (daemon_.pid() > 0) {
    (void)RemoveAllPods();
    (void)StopDaemon(SIGTERM);
  }
  if (::testing::Test::HasFailure()) {
    auto log = ReadFile(dir_ / "berthd.log");
    if (log.ok()) std::cout << "berthd.log ends with:\n" << LastLines(*log, 20);
  }
  // Whatever a failed test has left must not meet the next one.
  (void)RunProgram(Context::WithTimeoutMs(10'000),
                   Program("/bin/umount", {"umount", "-l", "-R", dir_ / "state/pods"}), "");
  // Empty by now, or what a failed test has left is to be seen.
  RemoveParent(cgroup_, systemd_);
}

std::string Node::PodParent(const std::string& name) {
  std::string escaped = name;  // as kubelet does it: a dash would be a slice in between
  std::replace(escaped.begin(), escaped.end(), '-', '_');
  std::string parent = systemd_ ? CgroupOf(escaped) : CgroupOf(name);
  pod_parents_.insert(parent.substr(1));
  return parent;
}

std::string Node::CgroupOf(const std::string& pod) const {
  if (!systemd_) return StrCat("/", cgroup_, "/", pod);
  // systemd.slice(5): a slice's name is its parent's, a dash and its own.
  const std::string stem = cgroup_.substr(0, cgroup_.rfind('.'));
  return StrCat("/", cgroup_, "/", stem, "-", pod, ".slice");
}

std::string Node::CgroupOf(const std::string& pod, const std::string& container) const {
  if (!systemd_) return StrCat(CgroupOf(pod), "/", container);
  return StrCat(CgroupOf(pod), "/berth-", container, ".scope/container");
}

Status Node::WriteConfig(const NodeOptions& options) {
  const std::string toml =
      StrCat("[cni]\nconf_dir = \"", cni_dir(), "\"\n[cgroup]\n", "driver = \"",
             systemd_ ? "systemd" : "cgroupfs", "\"\ndefault_parent = \"", systemd_ ? "" : "/",
             cgroup_, "\"\n[runtime]\ncdi_dirs = [\"", cdi_dir(), "\"]\n",
             "[runtime_handlers.runc]\ntype = \"oci\"\npath = \"/usr/sbin/runc\"\n",
             "[runtime_handlers.crun]\ntype = \"oci\"\npath = \"/usr/bin/crun\"\n",
             // Its own network stack does not start on newer kernels (before gVisor of 2023).
             "[runtime_handlers.runsc]\ntype = \"oci\"\npath = \"/usr/bin/runsc\"\n",
             "arguments = [\"--network=host\"]\n");
  RETURN_IF_ERROR(AtomicWriteFileAt(AT_FDCWD, dir_ / "berth.toml", toml, 0644));
  if (options.config.empty()) return Ok();
  RETURN_IF_ERROR(MakeDirs(dir_ / "conf.d", 0755));
  return AtomicWriteFileAt(AT_FDCWD, dir_ / "conf.d/50-test.toml", options.config, 0644);
}

Status Node::WriteCniConfig() {
  const std::string number = StrCat(number_);
  const Json list = {{"cniVersion", "1.0.0"},
                     {"name", StrCat("e2e", number)},
                     {"plugins",
                      {{{"type", "bridge"},
                        {"bridge", StrCat("e2e", number)},
                        {"isGateway", true},
                        {"hairpinMode", true},
                        {"ipam",
                         {{"type", "host-local"},
                          {"dataDir", dir_ / "ipam"},
                          {"ranges", {{{{"subnet", StrCat("10.201.", number, ".0/24")}}}}},
                          {"routes", {{{"dst", "0.0.0.0/0"}}}}}}},
                       {{"type", "portmap"}, {"capabilities", {{"portMappings", true}}}}}}};
  return AtomicWriteFileAt(AT_FDCWD, StrCat(cni_dir(), "/10-e2e.conflist"), ToText(list), 0644);
}

Status Node::StartDaemon(const std::string& failpoint) {
  ASSIGN_OR_RETURN(const UniqueFd log,
                   Open(dir_ / "berthd.log", O_WRONLY | O_CREAT | O_APPEND, 0600));
  SpawnOptions options;
  options.path = BinDir() + "/berthd";
  options.args = {"berthd",  "--config",     dir_ / "berth.toml", "--root", root_,
                  "--state", dir_ / "state", "--listen",          socket()};
  if (!launcher_.empty()) {
    options.args.front() = options.path;
    options.path = launcher_.front();
    options.args.insert(options.args.begin(), launcher_.begin(), launcher_.end());
  }
  options.env = env_;
  options.env.emplace_back(kPath);
  if (!failpoint.empty()) options.env.push_back(StrCat("BERTH_FAILPOINT=", failpoint));
  options.child_fds = {-1, log.get(), log.get()};
  ASSIGN_OR_RETURN(daemon_, Spawn(options), "start ", options.path);
  const int64_t until = MonotonicNs() + kStartTimeoutNs;
  // By connect(2) and not by a call: a gRPC channel that was refused once waits for long.
  while (!Listens(socket())) {
    if (daemon_.Wait(Context::WithTimeoutMs(10)).ok()) {
      auto text = ReadFile(dir_ / "berthd.log");
      return Error(Code::kInternal, StrCat("berthd ended: ", text.ok() ? *text : ""));
    }
    if (MonotonicNs() > until) return Error(Code::kDeadlineExceeded, "berthd does not listen");
  }
  cri_ = std::make_unique<Cri>(socket());
  RETURN_IF_ERROR(cri_->Call(rt::VersionRequest()), "first call");
  return Ok();
}

Result<int> Node::StopDaemon(int signal) {
  if (daemon_.pid() <= 0) return Error(Code::kFailedPrecondition, "no daemon runs");
  if (kill(daemon_.pid(), signal) != 0) return ErrnoError("kill berthd");
  auto code = daemon_.Wait(Context::WithTimeoutMs(30'000));
  if (!code.ok()) daemon_.KillAndReap();
  daemon_ = Child();
  return code;
}

Status Node::RemoveAllPods() {
  ASSIGN_OR_RETURN(const auto pods, cri_->Call(rt::ListPodSandboxRequest()));
  Status first;
  for (const auto& pod : pods.items()) {
    rt::RemovePodSandboxRequest request;
    request.set_pod_sandbox_id(pod.id());
    auto removed = cri_->Call(request);
    if (!removed.ok() && first.ok()) first = std::move(removed).error();
  }
  for (const std::string& parent : pod_parents_) {
    RemoveParent(parent, systemd_);
  }
  pod_parents_.clear();
  return first;
}

std::vector<std::string> Node::Remains() const {
  std::vector<std::string> found;
  // Shims acknowledge and end in their own time.
  for (int attempt = 0; attempt < 50; ++attempt) {
    found.clear();
    AddProcesses(dir_ / "state", daemon_.pid(), found);
    // The daemon's own: a directory that is mounted on itself, so that it can be made private.
    AddMounts(dir_ / "state/pods/", found);
    AddMounts(dir_ / "state/containers/", found);
    AddMounts(dir_ / "root/", found);
    AddCgroups(cgroup_, found);
    if (found.empty()) break;
    SleepMs(40);
  }
  return found;
}

}  // namespace berth::e2e
