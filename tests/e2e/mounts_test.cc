// Bind mounts: content, modes, propagation, and what is refused.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

class Mounts : public InAPod {
 protected:
  void SetUp() override {
    InAPod::SetUp();
    dir_ = StrCat(node().dir(), "/volume-", NewId().substr(0, 8));
    ASSERT_OK(MakeDirs(dir_, 0755));
    ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, dir_ + "/file", "from outside\n", 0644));
  }
  rt::ContainerConfig WithMount(const std::string& script, const std::string& host,
                                const std::string& inside, bool readonly = false) {
    rt::ContainerConfig config = ShellConfig(script);
    rt::Mount* mount = config.add_mounts();
    mount->set_host_path(host);
    mount->set_container_path(inside);
    mount->set_readonly(readonly);
    return config;
  }
  std::string OutputOf(const rt::ContainerConfig& config) {
    rt::ContainerConfig own_log = config;
    own_log.set_log_path(NewId() + ".log");
    auto container = RunContainer(pod_, own_log);
    EXPECT_OK(container);
    if (!container.ok()) return "";
    EXPECT_OK(AwaitExit(*container));
    std::string text = LogText(Log(*container));
    EXPECT_OK(Remove(*container));
    return text;
  }

  std::string dir_;
};

TEST_F(Mounts, ADirectoryBothWays) {
  EXPECT_EQ(OutputOf(WithMount("cat /data/file; echo inside > /data/new", dir_, "/data")),
            "from outside\n");
  EXPECT_EQ(*ReadFile(dir_ + "/new"), "inside\n");
}

TEST_F(Mounts, AFileAtADeepNewPath) {
  EXPECT_EQ(OutputOf(WithMount("cat /a/b/c", dir_ + "/file", "/a/b/c")), "from outside\n");
}

TEST_F(Mounts, ReadOnly) {
  EXPECT_EQ(OutputOf(WithMount("touch /data/x 2>/dev/null && echo wrote; cat /data/file", dir_,
                               "/data", true)),
            "from outside\n");
}

TEST_F(Mounts, ReadOnlyIsNotRecursiveUnlessAsked) {
  ASSERT_OK(MakeDirs(dir_ + "/sub", 0755));
  ASSERT_EQ(mount("tmpfs", (dir_ + "/sub").c_str(), "tmpfs", 0, nullptr), 0);
  rt::ContainerConfig config =
      WithMount("touch /data/sub/x 2>/dev/null && echo wrote || echo refused", dir_, "/data", true);
  EXPECT_EQ(OutputOf(config), "wrote\n");
  config.mutable_mounts(0)->set_recursive_read_only(true);
  EXPECT_EQ(OutputOf(config), "refused\n");
  ASSERT_EQ(umount2((dir_ + "/sub").c_str(), MNT_DETACH), 0);
}

// With each kind of runtime handler.
class Propagation : public Mounts, public ::testing::WithParamInterface<const char*> {};
INSTANTIATE_TEST_SUITE_P(Handlers, Propagation, kHandlers, HandlerName);

TEST_P(Propagation, FromTheHost) {
  auto pod = RunPod(PodConfig("theirs"), GetParam());
  ASSERT_OK(pod);
  ASSERT_EQ(mount(dir_.c_str(), dir_.c_str(), nullptr, MS_BIND, nullptr), 0);
  ASSERT_EQ(mount(nullptr, dir_.c_str(), nullptr, MS_SHARED, nullptr), 0);
  ASSERT_OK(MakeDirs(dir_ + "/later", 0755));
  struct Case {
    rt::MountPropagation propagation;
    std::string seen;
  };
  for (const Case& c :
       {Case{rt::PROPAGATION_PRIVATE, ""}, Case{rt::PROPAGATION_HOST_TO_CONTAINER, "there\n"}}) {
    rt::ContainerConfig config = WithMount("sleep 1000", dir_, "/data");
    config.mutable_mounts(0)->set_propagation(c.propagation);
    auto container = RunContainer(*pod, config);
    ASSERT_OK(container);
    ASSERT_EQ(mount("tmpfs", (dir_ + "/later").c_str(), "tmpfs", 0, nullptr), 0);
    ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, dir_ + "/later/x", "there\n", 0644));
    EXPECT_EQ(ShellIn(*container, "cat /data/later/x 2>/dev/null || true"), c.seen);
    ASSERT_EQ(umount2((dir_ + "/later").c_str(), MNT_DETACH), 0);
    ASSERT_OK(Remove(*container));
  }
  ASSERT_EQ(umount2(dir_.c_str(), MNT_DETACH), 0);
}

TEST_P(Propagation, ToTheHost) {
  rt::PodSandboxConfig pod_config = PodConfig("privileged");
  pod_config.mutable_linux()->mutable_security_context()->set_privileged(true);
  auto pod = RunPod(pod_config, GetParam());
  ASSERT_OK(pod);
  rt::ContainerConfig config = WithMount(
      "mkdir /data/made; mount -t tmpfs none /data/made && touch /data/made/x; sleep 1000", dir_,
      "/data");
  config.mutable_linux()->mutable_security_context()->set_privileged(true);
  config.mutable_mounts(0)->set_propagation(rt::PROPAGATION_BIDIRECTIONAL);
  // Its directory is on a mount that nobody shares.
  EXPECT_FAILS(Create(*pod, config), Code::kFailedPrecondition, "mounts[0].propagation");
  ASSERT_EQ(mount(dir_.c_str(), dir_.c_str(), nullptr, MS_BIND, nullptr), 0);
  ASSERT_EQ(mount(nullptr, dir_.c_str(), nullptr, MS_SHARED, nullptr), 0);
  auto container = RunContainer(*pod, config);
  EXPECT_OK(container);
  if (container.ok()) {
    EXPECT_EQ(ShellIn(*container, "until [ -e /data/made/x ]; do sleep 0.1; done"), "");
    EXPECT_TRUE(*Exists(dir_ + "/made/x"));
    EXPECT_OK(Remove(*container));
  }
  (void)umount2((dir_ + "/made").c_str(), MNT_DETACH);
  ASSERT_EQ(umount2(dir_.c_str(), MNT_DETACH), 0);
}

TEST_F(Mounts, OptionsOfTheRequest) {
  ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, dir_ + "/run", "#!/bin/sh\necho ran\n", 0755));
  rt::ContainerConfig config = WithMount(
      "/data/run 2>/dev/null || echo not run; grep ' /data ' /proc/mounts | cut -d' ' -f4 | "
      "tr ',' '\\n' | grep -E '^(noexec|nosuid|nodev)$' | sort",
      dir_, "/data");
  EXPECT_EQ(OutputOf(config), "ran\n");
  config.mutable_mounts(0)->add_mount_options("noexec");
  EXPECT_EQ(OutputOf(config), "not run\nnoexec\n");
  config.mutable_mounts(0)->add_mount_options("nosuid");
  config.mutable_mounts(0)->add_mount_options("nodev");
  EXPECT_EQ(OutputOf(config), "not run\nnodev\nnoexec\nnosuid\n");
  for (const char* option : {"rw", "suid", "", "noexec,suid", "bind"}) {
    config.mutable_mounts(0)->set_mount_options(0, option);
    EXPECT_FAILS(Create(pod_, config), Code::kInvalidArgument, "mounts[0].mount_options");
  }
}

TEST_F(Mounts, RecursiveReadOnlyHasItsRules) {
  rt::ContainerConfig config = WithMount("true", dir_, "/data");
  config.mutable_mounts(0)->set_recursive_read_only(true);
  EXPECT_FAILS(Create(pod_, config), Code::kInvalidArgument, "mounts[0].recursive_read_only");
  config.mutable_mounts(0)->set_readonly(true);
  for (auto propagation : {rt::PROPAGATION_HOST_TO_CONTAINER, rt::PROPAGATION_BIDIRECTIONAL}) {
    config.mutable_mounts(0)->set_propagation(propagation);
    EXPECT_FAILS(Create(pod_, config), Code::kInvalidArgument, "mounts[0].recursive_read_only");
  }
}

// The link may be turned elsewhere while the container runs: what was mounted stays.
TEST_F(Mounts, ALinkOnTheHostIsFollowedOnce) {
  ASSERT_OK(MakeDirs(dir_ + "/one", 0755));
  ASSERT_OK(MakeDirs(dir_ + "/two", 0755));
  ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, dir_ + "/one/which", "one\n", 0644));
  ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, dir_ + "/two/which", "two\n", 0644));
  ASSERT_EQ(symlink("one", (dir_ + "/link").c_str()), 0);
  auto container = RunContainer(pod_, WithMount("sleep 1000", dir_ + "/link", "/data"));
  ASSERT_OK(container);
  EXPECT_EQ(ShellIn(*container, "cat /data/which"), "one\n");
  ASSERT_EQ(unlink((dir_ + "/link").c_str()), 0);
  ASSERT_EQ(symlink("two", (dir_ + "/link").c_str()), 0);
  EXPECT_EQ(ShellIn(*container, "cat /data/which"), "one\n");
}

TEST_F(Mounts, OneOverAnotherAndOverADefault) {
  ASSERT_OK(MakeDirs(dir_ + "/inner", 0755));
  ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, dir_ + "/inner/i", "inner\n", 0644));
  rt::ContainerConfig config =
      WithMount("cat /data/in/i; cat /data/file; cat /etc/hosts", dir_ + "/inner", "/data/in");
  rt::Mount* outer = config.add_mounts();
  outer->set_host_path(dir_);
  outer->set_container_path("/data");
  rt::Mount* hosts = config.add_mounts();
  hosts->set_host_path(dir_ + "/file");
  hosts->set_container_path("/etc/hosts");
  EXPECT_EQ(OutputOf(config), "inner\nfrom outside\nfrom outside\n");
}

TEST_F(Mounts, AMissingHostPathIsNamed) {
  EXPECT_FAILS(Create(pod_, WithMount("true", dir_ + "/no-such", "/data")), Code::kInvalidArgument,
               dir_ + "/no-such");
  EXPECT_FALSE(*Exists(dir_ + "/no-such"));
  // It may also go between the two.
  ASSERT_OK(MakeDirs(dir_ + "/gone", 0755));
  auto container = Create(pod_, WithMount("true", dir_ + "/gone", "/data"));
  ASSERT_OK(container);
  ASSERT_EQ(rmdir((dir_ + "/gone").c_str()), 0);
  auto started = StartIt(*container);
  ASSERT_FALSE(started.ok());
  EXPECT_NE(started.error().message().find(dir_ + "/gone"), std::string::npos)
      << ErrorText(started);
}

TEST_F(Mounts, NotOverProcOrWithRelativePaths) {
  for (const std::string inside :
       {"/proc", "/proc/self/attr", "/proc/../proc/sys", "relative", "", "/"}) {
    auto container = Create(pod_, WithMount("true", dir_, inside));
    const bool refused = !container.ok() || !StartIt(*container).ok();
    EXPECT_TRUE(refused) << inside;
    if (container.ok()) {
      EXPECT_OK(Remove(*container));
    }
  }
}

TEST_F(Mounts, ALinkInTheImageDoesNotLeadOut) {
  auto base = BusyboxImage();
  ASSERT_OK(base);
  const std::string target = dir_ + "/victim";
  ASSERT_OK(MakeDirs(target, 0755));
  base->layers.push_back(
      {.tar = testing::MakeTar(
           {{.path = "data", .content = target, .type = testing::EntryType::kSymlink}})});
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  ASSERT_OK((*registry)->Push("mounts/link", "1", testing::BuildImage(*base)));
  rt::PullImageRequest pull;
  pull.mutable_image()->set_image((*registry)->address() + "/mounts/link:1");
  ASSERT_OK(cri().Call(pull));
  rt::ContainerConfig config = WithMount("cat /data/new/file", dir_, "/data/new");
  config.mutable_image()->set_image(pull.image().image());
  auto container = RunContainer(pod_, config);
  if (container.ok()) (void)AwaitExit(*container);
  EXPECT_FALSE(*Exists(target + "/new"));
}

}  // namespace
}  // namespace berth::e2e
