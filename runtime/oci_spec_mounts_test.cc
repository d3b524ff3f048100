#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "runtime/oci_spec_testing.h"

namespace berth::runtime {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

class OciMountsTest : public OciSpecTest {
 protected:
  static std::vector<std::string> Destinations(const OciSpec& spec) {
    std::vector<std::string> out;
    for (const OciMount& mount : spec.mounts) out.push_back(mount.destination);
    return out;
  }
  static Mount Bind(std::string container_path, std::string host_path = "/tmp") {
    Mount mount;
    mount.container_path = std::move(container_path);
    mount.host_path = std::move(host_path);
    return mount;
  }
  std::vector<std::string> OptionsOfOnly(const Mount& mount) {
    container_.mounts = {mount};
    OciSpec spec = MustBuild();
    const OciMount* found = MountAt(spec, mount.container_path);
    return found == nullptr ? std::vector<std::string>() : found->options;
  }
};

TEST_F(OciMountsTest, DefaultsInOrder) {
  OciSpec spec = MustBuild();
  EXPECT_THAT(Destinations(spec),
              ElementsAre("/proc", "/dev", "/dev/pts", "/dev/mqueue", "/sys", "/sys/fs/cgroup",
                          "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/dev/shm"));
  EXPECT_THAT(MountAt(spec, "/sys")->options, Contains("ro"));
  EXPECT_THAT(MountAt(spec, "/sys/fs/cgroup")->options, Contains("ro"));
  EXPECT_EQ(MountAt(spec, "/dev/shm")->source, paths_.shm);
  EXPECT_EQ(MountAt(spec, "/etc/hosts")->source, paths_.hosts);
  EXPECT_THAT(MountAt(spec, "/etc/hosts")->options, ElementsAre("rbind", "rprivate", "rw"));
  EXPECT_EQ(spec.rootfs_propagation, "rprivate");
}

TEST_F(OciMountsTest, PrivilegedMayWriteSys) {
  MakePrivileged();
  OciSpec spec = MustBuild();
  EXPECT_THAT(MountAt(spec, "/sys")->options, Not(Contains("ro")));
  EXPECT_THAT(MountAt(spec, "/sys/fs/cgroup")->options, Not(Contains("ro")));
}

TEST_F(OciMountsTest, PodFilesThatAreNotThereAreNotMounted) {
  paths_ = {};
  OciSpec spec = MustBuild();
  EXPECT_EQ(MountAt(spec, "/etc/hosts"), nullptr);
  EXPECT_EQ(MountAt(spec, "/dev/shm")->type, "tmpfs");
}

TEST_F(OciMountsTest, ReadonlyRootMakesThePodsFilesReadonly) {
  container_.security.readonly_rootfs = true;
  OciSpec spec = MustBuild();
  EXPECT_TRUE(spec.root_readonly);
  EXPECT_THAT(MountAt(spec, "/etc/hosts")->options, Contains("ro"));
  EXPECT_THAT(MountAt(spec, "/dev/shm")->options, Contains("rw"));
}

TEST_F(OciMountsTest, UsersMountsReplaceAndAreSortedByDepth) {
  container_.mounts = {Bind("/a/b/c"), Bind("/etc/hosts", "/etc/hostname"), Bind("/a/"),
                       Bind("/a/b"), Bind("/sys/fs/cgroup")};
  OciSpec spec = MustBuild();
  EXPECT_THAT(Destinations(spec), ElementsAre("/proc", "/dev", "/dev/pts", "/dev/mqueue", "/sys",
                                              "/a", "/etc/hostname", "/etc/resolv.conf", "/dev/shm",
                                              "/etc/hosts", "/a/b", "/a/b/c", "/sys/fs/cgroup"));
  EXPECT_EQ(MountAt(spec, "/etc/hosts")->source, "/etc/hostname");
  EXPECT_EQ(MountAt(spec, "/sys/fs/cgroup")->type, "bind");
}

TEST_F(OciMountsTest, AnotherDevStandsAsItIs) {
  container_.mounts = {Bind("/dev", "/dev")};
  EXPECT_THAT(Destinations(MustBuild()),
              ElementsAre("/proc", "/sys", "/sys/fs/cgroup", "/dev", "/etc/hostname", "/etc/hosts",
                          "/etc/resolv.conf"));
}

TEST_F(OciMountsTest, Options) {
  Mount mount = Bind("/data");
  EXPECT_THAT(OptionsOfOnly(mount), ElementsAre("rbind", "rprivate", "rw"));
  mount.readonly = true;
  EXPECT_THAT(OptionsOfOnly(mount), ElementsAre("rbind", "rprivate", "ro"));
  mount.recursive_read_only = true;
  EXPECT_THAT(OptionsOfOnly(mount), ElementsAre("rbind", "rprivate", "rro"));
  mount = Bind("/data");
  mount.mount_options = {"noexec", "nosuid"};
  EXPECT_THAT(OptionsOfOnly(mount), ElementsAre("rbind", "rprivate", "rw", "noexec", "nosuid"));
  container_.mounts[0].mount_options = {"upperdir=/etc"};
  ExpectRefused(Code::kInvalidArgument, "mounts[0].mount_options");
}

TEST_F(OciMountsTest, RecursiveReadOnlyHasItsConditions) {
  Mount mount = Bind("/data");
  mount.recursive_read_only = true;
  container_.mounts = {mount};
  ExpectRefused(Code::kInvalidArgument, "mounts[0].recursive_read_only");
  container_.mounts[0].readonly = true;
  container_.mounts[0].propagation = MountPropagation::kHostToContainer;
  ExpectRefused(Code::kInvalidArgument, "mounts[0].recursive_read_only");
}

TEST_F(OciMountsTest, ProcIsNotMountedOver) {
  for (const char* path : {"/proc", "/proc/", "//proc/self/attr", "/proc/sys", "/proc/./self",
                           "/proc/1/attr/exec", "/proc/net"}) {
    container_.mounts = {Bind(path)};
    ExpectRefused(Code::kInvalidArgument, "mounts[0].container_path");
  }
  for (const char* path : {"/proc/cpuinfo", "/proc/meminfo", "/process", "/host/proc"}) {
    container_.mounts = {Bind(path)};
    EXPECT_TRUE(Build().ok()) << path;
  }
  container_.mounts.clear();
  for (const char* path : {"/proc", "/proc/self", "proc/self", "/../../../../etc"}) {
    image_.volumes = {path};
    ExpectRefused(Code::kInvalidArgument, "image's Volumes");
  }
}

TEST_F(OciMountsTest, PathsAreChecked) {
  for (const char* path : {"", "data", "/", "/a/../b", "/.."}) {
    container_.mounts = {Bind(path)};
    ExpectRefused(Code::kInvalidArgument, "mounts[0].container_path");
  }
  container_.mounts = {Bind("/a"), Bind(std::string("/b\0c", 4))};
  ExpectRefused(Code::kInvalidArgument, "mounts[1].container_path");
  container_.mounts = {Bind("/a", "relative")};
  ExpectRefused(Code::kInvalidArgument, "mounts[0].host_path");
  container_.mounts = {Bind("/a", "/nonexistent/volume")};
  ExpectRefused(Code::kNotFound, "mounts[0].host_path: open /nonexistent/volume");
}

TEST_F(OciMountsTest, ImagesAreReadOnlyAndNotMore) {
  Mount mount = Bind("/model", "");
  mount.image.emplace().image = "registry/model:1";
  mount.image_sub_path = "a//b/";
  mount.readonly = true;
  container_.mounts = {Bind("/first"), mount};
  OciSpec spec = MustBuild();
  const OciMount* image = MountAt(spec, "/model");
  ASSERT_NE(image, nullptr);
  EXPECT_EQ(image->type, "image");
  EXPECT_EQ(image->source, "/a/b");
  EXPECT_EQ(image->index, 1u);
  EXPECT_THAT(image->options, ElementsAre("ro", "nosuid", "nodev"));
  container_.mounts[1].mount_options = {"noexec"};
  EXPECT_THAT(MountAt(MustBuild(), "/model")->options,
              ElementsAre("ro", "nosuid", "nodev", "noexec"));
  container_.mounts[1].readonly = false;
  ExpectRefused(Code::kInvalidArgument, "mounts[1].readonly");
  container_.mounts[1].readonly = true;
  container_.mounts[1].image_sub_path = "../b";
  ExpectRefused(Code::kInvalidArgument, "mounts[1].image_sub_path");
}

TEST_F(OciMountsTest, MappingsAreOfBothKindsAndApart) {
  container_.mounts = {Bind("/a")};
  Mount& mount = container_.mounts[0];
  mount.uid_mappings = {{1000, 0, 10}};
  ExpectRefused(Code::kInvalidArgument, "mounts[0].gidMappings");
  mount.gid_mappings = {{1000, 0, 10}, {2000, 9, 1}};
  ExpectRefused(Code::kInvalidArgument, "mounts[0].gidMappings[1]");
  mount.gid_mappings = {{1000, 0, 0}};
  ExpectRefused(Code::kInvalidArgument, "gidMappings[0].length");
  mount.gid_mappings = {{1000, 0, 10}};
  OciSpec spec = MustBuild();
  ASSERT_EQ(MountAt(spec, "/a")->uid_mappings.size(), 1u);
  EXPECT_EQ(MountAt(spec, "/a")->uid_mappings[0].host_id, 1000u);
}

// Propagation depends on the host's mounts, so this makes some, in a namespace of its own.
TEST_F(OciMountsTest, PropagationNeedsASharedSource) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root to make a mount namespace";
  auto directory = std::filesystem::path(::testing::TempDir()) / StrCat("mounts", getpid());
  std::filesystem::create_directory(directory);
  pid_t pid = fork();
  if (pid == 0) {
    const char* path = directory.c_str();
    bool ready = unshare(CLONE_NEWNS) == 0 &&
                 mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                 mount("tmpfs", path, "tmpfs", 0, nullptr) == 0;
    if (!ready) _exit(77);
    container_.mounts = {Bind("/data", directory)};
    MountPropagation& propagation = container_.mounts[0].propagation;
    propagation = MountPropagation::kHostToContainer;
    if (Build().code() != Code::kFailedPrecondition) _exit(1);
    mount(nullptr, path, nullptr, MS_SHARED, nullptr);
    Result<OciSpec> slave = Build();
    if (!slave.ok() || slave->rootfs_propagation != "rslave") _exit(2);
    propagation = MountPropagation::kBidirectional;
    Result<OciSpec> shared = Build();
    if (!shared.ok() || shared->rootfs_propagation != "rshared") _exit(3);
    if (MountAt(*shared, "/data")->options[1] != "rshared") _exit(4);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  std::filesystem::remove(directory);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "cannot mount here";
  EXPECT_EQ(status, 0) << "step " << WEXITSTATUS(status);
}

}  // namespace
}  // namespace berth::runtime
