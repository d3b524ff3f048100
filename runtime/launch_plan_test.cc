#include "runtime/launch_plan.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <algorithm>

namespace berth::runtime {
namespace {

using shim::wire::MountKind;
using shim::wire::MountPlan;

Result<shim::wire::LaunchPlan> Plan(const OciSpec& spec, const CgroupJoin& cgroup = {}) {
  return MakeLaunchPlan({spec, cgroup, "", {}, false});
}

MountPlan OneMount(const OciMount& mount) {
  OciSpec spec;
  spec.mounts = {mount};
  auto plan = Plan(spec);
  EXPECT_TRUE(plan.ok()) << plan.error().message();
  return plan.ok() ? plan->mounts.at(0) : MountPlan{};
}

TEST(LaunchPlan, OptionsBecomeAttributesAndTheRestIsTheFileSystems) {
  MountPlan mount =
      OneMount({"/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}});
  EXPECT_EQ(mount.kind, MountKind::kFilesystem);
  EXPECT_EQ(mount.attributes, uint64_t{MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME});
  EXPECT_EQ(mount.options, (std::vector<std::string>{"mode=755", "size=65536k"}));
}

TEST(LaunchPlan, BindsKnowPropagationAndRecursion) {
  MountPlan mount = OneMount({"/v", "bind", "/host", {"rbind", "rslave", "ro", "nosuid"}});
  EXPECT_EQ(mount.kind, MountKind::kBind);
  EXPECT_TRUE(mount.recursive);
  EXPECT_FALSE(mount.recursive_attributes);
  EXPECT_EQ(mount.propagation, uint64_t{MS_SLAVE});
  EXPECT_EQ(mount.attributes, uint64_t{MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID});
}

TEST(LaunchPlan, ABindIsPrivateUnlessItSaysOtherwise) {
  EXPECT_EQ(OneMount({"/v", "bind", "/host", {"bind"}}).propagation, uint64_t{MS_PRIVATE});
}

TEST(LaunchPlan, RecursiveReadOnlyCoversWhatIsBelow) {
  EXPECT_TRUE(OneMount({"/v", "bind", "/host", {"rbind", "rro"}}).recursive_attributes);
}

TEST(LaunchPlan, IdsOfNewFileSystemsAreTheHosts) {
  OciSpec spec;
  spec.mounts = {{"/dev/pts", "devpts", "devpts", {"newinstance", "gid=5"}},
                 {"/v", "tmpfs", "tmpfs", {"uid=7", "gid=2000"}}};
  spec.namespaces = {{"user", "/run/ns/user"}, {"pid", ""}};
  spec.uid_mappings = {{100000, 0, 1000}};
  spec.gid_mappings = {{200000, 0, 1000}};
  auto plan = Plan(spec);
  ASSERT_TRUE(plan.ok()) << plan.error().message();
  EXPECT_EQ(plan->user_namespace.path, "/run/ns/user");
  EXPECT_EQ(plan->user_namespace.uid, 100000U);
  EXPECT_EQ(plan->user_namespace.gid, 200000U);
  ASSERT_EQ(plan->namespaces.size(), 1U);
  EXPECT_EQ(plan->mounts[0].options[1], "gid=200005");
  // One that does not exist in there is root's.
  EXPECT_EQ(plan->mounts[1].options, (std::vector<std::string>{"uid=100007", "gid=200000"}));
}

TEST(LaunchPlan, NewFileSystemsAreLabelled) {
  OciSpec spec;
  spec.mount_label = "system_u:object_r:container_file_t:s0:c1,c2";
  spec.mounts = {{"/proc", "proc", "proc", {}},
                 {"/dev", "tmpfs", "tmpfs", {}},
                 {"/dev/pts", "devpts", "devpts", {"newinstance"}},
                 {"/dev/mqueue", "mqueue", "mqueue", {}}};
  auto plan = Plan(spec);
  ASSERT_TRUE(plan.ok()) << plan.error().message();
  const std::string option = "context=" + spec.mount_label;
  EXPECT_TRUE(plan->mounts[0].options.empty());
  EXPECT_EQ(plan->mounts[1].options, std::vector<std::string>{option});
  EXPECT_EQ(plan->mounts[2].options, (std::vector<std::string>{"newinstance", option}));
  // The kernel refuses the option for this one.
  EXPECT_TRUE(plan->mounts[3].options.empty());
  EXPECT_EQ(plan->mounts[3].root_label, spec.mount_label);
  EXPECT_EQ(plan->mounts[1].root_label, "");
}

TEST(LaunchPlan, ALaterOptionWins) {
  EXPECT_EQ(OneMount({"/v", "bind", "/h", {"ro", "rw"}}).attributes, 0U);
}

TEST(LaunchPlan, AnUnknownOptionOfABindIsNamed) {
  OciSpec spec;
  spec.mounts = {{"/v", "bind", "/h", {"bind", "upside-down"}}};
  auto plan = Plan(spec);
  ASSERT_FALSE(plan.ok());
  EXPECT_NE(plan.error().message().find("upside-down"), std::string::npos);
}

TEST(LaunchPlan, TheCgroupMountFitsTheHost) {
  OciSpec spec;
  spec.mounts = {{"/sys/fs/cgroup", "cgroup", "cgroup", {"nosuid", "ro"}}};
  auto unified = Plan(spec, {"/sys/fs/cgroup/a", {}, "", ""});
  ASSERT_EQ(unified->mounts.size(), 1U);
  EXPECT_EQ(unified->mounts[0].fstype, "cgroup2");

  CgroupJoin v1;
  v1.tasks_files = {"/sys/fs/cgroup/memory/a/tasks", "/sys/fs/cgroup/cpu,cpuacct/a/tasks"};
  auto split = Plan(spec, v1);
  ASSERT_EQ(split->mounts.size(), 3U);
  EXPECT_EQ(split->mounts[0].fstype, "tmpfs");
  EXPECT_EQ(split->mounts[1].source, "/sys/fs/cgroup/memory/a");
  EXPECT_EQ(split->mounts[1].destination, "/sys/fs/cgroup/memory");
  EXPECT_EQ(split->mounts[2].destination, "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_NE(split->mounts[2].attributes & MOUNT_ATTR_RDONLY, 0U);
  EXPECT_EQ(
      std::count(split->readonly_paths.begin(), split->readonly_paths.end(), "/sys/fs/cgroup"), 1);
}

TEST(LaunchPlan, NamesBecomeNumbers) {
  OciSpec spec;
  spec.process.rlimits = {{"RLIMIT_NOFILE", 1, 2}};
  spec.process.capabilities.bounding = {"CAP_CHOWN", "CAP_KILL"};
  spec.namespaces = {{"pid", ""}, {"network", "/run/ns/net"}};
  spec.devices = {{"/dev/sda", 'b', 8, 0, 0660, 0, 6}};
  auto plan = Plan(spec);
  ASSERT_TRUE(plan.ok()) << plan.error().message();
  EXPECT_EQ(plan->process.rlimits[0].resource, RLIMIT_NOFILE);
  EXPECT_EQ(plan->process.bounding, 0x21U);
  EXPECT_EQ(plan->namespaces[0].flag, CLONE_NEWPID);
  EXPECT_EQ(plan->namespaces[1].path, "/run/ns/net");
  EXPECT_EQ(plan->devices[0].mode, 060660U);
}

}  // namespace
}  // namespace berth::runtime
