// Parsing and watching of CNI configurations, arguments and results: no plugin is executed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/time.h"
#include "runtime/cni.h"
#include "runtime/cni_args.h"
#include "runtime/cni_config.h"
#include "runtime/cni_plugin.h"

namespace berth::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string ParseError(const std::string& text, bool single = false) {
  auto network = ParseCniNetwork(text, single);
  return network.ok() ? "ok" : network.error().message();
}

TEST(CniConfig, ReadsAListAndASinglePlugin) {
  auto list = ParseCniNetwork(R"({"cniVersion":"1.1.0","name":"n","disableCheck":true,
      "plugins":[{"type":"bridge","x":1},{"type":"portmap","capabilities":{"portMappings":true}}]})",
                              false);
  ASSERT_TRUE(list.ok()) << list.error().message();
  EXPECT_EQ(list->name, "n");
  EXPECT_TRUE(list->disable_check);
  EXPECT_EQ(list->plugins.size(), 2u);
  auto again = ParseCniNetwork(ToText(CniNetworkJson(*list)), false);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->plugins, list->plugins);
  auto single = ParseCniNetwork(R"({"cniVersion":"0.3.1","name":"n","type":"ptp"})", true);
  ASSERT_TRUE(single.ok()) << single.error().message();
  EXPECT_EQ(single->plugins[0]["type"], "ptp");
}

TEST(CniConfig, SaysWhatIsWrong) {
  auto list = [](const std::string& plugins) {
    return ParseError(R"({"cniVersion":"1.0.0","name":"n","plugins":)" + plugins + "}");
  };
  EXPECT_THAT(list("[]"), HasSubstr("plugins"));
  EXPECT_THAT(list("{}"), HasSubstr("plugins"));
  EXPECT_THAT(list("[1]"), HasSubstr("plugins[0]"));
  EXPECT_THAT(list(R"([{"type":"a"},{}])"), HasSubstr("plugins[1].type is missing"));
  for (const char* type : {"../../x", "/bin/sh", "a/b", "..", ".", "a b", "a\\u0000b"}) {
    EXPECT_THAT(list(StrCat(R"([{"type":")", type, "\"}]")), HasSubstr("plain file name")) << type;
    EXPECT_THAT(list(StrCat(R"([{"type":"bridge","ipam":{"type":")", type, "\"}}]")),
                HasSubstr("ipam.type"))
        << type;
  }
  EXPECT_THAT(list(R"([{"type":7}])"), HasSubstr("\"type\" is not a string"));
  EXPECT_THAT(list(R"([{"type":"a","capabilities":[]}])"), HasSubstr("capabilities"));
  EXPECT_THAT(list(R"([{"type":"a","capabilities":{"x":1}}])"), HasSubstr("capabilities.x"));
  EXPECT_THAT(ParseError(R"({"cniVersion":"1.0.0","plugins":[{"type":"a"}]})"), HasSubstr("name"));
  EXPECT_THAT(ParseError(R"({"cniVersion":"1.0.0","name":"../n","plugins":[{"type":"a"}]})"),
              HasSubstr("name"));
  EXPECT_THAT(ParseError(R"({"name":"n","plugins":[{"type":"a"}]})"), HasSubstr("cniVersion"));
  EXPECT_THAT(ParseError(R"({"cniVersion":"2.0.0","name":"n","plugins":[{"type":"a"}]})"),
              HasSubstr("cniVersion"));
  EXPECT_THAT(ParseError("{"), HasSubstr("JSON"));
  EXPECT_THAT(ParseError("[]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(ParseError(std::string(100, '[')), HasSubstr("nests"));
}

TEST(CniArgs, ParsesQuantities) {
  auto value = [](std::string_view text) {
    auto parsed = ParseQuantity(text);
    return parsed.ok() ? *parsed : -1;
  };
  EXPECT_EQ(value("10M"), 10'000'000);
  EXPECT_EQ(value("1Gi"), 1 << 30);
  EXPECT_EQ(value("1.5k"), 1500);
  EXPECT_EQ(value("2e6"), 2'000'000);
  EXPECT_EQ(value("2E+3"), 2000);
  EXPECT_EQ(value("1500m"), 2);
  EXPECT_EQ(value("0"), 0);
  EXPECT_EQ(value(".5k"), 500);
  for (const char* text : {"", "M", "-1", "1 M", "1.2.3", "1X", "1e", "1e99", "0x10", "1Kim",
                           "99999999999999999999", "100E"}) {
    EXPECT_EQ(value(text), -1) << text;
  }
}

TEST(CniArgs, MakesCapabilitiesOfWhatThePodAsksFor) {
  CniPod pod;
  EXPECT_TRUE(CniCapabilities(pod)->empty());
  pod.port_mappings = {{Protocol::kUdp, 53, 5353, "127.0.0.1"}, {Protocol::kTcp, 80, 0, ""}};
  pod.annotations = {{"kubernetes.io/ingress-bandwidth", "10M"}};
  auto capabilities = CniCapabilities(pod);
  ASSERT_TRUE(capabilities.ok()) << capabilities.error().message();
  EXPECT_EQ(capabilities->at("portMappings"), Json::parse(R"([{"hostPort":5353,
      "containerPort":53,"protocol":"udp","hostIP":"127.0.0.1"}])"));
  EXPECT_EQ(capabilities->at("bandwidth"),
            Json::parse(R"({"ingressRate":10000000,"ingressBurst":2147483647})"));
}

TEST(CniArgs, NamesTheBadField) {
  auto error = [](auto set) {
    CniPod pod;
    set(pod);
    auto capabilities = CniCapabilities(pod);
    auto args = CniArgs(pod);
    EXPECT_TRUE(capabilities.code() == Code::kInvalidArgument ||
                args.code() == Code::kInvalidArgument);
    return capabilities.ok() ? (args.ok() ? "ok" : args.error().message())
                             : capabilities.error().message();
  };
  auto port = [](int32_t container, int32_t host, std::string ip = "") {
    return [=](CniPod& pod) { pod.port_mappings = {{Protocol::kTcp, container, host, ip}}; };
  };
  EXPECT_THAT(error(port(80, 65536)), HasSubstr("port_mappings[0].host_port"));
  EXPECT_THAT(error(port(80, -1)), HasSubstr("host_port"));
  EXPECT_THAT(error(port(0, 80)), HasSubstr("container_port"));
  EXPECT_THAT(error(port(80, 80, "localhost")), HasSubstr("host_ip"));
  for (const char* rate : {"1", "x", "2P"}) {
    EXPECT_THAT(error([&](CniPod& pod) {
                  pod.annotations = {{"kubernetes.io/egress-bandwidth", rate}};
                }),
                HasSubstr("egress-bandwidth"));
  }
  EXPECT_THAT(error([](CniPod& pod) { pod.name = "a;K8S_POD_UID=x"; }), HasSubstr("metadata.name"));
  EXPECT_THAT(error([](CniPod& pod) { pod.namespace_ = "a=b"; }), HasSubstr("metadata.namespace"));
  EXPECT_THAT(error([](CniPod& pod) { pod.uid = "a\nb"; }), HasSubstr("metadata.uid"));
}

TEST(CniArgs, ListsThePodsNames) {
  CniPod pod;
  pod.id = "i";
  pod.name = "n";
  pod.namespace_ = "s";
  pod.uid = "u";
  EXPECT_EQ(*CniArgs(pod),
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=s;K8S_POD_NAME=n;K8S_POD_INFRA_CONTAINER_ID=i;"
            "K8S_POD_UID=u");
}

TEST(CniResult, GivesTheAddressesOfThePodsInterface) {
  auto ips = [](const char* text) {
    auto result = CniResultIps(Json::parse(text));
    return result.ok() ? *result : std::vector<std::string>{result.error().message()};
  };
  // 0.3.1 to 0.4.0: with "version".
  EXPECT_THAT(ips(R"({"interfaces":[{"name":"br"},{"name":"veth"},{"name":"eth0","sandbox":"/x"}],
                      "ips":[{"version":"4","address":"10.0.0.2/24","interface":2}]})"),
              ElementsAre("10.0.0.2"));
  // 1.0.0, dual stack; addresses of other interfaces are left out, those of none come last.
  EXPECT_THAT(ips(R"({"interfaces":[{"name":"eth0","sandbox":"/x"},{"name":"net1","sandbox":"/x"}],
                      "ips":[{"address":"10.9.0.1/8"},{"address":"fd00::5/64","interface":0},
                             {"address":"10.0.0.3/24","interface":0},
                             {"address":"10.1.0.3/24","interface":1}]})"),
              ElementsAre("fd00::5", "10.0.0.3", "10.9.0.1"));
  for (const char* bad :
       {"[]", "{}", R"({"ips":{}})", R"({"ips":[{}]})", R"({"ips":[{"address":"x/24"}]})",
        R"({"ips":[{"address":"10.0.0.1/24","interface":"a"}]})",
        R"({"ips":[{"address":"10.0.0.1/24","interface":9}]})", R"({"ips":[7]})"}) {
    EXPECT_FALSE(CniResultIps(Json::parse(bad)).ok()) << bad;
  }
}

class CniWatchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(root_.data()), nullptr);
    loop_ = *EventLoop::Start();
  }
  void TearDown() override {
    cni_.reset();
    loop_.reset();
    std::filesystem::remove_all(root_);
  }
  void Open() {
    auto cni = Cni::Open({root_ + "/net.d", {}, root_ + "/cache"}, *loop_);
    ASSERT_TRUE(cni.ok()) << cni.error().message();
    cni_ = *std::move(cni);
  }
  void Put(const std::string& name, const std::string& text) {
    std::ofstream(root_ + "/net.d/" + name) << text;
  }
  static std::string List(const std::string& name) {
    return R"({"cniVersion":"1.0.0","name":")" + name + R"(","plugins":[{"type":"bridge"}]})";
  }
  // Until the configuration in use contains `text`, or 5 s.
  bool Becomes(const std::string& text) {
    int64_t end = MonotonicNs() + 5'000'000'000;
    while (MonotonicNs() < end) {
      if (cni_->ConfigJson().find(text) != std::string::npos) return true;
      usleep(5000);
    }
    return false;
  }
  bool BecomesUnready() {
    int64_t end = MonotonicNs() + 5'000'000'000;
    while (MonotonicNs() < end && cni_->Ready().ok()) usleep(5000);
    return !cni_->Ready().ok();
  }

  std::string root_ = "/tmp/berth-cni-XXXXXX";
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Cni> cni_;
};

TEST_F(CniWatchTest, FollowsItsDirectory) {
  Open();
  Status ready = cni_->Ready();
  EXPECT_EQ(ready.code(), Code::kUnavailable);
  EXPECT_THAT(ready.error().message(), HasSubstr("does not exist"));
  EXPECT_EQ(cni_->ConfigJson(), "");

  std::filesystem::create_directory(root_ + "/net.d");
  EXPECT_THAT(cni_->Ready().error().message(), HasSubstr("has no *.conflist"));
  Put("20-b.conflist", "{");
  EXPECT_THAT(cni_->Ready().error().message(), HasSubstr("20-b.conflist: not valid JSON"));
  Put("30-c.conflist", List("third"));
  Put("README", List("none"));
  EXPECT_TRUE(Becomes("\"third\""));
  // An earlier name wins, also when it comes while another one is in use.
  Put("10-a.conflist", List("first"));
  EXPECT_TRUE(Becomes("\"first\""));
  std::filesystem::remove(root_ + "/net.d/10-a.conflist");
  EXPECT_TRUE(Becomes("\"third\""));
  std::filesystem::rename(root_ + "/net.d", root_ + "/old");
  EXPECT_TRUE(BecomesUnready());
  std::filesystem::create_directory(root_ + "/net.d");
  Put("1.conf", R"({"cniVersion":"1.0.0","name":"again","type":"ptp"})");
  EXPECT_TRUE(Becomes("\"again\""));
  std::filesystem::remove_all(root_ + "/net.d");
  EXPECT_TRUE(BecomesUnready());
}

TEST_F(CniWatchTest, AFifoOrAHugeFileIsNoConfiguration) {
  std::filesystem::create_directory(root_ + "/net.d");
  ASSERT_EQ(mkfifo((root_ + "/net.d/1.conf").c_str(), 0600), 0);
  Put("2.conf", std::string(2 << 20, ' '));
  Open();
  EXPECT_EQ(cni_->Ready().code(), Code::kUnavailable);
  Put("3.conflist", List("good"));
  EXPECT_TRUE(Becomes("\"good\""));
}

TEST_F(CniWatchTest, RefusesAPodThatIsNoFileName) {
  Open();
  CniPod pod;
  pod.id = "../x";
  EXPECT_EQ(cni_->Add(Context::Background(), pod).code(), Code::kInvalidArgument);
  EXPECT_EQ(cni_->Del(Context::Background(), pod).code(), Code::kInvalidArgument);
  pod.id = "x";
  EXPECT_EQ(cni_->Add(Context::Background(), pod).code(), Code::kUnavailable);
  EXPECT_TRUE(cni_->Del(Context::Background(), pod).ok());
  EXPECT_EQ(cni_->Check(Context::Background(), pod).code(), Code::kNotFound);
}

}  // namespace
}  // namespace berth::runtime
