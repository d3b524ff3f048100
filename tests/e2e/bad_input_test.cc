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
        BadPod{"LogDirectoryOnAParent", Code::kInvalidArgument, "log_directory",
               [](auto& request) { request.mutable_config()->set_log_directory("/tmp/../etc"); }},
        BadPod{"LogDirectoryWithANul", Code::kInvalidArgument, "log_directory",
               [](auto& request) {
                 request.mutable_config()->set_log_directory(std::string("/tmp\0x", 6));
               }},
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
// Adds one that is right.
rt::Mount& OneMount(rt::CreateContainerRequest& request) {
  rt::Mount& mount = *request.mutable_config()->add_mounts();
  mount.set_host_path("/tmp");
  mount.set_container_path("/mnt");
  return mount;
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
        BadContainer{"MaskedRoot", Code::kInvalidArgument, "masked_paths",
                     [](auto& request) { Context(request).add_masked_paths("/tmp/.."); }},
        BadContainer{"GroupOutOfRange", Code::kInvalidArgument, "supplemental_groups",
                     [](auto& request) { Context(request).add_supplemental_groups(-1); }},
        BadContainer{"UnknownGroupsPolicy", Code::kInvalidArgument, "supplemental_groups_policy",
                     [](auto& request) {
                       Context(request).set_supplemental_groups_policy(
                           static_cast<rt::SupplementalGroupsPolicy>(7));
                     }},
        BadContainer{"UnknownProfileType", Code::kInvalidArgument, "seccomp.profile_type",
                     [](auto& request) {
                       Context(request).mutable_seccomp()->set_profile_type(
                           static_cast<rt::SecurityProfile::ProfileType>(7));
                     }},
        BadContainer{"ProfileWithoutAPath", Code::kInvalidArgument, "apparmor.localhost_ref",
                     [](auto& request) {
                       Context(request).mutable_apparmor()->set_profile_type(
                           rt::SecurityProfile::Localhost);
                     }},
        BadContainer{"SelinuxLabel", Code::kInvalidArgument, "selinux_options.type",
                     [](auto& request) {
                       Context(request).mutable_selinux_options()->set_type("spc_t:s0");
                     }},
        BadContainer{"UnknownPidMode", Code::kInvalidArgument, "namespace_options.pid",
                     [](auto& request) {
                       Context(request).mutable_namespace_options()->set_pid(
                           static_cast<rt::NamespaceMode>(7));
                     }},
        BadContainer{"TargetWithoutId", Code::kInvalidArgument, "target_id",
                     [](auto& request) {
                       Context(request).mutable_namespace_options()->set_pid(rt::TARGET);
                     }},
        BadContainer{"UnknownTarget", Code::kNotFound, "target_id",
                     [](auto& request) {
                       Context(request).mutable_namespace_options()->set_pid(rt::TARGET);
                       Context(request).mutable_namespace_options()->set_target_id("0123");
                     }},
        BadContainer{"MountWithoutASource", Code::kInvalidArgument, "mounts[0].host_path",
                     [](auto& request) { OneMount(request).clear_host_path(); }},
        BadContainer{"MountWithoutATarget", Code::kInvalidArgument, "mounts[0].container_path",
                     [](auto& request) { OneMount(request).clear_container_path(); }},
        BadContainer{"MountOnAParent", Code::kInvalidArgument, "mounts[0].container_path",
                     [](auto& request) { OneMount(request).set_container_path("/a/../../b"); }},
        BadContainer{"MountOnALongPath", Code::kInvalidArgument, "mounts[0].container_path",
                     [](auto& request) {
                       OneMount(request).set_container_path("/" + std::string(5000, 'm'));
                     }},
        BadContainer{"MountOnANul", Code::kInvalidArgument, "mounts[0].container_path",
                     [](auto& request) {
                       OneMount(request).set_container_path(std::string("/a\0b", 4));
                     }},
        BadContainer{"UnknownPropagation", Code::kInvalidArgument, "mounts[0].propagation",
                     [](auto& request) {
                       OneMount(request).set_propagation(static_cast<rt::MountPropagation>(7));
                     }},
        BadContainer{"MountMappingOfUsersOnly", Code::kInvalidArgument, "mounts[0].gidMappings",
                     [](auto& request) {
                       OneMount(request).add_uidmappings()->set_length(1);
                     }},
        BadContainer{"MountMappingTooLong", Code::kInvalidArgument, "mounts[0].uidMappings[0]",
                     [](auto& request) {
                       rt::Mount& mount = OneMount(request);
                       for (rt::IDMapping* one :
                            {mount.add_uidmappings(), mount.add_gidmappings()}) {
                         one->set_host_id(1);
                         one->set_length(4294967295U);
                       }
                     }},
        BadContainer{"TooManyMappings", Code::kInvalidArgument, "mounts[0].uidMappings",
                     [](auto& request) {
                       rt::Mount& mount = OneMount(request);
                       for (uint32_t i = 0; i < 10'000; ++i) {
                         for (rt::IDMapping* one : {mount.add_uidmappings(), mount.add_gidmappings()}) {
                           one->set_container_id(i);
                           one->set_host_id(i);
                           one->set_length(1);
                         }
                       }
                     }},
        BadContainer{"TooManyMounts", Code::kInvalidArgument, "mounts",
                     [](auto& request) {
                       for (int i = 0; i < 5000; ++i) OneMount(request);
                     }},
        BadContainer{"CdiName", Code::kInvalidArgument, "CDI_devices[0]",
                     [](auto& request) {
                       request.mutable_config()->add_cdi_devices()->set_name("../gpu");
                     }},
        BadContainer{"UnknownCdiDevice", Code::kNotFound, "vendor.com/gpu=0",
                     [](auto& request) {
                       request.mutable_config()->add_cdi_devices()->set_name("vendor.com/gpu=0");
                     }},
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
  EXPECT_EQ(config->linux().cgroup_driver(), UsesSystemd() ? rt::SYSTEMD : rt::CGROUPFS);
}

}  // namespace
}  // namespace berth::e2e
