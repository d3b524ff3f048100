#include "cli/run_options.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace berth::cli {
namespace {

TEST(ParsePort, HostAndContainer) {
  auto port = ParsePort("8080:80");
  ASSERT_TRUE(port.ok());
  EXPECT_EQ(port->host_port(), 8080);
  EXPECT_EQ(port->container_port(), 80);
  EXPECT_EQ(port->protocol(), rt::TCP);
  EXPECT_EQ(port->host_ip(), "");
}

TEST(ParsePort, AddressAndProtocol) {
  auto port = ParsePort("127.0.0.1:53:5353/udp");
  ASSERT_TRUE(port.ok());
  EXPECT_EQ(port->host_ip(), "127.0.0.1");
  EXPECT_EQ(port->host_port(), 53);
  EXPECT_EQ(port->container_port(), 5353);
  EXPECT_EQ(port->protocol(), rt::UDP);
  EXPECT_EQ(ParsePort("[::1]:1:2")->host_ip(), "::1");
}

TEST(ParsePort, Refused) {
  for (const char* text : {"", "80", ":80", "80:", "0:80", "80:65536", "a:1", "1:2/icmp", "1:2/",
                           "x:1:2", "1:2:3:4", "-1:80", "80:+1", "80 :80"}) {
    auto port = ParsePort(text);
    ASSERT_FALSE(port.ok()) << text;
    EXPECT_EQ(port.code(), Code::kInvalidArgument);
  }
}

TEST(ParseVolume, PathsAndMode) {
  EXPECT_FALSE(ParseVolume("/a:/b")->readonly());
  EXPECT_TRUE(ParseVolume("/a:/b:ro")->readonly());
  EXPECT_EQ(ParseVolume("/a:/b:rw")->container_path(), "/b");
  for (const char* text : {"", "/a", "a:/b", "/a:b", "/a:/b:x", "/a:/b:ro:ro"}) {
    EXPECT_FALSE(ParseVolume(text).ok()) << text;
  }
}

TEST(ParseEnv, ValueMayHoldAnything) {
  EXPECT_EQ(ParseEnv("A=b=c")->value(), "b=c");
  EXPECT_EQ(ParseEnv("A=")->value(), "");
  EXPECT_FALSE(ParseEnv("=b").ok());
  EXPECT_FALSE(ParseEnv("").ok());
}

TEST(ParseEnv, NameAloneTakesTheEnvironments) {
  setenv("BERTH_TEST_ENV", "here", 1);
  EXPECT_EQ(ParseEnv("BERTH_TEST_ENV")->value(), "here");
  unsetenv("BERTH_TEST_ENV");
  EXPECT_FALSE(ParseEnv("BERTH_TEST_ENV").ok());
}

TEST(ParseMemory, Units) {
  EXPECT_EQ(*ParseMemory("4096"), 4096);
  EXPECT_EQ(*ParseMemory("10b"), 10);
  EXPECT_EQ(*ParseMemory("2k"), 2048);
  EXPECT_EQ(*ParseMemory("64M"), 64 << 20);
  EXPECT_EQ(*ParseMemory("1g"), 1 << 30);
  for (const char* text : {"", "m", "0", "-1", "1.5g", "10t", "9999999999999g", "1 k"}) {
    EXPECT_FALSE(ParseMemory(text).ok()) << text;
  }
}

TEST(ParseCpuQuota, Fractions) {
  EXPECT_EQ(*ParseCpuQuotaUs("2"), 200'000);
  EXPECT_EQ(*ParseCpuQuotaUs("0.5"), 50'000);
  EXPECT_EQ(*ParseCpuQuotaUs(".25"), 25'000);
  EXPECT_EQ(*ParseCpuQuotaUs("1.125"), 112'500);
  for (const char* text : {"", ".", "0", "-1", "1.0001", "1e3", "a", "0.001"}) {
    EXPECT_FALSE(ParseCpuQuotaUs(text).ok()) << text;
  }
}

TEST(ParseUser, NumbersAndNames) {
  rt::LinuxContainerSecurityContext numbers;
  ASSERT_TRUE(ParseUser("1000:2000", numbers).ok());
  EXPECT_EQ(numbers.run_as_user().value(), 1000);
  EXPECT_EQ(numbers.run_as_group().value(), 2000);
  rt::LinuxContainerSecurityContext name;
  ASSERT_TRUE(ParseUser("nobody", name).ok());
  EXPECT_EQ(name.run_as_username(), "nobody");
  EXPECT_FALSE(name.has_run_as_user());
  for (const char* text : {"", ":1", "1:x", "1:"}) {
    rt::LinuxContainerSecurityContext security;
    EXPECT_FALSE(ParseUser(text, security).ok()) << text;
  }
}

TEST(DefaultName, LastComponent) {
  EXPECT_TRUE(DefaultName("localhost:5000/a/web:1.2").starts_with("web-"));
  EXPECT_TRUE(DefaultName("busybox@sha256:00").starts_with("busybox-"));
  EXPECT_NE(DefaultName("a"), DefaultName("a"));
}

TEST(MakeConfigs, EveryOptionArrives) {
  RunOptions options;
  options.image = "web:1";
  options.name = "web";
  options.command = {"serve", "-p"};
  options.ports = {"80:8080"};
  options.volumes = {"/srv:/srv:ro"};
  options.envs = {"A=b"};
  options.memory = "64m";
  options.cpus = "0.5";
  options.user = "7";
  options.workdir = "/srv";
  options.read_only = true;
  auto pod = MakePodConfig(options, "uid1", "/logs/uid1");
  ASSERT_TRUE(pod.ok());
  EXPECT_EQ(pod->labels().at(kRunLabel), "uid1");
  EXPECT_EQ(pod->hostname(), "web");
  EXPECT_EQ(pod->port_mappings(0).container_port(), 8080);
  EXPECT_EQ(pod->linux().security_context().namespace_options().pid(), rt::CONTAINER);
  auto container = MakeContainerConfig(options, "sha256:1", "uid1");
  ASSERT_TRUE(container.ok());
  EXPECT_EQ(container->image().image(), "sha256:1");
  EXPECT_EQ(container->args(1), "-p");
  EXPECT_EQ(container->command_size(), 0);
  EXPECT_EQ(container->envs(0).value(), "b");
  EXPECT_TRUE(container->mounts(0).readonly());
  EXPECT_EQ(container->linux().resources().memory_limit_in_bytes(), 64 << 20);
  EXPECT_EQ(container->linux().resources().cpu_quota(), 50'000);
  EXPECT_EQ(container->linux().resources().cpu_period(), 100'000);
  EXPECT_EQ(container->linux().security_context().run_as_user().value(), 7);
  EXPECT_TRUE(container->linux().security_context().readonly_rootfs());
  EXPECT_TRUE(container->linux().security_context().has_seccomp());
  EXPECT_EQ(container->working_dir(), "/srv");
}

TEST(MakeConfigs, HostNetworkHasNoHostname) {
  RunOptions options;
  options.name = "web";
  options.host_network = true;
  auto pod = MakePodConfig(options, "uid1", "/logs");
  ASSERT_TRUE(pod.ok());
  EXPECT_EQ(pod->hostname(), "");
  EXPECT_EQ(pod->linux().security_context().namespace_options().network(), rt::NODE);
}

TEST(LogRoot, BesideASocketOfItsOwn) {
  EXPECT_EQ(LogRoot("/run/berth/berth.sock"), "/var/log/berth");
  EXPECT_EQ(LogRoot("/tmp/x/b.sock"), "/tmp/x/logs");
}

}  // namespace
}  // namespace berth::cli
