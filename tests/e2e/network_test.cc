// Pod networks through real CNI plugins.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

constexpr char kServer[] = "mkdir -p /www; echo served > /www/x; exec httpd -f -p 80 -h /www";

class Network : public E2eTest {
 protected:
  std::string Ip(const std::string& pod) {
    auto status = PodStatus(pod);
    EXPECT_OK(status);
    return status.ok() ? status->network().ip() : "";
  }
  // What an HTTP GET of /x from this process's network namespace answers, empty if nothing does.
  static std::string Get(const std::string& ip, int port) {
    const UniqueFd connection(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    inet_pton(AF_INET, ip.c_str(), &address.sin_addr);
    if (connect(connection.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
      return "";
    }
    if (!WriteAll(connection.get(), "GET /x HTTP/1.0\r\n\r\n").ok()) return "";
    auto answer = ReadToEnd(connection.get(), 64 << 10);
    return answer.ok() ? *answer : "";
  }
  static size_t AddressesInUse(const std::string& dir) {
    size_t count = 0;
    std::error_code error;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir, error)) {
      if (entry.path().filename().string().find("10.201.") == 0) ++count;
    }
    return count;
  }
};

TEST_F(Network, PodsReachEachOther) {
  auto one = RunPod(PodConfig("one"));
  ASSERT_OK(one);
  auto two = RunPod(PodConfig("two"));
  ASSERT_OK(two);
  ASSERT_NE(Ip(*one), Ip(*two));
  ASSERT_OK(RunContainer(*one, ShellConfig(kServer)));
  auto client = RunContainer(*two, ShellConfig("sleep 1000"));
  ASSERT_OK(client);
  EXPECT_EQ(ShellIn(*client, StrCat("ping -c1 -W2 ", Ip(*one), " >/dev/null && echo pong")),
            "pong\n");
  EXPECT_EQ(ShellIn(*client, StrCat("for i in 1 2 3 4 5; do wget -q -O- http://", Ip(*one),
                                    "/x && break; sleep 0.2; done 2>&1")),
            "served\n");
}

TEST_F(Network, InterfacesOfAPod) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  const std::string addresses = ShellIn(*container, "ip -o addr");
  EXPECT_NE(addresses.find("127.0.0.1"), std::string::npos) << addresses;
  EXPECT_NE(addresses.find("eth0"), std::string::npos) << addresses;
  EXPECT_NE(addresses.find(Ip(*pod)), std::string::npos) << addresses;
  EXPECT_EQ(ShellIn(*container, "ping -c1 -W2 127.0.0.1 >/dev/null && echo up"), "up\n");
}

// What portmap needs. A kernel without it lists an empty table, and lets nobody make a chain.
bool HasNat() {
  const auto iptables = [](const char* what) {
    auto done = RunProgram(
        Context::WithTimeoutMs(5000),
        Program("/usr/sbin/iptables", {"iptables", "-w", "-t", "nat", what, "BERTH-PROBE"}), "");
    EXPECT_OK(done);
    return done.ok() && done->exit_code == 0;
  };
  return iptables("-N") && iptables("-X");
}

TEST_F(Network, PortMapping) {
  if (!HasNat()) GTEST_SKIP() << "this kernel has no NAT, which portmap needs";
  rt::PodSandboxConfig config = PodConfig();
  auto* mapping = config.add_port_mappings();
  mapping->set_host_port(18080);
  mapping->set_container_port(80);
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig(kServer));
  ASSERT_OK(container);
  ShellIn(*container, "until wget -q -O- http://127.0.0.1/x >/dev/null; do sleep 0.1; done");
  const std::string ip = Ip(*pod);
  const std::string gateway = ip.substr(0, ip.rfind('.')) + ".1";
  EXPECT_NE(Get(gateway, 18080).find("served"), std::string::npos);
  EXPECT_NE(Get("127.0.0.1", 18080).find("served"), std::string::npos);
  rt::RemovePodSandboxRequest remove;
  remove.set_pod_sandbox_id(*pod);
  ASSERT_OK(cri().Call(remove));
  EXPECT_EQ(Get(gateway, 18080), "");
  EXPECT_EQ(Get("127.0.0.1", 18080), "");
}

// The same port of two addresses of the host, each another pod's.
TEST_F(Network, PortMappingsOfOneHostAddress) {
  if (!HasNat()) GTEST_SKIP() << "this kernel has no NAT, which portmap needs";
  auto first = RunPod();
  ASSERT_OK(first);
  const std::string ip = Ip(*first);
  const std::string gateway = ip.substr(0, ip.rfind('.')) + ".1";
  std::vector<std::string> pods;
  for (const std::string& address : {std::string("127.0.0.1"), gateway}) {
    rt::PodSandboxConfig config = PodConfig(StrCat("mapped", pods.size()));
    auto* mapping = config.add_port_mappings();
    mapping->set_host_port(18081);
    mapping->set_container_port(80);
    mapping->set_host_ip(address);
    auto pod = RunPod(config);
    ASSERT_OK(pod);
    auto container = RunContainer(*pod, ShellConfig(kServer));
    ASSERT_OK(container);
    ShellIn(*container, "until wget -q -O- http://127.0.0.1/x >/dev/null; do sleep 0.1; done");
    pods.push_back(*pod);
    EXPECT_NE(Get(address, 18081).find("served"), std::string::npos) << address;
    // Nobody serves the second one's address before the second is there.
    if (pods.size() == 1) {
      EXPECT_EQ(Get(gateway, 18081), "");
    }
  }
  rt::RemovePodSandboxRequest remove;
  remove.set_pod_sandbox_id(pods.front());
  ASSERT_OK(cri().Call(remove));
  EXPECT_EQ(Get("127.0.0.1", 18081), "");
  EXPECT_NE(Get(gateway, 18081).find("served"), std::string::npos);
}

TEST_F(Network, HostNetwork) {
  rt::PodSandboxConfig config = PodConfig();
  config.clear_hostname();
  config.mutable_linux()->mutable_security_context()->mutable_namespace_options()->set_network(
      rt::NODE);
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  EXPECT_EQ(Ip(*pod), "");
  rt::ContainerConfig container_config = ShellConfig("sleep 1000");
  container_config.mutable_linux()
      ->mutable_security_context()
      ->mutable_namespace_options()
      ->set_network(rt::NODE);
  auto container = RunContainer(*pod, container_config);
  ASSERT_OK(container);
  std::error_code error;
  const std::string own = std::filesystem::read_symlink("/proc/self/ns/net", error);
  EXPECT_EQ(ShellIn(*container, "readlink /proc/self/ns/net"), own + "\n");
}

TEST_F(Network, StoppingGivesTheAddressBack) {
  const std::string ipam = node().dir() + "/ipam";
  const size_t before = AddressesInUse(ipam);
  auto pod = RunPod();
  ASSERT_OK(pod);
  EXPECT_EQ(AddressesInUse(ipam), before + 1);
  rt::StopPodSandboxRequest stop;
  stop.set_pod_sandbox_id(*pod);
  ASSERT_OK(cri().Call(stop));
  EXPECT_EQ(AddressesInUse(ipam), before);
  // The next pod may have it, so this one does not claim it any longer.
  auto status = PodStatus(*pod);
  ASSERT_OK(status);
  EXPECT_EQ(status->network().ip(), "");
  EXPECT_EQ(status->network().additional_ips_size(), 0);
}

// Nodes of their own, whose network is wrong.
class BrokenNetwork : public ::testing::Test {
 protected:
  static rt::RunPodSandboxRequest Request() {
    rt::RunPodSandboxRequest request;
    auto* metadata = request.mutable_config()->mutable_metadata();
    metadata->set_name("pod");
    metadata->set_namespace_("e2e");
    metadata->set_uid(NewId());
    return request;
  }
  static rt::RuntimeCondition NetworkReady(Node& node) {
    auto status = node.cri().Call(rt::StatusRequest());
    EXPECT_OK(status);
    if (status.ok()) {
      for (const auto& condition : status->status().conditions()) {
        if (condition.type() == "NetworkReady") return condition;
      }
    }
    return {};
  }
};

TEST_F(BrokenNetwork, NotReadyUntilThereIsAConfiguration) {
  auto node = Node::Start({.with_cni = false});
  ASSERT_OK(node);
  rt::RuntimeCondition condition = NetworkReady(**node);
  EXPECT_FALSE(condition.status());
  EXPECT_FALSE(condition.reason().empty());
  EXPECT_NE(condition.message().find((*node)->cni_dir()), std::string::npos) << condition.message();
  auto refused = (*node)->cri().Call(Request());
  EXPECT_FALSE(refused.ok());
  // Host network needs none.
  rt::RunPodSandboxRequest host = Request();
  host.mutable_config()
      ->mutable_linux()
      ->mutable_security_context()
      ->mutable_namespace_options()
      ->set_network(rt::NODE);
  EXPECT_OK((*node)->cri().Call(host));

  ASSERT_OK((*node)->WriteCniConfig());
  for (int i = 0; i < 100 && !condition.status(); ++i) {
    usleep(50'000);
    condition = NetworkReady(**node);
  }
  EXPECT_TRUE(condition.status()) << condition.message();
  EXPECT_OK((*node)->cri().Call(Request()));
}

// The second plugin fails after the bridge has given out an address.
class BrokenPlugin : public BrokenNetwork, public ::testing::WithParamInterface<const char*> {};

TEST_P(BrokenPlugin, IsNamedAndUndone) {
  auto node = Node::Start({.with_cni = false});
  ASSERT_OK(node);
  const std::string ipam = (*node)->dir() + "/ipam";
  ASSERT_OK(AtomicWriteFileAt(
      AT_FDCWD, (*node)->cni_dir() + "/10-x.conflist",
      StrCat(R"({"cniVersion":"1.0.0","name":"x","plugins":[{"type":"bridge","bridge":"e2ex",)",
             R"("ipam":{"type":"host-local","subnet":"10.202.0.0/24","dataDir":")", ipam,
             R"("}},{"type":")", GetParam(), R"(","sysctl":{"net.no.such.key":"1"}}]})"),
      0644));
  rt::RuntimeCondition condition = NetworkReady(**node);
  for (int i = 0; i < 100 && !condition.status(); ++i) {
    usleep(50'000);
    condition = NetworkReady(**node);
  }
  auto refused = (*node)->cri().Call(Request());
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message().find(GetParam()), std::string::npos)
      << refused.error().message();
  auto pods = (*node)->cri().Call(rt::ListPodSandboxRequest());
  ASSERT_OK(pods);
  EXPECT_EQ(pods->items_size(), 0);
  EXPECT_EQ((*node)->Remains(), std::vector<std::string>());
  std::error_code error;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(ipam, error)) {
    EXPECT_EQ(entry.path().filename().string().find("10.202."), std::string::npos)
        << "an address is still given out: " << entry.path();
  }
}

INSTANTIATE_TEST_SUITE_P(Table, BrokenPlugin, ::testing::Values("no-such-plugin", "tuning"));

}  // namespace
}  // namespace berth::e2e
