// Limits and their changes.
#include "base/file.h"
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

class Resources : public InAPod {
 protected:
  // The value of a cgroup file of the container: the v1 name where that hierarchy is mounted.
  std::string CgroupFile(const std::string& container, const std::string& controller,
                         const std::string& v1_file, const std::string& v2_file) {
    rt::ContainerStatusRequest request;
    request.set_container_id(container);
    request.set_verbose(true);
    auto status = cri().Call(request);
    EXPECT_OK(status);
    if (!status.ok()) return "";
    auto info = ParseJson(status->info().at("info"));
    EXPECT_OK(info);
    if (!info.ok()) return "";
    auto pid = JsonInt(*info, "pid");
    EXPECT_OK(pid);
    auto cgroups = ReadFile(StrCat("/proc/", pid.ok() ? *pid : 0, "/cgroup"));
    EXPECT_OK(cgroups);
    if (!cgroups.ok()) return "";
    std::string v2_path;
    for (std::string_view line : Split(*cgroups, '\n')) {
      const std::vector<std::string_view> parts = Split(line, ':');
      if (parts.size() < 3) continue;
      if (parts[1].empty()) v2_path = parts[2];
      for (std::string_view name : Split(parts[1], ',')) {
        if (name != controller) continue;
        auto text = ReadFile(StrCat("/sys/fs/cgroup/", controller, parts[2], "/", v1_file));
        EXPECT_OK(text);
        return text.ok() ? std::string(Trim(*text)) : "";
      }
    }
    auto text = ReadFile(StrCat("/sys/fs/cgroup", v2_path, "/", v2_file));
    EXPECT_OK(text);
    return text.ok() ? std::string(Trim(*text)) : "";
  }
};

TEST_F(Resources, LimitsAreInTheCgroup) {
  rt::ContainerConfig config = ShellConfig("sleep 1000");
  auto* resources = config.mutable_linux()->mutable_resources();
  resources->set_memory_limit_in_bytes(64 << 20);
  resources->set_cpu_period(100'000);
  resources->set_cpu_quota(50'000);
  if (HasController("cpuset")) resources->set_cpuset_cpus("0");
  resources->set_oom_score_adj(500);
  auto container = RunContainer(pod_, config);
  ASSERT_OK(container);
  EXPECT_EQ(CgroupFile(*container, "memory", "memory.limit_in_bytes", "memory.max"), "67108864");
  const std::string quota = CgroupFile(*container, "cpu", "cpu.cfs_quota_us", "cpu.max");
  EXPECT_TRUE(quota == "50000" || quota == "50000 100000") << quota;
  if (HasController("cpuset")) {
    EXPECT_EQ(CgroupFile(*container, "cpuset", "cpuset.cpus", "cpuset.cpus"), "0");
  }
  EXPECT_EQ(ShellIn(*container, "cat /proc/1/oom_score_adj"), "500\n");
  auto status = Status(*container);
  ASSERT_OK(status);
  EXPECT_EQ(status->resources().linux().memory_limit_in_bytes(), 64 << 20);
}

TEST_F(Resources, UpdateTakesEffectAndIsReported) {
  rt::ContainerConfig config = ShellConfig("sleep 1000");
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(64 << 20);
  auto container = RunContainer(pod_, config);
  ASSERT_OK(container);
  for (const int64_t megabytes : {128, 32}) {
    rt::UpdateContainerResourcesRequest request;
    request.set_container_id(*container);
    request.mutable_linux()->set_memory_limit_in_bytes(megabytes << 20);
    ASSERT_OK(cri().Call(request));
    EXPECT_EQ(CgroupFile(*container, "memory", "memory.limit_in_bytes", "memory.max"),
              StrCat(megabytes << 20));
    EXPECT_EQ(Status(*container)->resources().linux().memory_limit_in_bytes(), megabytes << 20);
  }
}

TEST_F(Resources, ARefusedUpdateChangesNothing) {
  rt::ContainerConfig config = ShellConfig("sleep 1000");
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(64 << 20);
  auto container = RunContainer(pod_, config);
  ASSERT_OK(container);
  rt::UpdateContainerResourcesRequest request;
  request.set_container_id(*container);
  request.mutable_linux()->set_memory_limit_in_bytes(128 << 20);
  request.mutable_linux()->set_cpuset_cpus("4095");
  EXPECT_FALSE(cri().Call(request).ok());
  EXPECT_EQ(CgroupFile(*container, "memory", "memory.limit_in_bytes", "memory.max"), "67108864");
  request.set_container_id(std::string(64, '0'));
  EXPECT_FAILS(cri().Call(request), Code::kNotFound, "0000");
}

}  // namespace
}  // namespace berth::e2e
