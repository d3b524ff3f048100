// Pods with a user namespace: whose the container's ids are, what its root may do and may not.
#include <fcntl.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "base/file.h"
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

constexpr uint32_t kUid = 2 * 65536;  // of the host, for the containers' id 0
constexpr uint32_t kGid = 3 * 65536;
constexpr uint32_t kIds = 65536;

class UserNamespaces : public E2eTest {
 protected:
  static rt::NamespaceOption& Namespaces(rt::PodSandboxConfig& pod) {
    return *pod.mutable_linux()->mutable_security_context()->mutable_namespace_options();
  }
  static rt::LinuxContainerSecurityContext& Context(rt::ContainerConfig& config) {
    return *config.mutable_linux()->mutable_security_context();
  }
  static void Map(uint32_t container, uint32_t host, uint32_t length, rt::IDMapping* to) {
    to->set_container_id(container);
    to->set_host_id(host);
    to->set_length(length);
  }
  static void AddUserNamespace(rt::NamespaceOption& options) {
    rt::UserNamespace* userns = options.mutable_userns_options();
    userns->set_mode(rt::POD);
    Map(0, kUid, kIds, userns->add_uids());
    Map(0, kGid, kIds, userns->add_gids());
  }
  rt::PodSandboxConfig MappedPod(const std::string& name = "pod") {
    rt::PodSandboxConfig pod = PodConfig(name);
    AddUserNamespace(Namespaces(pod));
    return pod;
  }
  std::string OutputOf(const rt::PodSandboxConfig& pod, const rt::ContainerConfig& config) {
    auto ending = RunToEnd(pod, config);
    EXPECT_OK(ending);
    return ending.ok() ? ending->Text() : "";
  }
  std::string OutputOf(const rt::ContainerConfig& config) { return OutputOf(MappedPod(), config); }

  // A directory of the host's that everybody may write to.
  std::string Volume() {
    std::string dir = StrCat(node().dir(), "/volume-", NewId().substr(0, 8));
    EXPECT_OK(MakeDirs(dir, 0777));
    EXPECT_EQ(chmod(dir.c_str(), 0777), 0);
    return dir;
  }
  static rt::Mount* AddMount(rt::ContainerConfig& config, const std::string& host,
                             const std::string& inside) {
    rt::Mount* mount = config.add_mounts();
    mount->set_host_path(host);
    mount->set_container_path(inside);
    return mount;
  }
  static std::string OwnerOf(const std::string& path) {
    struct stat info {};
    EXPECT_EQ(lstat(path.c_str(), &info), 0) << path;
    return StrCat(info.st_uid, ":", info.st_gid);
  }
};

TEST_F(UserNamespaces, TheHandlerSaysThatItHasThem) {
  auto status = cri().Call(rt::StatusRequest());
  ASSERT_OK(status);
  ASSERT_GE(status->runtime_handlers_size(), 1);
  EXPECT_TRUE(status->runtime_handlers(0).features().user_namespaces());
  EXPECT_TRUE(status->features().user_namespaces_host_network());
}

TEST_F(UserNamespaces, RootInsideIsNobodyOutside) {
  const std::string volume = Volume();
  rt::ContainerConfig config = ShellConfig(
      "tr -s ' ' < /proc/self/uid_map; tr -s ' ' < /proc/self/gid_map; id -u; id -g; "
      "stat -c '%u:%g %n' / /bin/busybox /etc/passwd /tmp /dev /dev/shm /etc/resolv.conf "
      "/etc/hosts /etc/hostname; touch /new /volume/new; stat -c '%u:%g %n' /new; "
      "echo x > /dev/stdout; echo y > /dev/null; cat /etc/resolv.conf > /dev/null && hostname");
  AddMount(config, volume, "/volume");
  const std::string text = OutputOf(config);
  EXPECT_EQ(text, StrCat(" 0 ", kUid, " ", kIds, "\n 0 ", kGid, " ", kIds,
                         "\n0\n0\n0:0 /\n0:0 /bin/busybox\n0:0 /etc/passwd\n0:0 /tmp\n0:0 /dev\n"
                         "0:0 /dev/shm\n0:0 /etc/resolv.conf\n0:0 /etc/hosts\n"
                         "0:0 /etc/hostname\n0:0 /new\nx\npod\n"));
  EXPECT_EQ(OwnerOf(volume + "/new"), StrCat(kUid, ":", kGid));
}

TEST_F(UserNamespaces, FilesOfTheImageCanBeChangedByTheirOwners) {
  rt::ContainerConfig config = ShellConfig(
      "echo new:x:7:7::/:/bin/sh >> /etc/passwd && chown 1000:2000 /etc/group && mkdir /home/app "
      "&& "
      "chown 1000:1000 /home/app && stat -c '%u:%g' /etc/passwd /etc/group /home/app && "
      "mv /etc/passwd /etc/moved && rm /etc/moved && ls /etc");
  EXPECT_EQ(OutputOf(config), "0:0\n1000:2000\n1000:1000\ngroup\nhostname\nhosts\nresolv.conf\n");
}

TEST_F(UserNamespaces, OtherUsersAndTheirGroups) {
  rt::ContainerConfig config = ShellConfig(
      "id -u; id -G; touch /tmp/mine; stat -c '%u:%g' /tmp/mine; touch /x 2>/dev/null || echo no; "
      "echo out > /proc/self/fd/1");
  Context(config).mutable_run_as_user()->set_value(1000);
  Context(config).add_supplemental_groups(4000);
  EXPECT_EQ(OutputOf(config), "1000\n1000 2000 4000\n1000:1000\nno\nout\n");
  Context(config).mutable_run_as_user()->set_value(kIds);
  EXPECT_FAILS(RunToEnd(MappedPod(), config), Code::kInvalidArgument, "user: 65536");
  Context(config).mutable_run_as_user()->set_value(1);
  Context(config).add_supplemental_groups(70000);
  EXPECT_FAILS(RunToEnd(MappedPod(), config), Code::kInvalidArgument, "group: 70000");
}

TEST_F(UserNamespaces, ExecsAreInIt) {
  auto pod = RunPod(MappedPod());
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  EXPECT_EQ(ShellIn(*container,
                    "id -u; tr -s ' ' < /proc/self/uid_map; touch /x; stat -c %u /x; "
                    "[ \"$(readlink /proc/self/ns/user)\" = \"$(readlink /proc/1/ns/user)\" ] && "
                    "echo same; echo out > /dev/stdout; ulimit -n; ls /proc/self/fd | wc -l"),
            StrCat("0\n 0 ", kUid, " ", kIds, "\n0\nsame\nout\n1024\n4\n"));
}

TEST_F(UserNamespaces, ATerminalIsTheContainersOwn) {
  rt::ContainerConfig config =
      ShellConfig("test -t 0 && tty; stat -c '%u %a' /dev/pts/0; echo console > /dev/console");
  config.set_tty(true);
  std::string text = OutputOf(config);
  std::erase(text, '\r');
  EXPECT_EQ(text, "/dev/pts/0\n0 620\nconsole\n");
}

// Even a root with every capability of its namespace cannot uncover what is covered.
TEST_F(UserNamespaces, MountsAreLocked) {
  const std::string volume = Volume();
  rt::ContainerConfig config = ShellConfig(
      "umount /proc/interrupts 2>/dev/null && echo uncovered interrupts; "
      "umount -l /proc 2>/dev/null && echo uncovered proc; "
      "umount -l /volume 2>/dev/null && echo uncovered volume; "
      "mount -o remount,bind,rw /volume 2>/dev/null; touch /volume/x 2>/dev/null && echo wrote; "
      "mount -o remount,bind,rw /proc/sys 2>/dev/null; "
      "(echo 1 > /proc/sys/kernel/msgmax) 2>/dev/null && echo wrote sysctl; "
      "mount -t tmpfs none /tmp && echo mounted; wc -c < /proc/interrupts; "
      "mknod /tmp/sda b 8 0 2>/dev/null && echo device");
  AddMount(config, volume, "/volume")->set_readonly(true);
  Context(config).mutable_capabilities()->add_add_capabilities("ALL");
  Context(config).mutable_seccomp()->set_profile_type(rt::SecurityProfile::Unconfined);
  Context(config).mutable_apparmor()->set_profile_type(rt::SecurityProfile::Unconfined);
  Context(config).add_masked_paths("/proc/interrupts");
  Context(config).add_readonly_paths("/proc/sys");
  EXPECT_EQ(OutputOf(config), "mounted\n0\n");
}

// All that a privileged container may do, but to its own namespaces.
TEST_F(UserNamespaces, PrivilegeIsThatOfTheNamespace) {
  rt::PodSandboxConfig pod = MappedPod();
  pod.mutable_linux()->mutable_security_context()->set_privileged(true);
  rt::ContainerConfig config = ShellConfig(
      "tr -s ' ' < /proc/self/uid_map; mount -t tmpfs none /tmp && echo mounted; "
      "hostname other && hostname; "
      "(echo 1 > /proc/sys/kernel/sysrq) 2>/dev/null && echo wrote sysrq; "
      "(echo x > /sys/kernel/uevent_helper) 2>/dev/null && echo wrote helper; "
      "mknod /tmp/sda b 8 0 2>/dev/null && echo device; "
      "(echo x > /dev/kmsg) 2>/dev/null && echo wrote kmsg; true");
  Context(config).set_privileged(true);
  EXPECT_EQ(OutputOf(pod, config), StrCat(" 0 ", kUid, " ", kIds, "\nmounted\nother\n"));
}

TEST_F(UserNamespaces, DefaultDevicesWork) {
  EXPECT_EQ(OutputOf(ShellConfig(
                "head -c 3 /dev/zero | wc -c; head -c 3 /dev/urandom | wc -c; "
                "echo x > /dev/null && cat /dev/null; (echo x > /dev/full) "
                "2>/dev/null || echo full; mkdir /dev/mqueue/x 2>/dev/null; ls -d /dev/mqueue; "
                "touch /dev/shm/x && echo shm")),
            "3\n3\nfull\n/dev/mqueue\nshm\n");
}

TEST_F(UserNamespaces, APodMayShareItsPidNamespace) {
  rt::PodSandboxConfig config = MappedPod();
  Namespaces(config).set_pid(rt::POD);
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  rt::ContainerConfig first = ShellConfig("sleep 1000", "first");
  Context(first).mutable_namespace_options()->set_pid(rt::POD);
  ASSERT_OK(RunContainer(*pod, first));
  rt::ContainerConfig second = ShellConfig("sleep 1001", "second");
  Context(second).mutable_namespace_options()->set_pid(rt::POD);
  auto container = RunContainer(*pod, second);
  ASSERT_OK(container);
  const std::string text =
      ShellIn(*container, "ps; kill $(ps | awk '/[s]leep 1000/{print $1}') && echo killed");
  EXPECT_NE(text.find("sleep 1000"), std::string::npos) << text;
  EXPECT_NE(text.find("killed"), std::string::npos) << text;
}

TEST_F(UserNamespaces, WithTheHostsNetwork) {
  rt::PodSandboxConfig config = MappedPod();
  Namespaces(config).set_network(rt::NODE);
  rt::ContainerConfig container = ShellConfig("id -u; ls /sys/class/net; ls /sys | wc -l");
  Context(container).mutable_namespace_options()->set_network(rt::NODE);
  const std::string text = OutputOf(config, container);
  EXPECT_TRUE(text.starts_with("0\n")) << text;
  EXPECT_NE(text.find("lo\n"), std::string::npos) << text;
}

TEST_F(UserNamespaces, SysctlsOfThePodsNamespaces) {
  rt::PodSandboxConfig config = MappedPod();
  (*config.mutable_linux()->mutable_sysctls())["net.ipv4.ip_local_port_range"] = "20000 30000";
  (*config.mutable_linux()->mutable_sysctls())["kernel.shm_rmid_forced"] = "1";
  (*config.mutable_linux()->mutable_sysctls())["fs.mqueue.msg_max"] = "99";
  EXPECT_EQ(
      OutputOf(config, ShellConfig("cd /proc/sys; cat net/ipv4/ip_local_port_range | tr '\\t' "
                                   "' '; cat kernel/shm_rmid_forced fs/mqueue/msg_max")),
      "20000 30000\n1\n99\n");
}

TEST_F(UserNamespaces, TheNetworkIsThePodsToChange) {
  rt::ContainerConfig config =
      ShellConfig("ip link set lo down && ip link set lo up && echo changed");
  Context(config).mutable_capabilities()->add_add_capabilities("NET_ADMIN");
  EXPECT_EQ(OutputOf(config), "changed\n");
}

TEST_F(UserNamespaces, VolumesWithMappingsKeepTheirOwnersOnTheDisk) {
  const std::string volume = Volume();
  ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, volume + "/theirs", "x", 0600));
  ASSERT_EQ(chown((volume + "/theirs").c_str(), 1000, 1000), 0);
  rt::ContainerConfig config = ShellConfig(
      "cd /volume; stat -c '%u:%g' . theirs; (touch mine && chown 5:6 mine) 2>/dev/null");
  rt::Mount* mount = AddMount(config, volume, "/volume");
  Map(0, kUid, kIds, mount->add_uidmappings());
  Map(0, kGid, kIds, mount->add_gidmappings());
  EXPECT_EQ(OutputOf(config), "0:0\n1000:1000\n");
  EXPECT_EQ(OwnerOf(volume + "/mine"), "5:6");
  // And without, the host's ids are nobody's.
  config.mutable_mounts(0)->clear_uidmappings();
  config.mutable_mounts(0)->clear_gidmappings();
  EXPECT_EQ(OutputOf(config), "65534:65534\n65534:65534\n");
}

// As kubelet makes them for secrets and configuration.
TEST_F(UserNamespaces, VolumesInMemoryAreMappedToo) {
  const std::string volume = Volume();
  ASSERT_EQ(::mount("none", volume.c_str(), "tmpfs", 0, "mode=0777"), 0);
  EXPECT_OK(AtomicWriteFileAt(AT_FDCWD, volume + "/secret", "hidden\n", 0400));
  rt::ContainerConfig config = ShellConfig(
      "cat /volume/secret; stat -c '%u:%g %a' /volume/secret; touch /volume/x 2>&1 | "
      "sed 's/.*: //'");
  rt::Mount* wanted = AddMount(config, volume, "/volume");
  wanted->set_readonly(true);
  Map(0, kUid, kIds, wanted->add_uidmappings());
  Map(0, kGid, kIds, wanted->add_gidmappings());
  EXPECT_EQ(OutputOf(config), "hidden\n0:0 400\nRead-only file system\n");
  EXPECT_EQ(umount2(volume.c_str(), MNT_DETACH), 0);
}

TEST_F(UserNamespaces, AMountMayHaveMappingsOfItsOwn) {
  const std::string volume = Volume();
  ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, volume + "/file", "x", 0644));
  ASSERT_EQ(chown((volume + "/file").c_str(), 7, 8), 0);
  rt::ContainerConfig config = ShellConfig("stat -c '%u:%g' /volume/file");
  rt::Mount* mount = AddMount(config, volume, "/volume");
  Map(7, 1007, 1, mount->add_uidmappings());
  Map(0, 0, 1, mount->add_uidmappings());
  Map(8, 1008, 1, mount->add_gidmappings());
  EXPECT_EQ(OutputOf(PodConfig(), config), "1007:1008\n");
}

TEST_F(UserNamespaces, LimitsHoldInIt) {
  rt::ContainerConfig config = ShellConfig(
      "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || "
      "cat /sys/fs/cgroup/memory.max");
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(64 << 20);
  EXPECT_EQ(OutputOf(config), StrCat(64 << 20, "\n"));
}

TEST_F(UserNamespaces, ThePodsStatusRepeatsThem) {
  auto pod = RunPod(MappedPod());
  ASSERT_OK(pod);
  auto status = PodStatus(*pod);
  ASSERT_OK(status);
  const auto& userns = status->linux().namespaces().options().userns_options();
  EXPECT_EQ(userns.mode(), rt::POD);
  ASSERT_EQ(userns.uids_size(), 1);
  EXPECT_EQ(userns.uids(0).host_id(), kUid);
}

TEST_F(UserNamespaces, WhatCannotBeIsRefusedByName) {
  struct Case {
    std::string text;
    std::function<void(rt::UserNamespace&)> change;
  };
  const std::vector<Case> cases = {
      {"mode", [](rt::UserNamespace& u) { u.set_mode(rt::CONTAINER); }},
      {"mode", [](rt::UserNamespace& u) { u.set_mode(rt::TARGET); }},
      {"mode", [](rt::UserNamespace& u) { u.set_mode(static_cast<rt::NamespaceMode>(9)); }},
      {"userns_options", [](rt::UserNamespace& u) { u.set_mode(rt::NODE); }},
      {"uids", [](rt::UserNamespace& u) { u.clear_uids(); }},
      {"gids", [](rt::UserNamespace& u) { u.clear_gids(); }},
      {"uids", [](rt::UserNamespace& u) { Map(65536, 1000000, 10, u.add_uids()); }},
      {"gids", [](rt::UserNamespace& u) { Map(65536, 1000000, 10, u.add_gids()); }},
      {"container_id", [](rt::UserNamespace& u) { u.mutable_uids(0)->set_container_id(1); }},
      {"length", [](rt::UserNamespace& u) { u.mutable_uids(0)->set_length(0); }},
      {"gids[0]", [](rt::UserNamespace& u) { u.mutable_gids(0)->set_length(4294967295U); }},
      {"uids[0]", [](rt::UserNamespace& u) { u.mutable_uids(0)->set_host_id(4294967295U); }},
  };
  for (const Case& c : cases) {
    rt::PodSandboxConfig pod = MappedPod();
    c.change(*Namespaces(pod).mutable_userns_options());
    EXPECT_FAILS(RunPod(pod), Code::kInvalidArgument, c.text);
  }
  auto pods = cri().Call(rt::ListPodSandboxRequest());
  ASSERT_OK(pods);
  EXPECT_EQ(pods->items_size(), 0);
}

TEST_F(UserNamespaces, AContainerHasItsPods) {
  auto mapped = RunPod(MappedPod("mapped"));
  ASSERT_OK(mapped);
  rt::ContainerConfig config = ShellConfig("true");
  AddUserNamespace(*Context(config).mutable_namespace_options());
  ASSERT_OK(Create(*mapped, config));
  rt::UserNamespace& userns =
      *Context(config).mutable_namespace_options()->mutable_userns_options();
  config.mutable_metadata()->set_name("other");
  userns.mutable_uids(0)->set_host_id(kUid + 1);
  EXPECT_FAILS(Create(*mapped, config), Code::kInvalidArgument, "userns_options");
  userns.clear_uids();
  userns.clear_gids();
  userns.set_mode(rt::NODE);
  EXPECT_FAILS(Create(*mapped, config), Code::kInvalidArgument, "userns_options");
  auto plain = RunPod(PodConfig("plain"));
  ASSERT_OK(plain);
  AddUserNamespace(*Context(config).mutable_namespace_options());
  EXPECT_FAILS(Create(*plain, config), Code::kInvalidArgument, "userns_options");
}

TEST_F(UserNamespaces, NoMountLeavesIt) {
  auto pod = RunPod(MappedPod());
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("true");
  AddMount(config, Volume(), "/volume")->set_propagation(rt::PROPAGATION_BIDIRECTIONAL);
  EXPECT_FAILS(Create(*pod, config), Code::kInvalidArgument, "mounts[0].propagation");
}

TEST_F(UserNamespaces, AFailedStartSaysWhyAndLeavesNothing) {
  auto pod = RunPod(MappedPod());
  ASSERT_OK(pod);
  auto container = Create(*pod, ProgramConfig("/no/such/program"));
  ASSERT_OK(container);
  EXPECT_FAILS(StartIt(*container), Code::kInvalidArgument, "/no/such/program");
  ASSERT_OK(Remove(*container));
  // The builder fails: a target that is a file where a directory is needed.
  rt::ContainerConfig config = ShellConfig("true");
  AddMount(config, Volume(), "/etc/passwd/below");
  container = Create(*pod, config);
  ASSERT_OK(container);
  EXPECT_FAILS(StartIt(*container), Code::kInternal, "/etc/passwd/below");
}

TEST_F(UserNamespaces, TheyOutliveTheDaemon) {
  auto pod = RunPod(MappedPod());
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  ASSERT_OK(node().StopDaemon(SIGKILL));
  ASSERT_OK(node().StartDaemon());
  EXPECT_EQ(ShellIn(*container, "id -u; tr -s ' ' < /proc/self/uid_map"),
            StrCat("0\n 0 ", kUid, " ", kIds, "\n"));
  auto another = RunContainer(*pod, ShellConfig("id -u", "another"));
  ASSERT_OK(another);
  ASSERT_OK(AwaitExit(*another));
  EXPECT_EQ(LogText(Log(*another)), "0\n");
}

}  // namespace
}  // namespace berth::e2e
