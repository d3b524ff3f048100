#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "cri/redact.h"
#include "cri/signals.h"
#include "cri/status.h"
#include "cri/translate_answer.h"
#include "cri/translate_request.h"

namespace berth::cri {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::StartsWith;

pb::PodSandboxConfig SomePod() {
  pb::PodSandboxConfig config;
  config.mutable_metadata()->set_name("web");
  config.mutable_metadata()->set_uid("0b1c");
  config.mutable_metadata()->set_namespace_("default");
  return config;
}

pb::ContainerConfig SomeContainer() {
  pb::ContainerConfig config;
  config.mutable_metadata()->set_name("app");
  config.mutable_image()->set_image("busybox");
  return config;
}

std::string PodError(const pb::PodSandboxConfig& config) {
  auto result = PodConfigOf(config);
  if (result.ok()) return "";
  EXPECT_EQ(result.code(), Code::kInvalidArgument);
  return result.error().message();
}

std::string ContainerError(const pb::ContainerConfig& config) {
  auto result = ContainerConfigOf(config);
  if (result.ok()) return "";
  EXPECT_EQ(result.code(), Code::kInvalidArgument);
  return result.error().message();
}

TEST(TranslatePodTest, KeepsEverything) {
  pb::PodSandboxConfig config = SomePod();
  config.mutable_metadata()->set_attempt(3);
  config.set_hostname("web-1");
  config.set_log_directory("/var/log/pods/x");
  config.mutable_dns_config()->add_servers("10.0.0.10");
  config.mutable_dns_config()->add_searches("svc");
  config.mutable_dns_config()->add_options("ndots:5");
  pb::PortMapping* port = config.add_port_mappings();
  port->set_protocol(pb::UDP);
  port->set_container_port(53);
  port->set_host_port(5353);
  port->set_host_ip("127.0.0.1");
  (*config.mutable_labels())["app"] = "web";
  (*config.mutable_annotations())["note"] = "x";
  pb::LinuxPodSandboxConfig* linux_config = config.mutable_linux();
  linux_config->set_cgroup_parent("/kubepods/podx");
  (*linux_config->mutable_sysctls())["net.ipv4.ip_forward"] = "1";
  linux_config->mutable_overhead()->set_cpu_shares(7);
  pb::LinuxSandboxSecurityContext* security = linux_config->mutable_security_context();
  security->mutable_namespace_options()->set_network(pb::NODE);
  security->mutable_namespace_options()->set_pid(pb::CONTAINER);
  security->mutable_run_as_user()->set_value(0);
  security->add_supplemental_groups(44);
  security->mutable_seccomp()->set_profile_type(pb::SecurityProfile::Localhost);
  security->mutable_seccomp()->set_localhost_ref("p.json");

  auto pod = PodConfigOf(config);
  ASSERT_TRUE(pod.ok()) << pod.error().message();
  EXPECT_EQ(pod->metadata.name, "web");
  EXPECT_EQ(pod->metadata.namespace_, "default");
  EXPECT_EQ(pod->metadata.uid, "0b1c");
  EXPECT_EQ(pod->metadata.attempt, 3u);
  EXPECT_EQ(pod->hostname, "web-1");
  EXPECT_EQ(pod->log_directory, "/var/log/pods/x");
  ASSERT_TRUE(pod->dns);
  EXPECT_THAT(pod->dns->servers, ElementsAre("10.0.0.10"));
  EXPECT_THAT(pod->dns->searches, ElementsAre("svc"));
  EXPECT_THAT(pod->dns->options, ElementsAre("ndots:5"));
  ASSERT_EQ(pod->port_mappings.size(), 1u);
  EXPECT_EQ(pod->port_mappings[0].protocol, runtime::Protocol::kUdp);
  EXPECT_EQ(pod->port_mappings[0].container_port, 53);
  EXPECT_EQ(pod->port_mappings[0].host_port, 5353);
  EXPECT_EQ(pod->port_mappings[0].host_ip, "127.0.0.1");
  EXPECT_THAT(pod->labels, ElementsAre(Pair("app", "web")));
  EXPECT_THAT(pod->annotations, ElementsAre(Pair("note", "x")));
  EXPECT_EQ(pod->cgroup_parent, "/kubepods/podx");
  EXPECT_THAT(pod->sysctls, ElementsAre(Pair("net.ipv4.ip_forward", "1")));
  ASSERT_TRUE(pod->overhead);
  EXPECT_EQ(pod->overhead->cpu_shares, 7);
  EXPECT_FALSE(pod->resources);
  EXPECT_EQ(pod->security.namespaces.network, runtime::NamespaceMode::kNode);
  EXPECT_EQ(pod->security.namespaces.pid, runtime::NamespaceMode::kContainer);
  EXPECT_EQ(pod->security.run_as_user, 0);
  EXPECT_FALSE(pod->security.run_as_group);
  EXPECT_THAT(pod->security.supplemental_groups, ElementsAre(44));
  ASSERT_TRUE(pod->security.seccomp);
  EXPECT_EQ(pod->security.seccomp->type, runtime::ProfileType::kLocalhost);
  EXPECT_EQ(pod->security.seccomp->localhost_ref, "p.json");
  EXPECT_FALSE(pod->security.apparmor);
}

TEST(TranslatePodTest, NamesTheFieldThatIsWrong) {
  EXPECT_EQ(PodError(pb::PodSandboxConfig()), "config.metadata: missing");
  auto broken = [](auto change) {
    pb::PodSandboxConfig config = SomePod();
    change(config);
    return PodError(config);
  };
  EXPECT_EQ(broken([](auto& c) { c.mutable_metadata()->clear_name(); }),
            "config.metadata.name: missing");
  EXPECT_EQ(broken([](auto& c) { c.mutable_metadata()->clear_uid(); }),
            "config.metadata.uid: missing");
  EXPECT_EQ(broken([](auto& c) { c.mutable_metadata()->clear_namespace_(); }),
            "config.metadata.namespace: missing");
  // The separator of CNI's arguments: such a name could set further ones.
  EXPECT_THAT(broken([](auto& c) { c.mutable_metadata()->set_name("a;K8S_POD_UID=b"); }),
              StartsWith("config.metadata.name: "));
  EXPECT_THAT(broken([](auto& c) { c.mutable_metadata()->set_name("../../etc"); }),
              StartsWith("config.metadata.name: "));
  EXPECT_THAT(broken([](auto& c) { c.mutable_metadata()->set_name(std::string(300, 'a')); }),
              HasSubstr("300 bytes"));
  EXPECT_THAT(broken([](auto& c) { c.add_port_mappings()->set_host_port(70000); }),
              StartsWith("config.port_mappings[0].host_port: 70000"));
  EXPECT_THAT(broken([](auto& c) { c.add_port_mappings()->set_host_port(80); }),
              StartsWith("config.port_mappings[0].container_port: 0"));
  EXPECT_THAT(
      broken([](auto& c) { c.add_port_mappings()->set_protocol(static_cast<pb::Protocol>(17)); }),
      StartsWith("config.port_mappings[0].protocol: "));
  EXPECT_THAT(broken([](auto& c) { c.mutable_windows(); }), StartsWith("config.windows: "));
}

TEST(TranslatePodTest, ChecksNamespaces) {
  auto error = [](auto change) {
    pb::PodSandboxConfig config = SomePod();
    change(*config.mutable_linux()->mutable_security_context()->mutable_namespace_options());
    return PodError(config);
  };
  EXPECT_THAT(error([](auto& n) { n.set_network(pb::CONTAINER); }),
              HasSubstr("namespace_options.network: CONTAINER is not possible here"));
  EXPECT_THAT(error([](auto& n) { n.set_ipc(static_cast<pb::NamespaceMode>(9)); }),
              HasSubstr("namespace_options.ipc: 9 is not"));
  EXPECT_THAT(error([](auto& n) {
                n.set_pid(pb::TARGET);
                n.set_target_id("x");
              }),
              HasSubstr("TARGET is for containers only"));
  EXPECT_THAT(error([](auto& n) { n.mutable_userns_options()->set_mode(pb::CONTAINER); }),
              HasSubstr("userns_options.mode"));
  EXPECT_EQ(error([](auto& n) { n.mutable_userns_options()->set_mode(pb::NODE); }), "");
}

TEST(TranslateContainerTest, KeepsEverything) {
  pb::ContainerConfig config = SomeContainer();
  config.mutable_image()->set_user_specified_image("busybox:latest");
  config.add_command("/bin/sh");
  config.add_args("-c");
  pb::KeyValue* env = config.add_envs();
  env->set_key("BYTES");
  env->set_value(std::string("\xff\x01", 2));
  pb::Mount* mount = config.add_mounts();
  mount->set_container_path("/data");
  mount->set_host_path("/srv");
  mount->set_readonly(true);
  mount->set_recursive_read_only(true);
  config.add_devices()->set_host_path("/dev/fuse");
  config.add_cdi_devices()->set_name("vendor/class=0");
  config.set_log_path("app/0.log");
  config.set_tty(true);
  config.set_stop_signal(pb::SIGNAL_SIGUSR1);
  config.mutable_linux()->mutable_resources()->set_memory_limit_in_bytes(1 << 20);
  pb::LinuxContainerSecurityContext* security = config.mutable_linux()->mutable_security_context();
  security->mutable_capabilities()->add_drop_capabilities("ALL");
  security->mutable_run_as_user()->set_value(1000);
  security->mutable_run_as_group()->set_value(2000);
  security->set_supplemental_groups_policy(pb::Strict);
  security->add_masked_paths("/proc/kcore");
  security->mutable_selinux_options();

  auto container = ContainerConfigOf(config);
  ASSERT_TRUE(container.ok()) << container.error().message();
  EXPECT_EQ(container->metadata.name, "app");
  EXPECT_EQ(container->image.image, "busybox");
  EXPECT_EQ(container->image.user_specified_image, "busybox:latest");
  EXPECT_THAT(container->command, ElementsAre("/bin/sh"));
  EXPECT_THAT(container->args, ElementsAre("-c"));
  ASSERT_EQ(container->envs.size(), 1u);
  EXPECT_EQ(container->envs[0].value, std::string("\xff\x01", 2));
  ASSERT_EQ(container->mounts.size(), 1u);
  EXPECT_EQ(container->mounts[0].host_path, "/srv");
  EXPECT_TRUE(container->mounts[0].readonly);
  EXPECT_TRUE(container->mounts[0].recursive_read_only);
  EXPECT_FALSE(container->mounts[0].image);
  ASSERT_EQ(container->devices.size(), 1u);
  EXPECT_EQ(container->devices[0].host_path, "/dev/fuse");
  EXPECT_THAT(container->cdi_devices, ElementsAre("vendor/class=0"));
  EXPECT_EQ(container->log_path, "app/0.log");
  EXPECT_TRUE(container->tty);
  EXPECT_EQ(container->stop_signal, SIGUSR1);
  EXPECT_EQ(container->resources.memory_limit_bytes, 1 << 20);
  ASSERT_TRUE(container->security.capabilities);
  EXPECT_THAT(container->security.capabilities->drop, ElementsAre("ALL"));
  EXPECT_EQ(container->security.run_as_user, 1000);
  EXPECT_EQ(container->security.run_as_group, 2000);
  EXPECT_EQ(container->security.supplemental_groups_policy,
            runtime::SupplementalGroupsPolicy::kStrict);
  EXPECT_THAT(container->security.masked_paths, ElementsAre("/proc/kcore"));
  EXPECT_FALSE(container->security.selinux) << "an empty message asks for nothing";
  EXPECT_FALSE(container->security.namespaces);
}

TEST(TranslateContainerTest, NamesTheFieldThatIsWrong) {
  EXPECT_EQ(ContainerError(pb::ContainerConfig()), "config.metadata: missing");
  auto broken = [](auto change) {
    pb::ContainerConfig config = SomeContainer();
    change(config);
    return ContainerError(config);
  };
  EXPECT_EQ(broken([](auto& c) { c.clear_image(); }), "config.image.image: missing");
  EXPECT_EQ(broken([](auto& c) { c.add_mounts(); }), "config.mounts[0].container_path: missing");
  EXPECT_EQ(broken([](auto& c) { c.add_mounts()->set_container_path("/x"); }),
            "config.mounts[0].host_path: missing");
  EXPECT_EQ(broken([](auto& c) { c.add_devices(); }), "config.devices[0].host_path: missing");
  EXPECT_THAT(broken([](auto& c) {
                c.add_mounts()->set_container_path("/x");
                c.mutable_mounts(0)->set_host_path("/y");
                c.mutable_mounts(0)->set_recursive_read_only(true);
              }),
              HasSubstr("config.mounts[0].recursive_read_only: needs readonly"));
  EXPECT_THAT(broken([](auto& c) {
                c.mutable_linux()->mutable_security_context()->mutable_run_as_group();
              }),
              HasSubstr("run_as_group: needs run_as_user"));
  EXPECT_THAT(broken([](auto& c) {
                auto* security = c.mutable_linux()->mutable_security_context();
                security->mutable_run_as_user();
                security->set_run_as_username("me");
              }),
              HasSubstr("run_as_username: cannot go with run_as_user"));
  EXPECT_THAT(broken([](auto& c) { c.set_stop_signal(static_cast<pb::Signal>(99)); }),
              HasSubstr("config.stop_signal: 99"));
  EXPECT_THAT(
      broken([](auto& c) { c.mutable_linux()->mutable_resources()->set_oom_score_adj(5000); }),
      HasSubstr("config.linux.resources.oom_score_adj: 5000"));
}

TEST(TranslateContainerTest, BoundsArgumentsAndEnvironment) {
  pb::ContainerConfig one_large = SomeContainer();
  one_large.add_envs()->set_key("BIG");
  one_large.mutable_envs(0)->set_value(std::string(10 << 20, 'x'));
  EXPECT_THAT(ContainerError(one_large), HasSubstr("config.envs: BIG: 10485764 bytes"));

  pb::ContainerConfig many = SomeContainer();
  for (int i = 0; i < 30; ++i) many.add_args(std::string(100'000, 'x'));
  EXPECT_THAT(ContainerError(many), HasSubstr("together"));

  pb::ContainerConfig fits = SomeContainer();
  for (int i = 0; i < 10; ++i) fits.add_args(std::string(100'000, 'x'));
  EXPECT_EQ(ContainerError(fits), "");
}

TEST(TranslateRequestTest, IdsAndTimes) {
  EXPECT_EQ(RequireId("", "container_id").error().message(), "container_id: missing");
  EXPECT_FALSE(RequireId(std::string(500, 'a'), "x").ok());
  EXPECT_TRUE(RequireId("ab", "x").ok());
  EXPECT_FALSE(SecondsOf(-1, "timeout").ok());
  EXPECT_EQ(*SecondsOf(30, "timeout"), 30);
  EXPECT_EQ(*SecondsOf(INT64_MAX, "timeout"), 365 * 24 * 3600);
}

TEST(TranslateRequestTest, Filters) {
  pb::ContainerFilter filter;
  EXPECT_FALSE(ContainerFilterOf(filter)->state);
  // CONTAINER_CREATED is 0 and still asks for something.
  filter.mutable_state()->set_state(pb::CONTAINER_CREATED);
  filter.set_id("abc");
  filter.set_pod_sandbox_id("def");
  (*filter.mutable_label_selector())["k"] = "v";
  auto translated = ContainerFilterOf(filter);
  ASSERT_TRUE(translated.ok());
  EXPECT_EQ(translated->state, runtime::ContainerState::kCreated);
  EXPECT_EQ(translated->id, "abc");
  EXPECT_EQ(translated->pod_id, "def");
  EXPECT_THAT(translated->labels, ElementsAre(Pair("k", "v")));
  filter.mutable_state()->set_state(static_cast<pb::ContainerState>(7));
  EXPECT_FALSE(ContainerFilterOf(filter).ok());
  pb::PodSandboxFilter pods;
  pods.mutable_state()->set_state(pb::SANDBOX_NOTREADY);
  EXPECT_EQ(PodFilterOf(pods)->state, runtime::PodState::kNotReady);
}

TEST(SignalsTest, EveryNameHasANumberAndBack) {
  for (int i = 1; i <= pb::SIGNAL_SIGRTMAX; ++i) {
    auto number = SignalNumber(static_cast<pb::Signal>(i), "x");
    ASSERT_TRUE(number.ok()) << i;
    EXPECT_EQ(*SignalNumber(SignalOfNumber(*number), "x"), *number) << i;
  }
  EXPECT_EQ(*SignalNumber(pb::SIGNAL_SIGTERM, "x"), 15);
  EXPECT_EQ(*SignalNumber(pb::SIGNAL_SIGRTMIN, "x"), 34);
  EXPECT_EQ(*SignalNumber(pb::SIGNAL_SIGRTMINPLUS15, "x"), 49);
  EXPECT_EQ(*SignalNumber(pb::SIGNAL_SIGRTMAXMINUS14, "x"), 50);
  EXPECT_EQ(*SignalNumber(pb::SIGNAL_SIGRTMAX, "x"), 64);
  EXPECT_EQ(SignalOfNumber(SIGCHLD), pb::SIGNAL_SIGCHLD);
  EXPECT_EQ(SignalOfNumber(0), pb::SIGNAL_RUNTIME_DEFAULT);
}

TEST(TranslateAnswerTest, ContainerStatus) {
  runtime::Container container;
  container.id = "c1";
  container.config.metadata = {"app", 2};
  container.config.image.image = "busybox";
  container.config.mounts.push_back({});
  container.config.mounts[0].host_path = "/srv";
  container.state = runtime::ContainerState::kExited;
  container.created_at_ns = 1;
  container.started_at_ns = 2;
  container.finished_at_ns = 3;
  container.exit_code = 137;
  container.reason = "OOMKilled";
  container.message = "bad \xff byte";
  container.image_id = "sha256:1";
  container.image_ref = "busybox@sha256:2";
  container.log_path = "/l";
  container.resources.cpu_shares = 5;
  container.user = {1, 2, {3}};
  container.stop_signal = SIGQUIT;
  pb::ContainerStatus status;
  ToPb(container, &status);
  EXPECT_EQ(status.id(), "c1");
  EXPECT_EQ(status.metadata().attempt(), 2u);
  EXPECT_EQ(status.state(), pb::CONTAINER_EXITED);
  EXPECT_EQ(status.created_at(), 1);
  EXPECT_EQ(status.started_at(), 2);
  EXPECT_EQ(status.finished_at(), 3);
  EXPECT_EQ(status.exit_code(), 137);
  EXPECT_EQ(status.reason(), "OOMKilled");
  EXPECT_EQ(status.message(), "bad \xEF\xBF\xBD byte");
  EXPECT_EQ(status.image_id(), "sha256:1");
  EXPECT_EQ(status.image_ref(), "busybox@sha256:2");
  EXPECT_EQ(status.mounts(0).host_path(), "/srv");
  EXPECT_EQ(status.log_path(), "/l");
  EXPECT_EQ(status.resources().linux().cpu_shares(), 5);
  EXPECT_EQ(status.user().linux().uid(), 1);
  EXPECT_EQ(status.user().linux().supplemental_groups(0), 3);
  EXPECT_EQ(status.stop_signal(), pb::SIGNAL_SIGQUIT);
}

TEST(TranslateAnswerTest, PodStatusTellsAddresses) {
  runtime::Pod pod;
  pod.ips = {"10.1.1.2", "fd00::2", "fd00::3"};
  pod.state = runtime::PodState::kReady;
  pod.config.security.namespaces.network = runtime::NamespaceMode::kNode;
  pb::PodSandboxStatus status;
  ToPb(pod, &status);
  EXPECT_EQ(status.state(), pb::SANDBOX_READY);
  EXPECT_EQ(status.network().ip(), "10.1.1.2");
  ASSERT_EQ(status.network().additional_ips_size(), 2);
  EXPECT_EQ(status.network().additional_ips(1).ip(), "fd00::3");
  EXPECT_EQ(status.linux().namespaces().options().network(), pb::NODE);
}

TEST(TranslateAnswerTest, ImageUser) {
  auto translate = [](const std::string& user) {
    image::Image image;
    image.config.user = user;
    pb::Image out;
    ToPb(image, &out);
    return out;
  };
  EXPECT_FALSE(translate("").has_uid());
  EXPECT_EQ(translate("0:5").uid().value(), 0);
  EXPECT_TRUE(translate("0:5").has_uid());
  EXPECT_EQ(translate("nobody:x").username(), "nobody");
  EXPECT_FALSE(translate("nobody").has_uid());
  EXPECT_FALSE(translate("-1").has_uid());
  EXPECT_EQ(translate("\xc3\x28").username(), "\xEF\xBF\xBD(");
}

TEST(TranslateAnswerTest, ImageNameOfAContainer) {
  runtime::Container container;
  container.config.image.image = "sha256:1";
  EXPECT_EQ(ImageNameOf(container, nullptr), "sha256:1");
  image::Image image;
  EXPECT_EQ(ImageNameOf(container, &image), "sha256:1");
  image.repo_tags = {"a:1", "a:2"};
  EXPECT_EQ(ImageNameOf(container, &image), "a:1");
  container.config.image.image = "a:2";
  EXPECT_EQ(ImageNameOf(container, &image), "a:2");
}

TEST(StatusTest, CodeAndMessage) {
  EXPECT_TRUE(ToGrpc(Ok()).ok());
  grpc::Status status = ToGrpc(Error(Code::kFailedPrecondition, "pod x: not ready"));
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(status.error_message(), "pod x: not ready");
  EXPECT_LT(ToGrpc(Error(Code::kInternal, std::string(1 << 20, 'x'))).error_message().size(),
            4096u);
}

TEST(RedactTest, NoSecretIsLeft) {
  image::RegistryAuth auth;
  auth.username = "me";
  auth.password = "hunter22";
  auth.registry_token = "token-abc";
  Error error =
      Redact(Error(Code::kUnauthenticated, "said: hunter22, hunter22 and token-abc"), auth);
  EXPECT_EQ(error.code(), Code::kUnauthenticated);
  EXPECT_EQ(error.message(), "said: ***, *** and ***");
}

}  // namespace
}  // namespace berth::cri
