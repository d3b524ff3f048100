#include "runtime/pod_files.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/testing/temp_dir.h"

namespace berth::runtime {
namespace {

PodConfig SomePod() {
  PodConfig config;
  config.metadata = {"web", "uid", "default", 0};
  // No /dev/shm of its own: this test needs no root.
  config.security.namespaces.ipc = NamespaceMode::kNode;
  return config;
}

TEST(PodFiles, ResolvConfIsWhatKubeletAsksFor) {
  testing::TempDir dir;
  PodConfig config = SomePod();
  config.dns = DnsConfig{{"10.0.0.10", "fd00::a"}, {"default.svc", "svc"}, {"ndots:5"}};
  ASSERT_TRUE(CreatePodFiles(dir.path(), config, {"10.88.0.5"}).ok());
  EXPECT_EQ(*ReadFile(dir / "resolv.conf"),
            "search default.svc svc\nnameserver 10.0.0.10\nnameserver fd00::a\noptions ndots:5\n");
  EXPECT_EQ(*ReadFile(dir / "hostname"), "web\n");
  EXPECT_NE(ReadFile(dir / "hosts")->find("10.88.0.5\tweb\n"), std::string::npos);
}

TEST(PodFiles, WithoutAWordOnDnsTheHostsIsCopied) {
  auto host = ReadFile("/etc/resolv.conf");
  for (const auto& dns : {std::optional<DnsConfig>(), std::optional<DnsConfig>(DnsConfig{})}) {
    testing::TempDir dir;
    PodConfig config = SomePod();
    config.dns = dns;
    ASSERT_TRUE(CreatePodFiles(dir.path(), config, {}).ok());
    EXPECT_EQ(*ReadFile(dir / "resolv.conf"), host.ok() ? *host : "");
  }
}

TEST(PodFiles, TheHostsNetworkBringsTheHostsFiles) {
  testing::TempDir dir;
  PodConfig config = SomePod();
  config.security.namespaces.network = NamespaceMode::kNode;
  ASSERT_TRUE(CreatePodFiles(dir.path(), config, {}).ok());
  auto host = ReadFile("/etc/hosts");
  EXPECT_EQ(*ReadFile(dir / "hosts"), host.ok() ? *host : "");
  EXPECT_TRUE(PathsOfPod("/p", config).net_ns.empty());
  EXPECT_TRUE(PathsOfPod("/p", config).uts_ns.empty());
  EXPECT_EQ(PathsOfPod("/p", config).shm, "/dev/shm");
}

TEST(PodFiles, TheHostsDevShmIsNotOneOfItsOwn) {
  PodConfig config = SomePod();
  config.security.namespaces.ipc = NamespaceMode::kPod;
  EXPECT_EQ(OwnFiles("/p", PathsOfPod("/p", config)),
            (std::vector<std::string>{"/p/resolv.conf", "/p/hostname", "/p/hosts", "/p/shm"}));
  config.security.namespaces.ipc = NamespaceMode::kNode;
  EXPECT_EQ(OwnFiles("/p", PathsOfPod("/p", config)),
            (std::vector<std::string>{"/p/resolv.conf", "/p/hostname", "/p/hosts"}));
}

TEST(PodFiles, LineBreaksDoNotBecomeEntries) {
  PodConfig config = SomePod();
  config.dns = DnsConfig{{"10.0.0.1\noptions evil"}, {}, {}};
  auto status = CheckPodFiles(config);
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_NE(status.error().message().find("dns_config.servers"), std::string::npos);
  config.dns.reset();
  config.hostname = "a\nb";
  EXPECT_EQ(CheckPodFiles(config).code(), Code::kInvalidArgument);
  config.hostname = "fine-host.example";
  EXPECT_TRUE(CheckPodFiles(config).ok());
}

TEST(PodFiles, ALongPodNameIsCutToAHostname) {
  PodConfig config = SomePod();
  config.metadata.name = std::string(300, 'x');
  EXPECT_EQ(PodHostname(config).size(), 63U);
}

}  // namespace
}  // namespace berth::runtime
