// The life of pods: states, filters, idempotence, files, and what is left of them.
#include <thread>

#include "base/file.h"
#include "base/strings.h"
#include "base/time.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

class Pods : public E2eTest {
 protected:
  Result<rt::StopPodSandboxResponse> StopPod(const std::string& id) {
    rt::StopPodSandboxRequest request;
    request.set_pod_sandbox_id(id);
    return cri().Call(request);
  }
  Result<rt::RemovePodSandboxResponse> RemovePod(const std::string& id) {
    rt::RemovePodSandboxRequest request;
    request.set_pod_sandbox_id(id);
    return cri().Call(request);
  }
  std::vector<std::string> List(const rt::PodSandboxFilter& filter) {
    rt::ListPodSandboxRequest request;
    *request.mutable_filter() = filter;
    auto list = cri().Call(request);
    EXPECT_OK(list);
    std::vector<std::string> ids;
    if (list.ok()) {
      for (const auto& item : list->items()) ids.push_back(item.id());
    }
    return ids;
  }
};

TEST_F(Pods, StatusSaysWhatWasAsked) {
  rt::PodSandboxConfig config = PodConfig("web");
  config.mutable_metadata()->set_attempt(3);
  (*config.mutable_labels())["app"] = "web";
  (*config.mutable_annotations())["note"] = "ünïcode and \"quotes\"";
  const int64_t before = WallNs();
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  EXPECT_EQ(pod->size(), 64u);
  auto status = PodStatus(*pod);
  ASSERT_OK(status);
  EXPECT_EQ(status->id(), *pod);
  EXPECT_EQ(status->state(), rt::SANDBOX_READY);
  EXPECT_EQ(status->metadata().SerializeAsString(), config.metadata().SerializeAsString());
  EXPECT_EQ(status->labels().at("app"), "web");
  EXPECT_EQ(status->annotations().at("note"), "ünïcode and \"quotes\"");
  EXPECT_GE(status->created_at(), before);
  EXPECT_LE(status->created_at(), WallNs());
  EXPECT_TRUE(status->network().ip().starts_with("10.201.")) << status->network().ip();
  EXPECT_EQ(status->linux().namespaces().options().pid(), rt::CONTAINER);
}

TEST_F(Pods, StopThenRemoveTwice) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  ASSERT_OK(StopPod(*pod));
  ASSERT_OK(StopPod(*pod));
  auto status = PodStatus(*pod);
  ASSERT_OK(status);
  EXPECT_EQ(status->state(), rt::SANDBOX_NOTREADY);
  auto container_status = Status(*container);
  ASSERT_OK(container_status);
  EXPECT_EQ(container_status->state(), rt::CONTAINER_EXITED);
  ASSERT_OK(RemovePod(*pod));
  ASSERT_OK(RemovePod(*pod));
  ASSERT_OK(StopPod(*pod));
  EXPECT_FAILS(PodStatus(*pod), Code::kNotFound, pod->substr(0, 12));
  EXPECT_FAILS(Status(*container), Code::kNotFound, container->substr(0, 12));
}

TEST_F(Pods, RemoveForcesWhatRuns) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  ASSERT_OK(RunContainer(*pod, ShellConfig("trap '' TERM; while :; do sleep 1; done")));
  ASSERT_OK(RemovePod(*pod));
  EXPECT_EQ(node().Remains(), std::vector<std::string>());
}

TEST_F(Pods, ListFilters) {
  rt::PodSandboxConfig config = PodConfig("listed");
  const std::string mark = config.metadata().uid();
  (*config.mutable_labels())["mark"] = mark;
  (*config.mutable_labels())["role"] = "a";
  auto first = RunPod(config);
  ASSERT_OK(first);
  config.mutable_metadata()->set_uid(mark + "2");
  (*config.mutable_labels())["role"] = "b";
  auto second = RunPod(config);
  ASSERT_OK(second);
  ASSERT_OK(StopPod(*second));

  rt::PodSandboxFilter filter;
  (*filter.mutable_label_selector())["mark"] = mark;
  EXPECT_EQ(List(filter).size(), 2u);
  (*filter.mutable_label_selector())["role"] = "a";
  EXPECT_EQ(List(filter), std::vector<std::string>{*first});
  filter.Clear();
  (*filter.mutable_label_selector())["mark"] = mark;
  filter.mutable_state()->set_state(rt::SANDBOX_NOTREADY);
  EXPECT_EQ(List(filter), std::vector<std::string>{*second});
  filter.Clear();
  filter.set_id(first->substr(0, 16));
  EXPECT_EQ(List(filter), std::vector<std::string>{*first});
  filter.set_id(std::string(64, '0'));
  EXPECT_TRUE(List(filter).empty());
}

TEST_F(Pods, TheSameMetadataTwiceIsTheSamePod) {
  const rt::PodSandboxConfig config = PodConfig("twice");
  auto first = RunPod(config);
  ASSERT_OK(first);
  auto second = RunPod(config);
  ASSERT_OK(second);
  EXPECT_EQ(*first, *second);
}

TEST_F(Pods, SimultaneousRetriesJoin) {
  const rt::PodSandboxConfig config = PodConfig("joined");
  ASSERT_OK(MakeDirs(config.log_directory(), 0755));
  std::vector<std::string> ids(4);
  std::vector<std::thread> threads;
  threads.reserve(ids.size());
  for (std::string& id : ids) {
    threads.emplace_back([this, &id, &config] {
      rt::RunPodSandboxRequest request;
      *request.mutable_config() = config;
      auto response = cri().Call(request);
      id = response.ok() ? response->pod_sandbox_id() : response.error().message();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(ids, std::vector<std::string>(4, ids[0]));
  EXPECT_OK(RunPod(config));  // so that it is removed
}

TEST_F(Pods, HostnameDnsSysctlsAndShm) {
  rt::PodSandboxConfig config = PodConfig("named-host");
  auto* dns = config.mutable_dns_config();
  dns->add_servers("10.0.0.53");
  dns->add_searches("svc.example");
  dns->add_options("ndots:5");
  (*config.mutable_linux()->mutable_sysctls())["net.ipv4.ip_forward"] = "0";
  (*config.mutable_linux()->mutable_sysctls())["kernel.shm_rmid_forced"] = "1";
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  EXPECT_EQ(ShellIn(*container, "hostname; cat /etc/hostname"), "named-host\nnamed-host\n");
  const std::string resolv = ShellIn(*container, "cat /etc/resolv.conf");
  EXPECT_NE(resolv.find("nameserver 10.0.0.53\n"), std::string::npos) << resolv;
  EXPECT_NE(resolv.find("search svc.example\n"), std::string::npos) << resolv;
  EXPECT_NE(resolv.find("options ndots:5\n"), std::string::npos) << resolv;
  EXPECT_EQ(ShellIn(*container,
                    "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/"
                    "shm_rmid_forced"),
            "0\n1\n");
  EXPECT_NE(ShellIn(*container, "grep ' /dev/shm ' /proc/mounts").find("tmpfs"), std::string::npos);
  const std::string hosts = ShellIn(*container, "cat /etc/hosts");
  EXPECT_NE(hosts.find("127.0.0.1"), std::string::npos);
}

TEST_F(Pods, ContainersShareNetIpcUtsAndShmButNotPidAndMounts) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto one = RunContainer(*pod, ShellConfig("sleep 1000", "one"));
  ASSERT_OK(one);
  auto two = RunContainer(*pod, ShellConfig("sleep 1000", "two"));
  ASSERT_OK(two);
  for (const std::string name : {"net", "ipc", "uts"}) {
    EXPECT_EQ(ShellIn(*one, "readlink /proc/self/ns/" + name),
              ShellIn(*two, "readlink /proc/self/ns/" + name));
  }
  for (const std::string name : {"pid", "mnt"}) {
    EXPECT_NE(ShellIn(*one, "readlink /proc/self/ns/" + name),
              ShellIn(*two, "readlink /proc/self/ns/" + name));
  }
  ShellIn(*one, "echo shared > /dev/shm/x");
  EXPECT_EQ(ShellIn(*two, "cat /dev/shm/x"), "shared\n");
}

TEST_F(Pods, SharedPidNamespace) {
  rt::PodSandboxConfig config = PodConfig();
  config.mutable_linux()->mutable_security_context()->mutable_namespace_options()->set_pid(rt::POD);
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  auto with_pod_pid = [&](const std::string& name) {
    rt::ContainerConfig container = ShellConfig("sleep 1000", name);
    container.mutable_linux()->mutable_security_context()->mutable_namespace_options()->set_pid(
        rt::POD);
    return container;
  };
  auto one = RunContainer(*pod, with_pod_pid("one"));
  ASSERT_OK(one);
  auto two = RunContainer(*pod, with_pod_pid("two"));
  ASSERT_OK(two);
  EXPECT_EQ(ShellIn(*one, "readlink /proc/self/ns/pid"),
            ShellIn(*two, "readlink /proc/self/ns/pid"));
  EXPECT_NE(ShellIn(*one, "echo $$"), "1\n");
}

TEST_F(Pods, NothingIsLeft) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  ASSERT_OK(RunContainer(*pod, ShellConfig("sleep 1000 & sleep 1000 & wait")));
  EXPECT_FALSE(node().Remains().empty());
  ASSERT_OK(RemovePod(*pod));
  EXPECT_EQ(node().Remains(), std::vector<std::string>());
}

}  // namespace
}  // namespace berth::e2e
