// What kubelet 1.34 to 1.36 calls, in its order, with what it sends: at its start, in its loops,
// and for pods of every kind.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "base/file.h"
#include "base/strings.h"
#include "base/time.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

constexpr char kPodUid[] = "io.kubernetes.pod.uid";

class Kubelet : public E2eTest {
 protected:
  // Its pods have a cgroup that it has made, labels, and limits that go with the QoS class.
  rt::PodSandboxConfig KubePod(const std::string& name = "web") {
    rt::PodSandboxConfig config = PodConfig(name);
    const std::string& uid = config.metadata().uid();
    auto& labels = *config.mutable_labels();
    labels["io.kubernetes.pod.name"] = name;
    labels["io.kubernetes.pod.namespace"] = "e2e";
    labels[kPodUid] = uid;
    (*config.mutable_annotations())["kubernetes.io/config.source"] = "api";
    rt::LinuxPodSandboxConfig& linux = *config.mutable_linux();
    linux.set_cgroup_parent(node().PodParent("pod" + uid));
    linux.mutable_security_context()->mutable_seccomp()->set_profile_type(
        rt::SecurityProfile::RuntimeDefault);
    config.mutable_dns_config()->add_servers("10.96.0.10");
    config.mutable_dns_config()->add_searches("e2e.svc.cluster.local");
    config.mutable_dns_config()->add_options("ndots:5");
    FillResources(*linux.mutable_resources());
    FillResources(*linux.mutable_overhead());
    return config;
  }
  static void FillResources(rt::LinuxContainerResources& resources) {
    resources.set_cpu_period(100'000);
    resources.set_cpu_shares(102);
    resources.set_memory_limit_in_bytes(256 << 20);
  }
  rt::ContainerConfig KubeContainer(const rt::PodSandboxConfig& pod, const std::string& name,
                                    const std::string& script, uint32_t attempt = 0) {
    rt::ContainerConfig config = ShellConfig(script, name);
    config.mutable_metadata()->set_attempt(attempt);
    config.mutable_image()->set_user_specified_image(image());
    config.set_log_path(StrCat(name, "/", attempt, ".log"));
    EXPECT_OK(MakeDirs(StrCat(pod.log_directory(), "/", name), 0755));
    *config.mutable_labels() = pod.labels();
    (*config.mutable_labels())["io.kubernetes.container.name"] = name;
    auto& annotations = *config.mutable_annotations();
    annotations["io.kubernetes.container.restartCount"] = StrCat(attempt);
    annotations["io.kubernetes.pod.terminationGracePeriod"] = "30";
    rt::LinuxContainerConfig& linux = *config.mutable_linux();
    rt::LinuxContainerResources& resources = *linux.mutable_resources();
    resources.set_cpu_period(100'000);
    resources.set_cpu_shares(102);
    resources.set_cpu_quota(50'000);
    resources.set_memory_limit_in_bytes(64 << 20);
    resources.set_oom_score_adj(994);
    for (const char* size : {"1GB", "2MB"}) {  // always, whatever the node has
      auto* limit = resources.add_hugepage_limits();
      limit->set_page_size(size);
      limit->set_limit(0);
    }
    if (!HasCgroupV1()) (*resources.mutable_unified())["memory.oom.group"] = "1";
    auto& security = *linux.mutable_security_context();
    for (const char* path : {"/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys"}) {
      security.add_masked_paths(path);
    }
    for (const char* path : {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"}) {
      security.add_readonly_paths(path);
    }
    return config;
  }

  // EnsureImageExists, for IfNotPresent.
  Result<std::string> EnsureImage(const rt::PodSandboxConfig& pod, const std::string& reference) {
    rt::ImageStatusRequest ask;
    ask.mutable_image()->set_image(reference);
    ASSIGN_OR_RETURN(auto status, cri().Call(ask));
    if (status.has_image()) return status.image().id();
    rt::PullImageRequest pull;
    *pull.mutable_image() = ask.image();
    *pull.mutable_sandbox_config() = pod;
    ASSIGN_OR_RETURN(auto pulled, cri().Call(pull));
    ASSIGN_OR_RETURN(status, cri().Call(ask));
    if (!status.has_image()) return Error(Code::kInternal, "pulled, and not there");
    return pulled.image_ref();
  }
  Result<std::string> StartOne(const std::string& pod, const rt::PodSandboxConfig& pod_config,
                               const rt::ContainerConfig& config) {
    RETURN_IF_ERROR(EnsureImage(pod_config, config.image().image()));
    return RunContainer(pod, config);
  }
  // The generic PLEG: two lists, then the status of the pod that has changed.
  Result<rt::PodSandboxStatusResponse> Relist(const std::string& uid) {
    rt::ListPodSandboxRequest pods;
    (*pods.mutable_filter()->mutable_label_selector())[kPodUid] = uid;
    ASSIGN_OR_RETURN(auto sandboxes, cri().Call(pods));
    rt::ListContainersRequest containers;
    (*containers.mutable_filter()->mutable_label_selector())[kPodUid] = uid;
    ASSIGN_OR_RETURN(auto found, cri().Call(containers));
    if (sandboxes.items_size() != 1) return Error(Code::kNotFound, "one sandbox is expected");
    for (const auto& container : found.containers()) {
      RETURN_IF_ERROR(Status(container.id()));
    }
    rt::PodSandboxStatusRequest ask;
    ask.set_pod_sandbox_id(sandboxes.items(0).id());
    return cri().Call(ask);
  }
  // killPod, and later the garbage collector.
  void KillAndCollect(const std::string& pod, const std::vector<std::string>& containers) {
    for (const std::string& id : containers) EXPECT_OK(Stop(id, 2));
    rt::StopPodSandboxRequest stop;
    stop.set_pod_sandbox_id(pod);
    EXPECT_OK(cri().Call(stop));
    for (const std::string& id : containers) {
      EXPECT_OK(Remove(id));
      EXPECT_FAILS(Status(id), Code::kNotFound, id);
    }
    EXPECT_OK(cri().Call(stop));
    rt::RemovePodSandboxRequest remove;
    remove.set_pod_sandbox_id(pod);
    EXPECT_OK(cri().Call(remove));
    EXPECT_FAILS(PodStatus(pod), Code::kNotFound, pod);
  }
};

// A kubelet whose Version or ImageFsInfo fails ends at once.
TEST_F(Kubelet, Start) {
  rt::VersionRequest ask;
  ask.set_version("0.1.0");
  auto version = cri().Call(ask);
  ASSERT_OK(version);
  EXPECT_EQ(version->version(), "0.1.0");
  EXPECT_EQ(version->runtime_api_version(), "v1");
  EXPECT_FALSE(version->runtime_name().empty());
  EXPECT_FALSE(version->runtime_version().empty());

  auto config = cri().Call(rt::RuntimeConfigRequest());
  ASSERT_OK(config);
  ASSERT_TRUE(config->has_linux());
  EXPECT_EQ(config->linux().cgroup_driver(), UsesSystemd() ? rt::SYSTEMD : rt::CGROUPFS);

  auto info = cri().Call(rt::ImageFsInfoRequest());
  ASSERT_OK(info);
  ASSERT_GT(info->image_filesystems_size(), 0);
  ASSERT_GT(info->container_filesystems_size(), 0);
  for (const auto& one : {info->image_filesystems(0), info->container_filesystems(0)}) {
    struct statfs fs {};
    EXPECT_EQ(statfs(one.fs_id().mountpoint().c_str(), &fs), 0) << one.fs_id().mountpoint();
    EXPECT_GT(one.timestamp(), 0);
    EXPECT_GT(one.used_bytes().value(), 0u);
  }

  auto status = cri().Call(rt::StatusRequest());
  ASSERT_OK(status);
  std::set<std::string> ready;
  for (const auto& condition : status->status().conditions()) {
    if (condition.status()) ready.insert(condition.type());
  }
  EXPECT_EQ(ready, (std::set<std::string>{"NetworkReady", "RuntimeReady"}));
  ASSERT_GT(status->runtime_handlers_size(), 0);
  EXPECT_EQ(status->runtime_handlers(0).name(), "");
  // Before the node has a range.
  EXPECT_OK(cri().Call(rt::UpdateRuntimeConfigRequest()));
  EXPECT_OK(cri().Call(rt::ListImagesRequest()));
  EXPECT_OK(cri().Call(rt::ListMetricDescriptorsRequest()));
}

TEST_F(Kubelet, APodWithInitAndSidecarContainers) {
  auto events = cri().Events();
  const rt::PodSandboxConfig pod_config = KubePod();
  const std::string& uid = pod_config.metadata().uid();
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  auto pod_status = PodStatus(*pod);
  ASSERT_OK(pod_status);
  EXPECT_EQ(pod_status->state(), rt::SANDBOX_READY);
  EXPECT_FALSE(pod_status->network().ip().empty());

  // The sidecar is an init container that stays; the next one follows when it has started.
  auto sidecar = StartOne(
      *pod, pod_config, KubeContainer(pod_config, "sidecar", "trap exit TERM; sleep 1000 & wait"));
  ASSERT_OK(sidecar);
  auto init = StartOne(*pod, pod_config, KubeContainer(pod_config, "init", "echo prepared"));
  ASSERT_OK(init);
  auto ended = AwaitExit(*init);
  ASSERT_OK(ended);
  EXPECT_EQ(ended->exit_code(), 0);
  EXPECT_EQ(ended->reason(), "Completed");
  auto app = StartOne(*pod, pod_config,
                      KubeContainer(pod_config, "app", "trap exit TERM; sleep 1000 & wait"));
  ASSERT_OK(app);

  auto all = Relist(uid);
  ASSERT_OK(all);
  ASSERT_EQ(all->containers_statuses_size(), 3);
  EXPECT_GT(all->timestamp(), 0);
  auto status = Status(*app);
  ASSERT_OK(status);
  EXPECT_EQ(status->state(), rt::CONTAINER_RUNNING);
  EXPECT_EQ(status->labels().at(kPodUid), uid);
  EXPECT_EQ(status->annotations().at("io.kubernetes.container.restartCount"), "0");
  EXPECT_EQ(status->resources().linux().memory_limit_in_bytes(), 64 << 20);
  EXPECT_EQ(status->log_path(), pod_config.log_directory() + "/app/0.log");
  const auto probe = Exec(*app, {"true"}, 1);
  ASSERT_OK(probe);
  EXPECT_EQ(probe->exit_code(), 0);

  // EventedPLEG takes the pod's state from each event and drops those without.
  for (int i = 0; i < 9; ++i) {
    auto event = events->Next();
    ASSERT_OK(event);
    ASSERT_TRUE(event->has_pod_sandbox_status()) << event->DebugString();
    EXPECT_EQ(event->pod_sandbox_status().metadata().uid(), uid);
  }
  // The application first, then what served it.
  KillAndCollect(*pod, {*app, *sidecar, *init});
}

TEST_F(Kubelet, AContainerIsStartedAgain) {
  const rt::PodSandboxConfig pod_config = KubePod();
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  std::vector<std::string> ids;
  for (uint32_t attempt = 0; attempt < 3; ++attempt) {
    const std::string script = StrCat("echo attempt ", attempt, "; exit ", attempt + 1);
    auto id = StartOne(*pod, pod_config, KubeContainer(pod_config, "app", script, attempt));
    ASSERT_OK(id);
    ids.push_back(*id);
    auto ended = AwaitExit(*id);
    ASSERT_OK(ended);
    EXPECT_EQ(ended->exit_code(), static_cast<int>(attempt + 1));
    EXPECT_EQ(ended->reason(), "Error");
    EXPECT_EQ(ended->metadata().attempt(), attempt);
    EXPECT_EQ(LogText(Log(*id)), StrCat("attempt ", attempt, "\n"));
    // All but the last instance are collected.
    if (attempt > 0) EXPECT_OK(Remove(ids[attempt - 1]));
  }
  auto all = Relist(pod_config.metadata().uid());
  ASSERT_OK(all);
  EXPECT_EQ(all->containers_statuses_size(), 1);
  KillAndCollect(*pod, {ids.back()});
}

TEST_F(Kubelet, OutOfMemory) {
  const rt::PodSandboxConfig pod_config = KubePod();
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  rt::ContainerConfig config = KubeContainer(pod_config, "app", "exec tail /dev/zero");
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(16 << 20);
  auto app = StartOne(*pod, pod_config, config);
  ASSERT_OK(app);
  auto ended = AwaitExit(*app);
  ASSERT_OK(ended);
  EXPECT_EQ(ended->exit_code(), 137);
  EXPECT_EQ(ended->reason(), "OOMKilled");
  KillAndCollect(*pod, {*app});
}

// The pod's cgroup is kubelet's own to write; the runtime is told all the same.
TEST_F(Kubelet, AnInPlaceResize) {
  const rt::PodSandboxConfig pod_config = KubePod();
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  auto app = StartOne(*pod, pod_config, KubeContainer(pod_config, "app", "sleep 1000"));
  ASSERT_OK(app);
  for (const int64_t megabytes : {128, 48}) {
    auto resize_pod = [&] {
      rt::UpdatePodSandboxResourcesRequest update;
      update.set_pod_sandbox_id(*pod);
      FillResources(*update.mutable_overhead());
      update.mutable_resources()->set_cpu_period(100'000);
      update.mutable_resources()->set_cpu_quota(80'000);
      update.mutable_resources()->set_memory_limit_in_bytes(megabytes << 20);
      EXPECT_OK(cri().Call(update));
    };
    if (megabytes == 128) resize_pod();  // the pod grows before its containers
    rt::UpdateContainerResourcesRequest update;
    update.set_container_id(*app);
    rt::LinuxContainerResources& resources = *update.mutable_linux();
    resources.set_cpu_period(100'000);
    resources.set_cpu_quota(80'000);
    resources.set_cpu_shares(512);
    resources.set_memory_limit_in_bytes(megabytes << 20);
    resources.set_oom_score_adj(994);
    ASSERT_OK(cri().Call(update));
    if (megabytes == 48) resize_pod();  // and shrinks after them
    // The status that says that the resize is done.
    auto status = Status(*app);
    ASSERT_OK(status);
    EXPECT_EQ(status->state(), rt::CONTAINER_RUNNING);
    EXPECT_EQ(status->resources().linux().memory_limit_in_bytes(), megabytes << 20);
    EXPECT_EQ(status->resources().linux().cpu_quota(), 80'000);
    EXPECT_EQ(status->resources().linux().cpu_shares(), 512);
    const std::string file =
        HasCgroupV1() ? "/sys/fs/cgroup/memory/memory.limit_in_bytes" : "/sys/fs/cgroup/memory.max";
    EXPECT_EQ(Trim(ShellIn(*app, "cat " + file)), StrCat(megabytes << 20));
  }
  KillAndCollect(*pod, {*app});
}

TEST_F(Kubelet, AnEphemeralContainerSeesItsTargetsProcesses) {
  const rt::PodSandboxConfig pod_config = KubePod();
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  auto app = StartOne(*pod, pod_config, KubeContainer(pod_config, "app", "exec sleep 54321"));
  ASSERT_OK(app);
  rt::ContainerConfig config = KubeContainer(pod_config, "debug", "ps; sleep 1000");
  auto* namespaces =
      config.mutable_linux()->mutable_security_context()->mutable_namespace_options();
  namespaces->set_pid(rt::TARGET);
  namespaces->set_target_id(*app);
  config.mutable_linux()->clear_resources();  // they have none
  auto debug = StartOne(*pod, pod_config, config);
  ASSERT_OK(debug);
  EXPECT_TRUE(AwaitLog(*debug, "sleep 54321")) << Log(*debug);
  KillAndCollect(*pod, {*debug, *app});
}

TEST_F(Kubelet, AUserNamespace) {
  auto runtime = cri().Call(rt::StatusRequest());
  ASSERT_OK(runtime);
  if (!runtime->runtime_handlers(0).features().user_namespaces()) {
    GTEST_SKIP() << "the kernel cannot map the ids of this file system";
  }
  constexpr uint32_t kHostId = 5 * 65536;
  auto map = [](rt::NamespaceOption& options) {
    rt::UserNamespace& userns = *options.mutable_userns_options();
    userns.set_mode(rt::POD);
    for (rt::IDMapping* mapping : {userns.add_uids(), userns.add_gids()}) {
      mapping->set_host_id(kHostId);
      mapping->set_length(65536);
    }
  };
  rt::PodSandboxConfig pod_config = KubePod();
  map(*pod_config.mutable_linux()->mutable_security_context()->mutable_namespace_options());
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  const std::string volume = StrCat(node().dir(), "/volume");
  ASSERT_OK(MakeDirs(volume, 0755));
  rt::ContainerConfig config =
      KubeContainer(pod_config, "app", "cat /proc/self/uid_map; touch /data/file; sleep 1000");
  map(*config.mutable_linux()->mutable_security_context()->mutable_namespace_options());
  rt::Mount* mount = config.add_mounts();
  mount->set_host_path(volume);
  mount->set_container_path("/data");
  for (rt::IDMapping* mapping : {mount->add_uidmappings(), mount->add_gidmappings()}) {
    mapping->set_host_id(kHostId);
    mapping->set_length(65536);
  }
  auto app = StartOne(*pod, pod_config, config);
  ASSERT_OK(app);
  EXPECT_TRUE(AwaitLog(*app, StrCat(kHostId))) << Log(*app);
  EXPECT_EQ(ShellIn(*app, "stat -c %u /data/file"), "0\n");
  struct stat info {};
  ASSERT_EQ(stat((volume + "/file").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 0u);  // on the disk it is root's, by the mount's own mapping
  KillAndCollect(*pod, {*app});
}

TEST_F(Kubelet, PullErrors) {
  const rt::PodSandboxConfig pod_config = KubePod();
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  const std::string missing = (*registry)->address() + "/test/missing:1";
  EXPECT_FAILS(EnsureImage(pod_config, missing), Code::kNotFound, missing);
  EXPECT_FAILS(EnsureImage(pod_config, "127.0.0.1:1/test/down:1"), Code::kUnavailable,
               "127.0.0.1:1");
  // Never pulled: the pod waits with ErrImageNeverPull, and creates nothing.
  rt::ContainerConfig config = KubeContainer(pod_config, "app", "true");
  config.mutable_image()->set_image(missing);
  EXPECT_FAILS(Create(*pod, config), Code::kNotFound, missing);
  KillAndCollect(*pod, {});
}

// With PodAndContainerStatsFromCRI: /stats/summary and /metrics/cadvisor.
TEST_F(Kubelet, StatisticsArePolled) {
  const rt::PodSandboxConfig pod_config = KubePod();
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  auto app = StartOne(*pod, pod_config,
                      KubeContainer(pod_config, "app", "while :; do :; done & sleep 1000"));
  ASSERT_OK(app);
  auto descriptors = cri().Call(rt::ListMetricDescriptorsRequest());
  ASSERT_OK(descriptors);
  std::set<std::string> described;
  for (const auto& one : descriptors->descriptors()) described.insert(one.name());
  uint64_t last_cpu = 0;
  for (int round = 0; round < 3; ++round) {
    EXPECT_OK(cri().Call(rt::ListContainersRequest()));
    EXPECT_OK(cri().Call(rt::ImageFsInfoRequest()));
    auto pods = cri().Call(rt::ListPodSandboxStatsRequest());
    ASSERT_OK(pods);
    ASSERT_EQ(pods->stats_size(), 1);
    const rt::LinuxPodSandboxStats& stats = pods->stats(0).linux();
    EXPECT_EQ(stats.network().default_interface().name(), "eth0");
    EXPECT_TRUE(stats.network().default_interface().has_rx_bytes());
    EXPECT_TRUE(stats.network().default_interface().has_tx_bytes());
    EXPECT_GE(stats.cpu().usage_core_nano_seconds().value(), last_cpu);
    last_cpu = stats.cpu().usage_core_nano_seconds().value();
    EXPECT_GT(stats.memory().working_set_bytes().value(), 0u);
    ASSERT_EQ(stats.containers_size(), 1);
    EXPECT_EQ(stats.containers(0).attributes().labels().at("io.kubernetes.container.name"), "app");

    auto metrics = cri().Call(rt::ListPodSandboxMetricsRequest());
    ASSERT_OK(metrics);
    ASSERT_EQ(metrics->pod_metrics_size(), 1);
    std::set<std::string> measured;
    for (const auto& metric : metrics->pod_metrics(0).metrics()) measured.insert(metric.name());
    ASSERT_EQ(metrics->pod_metrics(0).container_metrics_size(), 1);
    for (const auto& metric : metrics->pod_metrics(0).container_metrics(0).metrics()) {
      measured.insert(metric.name());
    }
    EXPECT_TRUE(measured.count("container_network_receive_bytes_total"));
    EXPECT_TRUE(measured.count("container_cpu_usage_seconds_total"));
    EXPECT_TRUE(measured.count("container_memory_working_set_bytes"));
    EXPECT_TRUE(
        std::includes(described.begin(), described.end(), measured.begin(), measured.end()));
    (void)poll(nullptr, 0, 300);
  }
  EXPECT_GT(last_cpu, 100'000'000u);
  KillAndCollect(*pod, {*app});
}

// kubelet's log manager: rename, reopen, compress what was renamed. The container writes on.
TEST_F(Kubelet, LogsAreRotatedWithoutLoss) {
  const rt::PodSandboxConfig pod_config = KubePod();
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  constexpr int kLines = 60'000;
  auto app = StartOne(
      *pod, pod_config,
      KubeContainer(pod_config, "app",
                    StrCat("i=0; while [ $i -lt ", kLines, " ]; do i=$((i+1)); echo $i; done")));
  ASSERT_OK(app);
  auto status = Status(*app);
  ASSERT_OK(status);
  const std::string& path = status->log_path();
  std::vector<std::string> files;
  while (Status(*app)->state() == rt::CONTAINER_RUNNING && files.size() < 50) {
    files.push_back(StrCat(path, ".", files.size()));
    ASSERT_EQ(rename(path.c_str(), files.back().c_str()), 0);
    rt::ReopenContainerLogRequest reopen;
    reopen.set_container_id(*app);
    auto reopened = cri().Call(reopen);
    if (reopened.ok()) continue;
    // It has ended meanwhile: kubelet moves the file back.
    EXPECT_EQ(reopened.code(), Code::kFailedPrecondition) << ErrorText(reopened);
    ASSERT_EQ(rename(files.back().c_str(), path.c_str()), 0);
    files.pop_back();
  }
  ASSERT_OK(AwaitExit(*app));
  EXPECT_GT(files.size(), 1u);
  files.push_back(path);
  std::string text;
  for (const std::string& file : files) {
    auto part = ReadFile(file, 64 << 20);
    ASSERT_OK(part);
    text += LogText(*part);
  }
  const std::vector<std::string_view> lines = Split(text, '\n');
  ASSERT_EQ(lines.size(), static_cast<size_t>(kLines) + 1);
  for (int i = 0; i < kLines; ++i) ASSERT_EQ(lines[static_cast<size_t>(i)], StrCat(i + 1));
  KillAndCollect(*pod, {*app});
}

// The image collector lists, sees what containers use, and removes the rest by id.
TEST_F(Kubelet, UnusedImagesAreCollected) {
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  auto unused = BusyboxImage();
  ASSERT_OK(unused);
  unused->config["Labels"] = {{"only", "for this test"}};
  ASSERT_OK((*registry)->Push("test/unused", "1", testing::BuildImage(*unused)));
  const rt::PodSandboxConfig pod_config = KubePod();
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  auto id = EnsureImage(pod_config, (*registry)->address() + "/test/unused:1");
  ASSERT_OK(id);
  auto app = StartOne(*pod, pod_config, KubeContainer(pod_config, "app", "sleep 1000"));
  ASSERT_OK(app);

  std::set<std::string> in_use;
  auto containers = cri().Call(rt::ListContainersRequest());
  ASSERT_OK(containers);
  for (const auto& container : containers->containers()) {
    in_use.insert(container.image_ref());
    in_use.insert(container.image_id());
  }
  auto images = cri().Call(rt::ListImagesRequest());
  ASSERT_OK(images);
  std::vector<std::string> removed;
  for (const auto& one : images->images()) {
    EXPECT_GT(one.size(), 0u);
    if (in_use.count(one.id()) > 0 || one.pinned()) continue;
    rt::RemoveImageRequest remove;
    remove.mutable_image()->set_image(one.id());
    EXPECT_OK(cri().Call(remove));
    removed.push_back(one.id());
  }
  EXPECT_EQ(std::count(removed.begin(), removed.end(), *id), 1);
  rt::ImageStatusRequest ask;
  ask.mutable_image()->set_image(*id);
  auto gone = cri().Call(ask);
  ASSERT_OK(gone);
  EXPECT_FALSE(gone->has_image());
  EXPECT_EQ(ShellIn(*app, "echo lives"), "lives\n");
  KillAndCollect(*pod, {*app});
}

}  // namespace
}  // namespace berth::e2e
