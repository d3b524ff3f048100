// Requests that are empty, absurd or out of order: each has a clear error, and nothing is left.
#include <ostream>

#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

struct BadPod {
  const char* name;
  Code code;
  const char* says;  // part of the message
  void (*spoil)(rt::RunPodSandboxRequest&);
};

std::ostream& operator<<(std::ostream& out, const BadPod& bad) {
  return out << bad.name;
}

class BadPods : public E2eTest, public ::testing::WithParamInterface<BadPod> {};

TEST_P(BadPods, AreRefused) {
  rt::RunPodSandboxRequest request;
  *request.mutable_config() = PodConfig();
  GetParam().spoil(request);
  EXPECT_FAILS(cri().Call(request), GetParam().code, GetParam().says);
  auto pods = cri().Call(rt::ListPodSandboxRequest());
  ASSERT_OK(pods);
  EXPECT_EQ(pods->items_size(), 0);
  EXPECT_EQ(node().Remains(), std::vector<std::string>());
}

rt::NamespaceOption& Namespaces(rt::RunPodSandboxRequest& request) {
  return *request.mutable_config()
              ->mutable_linux()
              ->mutable_security_context()
              ->mutable_namespace_options();
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadPods,
    ::testing::Values(
        BadPod{"NoConfig", Code::kInvalidArgument, "config",
               [](auto& request) { request.clear_config(); }},
        BadPod{"NoMetadata", Code::kInvalidArgument, "metadata",
               [](auto& request) { request.mutable_config()->clear_metadata(); }},
        BadPod{"NoName", Code::kInvalidArgument, "name",
               [](auto& request) { request.mutable_config()->mutable_metadata()->clear_name(); }},
        BadPod{"UnknownHandler", Code::kInvalidArgument, "kata",
               [](auto& request) { request.set_runtime_handler("kata"); }},
        BadPod{"CgroupParentOutside", Code::kInvalidArgument, "cgroup_parent",
               [](auto& request) {
                 request.mutable_config()->mutable_linux()->set_cgroup_parent("/a/../../b");
               }},
        BadPod{"Hostname", Code::kInvalidArgument, "hostname",
               [](auto& request) { request.mutable_config()->set_hostname(std::string(65, 'h')); }},
        BadPod{"RelativeLogDirectory", Code::kInvalidArgument, "log_directory",
               [](auto& request) { request.mutable_config()->set_log_directory("../logs"); }},
        BadPod{"HostPort", Code::kInvalidArgument, "port",
               [](auto& request) {
                 request.mutable_config()->add_port_mappings()->set_host_port(70000);
               }},
        BadPod{"DnsLineBreak", Code::kInvalidArgument, "dns",
               [](auto& request) {
                 request.mutable_config()->mutable_dns_config()->add_searches("a\nnameserver x");
               }},
        BadPod{"SysctlOfTheNode", Code::kInvalidArgument, "kernel.panic",
               [](auto& request) {
                 (*request.mutable_config()->mutable_linux()->mutable_sysctls())["kernel.panic"] =
                     "1";
               }},
        BadPod{"SysctlWithASeparator", Code::kInvalidArgument, "sysctl",
               [](auto& request) {
                 (*request.mutable_config()
                       ->mutable_linux()
                       ->mutable_sysctls())["net.ipv4.ip_forward"] = "1+kernel.core_pattern=|/x\n2";
               }},
        BadPod{"SysctlPath", Code::kInvalidArgument, "sysctl",
               [](auto& request) {
                 (*request.mutable_config()->mutable_linux()->mutable_sysctls())["net/../kernel"] =
                     "1";
               }},
        BadPod{"NetworkOfAContainer", Code::kInvalidArgument, "network",
               [](auto& request) { Namespaces(request).set_network(rt::CONTAINER); }},
        BadPod{"NetSysctlOnHostNetwork", Code::kInvalidArgument, "net.ipv4.ip_forward",
               [](auto& request) {
                 Namespaces(request).set_network(rt::NODE);
                 (*request.mutable_config()
                       ->mutable_linux()
                       ->mutable_sysctls())["net.ipv4.ip_forward"] = "0";
               }}),
    [](const auto& tested) { return std::string(tested.param.name); });

struct BadContainer {
  const char* name;
  Code code;
  const char* says;
  void (*spoil)(rt::CreateContainerRequest&);
};

std::ostream& operator<<(std::ostream& out, const BadContainer& bad) {
  return out << bad.name;
}

class BadContainers : public E2eTest, public ::testing::WithParamInterface<BadContainer> {};

TEST_P(BadContainers, AreRefused) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  rt::CreateContainerRequest request;
  request.set_pod_sandbox_id(*pod);
  *request.mutable_config() = ShellConfig("true");
  GetParam().spoil(request);
  EXPECT_FAILS(cri().Call(request), GetParam().code, GetParam().says);
  auto list = cri().Call(rt::ListContainersRequest());
  ASSERT_OK(list);
  EXPECT_EQ(list->containers_size(), 0);
  // The pod still works.
  auto container = RunContainer(*pod, ShellConfig("true"));
  ASSERT_OK(container);
  EXPECT_EQ(AwaitExit(*container)->exit_code(), 0);
}

rt::LinuxContainerResources& Limits(rt::CreateContainerRequest& request) {
  return *request.mutable_config()->mutable_linux()->mutable_resources();
}
rt::LinuxContainerSecurityContext& Context(rt::CreateContainerRequest& request) {
  return *request.mutable_config()->mutable_linux()->mutable_security_context();
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadContainers,
    ::testing::Values(
        BadContainer{"NoConfig", Code::kInvalidArgument, "config",
                     [](auto& request) { request.clear_config(); }},
        BadContainer{"NoMetadata", Code::kInvalidArgument, "metadata",
                     [](auto& request) { request.mutable_config()->clear_metadata(); }},
        BadContainer{
            "NoName", Code::kInvalidArgument, "name",
            [](auto& request) { request.mutable_config()->mutable_metadata()->clear_name(); }},
        BadContainer{"NoImage", Code::kInvalidArgument, "image",
                     [](auto& request) { request.mutable_config()->clear_image(); }},
        BadContainer{"UnknownImage", Code::kNotFound, "no-such-image",
                     [](auto& request) {
                       request.mutable_config()->mutable_image()->set_image("no-such-image:1");
                     }},
        BadContainer{"UnknownPod", Code::kNotFound, "0000",
                     [](auto& request) { request.set_pod_sandbox_id(std::string(64, '0')); }},
        BadContainer{"PodIdIsAPath", Code::kNotFound, "",
                     [](auto& request) { request.set_pod_sandbox_id("../../etc"); }},
        BadContainer{"NegativeMemory", Code::kInvalidArgument, "memory",
                     [](auto& request) { Limits(request).set_memory_limit_in_bytes(-2); }},
        BadContainer{"NegativeShares", Code::kInvalidArgument, "cpu_shares",
                     [](auto& request) { Limits(request).set_cpu_shares(-1); }},
        BadContainer{"OomScore", Code::kInvalidArgument, "oom_score_adj",
                     [](auto& request) { Limits(request).set_oom_score_adj(5000); }},
        BadContainer{"CpusetText", Code::kInvalidArgument, "cpuset",
                     [](auto& request) { Limits(request).set_cpuset_cpus("0-99999999999"); }},
        BadContainer{
            "LogPathOutside", Code::kInvalidArgument, "log_path",
            [](auto& request) { request.mutable_config()->set_log_path("../../../etc/cron.d/x"); }},
        BadContainer{"RelativeWorkingDir", Code::kInvalidArgument, "working_dir",
                     [](auto& request) { request.mutable_config()->set_working_dir("a/b"); }},
        BadContainer{
            "WorkingDirIsADescriptor", Code::kInvalidArgument, "working_dir",
            [](auto& request) { request.mutable_config()->set_working_dir("/proc/self/fd/7"); }},
        BadContainer{"EnvName", Code::kInvalidArgument, "env",
                     [](auto& request) { request.mutable_config()->add_envs()->set_key("A=B"); }},
        BadContainer{"EnvOf10MB", Code::kInvalidArgument, "env",
                     [](auto& request) {
                       for (int i = 0; i < 100; ++i) {
                         auto* env = request.mutable_config()->add_envs();
                         env->set_key(StrCat("E", i));
                         env->set_value(std::string(100'000, 'e'));
                       }
                     }},
        BadContainer{"OneEnvTooLong", Code::kInvalidArgument, "env",
                     [](auto& request) {
                       auto* env = request.mutable_config()->add_envs();
                       env->set_key("E");
                       env->set_value(std::string(200'000, 'e'));
                     }},
        BadContainer{"UnknownCapability", Code::kInvalidArgument, "CAP_NONSENSE",
                     [](auto& request) {
                       Context(request).mutable_capabilities()->add_add_capabilities(
                           "CAP_NONSENSE");
                     }},
        BadContainer{"NegativeUser", Code::kInvalidArgument, "run_as_user",
                     [](auto& request) { Context(request).mutable_run_as_user()->set_value(-1); }},
        BadContainer{"GroupWithoutUser", Code::kInvalidArgument, "run_as_group",
                     [](auto& request) { Context(request).mutable_run_as_group()->set_value(1); }},
        BadContainer{"MaskedPath", Code::kInvalidArgument, "masked",
                     [](auto& request) { Context(request).add_masked_paths("relative"); }},
        BadContainer{"MissingDevice", Code::kNotFound, "no-such-device",
                     [](auto& request) {
                       auto* device = request.mutable_config()->add_devices();
                       device->set_host_path("/dev/no-such-device");
                       device->set_container_path("/dev/x");
                       device->set_permissions("rwm");
                     }},
        BadContainer{"DevicePermissions", Code::kInvalidArgument, "permissions",
                     [](auto& request) {
                       auto* device = request.mutable_config()->add_devices();
                       device->set_host_path("/dev/null");
                       device->set_container_path("/dev/x");
                       device->set_permissions("rwxyz");
                     }}),
    [](const auto& tested) { return std::string(tested.param.name); });

class BadOrder : public E2eTest {};

TEST_F(BadOrder, AContainerInAStoppedPod) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto created = Create(*pod, ShellConfig("true"));
  ASSERT_OK(created);
  rt::StopPodSandboxRequest stop;
  stop.set_pod_sandbox_id(*pod);
  ASSERT_OK(cri().Call(stop));
  EXPECT_FAILS(Create(*pod, ShellConfig("true", "late")), Code::kFailedPrecondition, "");
  EXPECT_FALSE(StartIt(*created).ok());
}

TEST_F(BadOrder, UnknownIds) {
  const std::string unknown(64, '0');
  EXPECT_FAILS(StartIt(unknown), Code::kNotFound, "0000");
  EXPECT_FAILS(Status(unknown), Code::kNotFound, "0000");
  EXPECT_FAILS(PodStatus(unknown), Code::kNotFound, "0000");
  EXPECT_OK(Stop(unknown));
  EXPECT_OK(Remove(unknown));
  rt::ContainerStatsRequest stats;
  stats.set_container_id(unknown);
  EXPECT_FAILS(cri().Call(stats), Code::kNotFound, "0000");
  rt::ReopenContainerLogRequest reopen;
  reopen.set_container_id(unknown);
  EXPECT_FAILS(cri().Call(reopen), Code::kNotFound, "0000");
}

TEST_F(BadOrder, EmptyIds) {
  EXPECT_FAILS(Status(""), Code::kInvalidArgument, "container_id");
  EXPECT_FAILS(PodStatus(""), Code::kInvalidArgument, "pod_sandbox_id");
  EXPECT_FAILS(StartIt(""), Code::kInvalidArgument, "container_id");
}

TEST_F(BadOrder, WhatIsNotThereYetSaysSo) {
  EXPECT_FAILS(cri().Call(rt::CheckpointContainerRequest()), Code::kUnimplemented, "");
}

TEST_F(BadOrder, VersionStatusAndRuntimeConfig) {
  auto version = cri().Call(rt::VersionRequest());
  ASSERT_OK(version);
  EXPECT_EQ(version->runtime_name(), "berth");
  EXPECT_EQ(version->runtime_api_version(), "v1");
  EXPECT_FALSE(version->runtime_version().empty());
  rt::StatusRequest request;
  request.set_verbose(true);
  auto status = cri().Call(request);
  ASSERT_OK(status);
  std::map<std::string, bool> conditions;
  for (const auto& condition : status->status().conditions()) {
    conditions[condition.type()] = condition.status();
  }
  EXPECT_TRUE(conditions["RuntimeReady"]);
  EXPECT_TRUE(conditions["NetworkReady"]);
  EXPECT_FALSE(status->info().empty());
  auto config = cri().Call(rt::RuntimeConfigRequest());
  ASSERT_OK(config);
  EXPECT_EQ(config->linux().cgroup_driver(), rt::CGROUPFS);
}

}  // namespace
}  // namespace berth::e2e
