#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/file.h"
#include "base/json.h"
#include "runtime/oci_spec_testing.h"

namespace berth::runtime {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class OciSecurityTest : public OciSpecTest {
 protected:
  // "" for a new one, nothing for the host's.
  static std::optional<std::string> Namespace(const OciSpec& spec, const std::string& type) {
    for (const OciNamespace& ns : spec.namespaces) {
      if (ns.type == type) return ns.path;
    }
    return std::nullopt;
  }
  static const OciDevice* DeviceAt(const OciSpec& spec, const std::string& path) {
    for (const OciDevice& device : spec.devices) {
      if (device.path == path) return &device;
    }
    return nullptr;
  }
};

TEST_F(OciSecurityTest, NamespacesArePodsOrOwn) {
  OciSpec spec = MustBuild();
  EXPECT_EQ(Namespace(spec, "network"), paths_.net_ns);
  EXPECT_EQ(Namespace(spec, "ipc"), paths_.ipc_ns);
  EXPECT_EQ(Namespace(spec, "uts"), paths_.uts_ns);
  EXPECT_EQ(Namespace(spec, "mount"), "");
  EXPECT_EQ(Namespace(spec, "pid"), "");
  EXPECT_EQ(Namespace(spec, "cgroup"), "");
  EXPECT_EQ(Namespace(spec, "user"), std::nullopt);
}

TEST_F(OciSecurityTest, HostNamespacesAreNotListed) {
  paths_.net_ns = paths_.ipc_ns = paths_.uts_ns = "";
  pod_.security.namespaces = {NamespaceMode::kNode, NamespaceMode::kNode, NamespaceMode::kNode, "",
                              std::nullopt};
  OciSpec spec = MustBuild();
  for (const char* type : {"network", "ipc", "uts", "pid"}) {
    EXPECT_EQ(Namespace(spec, type), std::nullopt) << type;
  }
}

TEST_F(OciSecurityTest, PidModes) {
  paths_.pid_ns = "/run/berth/pods/p/ns/pid";
  EXPECT_EQ(Namespace(MustBuild(), "pid"), paths_.pid_ns);
  container_.security.namespaces.emplace().pid = NamespaceMode::kContainer;
  EXPECT_EQ(Namespace(MustBuild(), "pid"), "");
  container_.security.namespaces->pid = NamespaceMode::kTarget;
  container_.security.namespaces->target_id = "abc";
  ExpectRefused(Code::kInvalidArgument, "namespace_options.target_id");
  target_pid_ns_ = "/proc/42/ns/pid";
  EXPECT_EQ(Namespace(MustBuild(), "pid"), target_pid_ns_);
}

TEST_F(OciSecurityTest, AUserNamespaceIsThePods) {
  UserNamespace& userns = pod_.security.namespaces.userns.emplace();
  ExpectRefused(Code::kInvalidArgument, "userns_options.uids");
  userns.uids = userns.gids = {{100000, 0, 1000}};
  paths_.user_ns = "/run/berth/pods/p/ns/user";
  EXPECT_EQ(Namespace(MustBuild(), "user"), paths_.user_ns);
  EXPECT_EQ(MustBuild().uid_mappings[0].host_id, 100000u);
  user_.gid = 1000;
  ExpectRefused(Code::kInvalidArgument, "group: 1000");
  user_.gid = 0;
  container_.security.namespaces.emplace();
  EXPECT_TRUE(Build().ok());
  container_.security.namespaces->userns.emplace().mode = NamespaceMode::kNode;
  ExpectRefused(Code::kInvalidArgument, "userns_options");
  pod_.security.namespaces.userns->mode = NamespaceMode::kNode;
  userns.uids.clear();
  userns.gids.clear();
  paths_.user_ns = "";
  EXPECT_EQ(Namespace(MustBuild(), "user"), std::nullopt);
}

// procMount Unmasked, which Kubernetes allows with a user namespace only.
TEST_F(OciSecurityTest, NoPathsMeanNoneInAUserNamespace) {
  UserNamespace& userns = pod_.security.namespaces.userns.emplace();
  userns.uids = userns.gids = {{100000, 0, 65536}};
  EXPECT_THAT(MustBuild().masked_paths, IsEmpty());
  EXPECT_THAT(MustBuild().readonly_paths, IsEmpty());
  container_.security.masked_paths = {"/proc/kcore"};
  EXPECT_THAT(MustBuild().masked_paths, ElementsAre("/proc/kcore"));
}

TEST_F(OciSecurityTest, PathsAreMaskedByDefault) {
  OciSpec spec = MustBuild();
  for (const char* path : {"/proc/kcore", "/proc/keys", "/proc/interrupts", "/proc/acpi",
                           "/sys/firmware", "/sys/devices/virtual/powercap"}) {
    EXPECT_THAT(spec.masked_paths, Contains(path));
  }
  for (const char* path : {"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus"}) {
    EXPECT_THAT(spec.readonly_paths, Contains(path));
  }
}

TEST_F(OciSecurityTest, PathsThatWereSentCountAsSent) {
  container_.security.masked_paths = {"/proc/kcore/"};
  container_.security.readonly_paths = {"/proc/sys"};
  OciSpec spec = MustBuild();
  EXPECT_THAT(spec.masked_paths, ElementsAre("/proc/kcore"));
  EXPECT_THAT(spec.readonly_paths, ElementsAre("/proc/sys"));
  container_.security.masked_paths = {"/proc/../etc"};
  ExpectRefused(Code::kInvalidArgument, "masked_paths");
  MakePrivileged();
  spec = MustBuild();
  EXPECT_THAT(spec.masked_paths, IsEmpty());
  EXPECT_THAT(spec.readonly_paths, IsEmpty());
}

TEST_F(OciSecurityTest, SeccompProfiles) {
  EXPECT_FALSE(MustBuild().seccomp.has_value());
  container_.security.seccomp_profile_path = "runtime/default";
  ASSERT_TRUE(MustBuild().seccomp.has_value());
  EXPECT_EQ(MustBuild().seccomp->type, ProfileType::kRuntimeDefault);
  container_.security.seccomp_profile_path = "unconfined";
  EXPECT_FALSE(MustBuild().seccomp.has_value());
  container_.security.seccomp_profile_path = "localhost//var/lib/kubelet/seccomp/a.json";
  EXPECT_EQ(MustBuild().seccomp->localhost_ref, "/var/lib/kubelet/seccomp/a.json");
  container_.security.seccomp_profile_path = "none";
  ExpectRefused(Code::kInvalidArgument, "seccomp_profile_path");

  // The newer field counts.
  container_.security.seccomp = SecurityProfile{ProfileType::kUnconfined, ""};
  EXPECT_FALSE(MustBuild().seccomp.has_value());
  container_.security.seccomp = SecurityProfile{ProfileType::kLocalhost, "relative.json"};
  ExpectRefused(Code::kInvalidArgument, "seccomp.localhost_ref");
  container_.security.seccomp = SecurityProfile{ProfileType::kLocalhost, "/a/../b"};
  ExpectRefused(Code::kInvalidArgument, "seccomp.localhost_ref");

  container_.security.seccomp = SecurityProfile{ProfileType::kRuntimeDefault, ""};
  EXPECT_TRUE(MustBuild().seccomp.has_value());
  MakePrivileged();
  EXPECT_FALSE(MustBuild().seccomp.has_value());
}

TEST_F(OciSecurityTest, AppArmorIsAppliedOrRefused) {
  auto enabled = Exists("/sys/module/apparmor");
  ASSERT_TRUE(enabled.ok());
  if (*enabled) GTEST_SKIP() << "this kernel has AppArmor";
  container_.security.apparmor = SecurityProfile{ProfileType::kRuntimeDefault, ""};
  EXPECT_TRUE(MustBuild().process.apparmor_profile.empty());
  container_.security.apparmor = SecurityProfile{ProfileType::kLocalhost, "strict"};
  ExpectRefused(Code::kFailedPrecondition, "apparmor: profile \"strict\"");
  container_.security.apparmor.reset();
  container_.security.apparmor_profile = "localhost/older";
  ExpectRefused(Code::kFailedPrecondition, "\"older\"");
  MakePrivileged();
  ExpectRefused(Code::kFailedPrecondition, "\"older\"");
}

TEST_F(OciSecurityTest, SelinuxLabelsAreRefusedWhereThereIsNone) {
  auto enabled = Exists("/sys/fs/selinux/enforce");
  ASSERT_TRUE(enabled.ok());
  if (*enabled) GTEST_SKIP() << "this kernel has SELinux";
  container_.security.selinux = SelinuxOptions{"", "", "container_t", "s0:c1,c2"};
  ExpectRefused(Code::kFailedPrecondition, "container_t:s0:c1,c2");
  container_.security.selinux = SelinuxOptions{"", "", "spc_t", "s0"};
  EXPECT_TRUE(Build().ok());
  container_.security.selinux.emplace();
  EXPECT_TRUE(Build().ok());
}

TEST_F(OciSecurityTest, DevicesByDefault) {
  OciSpec spec = MustBuild();
  EXPECT_EQ(spec.devices.size(), 6u);
  const OciDevice* null = DeviceAt(spec, "/dev/null");
  ASSERT_NE(null, nullptr);
  EXPECT_EQ(null->major, 1);
  EXPECT_EQ(null->minor, 3);
  EXPECT_EQ(null->file_mode, 0666u);
  // All is denied first.
  EXPECT_FALSE(spec.device_rules[0].allow);
  EXPECT_EQ(spec.device_rules[0].type, 'a');
  // Memory, terminals, and making nodes of any kind: no other driver.
  for (const DeviceRule& rule : spec.device_rules) {
    const bool usual = rule.major == 1 || rule.major == 5 || rule.major == 136;
    EXPECT_TRUE(!rule.allow || rule.access == "m" || usual) << rule.major << ":" << rule.minor;
  }
}

TEST_F(OciSecurityTest, DevicesOfTheRequestAreResolvedOnTheHost) {
  container_.devices = {{"/dev/mynull", "/dev/null", "r"}};
  OciSpec spec = MustBuild();
  const OciDevice* device = DeviceAt(spec, "/dev/mynull");
  ASSERT_NE(device, nullptr);
  EXPECT_EQ(device->type, 'c');
  EXPECT_EQ(device->major, 1);
  EXPECT_EQ(device->minor, 3);
  EXPECT_TRUE(spec.device_rules.back().allow);
  EXPECT_EQ(spec.device_rules.back().access, "r");
}

TEST_F(OciSecurityTest, WrongDevicesAreRefused) {
  container_.devices = {{"", "/dev/null", "rx"}};
  ExpectRefused(Code::kInvalidArgument, "devices[0].permissions");
  container_.devices = {{"", "/dev/null", "rr"}};
  ExpectRefused(Code::kInvalidArgument, "devices[0].permissions");
  container_.devices = {{"", "/dev/nonexistent", "r"}};
  ExpectRefused(Code::kNotFound, "devices[0].host_path");
  container_.devices = {{"", "/etc/passwd", "r"}};
  ExpectRefused(Code::kInvalidArgument, "devices[0].host_path");
  container_.devices = {{"", "/etc", "r"}};
  ExpectRefused(Code::kInvalidArgument, "devices[0].host_path");
  container_.devices = {{"/proc/x", "/dev/null", "r"}};
  ExpectRefused(Code::kInvalidArgument, "devices[0].container_path");
  container_.devices = {{"dev/x", "/dev/null", "r"}};
  ExpectRefused(Code::kInvalidArgument, "devices[0].container_path");
}

TEST_F(OciSecurityTest, PrivilegedSeesTheHostsDevices) {
  MakePrivileged();
  OciSpec spec = MustBuild();
  ASSERT_EQ(spec.device_rules.size(), 1u);
  EXPECT_TRUE(spec.device_rules[0].allow);
  for (const OciDevice& device : spec.devices) {
    EXPECT_FALSE(device.path.starts_with("/dev/pts")) << device.path;
    EXPECT_NE(device.path, "/dev/console");
    EXPECT_NE(device.path, "/dev/ptmx");
    struct stat st;
    if (stat(device.path.c_str(), &st) != 0) continue;
    EXPECT_EQ(makedev(device.major, device.minor), st.st_rdev) << device.path;
  }
  EXPECT_NE(DeviceAt(spec, "/dev/null"), nullptr);
}

TEST_F(OciSecurityTest, AnnotationsAndLabelsReachNothing) {
  std::string plain = OciSpecJson(MustBuild());
  pod_.annotations = {{"org.systemd.property.ExecStopPost", "/bin/evil"}, {"run.oci.hooks", "x"}};
  container_.annotations = pod_.annotations;
  image_.labels = {{"containerd.io/restart.loguri", "binary:///bin/evil"}};
  EXPECT_EQ(OciSpecJson(MustBuild()), plain);
}

TEST_F(OciSecurityTest, JsonIsTheRuntimeSpecs) {
  container_.resources.memory_limit_bytes = 64 << 20;
  container_.resources.cpu_shares = 512;
  container_.envs = {{"BYTES", "\xff"}};
  auto json = ParseJson(OciSpecJson(MustBuild()));
  ASSERT_TRUE(json.ok());
  EXPECT_EQ((*json)["ociVersion"], "1.1.0");
  EXPECT_EQ((*json)["process"]["args"][0], "/bin/server");
  EXPECT_EQ((*json)["root"]["path"], "rootfs");
  EXPECT_EQ((*json)["mounts"][0]["destination"], "/proc");
  const Json& linux_json = (*json)["linux"];
  EXPECT_EQ(linux_json["cgroupsPath"], "/berth/p/c");
  EXPECT_EQ(linux_json["resources"]["memory"]["limit"], 64 << 20);
  EXPECT_EQ(linux_json["resources"]["cpu"]["shares"], 512);
  EXPECT_TRUE(linux_json["namespaces"].is_array());
  EXPECT_EQ(linux_json["resources"]["devices"][0]["allow"], false);
}

}  // namespace
}  // namespace berth::runtime
