// Needs root and the CNI plugins (containernetworking-plugins). The test process moves into a
// network namespace of its own, which plays the host: bridge and iptables rules end with it.
#include "runtime/cni.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/file.h"
#include "base/json.h"
#include "base/process.h"
#include "base/time.h"
#include "runtime/netns.h"

namespace berth::runtime {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kPlugins = "/usr/lib/cni";

std::string Output(std::vector<std::string> args) {
  SpawnOptions options;
  options.path = args[0];
  options.args = std::move(args);
  options.env = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin"};
  auto output = RunProgram(Context::WithTimeoutMs(10'000), options, "");
  return output.ok() ? output->out + output->err : output.error().message();
}

class CniTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root";
    if (access("/usr/lib/cni/bridge", X_OK) != 0) GTEST_SKIP() << "no CNI plugins in " << kPlugins;
    ASSERT_EQ(unshare(CLONE_NEWNET), 0);
    if (const std::string nat = Output({"/usr/sbin/iptables", "-t", "nat", "-N", "BERTH-PROBE"});
        nat.find("not supported") != std::string::npos) {
      GTEST_SKIP() << "this kernel has no NAT, which the plugins need";
    }
    ASSERT_NE(mkdtemp(root_.data()), nullptr);
    for (const char* dir : {"/net.d", "/bin"}) std::filesystem::create_directory(root_ + dir);
    loop_ = *EventLoop::Start();
    pod_.id = NewId();
    pod_.name = "web";
    pod_.namespace_ = "default";
    pod_.uid = "u1";
    auto made = CreatePodNamespaces(root_ + "/ns", {});
    ASSERT_TRUE(made.ok()) << made.error().message();
    pod_.netns_path = made->net;
  }
  void TearDown() override {
    if (!loop_) return;
    cni_.reset();
    loop_.reset();
    EXPECT_TRUE(RemovePodNamespaces(root_ + "/ns").ok());
    std::filesystem::remove_all(root_);
  }

  // `more` plugins after bridge, each with a comma in front.
  void Configure(const std::string& more, const std::string& version = "1.0.0") {
    std::ofstream(root_ + "/net.d/10-test.conflist")
        << R"({"cniVersion":")" << version << R"(","name":"testnet","plugins":[{"type":"bridge",
           "bridge":"brtest0","isGateway":true,"ipMasq":true,"ipam":{"type":"host-local",
           "dataDir":")"
        << root_ << R"(/ipam","ranges":[[{"subnet":"10.213.0.0/24"}]],
           "routes":[{"dst":"0.0.0.0/0"}]}})"
        << more << "]}";
  }
  // A plugin of our own: a shell script.
  void Script(const std::string& name, const std::string& body) {
    std::string path = root_ + "/bin/" + name;
    std::ofstream(path) << "#!/bin/sh\n" << body << "\n";
    chmod(path.c_str(), 0755);
  }
  void Open(int64_t timeout_ms = 30'000) {
    cni_.reset();
    auto cni = Cni::Open(
        {root_ + "/net.d", {root_ + "/bin", kPlugins}, root_ + "/cache", timeout_ms}, *loop_);
    ASSERT_TRUE(cni.ok()) << cni.error().message();
    cni_ = *std::move(cni);
  }
  // Files of addresses that host-local has given out.
  std::vector<std::string> Addresses() const {
    std::vector<std::string> names;
    if (!std::filesystem::exists(root_ + "/ipam/testnet")) return names;
    for (const auto& entry : std::filesystem::directory_iterator(root_ + "/ipam/testnet")) {
      if (entry.path().filename().string().starts_with("10."))
        names.push_back(entry.path().filename());
    }
    return names;
  }
  std::string Log() const {
    auto text = ReadFile(root_ + "/log");
    return text.ok() ? *text : "";
  }
  void ExpectNothingLeft() {
    EXPECT_THAT(Addresses(), IsEmpty());
    EXPECT_THAT(*cni_->ListCached(), IsEmpty());
    EXPECT_THAT(Output({"/usr/sbin/ip", "-o", "link"}), Not(HasSubstr("veth")));
    EXPECT_THAT(Output({"/usr/sbin/iptables", "-w", "-t", "nat", "-S"}),
                Not(HasSubstr("10.213.0")));
  }

  std::string root_ = "/tmp/berth-cni-XXXXXX";
  std::unique_ptr<EventLoop> loop_;
  std::unique_ptr<Cni> cni_;
  CniPod pod_;
  const Context context_ = Context::WithTimeoutMs(60'000);
  const std::string all_ =
      R"(,{"type":"portmap","capabilities":{"portMappings":true}},
          {"type":"bandwidth","capabilities":{"bandwidth":true}})";
};

TEST_F(CniTest, AddDelWithPortsAndBandwidth) {
  Configure(all_);
  Open();
  pod_.port_mappings = {{Protocol::kTcp, 80, 18080, ""}};
  pod_.annotations = {{"kubernetes.io/ingress-bandwidth", "10M"}};
  auto added = cni_->Add(context_, pod_);
  ASSERT_TRUE(added.ok()) << added.error().message();
  EXPECT_THAT(added->ips, ElementsAre("10.213.0.2"));
  EXPECT_TRUE(ParseJson(added->json).ok());
  EXPECT_THAT(
      Output({"/usr/bin/nsenter", "--net=" + pod_.netns_path, "/usr/sbin/ip", "-o", "addr"}),
      HasSubstr("10.213.0.2/24"));
  EXPECT_THAT(Output({"/usr/sbin/iptables", "-w", "-t", "nat", "-S"}), HasSubstr("18080"));
  EXPECT_THAT(Output({"/usr/sbin/tc", "qdisc"}), HasSubstr("tbf"));
  EXPECT_THAT(*cni_->ListCached(), ElementsAre(pod_.id));
  // A daemon that comes later, with another configuration in place, undoes what was made.
  std::filesystem::remove(root_ + "/net.d/10-test.conflist");
  Open();
  EXPECT_FALSE(cni_->Ready().ok());
  CniPod known_by_id;
  known_by_id.id = pod_.id;
  Status deleted = cni_->Del(context_, known_by_id);
  EXPECT_TRUE(deleted.ok()) << deleted.error().message();
  ExpectNothingLeft();
  EXPECT_THAT(Output({"/usr/sbin/iptables", "-w", "-t", "nat", "-S"}), Not(HasSubstr("18080")));
  EXPECT_TRUE(cni_->Del(context_, pod_).ok());
}

TEST_F(CniTest, CheckFindsWhatIsGone) {
  Configure("");
  Open();
  ASSERT_TRUE(cni_->Add(context_, pod_).ok());
  ASSERT_TRUE(cni_->Check(context_, pod_).ok());
  Output(
      {"/usr/bin/nsenter", "--net=" + pod_.netns_path, "/usr/sbin/ip", "route", "del", "default"});
  Status checked = cni_->Check(context_, pod_);
  EXPECT_FALSE(checked.ok());
  EXPECT_THAT(checked.error().message(), HasSubstr("plugin bridge: CHECK: exit 1"));
  EXPECT_TRUE(cni_->Del(context_, pod_).ok());
  ExpectNothingLeft();
}

TEST_F(CniTest, DelWorksWithoutTheNamespace) {
  Configure(all_);
  Open();
  pod_.port_mappings = {{Protocol::kTcp, 80, 18080, ""}};
  ASSERT_TRUE(cni_->Add(context_, pod_).ok());
  ASSERT_TRUE(RemovePodNamespaces(root_ + "/ns").ok());
  Status deleted = cni_->Del(context_, pod_);
  EXPECT_TRUE(deleted.ok()) << deleted.error().message();
  EXPECT_THAT(Addresses(), IsEmpty());
  EXPECT_THAT(*cni_->ListCached(), IsEmpty());
}

TEST_F(CniTest, AFailingPluginUndoesTheOnesBefore) {
  Script("broken", R"(cat >/dev/null; echo "$CNI_COMMAND" >>)" + root_ + R"(/log
      [ "$CNI_COMMAND" = DEL ] && exit 0
      echo '{"cniVersion":"1.0.0","code":7,"msg":"no luck","details":"today"}'; exit 1)");
  Configure(R"(,{"type":"broken"})");
  Open();
  auto added = cni_->Add(context_, pod_);
  EXPECT_EQ(added.code(), Code::kInternal);
  EXPECT_EQ(added.error().message(), "plugin broken: ADD: exit 1: no luck; today");
  EXPECT_EQ(Log(), "ADD\nDEL\n");
  ExpectNothingLeft();
}

TEST_F(CniTest, AMissingPluginUndoesTheOnesBefore) {
  Configure(R"(,{"type":"nosuchplugin"})");
  Open();
  auto added = cni_->Add(context_, pod_);
  EXPECT_EQ(added.code(), Code::kFailedPrecondition);
  EXPECT_THAT(added.error().message(), HasSubstr("plugin nosuchplugin: ADD: no such program in"));
  ExpectNothingLeft();
}

TEST_F(CniTest, APluginThatCrashesOrTalksNonsenseIsUndone) {
  Script("odd", R"(cat >/dev/null; [ "$CNI_COMMAND" = DEL ] && exit 0
      if [ -e )" + root_ +
                    R"(/crash ]; then echo boom >&2; kill -SEGV $$; fi; echo nonsense)");
  Configure(R"(,{"type":"odd"})");
  Open();
  auto added = cni_->Add(context_, pod_);
  EXPECT_THAT(added.error().message(), HasSubstr("plugin odd: result: not valid JSON"));
  ExpectNothingLeft();
  std::ofstream(root_ + "/crash").close();
  added = cni_->Add(context_, pod_);
  EXPECT_THAT(added.error().message(), HasSubstr("plugin odd: ADD: exit 139: boom"));
  ExpectNothingLeft();
}

TEST_F(CniTest, AHangingPluginIsKilledWithItsChildren) {
  Script("stuck", R"(cat >/dev/null; [ "$CNI_COMMAND" = DEL ] && exit 0
      sleep 1000 & echo $! >)" +
                      root_ + R"(/log; wait)");
  Configure(R"(,{"type":"stuck"})");
  Open(/*timeout_ms=*/500);
  int64_t begin = MonotonicNs();
  auto added = cni_->Add(context_, pod_);
  EXPECT_LT(MonotonicNs() - begin, 10'000'000'000);
  EXPECT_EQ(added.code(), Code::kDeadlineExceeded);
  EXPECT_THAT(added.error().message(), HasSubstr("plugin stuck: ADD"));
  ExpectNothingLeft();
  std::string sleeper = StrCat("/proc/", Trim(Log()));
  ASSERT_NE(sleeper, "/proc/");
  for (int i = 0; i < 500 && std::filesystem::exists(sleeper); ++i) usleep(10'000);
  EXPECT_FALSE(std::filesystem::exists(sleeper));
}

TEST_F(CniTest, AFailedUndoIsKeptForLater) {
  Script("sticky", R"(cat >/dev/null; [ -e )" + root_ + R"(/free ] && exit 0
      echo '{"code":11,"msg":"busy"}'; exit 1)");
  Configure(R"(,{"type":"sticky"})");
  Open();
  auto added = cni_->Add(context_, pod_);
  EXPECT_EQ(added.code(), Code::kUnavailable);
  EXPECT_THAT(added.error().message(), HasSubstr("undo: plugin sticky: DEL: exit 1: busy"));
  EXPECT_THAT(Addresses(), IsEmpty());  // bridge's DEL ran all the same
  EXPECT_THAT(*cni_->ListCached(), ElementsAre(pod_.id));
  EXPECT_EQ(cni_->Check(context_, pod_).code(), Code::kFailedPrecondition);
  Open();
  EXPECT_EQ(cni_->Del(context_, pod_).code(), Code::kUnavailable);
  std::ofstream(root_ + "/free").close();
  EXPECT_TRUE(cni_->Del(context_, pod_).ok());
  ExpectNothingLeft();
}

TEST_F(CniTest, ADaemonThatDiedWithinAddIsCleanedUpAfter) {
  Configure("");
  Open();
  ASSERT_TRUE(cni_->Add(context_, pod_).ok());
  // The record as it is before the result is there.
  std::string file = StrCat(root_, "/cache/", pod_.id, ".json");
  Json record = *ParseJson(*ReadFile(file));
  record["result"] = nullptr;
  std::ofstream(file) << ToText(record);
  Open();
  Status deleted = cni_->Del(context_, pod_);
  EXPECT_TRUE(deleted.ok()) << deleted.error().message();
  ExpectNothingLeft();

  ASSERT_TRUE(cni_->Add(context_, pod_).ok());
  std::ofstream(file) << "{";  // damaged: the configuration of today is used
  deleted = cni_->Del(context_, pod_);
  EXPECT_TRUE(deleted.ok()) << deleted.error().message();
  ExpectNothingLeft();
}

TEST_F(CniTest, PluginsGetWhatTheSpecSays) {
  Script("spy", R"(echo "$CNI_COMMAND" >>)" + root_ + R"(/log; cat >)" + root_ +
                    R"(/stdin.$CNI_COMMAND; env | sort >)" + root_ + R"(/env
      echo '{"cniVersion":"0.4.0","interfaces":[{"name":"eth0","sandbox":"/x"}],)" +
                    R"("ips":[{"version":"4","address":"10.7.0.1/24","interface":0}]}')");
  std::ofstream(root_ + "/net.d/10-test.conflist")
      << R"({"cniVersion":"0.4.0","name":"n","plugins":[
      {"type":"spy","capabilities":{"portMappings":true,"bandwidth":false},"keep":[1]},
      {"type":"portmap","capabilities":{"portMappings":true},"snat":true},{"type":"spy"}]})";
  Open();
  auto added = cni_->Add(context_, pod_);
  ASSERT_TRUE(added.ok()) << added.error().message();
  EXPECT_THAT(added->ips, ElementsAre("10.7.0.1"));
  // portmap had nothing to do: the second spy got the first one's result.
  Json input = *ParseJson(*ReadFile(root_ + "/stdin.ADD"));
  EXPECT_EQ(input["name"], "n");
  EXPECT_EQ(input["cniVersion"], "0.4.0");
  EXPECT_EQ(input["prevResult"]["ips"][0]["address"], "10.7.0.1/24");
  EXPECT_FALSE(input.contains("runtimeConfig"));
  EXPECT_FALSE(input.contains("capabilities"));
  std::string env = *ReadFile(root_ + "/env");
  EXPECT_THAT(env, HasSubstr(StrCat("CNI_CONTAINERID=", pod_.id, "\n")));
  EXPECT_THAT(env, HasSubstr("CNI_IFNAME=eth0\n"));
  EXPECT_THAT(env, HasSubstr(StrCat("CNI_NETNS=", pod_.netns_path, "\n")));
  EXPECT_THAT(env, HasSubstr("K8S_POD_NAME=web;"));
  EXPECT_THAT(env, Not(HasSubstr("HOME=")));
  EXPECT_TRUE(cni_->Del(context_, pod_).ok());
  input = *ParseJson(*ReadFile(root_ + "/stdin.DEL"));
  EXPECT_EQ(input["keep"], Json::parse("[1]"));  // the first plugin came last
  EXPECT_TRUE(input.contains("prevResult"));
  EXPECT_EQ(Log(), "ADD\nADD\nDEL\nDEL\n");
}

}  // namespace
}  // namespace berth::runtime
