// Statistics and metrics of containers and pods.
#include <poll.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "base/file.h"
#include "base/time.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

class Stats : public E2eTest {
 protected:
  // As kubelet does it: a cgroup for each pod.
  rt::PodSandboxConfig OwnCgroup(const std::string& name = "pod") {
    rt::PodSandboxConfig config = PodConfig(name);
    config.mutable_linux()->set_cgroup_parent(node().PodParent("pod" + config.metadata().uid()));
    return config;
  }
  Result<rt::ContainerStats> Get(const std::string& container) {
    rt::ContainerStatsRequest request;
    request.set_container_id(container);
    ASSIGN_OR_RETURN(auto response, cri().Call(request));
    return response.stats();
  }
  Result<rt::PodSandboxStats> GetPod(const std::string& pod) {
    rt::PodSandboxStatsRequest request;
    request.set_pod_sandbox_id(pod);
    ASSIGN_OR_RETURN(auto response, cri().Call(request));
    return response.stats();
  }
  std::vector<std::string> ListPods(const rt::PodSandboxStatsFilter& filter) {
    rt::ListPodSandboxStatsRequest request;
    *request.mutable_filter() = filter;
    auto response = cri().Call(request);
    EXPECT_OK(response);
    std::vector<std::string> ids;
    if (!response.ok()) return ids;
    for (const auto& stats : response->stats()) ids.push_back(stats.attributes().id());
    return ids;
  }
  // What the daemon has open, by name.
  std::vector<std::string> DaemonFiles() {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry :
         std::filesystem::directory_iterator(StrCat("/proc/", node().daemon_pid(), "/fd"))) {
      names.push_back(std::filesystem::read_symlink(entry.path(), error));
    }
    return names;
  }
};

TEST_F(Stats, AContainersUseIsTold) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("while :; do :; done");
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(64 << 20);
  auto container = RunContainer(*pod, config);
  ASSERT_OK(container);
  auto first = Get(*container);
  ASSERT_OK(first);
  // There is no rate before there are two samples, and 0 would be wrong.
  EXPECT_FALSE(first->cpu().has_usage_nano_cores());
  (void)poll(nullptr, 0, 400);
  auto second = Get(*container);
  ASSERT_OK(second);
  EXPECT_EQ(second->attributes().id(), *container);
  EXPECT_EQ(second->attributes().metadata().name(), "main");
  EXPECT_GT(second->cpu().usage_core_nano_seconds().value(),
            first->cpu().usage_core_nano_seconds().value() + 10'000'000);
  EXPECT_GT(second->cpu().timestamp(), first->cpu().timestamp());
  EXPECT_GT(second->cpu().usage_nano_cores().value(), 10'000'000u);
  EXPECT_LT(second->cpu().usage_nano_cores().value(), 1'500'000'000u);
  const rt::MemoryUsage& memory = second->memory();
  EXPECT_GT(memory.usage_bytes().value(), 0u);
  EXPECT_GT(memory.working_set_bytes().value(), 0u);
  EXPECT_LE(memory.working_set_bytes().value(), memory.usage_bytes().value());
  EXPECT_GT(memory.page_faults().value(), 0u);
  EXPECT_EQ(memory.available_bytes().value() + memory.working_set_bytes().value(), 64u << 20);
  // Pressure is accounted for by cgroup v2 only, and not by every kernel.
  const bool has_pressure = !HasCgroupV1() && access("/proc/pressure/cpu", R_OK) == 0;
  EXPECT_EQ(second->cpu().has_psi(), has_pressure);
  EXPECT_EQ(second->memory().has_psi(), has_pressure);
  EXPECT_EQ(second->has_io(), has_pressure);
}

TEST_F(Stats, WhatIsUnknownIsUnset) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto running = RunContainer(*pod, ShellConfig("sleep 1000", "running"));
  ASSERT_OK(running);
  auto stats = Get(*running);
  ASSERT_OK(stats);
  EXPECT_FALSE(stats->memory().has_available_bytes());  // it has no limit
  auto ended = RunContainer(*pod, ShellConfig("true", "ended"));
  ASSERT_OK(ended);
  ASSERT_OK(AwaitExit(*ended));
  stats = Get(*ended);
  ASSERT_OK(stats);
  EXPECT_EQ(stats->attributes().metadata().name(), "ended");
  EXPECT_FALSE(stats->has_cpu());
  EXPECT_FALSE(stats->has_memory());
  EXPECT_TRUE(stats->has_writable_layer());
  EXPECT_FAILS(Get(std::string(64, '0')), Code::kNotFound, "0000");
  EXPECT_FAILS(GetPod(std::string(64, '0')), Code::kNotFound, "0000");
}

TEST_F(Stats, TheWritableLayerIsMeasuredAnew) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  auto stats = Get(*container);
  ASSERT_OK(stats);
  EXPECT_LT(stats->writable_layer().used_bytes().value(), 1'000'000u);
  EXPECT_GT(stats->writable_layer().inodes_used().value(), 0u);
  EXPECT_FALSE(stats->writable_layer().fs_id().mountpoint().empty());
  const int64_t before = stats->writable_layer().timestamp();
  const uint64_t inodes = stats->writable_layer().inodes_used().value();
  ShellIn(*container, "head -c 3000000 /dev/zero > /file; mkdir /d; touch /d/1 /d/2");
  for (int i = 0; i < 150 && stats->writable_layer().used_bytes().value() < 3'000'000; ++i) {
    (void)poll(nullptr, 0, 100);
    stats = Get(*container);
    ASSERT_OK(stats);
  }
  EXPECT_GE(stats->writable_layer().used_bytes().value(), 3'000'000u);
  EXPECT_EQ(stats->writable_layer().inodes_used().value(), inodes + 4);
  EXPECT_GT(stats->writable_layer().timestamp(), before);
}

TEST_F(Stats, ListFilters) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("sleep 1000", "one");
  (*config.mutable_labels())["role"] = "a";
  auto one = RunContainer(*pod, config);
  ASSERT_OK(one);
  ASSERT_OK(RunContainer(*pod, ShellConfig("sleep 1000", "two")));
  ASSERT_OK(Create(*pod, ShellConfig("sleep 1000", "created")));
  rt::ListContainerStatsRequest request;
  request.mutable_filter()->set_pod_sandbox_id(*pod);
  auto both = cri().Call(request);
  ASSERT_OK(both);
  EXPECT_EQ(both->stats_size(), 2);
  (*request.mutable_filter()->mutable_label_selector())["role"] = "a";
  auto first = cri().Call(request);
  ASSERT_OK(first);
  ASSERT_EQ(first->stats_size(), 1);
  EXPECT_EQ(first->stats(0).attributes().id(), *one);
  request.mutable_filter()->set_id("none");
  EXPECT_EQ(cri().Call(request)->stats_size(), 0);
}

TEST_F(Stats, APodsUseIsThatOfItsCgroupAndNetwork) {
  rt::PodSandboxConfig config = OwnCgroup();
  (*config.mutable_labels())["app"] = "web";
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("while :; do :; done"));
  ASSERT_OK(container);
  auto first = GetPod(*pod);
  ASSERT_OK(first);
  // Something for the interface to count.
  ShellIn(*container, "ping -c 3 -i 0.1 $(ip route | sed -n 's/^default via \\([^ ]*\\).*/\\1/p')");
  auto second = GetPod(*pod);
  ASSERT_OK(second);
  EXPECT_EQ(second->attributes().id(), *pod);
  EXPECT_EQ(second->attributes().metadata().uid(), config.metadata().uid());
  EXPECT_EQ(second->attributes().labels().at("app"), "web");
  const rt::LinuxPodSandboxStats& stats = second->linux();
  EXPECT_GT(stats.cpu().usage_core_nano_seconds().value(),
            first->linux().cpu().usage_core_nano_seconds().value());
  EXPECT_GT(stats.cpu().usage_nano_cores().value(), 0u);
  EXPECT_GT(stats.memory().working_set_bytes().value(), 0u);
  EXPECT_GE(stats.process().process_count().value(), 1u);
  ASSERT_EQ(stats.containers_size(), 1);
  EXPECT_EQ(stats.containers(0).attributes().id(), *container);
  EXPECT_GT(stats.containers(0).cpu().usage_core_nano_seconds().value(), 0u);
  const rt::NetworkInterfaceUsage& eth0 = stats.network().default_interface();
  EXPECT_EQ(eth0.name(), "eth0");
  EXPECT_GE(eth0.tx_bytes().value(),
            first->linux().network().default_interface().tx_bytes().value() + 3 * 84);
  EXPECT_GE(eth0.rx_bytes().value(),
            first->linux().network().default_interface().rx_bytes().value() + 3 * 84);
  EXPECT_GT(stats.network().timestamp(), first->linux().network().timestamp());
}

TEST_F(Stats, PodsOfOneCgroupHaveWhatTheirContainersHave) {
  rt::PodSandboxConfig config = PodConfig("busy");
  config.mutable_linux()->set_cgroup_parent(node().PodParent("shared"));
  auto busy = RunPod(config);
  config.mutable_metadata()->set_name("idle");
  auto idle = RunPod(config);
  ASSERT_OK(busy);
  ASSERT_OK(idle);
  ASSERT_OK(RunContainer(*busy, ShellConfig("while :; do :; done")));
  ASSERT_OK(RunContainer(*idle, ShellConfig("sleep 1000")));
  (void)poll(nullptr, 0, 500);
  auto of_busy = GetPod(*busy);
  auto of_idle = GetPod(*idle);
  ASSERT_OK(of_busy);
  ASSERT_OK(of_idle);
  EXPECT_GT(of_busy->linux().cpu().usage_core_nano_seconds().value(),
            2 * of_idle->linux().cpu().usage_core_nano_seconds().value());
  EXPECT_EQ(of_idle->linux().cpu().usage_core_nano_seconds().value(),
            of_idle->linux().containers(0).cpu().usage_core_nano_seconds().value());
}

TEST_F(Stats, APodWithoutAParentHasTheFiguresOfTheCgroupThatItGets) {
  constexpr uint64_t kLimit = 96 << 20;
  rt::PodSandboxConfig config = PodConfig();
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(kLimit);
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  for (const char* name : {"one", "two"}) {
    rt::ContainerConfig container = ShellConfig("sleep 1000");
    container.mutable_metadata()->set_name(name);
    ASSERT_OK(RunContainer(*pod, container));
  }
  auto stats = GetPod(*pod);
  ASSERT_OK(stats);
  EXPECT_EQ(stats->linux().containers_size(), 2);
  EXPECT_EQ(stats->linux().memory().available_bytes().value(),
            kLimit - stats->linux().memory().working_set_bytes().value());
}

TEST_F(Stats, APodWithoutContainersOrInTheHostsNetworkIsListedWithoutThese) {
  rt::PodSandboxConfig config = OwnCgroup("host");
  config.mutable_linux()->mutable_security_context()->mutable_namespace_options()->set_network(
      rt::NODE);
  config.clear_hostname();
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  auto stats = GetPod(*pod);
  ASSERT_OK(stats);
  EXPECT_FALSE(stats->linux().has_network());
  EXPECT_FALSE(stats->linux().has_cpu());
  EXPECT_EQ(stats->linux().containers_size(), 0);
}

TEST_F(Stats, PodListsFilterAndLeaveOutStoppedPods) {
  rt::PodSandboxConfig config = PodConfig("labelled");
  (*config.mutable_labels())["app"] = "x";
  auto one = RunPod(config);
  auto two = RunPod();
  ASSERT_OK(one);
  ASSERT_OK(two);
  rt::PodSandboxStatsFilter filter;
  EXPECT_EQ(ListPods(filter).size(), 2u);
  filter.set_id(two->substr(0, 20));
  EXPECT_EQ(ListPods(filter), std::vector{*two});
  filter.clear_id();
  (*filter.mutable_label_selector())["app"] = "x";
  EXPECT_EQ(ListPods(filter), std::vector{*one});
  rt::StopPodSandboxRequest stop;
  stop.set_pod_sandbox_id(*one);
  ASSERT_OK(cri().Call(stop));
  EXPECT_TRUE(ListPods(filter).empty());
  EXPECT_OK(GetPod(*one));
}

TEST_F(Stats, ReadingKeepsNothingOfWhatHasEnded) {
  auto files = [&] {
    std::vector<std::string> kept;
    for (const std::string& name : DaemonFiles()) {
      if (name.find("net/dev") != std::string::npos || name.find("cgroup") != std::string::npos) {
        kept.push_back(name);
      }
    }
    return kept.size();
  };
  const size_t before = files();
  auto pod = RunPod(OwnCgroup());
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  ASSERT_OK(GetPod(*pod));
  const size_t of_statistics = files();
  EXPECT_GT(of_statistics, before);
  ASSERT_OK(cri().Call(rt::ListPodSandboxMetricsRequest()));
  EXPECT_GT(files(), of_statistics);
  ASSERT_OK(Stop(*container));
  ASSERT_OK(node().RemoveAllPods());
  EXPECT_EQ(files(), before);
}

// ---- metrics

class Metrics : public Stats {
 protected:
  void SetUp() override {
    Stats::SetUp();
    auto pod = RunPod(OwnCgroup("metered"));
    ASSERT_OK(pod);
    pod_ = *pod;
    rt::ContainerConfig config = ShellConfig("sleep 1000");
    auto* resources = config.mutable_linux()->mutable_resources();
    resources->set_cpu_period(100'000);
    resources->set_cpu_quota(20'000);
    resources->set_cpu_shares(1024);
    resources->set_memory_limit_in_bytes(64 << 20);
    resources->set_memory_swap_limit_in_bytes(64 << 20);
    auto container = RunContainer(pod_, config);
    ASSERT_OK(container);
    container_ = *container;
  }

  std::string pod_, container_;
};

TEST_F(Metrics, EveryMetricHasTheLabelsOfItsDescriptor) {
  auto descriptors = cri().Call(rt::ListMetricDescriptorsRequest());
  ASSERT_OK(descriptors);
  std::map<std::string, std::vector<std::string>> keys;
  for (const auto& descriptor : descriptors->descriptors()) {
    EXPECT_FALSE(descriptor.help().empty()) << descriptor.name();
    keys[descriptor.name()].assign(descriptor.label_keys().begin(), descriptor.label_keys().end());
  }
  EXPECT_EQ(static_cast<int>(keys.size()), descriptors->descriptors_size());
  auto metrics = cri().Call(rt::ListPodSandboxMetricsRequest());
  ASSERT_OK(metrics);
  ASSERT_EQ(metrics->pod_metrics_size(), 1);
  const rt::PodSandboxMetrics& pod = metrics->pod_metrics(0);
  EXPECT_EQ(pod.pod_sandbox_id(), pod_);
  ASSERT_EQ(pod.container_metrics_size(), 1);
  EXPECT_EQ(pod.container_metrics(0).container_id(), container_);
  std::set<std::string> series;
  auto check = [&](const rt::Metric& metric, const std::string& id, const std::string& container) {
    auto found = keys.find(metric.name());
    ASSERT_NE(found, keys.end()) << metric.name();
    ASSERT_EQ(static_cast<int>(found->second.size()), metric.label_values_size()) << metric.name();
    std::string text = metric.name();
    std::map<std::string, std::string> labels;
    for (int i = 0; i < metric.label_values_size(); ++i) {
      labels[found->second[static_cast<size_t>(i)]] = metric.label_values(i);
      text += StrCat(",", metric.label_values(i));
    }
    EXPECT_EQ(labels["id"], id);
    EXPECT_EQ(labels["name"], container.empty() ? "" : id);
    EXPECT_EQ(labels["container"], container);
    EXPECT_EQ(labels["pod"], "metered");
    EXPECT_EQ(labels["namespace"], "e2e");
    EXPECT_EQ(labels["image"], container.empty() ? "" : image());
    EXPECT_TRUE(series.insert(text).second) << "twice: " << text;
  };
  for (const auto& metric : pod.metrics()) check(metric, pod_, "");
  for (const auto& metric : pod.container_metrics(0).metrics()) check(metric, container_, "main");
}

// Those that the conformance suite wants of every container, whatever the machine.
TEST_F(Metrics, WhatKubeletsEndpointHasIsThere) {
  ShellIn(container_, "mkdir /d; for i in 1 2 3; do echo hi > /d/$i; done");
  auto metrics = cri().Call(rt::ListPodSandboxMetricsRequest());
  ASSERT_OK(metrics);
  ASSERT_EQ(metrics->pod_metrics_size(), 1);
  std::map<std::string, uint64_t> values;
  for (const auto& metric : metrics->pod_metrics(0).metrics()) {
    values[metric.name()] = metric.value().value();
  }
  for (const auto& metric : metrics->pod_metrics(0).container_metrics(0).metrics()) {
    values[metric.name()] = metric.value().value();
    // 0: gathered for this answer; what is measured now and then says when.
    EXPECT_EQ(metric.timestamp() != 0, metric.name() == "container_fs_usage_bytes");
  }
  for (const char* name : {"container_cpu_cfs_periods_total",
                           "container_cpu_cfs_throttled_periods_total",
                           "container_cpu_cfs_throttled_seconds_total",
                           "container_cpu_system_seconds_total",
                           "container_cpu_usage_seconds_total",
                           "container_cpu_user_seconds_total",
                           "container_file_descriptors",
                           "container_fs_inodes_free",
                           "container_fs_inodes_total",
                           "container_fs_limit_bytes",
                           "container_fs_usage_bytes",
                           "container_last_seen",
                           "container_memory_cache",
                           "container_memory_failcnt",
                           "container_memory_failures_total",
                           "container_memory_kernel_usage",
                           "container_memory_mapped_file",
                           "container_memory_max_usage_bytes",
                           "container_memory_rss",
                           "container_memory_swap",
                           "container_memory_usage_bytes",
                           "container_memory_working_set_bytes",
                           "container_network_receive_bytes_total",
                           "container_network_receive_errors_total",
                           "container_network_receive_packets_dropped_total",
                           "container_network_receive_packets_total",
                           "container_network_transmit_bytes_total",
                           "container_network_transmit_errors_total",
                           "container_network_transmit_packets_dropped_total",
                           "container_network_transmit_packets_total",
                           "container_oom_events_total",
                           "container_processes",
                           "container_sockets",
                           "container_spec_cpu_period",
                           "container_spec_cpu_quota",
                           "container_spec_cpu_shares",
                           "container_spec_memory_limit_bytes",
                           "container_spec_memory_swap_limit_bytes",
                           "container_start_time_seconds",
                           "container_threads",
                           "container_threads_max",
                           "container_ulimits_soft"}) {
    EXPECT_TRUE(values.contains(name)) << name;
  }
  const auto now = static_cast<uint64_t>(WallNs() / 1'000'000'000);
  EXPECT_GT(values["container_memory_usage_bytes"], 0u);
  EXPECT_GE(values["container_memory_max_usage_bytes"], values["container_memory_rss"]);
  EXPECT_EQ(values["container_spec_memory_limit_bytes"], 64u << 20);
  EXPECT_EQ(values["container_spec_cpu_quota"], 20'000u);
  EXPECT_LE(now - values["container_last_seen"], 5u);
  EXPECT_LE(now - values["container_start_time_seconds"], 120u);
  EXPECT_GE(values["container_processes"], 1u);
  EXPECT_GE(values["container_file_descriptors"], 3u);
  EXPECT_EQ(values["container_sockets"], 0u);
  EXPECT_EQ(values["container_ulimits_soft"], 1024u);
  EXPECT_GE(values["container_fs_limit_bytes"], values["container_fs_usage_bytes"]);
  EXPECT_GE(values["container_fs_inodes_total"], values["container_fs_inodes_free"]);
}

}  // namespace
}  // namespace berth::e2e
