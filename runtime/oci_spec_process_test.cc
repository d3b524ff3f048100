#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/capabilities.h"
#include "runtime/oci_spec_testing.h"

namespace berth::runtime {
namespace {

using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

TEST_F(OciSpecTest, CommandAndArgsFollowKubernetesTable) {
  EXPECT_THAT(MustBuild().process.args, ElementsAre("/bin/server", "--port", "80"));
  container_.args = {"-v"};
  EXPECT_THAT(MustBuild().process.args, ElementsAre("/bin/server", "-v"));
  container_.command = {"sh", "-c"};
  EXPECT_THAT(MustBuild().process.args, ElementsAre("sh", "-c", "-v"));
  container_.args.clear();
  EXPECT_THAT(MustBuild().process.args, ElementsAre("sh", "-c"));
}

TEST_F(OciSpecTest, NothingToRunIsAnError) {
  image_.entrypoint.clear();
  EXPECT_THAT(MustBuild().process.args, ElementsAre("--port", "80"));
  image_.cmd.clear();
  ExpectRefused(Code::kInvalidArgument, "nothing to run");
  container_.command = {""};
  ExpectRefused(Code::kInvalidArgument, "empty");
}

TEST_F(OciSpecTest, ArgumentsAreBoundedAndHaveNoNul) {
  container_.args = {std::string("a\0b", 3)};
  ExpectRefused(Code::kInvalidArgument, "args[0]: has a NUL");
  container_.args = {std::string(128 << 10, 'x')};
  ExpectRefused(Code::kInvalidArgument, "args[0]");
  container_.args = {std::string((128 << 10) - 1, 'x')};
  EXPECT_TRUE(Build().ok());
  container_.args = {};
  image_.cmd = {std::string(1 << 20, 'x')};
  ExpectRefused(Code::kInvalidArgument, "image's Cmd[0]");
}

TEST_F(OciSpecTest, TenMegabytesOfEnvironmentAreAnError) {
  for (int i = 0; i < 100; ++i) {
    container_.envs.push_back({StrCat("BIG", i), std::string(100'000, 'x')});
  }
  ExpectRefused(Code::kInvalidArgument, "envs");
}

TEST_F(OciSpecTest, EnvironmentIsLayered) {
  image_.env = {"PATH=/image/bin", "A=1", "B=2"};
  container_.envs = {{"B", "from pod"}, {"C", "\xff=x"}, {"B", "later"}};
  home_ = "/home/web";
  EXPECT_THAT(MustBuild().process.env, ElementsAre("PATH=/image/bin", "HOSTNAME=web-0", "A=1",
                                                   "B=later", "C=\xff=x", "HOME=/home/web"));
  container_.envs.push_back({"HOME", "/data"});
  EXPECT_THAT(MustBuild().process.env, Contains("HOME=/data"));
}

TEST_F(OciSpecTest, EnvironmentHasDefaults) {
  container_.tty = true;
  EXPECT_THAT(MustBuild().process.env,
              ElementsAre("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                          "HOSTNAME=web-0", "TERM=xterm", "HOME=/"));
}

TEST_F(OciSpecTest, HostnameOfTheNodeForItsNetwork) {
  paths_.uts_ns = paths_.net_ns = "";
  pod_.security.namespaces.network = NamespaceMode::kNode;
  char name[256] = {};
  ASSERT_EQ(gethostname(name, sizeof name - 1), 0);
  EXPECT_THAT(MustBuild().process.env, Contains(StrCat("HOSTNAME=", name)));
}

TEST_F(OciSpecTest, MalformedImageVariablesReachNothing) {
  ASSERT_EQ(setenv("BERTH_TEST_SECRET", "s3cret", 1), 0);
  image_.env = {"BERTH_TEST_SECRET", "BERTH_*", "*", "", "=x", "GOOD=1"};
  std::vector<std::string> env = MustBuild().process.env;
  EXPECT_THAT(env, ElementsAre(StartsWith("PATH="), "HOSTNAME=web-0", "GOOD=1", "HOME=/"));
  EXPECT_THAT(env, Each(Not(::testing::HasSubstr("s3cret"))));
}

TEST_F(OciSpecTest, VariableNamesAreChecked) {
  container_.envs = {{"OK", ""}, {"", "x"}};
  ExpectRefused(Code::kInvalidArgument, "envs[1].key");
  container_.envs = {{"A=B", "x"}};
  ExpectRefused(Code::kInvalidArgument, "envs[0].key");
  container_.envs = {{"A", std::string("x\0y", 3)}};
  ExpectRefused(Code::kInvalidArgument, "envs[0] (A).value");
  container_.envs = {{"HOME", "/x\nroot2::0:0::/:/bin/sh"}};
  ExpectRefused(Code::kInvalidArgument, "HOME");
  container_.envs.clear();
  image_.env = {"HOME=/x\rroot2::0:0::/:/bin/sh"};
  ExpectRefused(Code::kInvalidArgument, "HOME");
}

TEST_F(OciSpecTest, WorkingDirectory) {
  EXPECT_EQ(MustBuild().process.cwd, "/");
  image_.working_dir = "/srv//app/./";
  EXPECT_EQ(MustBuild().process.cwd, "/srv/app");
  container_.working_dir = "/data";
  EXPECT_EQ(MustBuild().process.cwd, "/data");
  container_.working_dir = "data";
  ExpectRefused(Code::kInvalidArgument, "working_dir");
  container_.working_dir = "";
  for (const char* door : {"/proc/self/fd/7", "/proc", "//proc/./1/cwd", "/dev/fd/8", "/a/../proc",
                           "proc/self/fd/3", "/x/../../proc/self/fd/9"}) {
    image_.working_dir = door;
    ExpectRefused(Code::kInvalidArgument, "image's WorkingDir");
  }
  image_.working_dir = "/process";
  EXPECT_TRUE(Build().ok());
}

TEST_F(OciSpecTest, CapabilitiesByDefaultAreFourteenAndNotInheritable) {
  OciCapabilities caps = MustBuild().process.capabilities;
  std::vector<std::string> expected = CapabilityNames(DefaultCapabilities() & OwnBoundingSet());
  EXPECT_EQ(caps.bounding, expected);
  EXPECT_EQ(caps.effective, expected);
  EXPECT_EQ(caps.permitted, expected);
  EXPECT_THAT(caps.inheritable, IsEmpty());
  EXPECT_THAT(caps.ambient, IsEmpty());
}

TEST_F(OciSpecTest, CapabilitiesAreAddedAndDropped) {
  container_.security.capabilities = Capabilities{{}, {"ALL"}, {}};
  EXPECT_THAT(MustBuild().process.capabilities.bounding, IsEmpty());

  container_.security.capabilities = Capabilities{{"net_bind_service"}, {"all"}, {}};
  EXPECT_THAT(MustBuild().process.capabilities.bounding, ElementsAre("CAP_NET_BIND_SERVICE"));

  container_.security.capabilities = Capabilities{{}, {"CAP_KILL", "MKNOD"}, {}};
  EXPECT_THAT(MustBuild().process.capabilities.effective,
              Not(::testing::AnyOf(Contains("CAP_KILL"), Contains("CAP_MKNOD"))));

  container_.security.capabilities = Capabilities{{"ALL"}, {"CAP_KILL"}, {}};
  EXPECT_EQ(MustBuild().process.capabilities.bounding,
            CapabilityNames(OwnBoundingSet() & ~(1ull << CAP_KILL)));

  container_.security.capabilities = Capabilities{{"CAP_KILL"}, {"CAP_KILL"}, {}};
  EXPECT_THAT(MustBuild().process.capabilities.bounding, Not(Contains("CAP_KILL")));
}

TEST_F(OciSpecTest, AmbientCapabilitiesAreInAllSets) {
  container_.security.capabilities = Capabilities{{}, {"ALL"}, {"NET_BIND_SERVICE"}};
  OciCapabilities caps = MustBuild().process.capabilities;
  for (const auto* set :
       {&caps.bounding, &caps.effective, &caps.permitted, &caps.inheritable, &caps.ambient}) {
    EXPECT_THAT(*set, ElementsAre("CAP_NET_BIND_SERVICE"));
  }
  container_.security.capabilities = Capabilities{{}, {"KILL"}, {"KILL"}};
  ExpectRefused(Code::kInvalidArgument, "add_ambient");
}

TEST_F(OciSpecTest, UnknownCapabilitiesAreErrors) {
  container_.security.capabilities = Capabilities{{"FLY"}, {}, {}};
  ExpectRefused(Code::kInvalidArgument, "capabilities.add: unknown capability \"FLY\"");
  container_.security.capabilities = Capabilities{{}, {"FLY"}, {}};
  ExpectRefused(Code::kInvalidArgument, "capabilities.drop");
}

TEST_F(OciSpecTest, PrivilegedHasWhatTheDaemonHas) {
  container_.security.privileged = true;
  ExpectRefused(Code::kInvalidArgument, "privileged");
  MakePrivileged();
  container_.security.capabilities = Capabilities{{}, {"ALL"}, {}};
  EXPECT_EQ(MustBuild().process.capabilities.bounding, CapabilityNames(OwnBoundingSet()));
}

const OciRlimit& LimitOf(const OciSpec& spec, const std::string& type) {
  const auto& limits = spec.process.rlimits;
  return *std::find_if(limits.begin(), limits.end(),
                       [&](const OciRlimit& limit) { return limit.type == type; });
}

TEST_F(OciSpecTest, EveryRlimitIsSetToSomethingThatThisProcessMaySet) {
  OciSpec spec = MustBuild();
  EXPECT_EQ(spec.process.rlimits.size(), static_cast<size_t>(RLIM_NLIMITS));
  EXPECT_EQ(LimitOf(spec, "RLIMIT_NOFILE").soft, 1024u);
  EXPECT_EQ(LimitOf(spec, "RLIMIT_CORE").soft, 0u);

  const OciRlimit& files = LimitOf(spec, "RLIMIT_NOFILE");
  EXPECT_LE(files.hard, 524288u);
  pid_t pid = fork();
  if (pid == 0) {
    rlimit limit{files.soft, files.hard};
    _exit(setrlimit(RLIMIT_NOFILE, &limit) == 0 ? 0 : errno);
  }
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(OciSpecTest, OomScoreIsBounded) {
  container_.resources.oom_score_adj = -997;
  EXPECT_EQ(MustBuild().process.oom_score_adj, -997);
  container_.resources.oom_score_adj = 1001;
  ExpectRefused(Code::kInvalidArgument, "oom_score_adj");
}

TEST_F(OciSpecTest, UserAndNoNewPrivs) {
  user_ = {1000, 1001, {1001, 44}};
  container_.security.no_new_privs = true;
  OciProcess process = MustBuild().process;
  EXPECT_EQ(process.user.uid, 1000);
  EXPECT_EQ(process.user.gid, 1001);
  EXPECT_THAT(process.user.supplemental_groups, ElementsAre(1001, 44));
  EXPECT_TRUE(process.no_new_privileges);
}

}  // namespace
}  // namespace berth::runtime
