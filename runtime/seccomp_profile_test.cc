#include "runtime/seccomp_profile.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <vector>

#include "base/file.h"
#include "base/json.h"
#include "base/time.h"
#include "runtime/capabilities.h"

namespace berth::runtime {
namespace {

using ::testing::HasSubstr;

// Newer than Debian 12's headers; the same numbers on every architecture.
constexpr long kFchmodat2 = 452;
constexpr long kListmount = 458;

struct Call {
  long number;
  std::array<long, 6> args = {};
};
// What a call gave: 0, or the errno.
constexpr int kKilled = -1;

// The child's side. Raw calls only: what a library adds, such as a sanitizer's, may be denied.
[[noreturn]] void MakeCalls(const SeccompFilter& filter, const std::vector<Call>& calls, int out) {
  sock_fprog program{static_cast<unsigned short>(filter.size() / sizeof(sock_filter)),
                     reinterpret_cast<sock_filter*>(const_cast<char*>(filter.data()))};
  bool filtered = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
                  syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
  for (const Call& call : calls) {
    if (!filtered) break;
    const auto& a = call.args;
    int outcome = syscall(call.number, a[0], a[1], a[2], a[3], a[4], a[5]) < 0 ? errno : 0;
    syscall(SYS_write, out, &outcome, sizeof outcome);
  }
  while (true) syscall(SYS_exit_group, filtered ? 0 : 1);
}

// Makes the calls in a child under the filter, and returns what each gave.
std::vector<int> CallUnder(const SeccompFilter& filter, const std::vector<Call>& calls) {
  auto pipe = MakePipe();
  EXPECT_TRUE(pipe.ok());
  pid_t pid = fork();
  if (pid == 0) MakeCalls(filter, calls, pipe->write.get());
  pipe->write.Reset();
  auto bytes = ReadToEnd(pipe->read.get(), 1 << 16);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0) << status;
  std::vector<int> outcomes(bytes->size() / sizeof(int));
  memcpy(outcomes.data(), bytes->data(), outcomes.size() * sizeof(int));
  outcomes.resize(calls.size(), kKilled);
  return outcomes;
}

std::vector<std::string> DefaultCaps() {
  return CapabilityNames(DefaultCapabilities());
}

SeccompFilter DefaultFilter(const std::vector<std::string>& capabilities) {
  static SeccompProfiles profiles;
  auto filter = profiles.Get({ProfileType::kRuntimeDefault, ""}, capabilities);
  EXPECT_TRUE(filter.ok()) << filter.error().message();
  return **filter;
}

int CallUnderDefault(const Call& call) {
  return CallUnder(DefaultFilter(DefaultCaps()), {call})[0];
}

TEST(SeccompDefaultTest, DangerousCallsAreDenied) {
  EXPECT_EQ(CallUnderDefault({SYS_unshare, {CLONE_NEWUSER}}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_unshare, {CLONE_NEWNS}}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_mount}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_fsopen}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_setns, {-1}}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_keyctl, {0, -3, 0}}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_add_key}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_io_uring_setup, {8}}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_bpf, {-1}}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_perf_event_open}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_userfaultfd}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_kexec_load}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_init_module}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_pivot_root}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_open_by_handle_at, {-1}}), EPERM);
}

TEST(SeccompDefaultTest, SocketFamiliesThatReachTooFarAreDenied) {
  EXPECT_EQ(CallUnderDefault({SYS_socket, {AF_ALG, SOCK_SEQPACKET, 0}}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_socket, {AF_VSOCK, SOCK_STREAM, 0}}), EPERM);
  // The kernel looks at 32 bits of the family, the filter at 64.
  EXPECT_EQ(CallUnderDefault({SYS_socket, {AF_ALG | 1L << 32, SOCK_SEQPACKET, 0}}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_socket, {AF_UNIX, SOCK_STREAM, 0}}), 0);
  EXPECT_EQ(CallUnderDefault({SYS_socket, {AF_INET, SOCK_STREAM, 0}}), 0);
  EXPECT_EQ(CallUnderDefault({SYS_socket, {AF_INET6, SOCK_DGRAM, 0}}), 0);
  EXPECT_EQ(CallUnderDefault({SYS_socket, {AF_NETLINK, SOCK_RAW, 0}}), 0);
}

TEST(SeccompDefaultTest, NewNamespacesByCloneAreDeniedAndThreadsAreNot) {
  EXPECT_EQ(CallUnderDefault({SYS_clone, {CLONE_NEWUSER | SIGCHLD, 0, 0}}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_clone, {CLONE_NEWNET | SIGCHLD, 0, 0}}), EPERM);
  EXPECT_EQ(CallUnderDefault({SYS_clone3, {0, 0, 0}}), ENOSYS);
  EXPECT_EQ(CallUnderDefault({SYS_clone, {CLONE_VFORK | SIGCHLD, 0, 0}}), 0);
}

TEST(SeccompDefaultTest, OrdinaryCallsWork) {
  std::vector<int> outcomes =
      CallUnder(DefaultFilter(DefaultCaps()),
                {{SYS_getpid},
                 {SYS_openat, {AT_FDCWD, reinterpret_cast<long>("/"), O_RDONLY}},
                 {SYS_memfd_create, {reinterpret_cast<long>("x"), 0, 0}},
                 {kFchmodat2, {AT_FDCWD, reinterpret_cast<long>("/nonexistent"), 0}},
                 {SYS_landlock_create_ruleset, {0, 0, 1}},
                 {SYS_chroot, {reinterpret_cast<long>("/nonexistent")}},
                 {SYS_personality, {0xffffffff}}});
  EXPECT_EQ(outcomes[0], 0);
  EXPECT_EQ(outcomes[1], 0);
  EXPECT_EQ(outcomes[2], 0);
  EXPECT_EQ(outcomes[3], ENOENT);
  EXPECT_NE(outcomes[4], EPERM);
  EXPECT_EQ(outcomes[5], ENOENT);
  EXPECT_EQ(outcomes[6], 0);
}

TEST(SeccompDefaultTest, CallsNewerThanTheProfileDoNotExist) {
  EXPECT_EQ(CallUnderDefault({4000}), ENOSYS);
  // Known to the profile and to the kernel, but not denied: unknown to this libseccomp at most.
  int outcome = CallUnderDefault({kListmount});
  EXPECT_TRUE(outcome == ENOSYS || outcome == EFAULT || outcome == EINVAL) << outcome;
}

TEST(SeccompDefaultTest, CapabilitiesOpenTheirCalls) {
  std::vector<std::string> caps = DefaultCaps();
  caps.push_back("CAP_SYS_ADMIN");
  SeccompFilter admin = DefaultFilter(caps);
  EXPECT_EQ(CallUnder(admin, {{SYS_unshare, {0}}})[0], 0);
  EXPECT_NE(CallUnder(admin, {{SYS_clone3, {0, 0, 0}}})[0], ENOSYS);
  EXPECT_EQ(CallUnder(admin, {{SYS_setns, {-1}}})[0], EBADF);
  // But no capability opens these.
  EXPECT_EQ(CallUnder(admin, {{SYS_keyctl, {0, -3, 0}}})[0], EPERM);
  EXPECT_EQ(CallUnder(admin, {{SYS_io_uring_setup, {8}}})[0], EPERM);
  EXPECT_EQ(CallUnder(admin, {{SYS_socket, {AF_ALG, SOCK_SEQPACKET, 0}}})[0], EPERM);

  SeccompFilter none = DefaultFilter({});
  EXPECT_EQ(CallUnder(none, {{SYS_chroot, {reinterpret_cast<long>("/nonexistent")}}})[0], EPERM);
  SeccompFilter reader = DefaultFilter({"CAP_DAC_READ_SEARCH"});
  EXPECT_NE(CallUnder(reader, {{SYS_open_by_handle_at, {-1}}})[0], EPERM);
}

TEST(SeccompProfilesTest, AFilterIsCompiledOnce) {
  SeccompProfiles profiles;
  SecurityProfile runtime_default{ProfileType::kRuntimeDefault, ""};
  int64_t begin = MonotonicNs();
  auto first = profiles.Get(runtime_default, DefaultCaps());
  int64_t compiled = MonotonicNs();
  auto second = profiles.Get(runtime_default, DefaultCaps());
  int64_t cached = MonotonicNs();
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->get(), second->get());
  RecordProperty("compile_us", static_cast<int>((compiled - begin) / 1000));
  RecordProperty("cached_us", static_cast<int>((cached - compiled) / 1000));
  RecordProperty("instructions", static_cast<int>((*first)->size() / sizeof(sock_filter)));

  // A capability that no rule refers to makes no other filter; one that a rule refers to does.
  auto fewer = profiles.Get(runtime_default, {"CAP_SYS_CHROOT", "CAP_CHOWN"});
  ASSERT_TRUE(fewer.ok());
  EXPECT_EQ(fewer->get(), first->get());
  auto admin = profiles.Get(runtime_default, {"CAP_SYS_ADMIN"});
  ASSERT_TRUE(admin.ok());
  EXPECT_NE(admin->get(), first->get());
}

TEST(SeccompProfilesTest, UnconfinedIsNoFilter) {
  SeccompProfiles profiles;
  auto filter = profiles.Get({ProfileType::kUnconfined, ""}, {});
  ASSERT_TRUE(filter.ok());
  EXPECT_EQ(filter->get(), nullptr);
}

class LocalhostTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string path = StrCat(::testing::TempDir(), "seccomp_XXXXXX");
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    directory_ = path;
    file_ = StrCat(path, "/profile.json");
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  Result<std::shared_ptr<const SeccompFilter>> Load(std::string_view json) {
    UniqueFd directory(open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    EXPECT_TRUE(AtomicWriteFileAt(directory.get(), "profile.json", json, 0644).ok());
    return profiles_.Get({ProfileType::kLocalhost, file_}, {"CAP_CHOWN"});
  }
  // InvalidArgument, with these words in it.
  void ExpectInvalid(std::string_view json, std::string_view words) {
    auto filter = Load(json);
    ASSERT_EQ(filter.code(), Code::kInvalidArgument) << json;
    EXPECT_THAT(filter.error().message(), HasSubstr(std::string(words)));
    EXPECT_THAT(filter.error().message(), HasSubstr(file_));
  }

  SeccompProfiles profiles_;
  std::string directory_, file_;
};

TEST_F(LocalhostTest, AProfileInTheRuntimeSpecsFormWorks) {
  auto filter = Load(
      R"({"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_AARCH64"],
          "syscalls":[{"names":["chmod","fchmodat","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":5},
                      {"names":["socket"],"action":"SCMP_ACT_ERRNO",
                       "args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},
                               {"index":1,"value":2,"op":"SCMP_CMP_EQ"}]}]})");
  ASSERT_TRUE(filter.ok()) << filter.error().message();
  std::vector<int> outcomes = CallUnder(**filter, {{SYS_mkdirat, {-1, 0, 0}},
                                                   {SYS_unshare, {0}},
                                                   {SYS_socket, {AF_UNIX, SOCK_DGRAM, 0}},
                                                   {SYS_socket, {AF_UNIX, SOCK_STREAM, 0}},
                                                   {4000}});
  EXPECT_EQ(outcomes, (std::vector<int>{5, 0, EPERM, 0, ENOSYS}));
}

TEST_F(LocalhostTest, KillKills) {
  auto filter = Load(
      R"({"defaultAction":"SCMP_ACT_ALLOW",
          "syscalls":[{"name":"getppid","action":"SCMP_ACT_KILL_PROCESS"}]})");
  ASSERT_TRUE(filter.ok()) << filter.error().message();
  EXPECT_EQ(CallUnder(**filter, {{SYS_getpid}, {SYS_getppid}, {SYS_getpid}}),
            (std::vector<int>{0, kKilled, kKilled}));
}

TEST_F(LocalhostTest, AnEditedFileCounts) {
  auto before = Load(R"({"defaultAction":"SCMP_ACT_ALLOW"})");
  ASSERT_TRUE(before.ok());
  EXPECT_EQ(CallUnder(**before, {{SYS_getppid}})[0], 0);
  auto after = Load(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":
      [{"names":["getppid"],"action":"SCMP_ACT_ERRNO","errnoRet":11}]})");
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(CallUnder(**after, {{SYS_getppid}})[0], EAGAIN);
}

TEST_F(LocalhostTest, UnknownCallsAreSkippedWhereThatIsSafe) {
  auto filter = Load(R"({"defaultAction":"SCMP_ACT_ERRNO","syscalls":
      [{"names":["frobnicate","write","exit_group","getpid"],"action":"SCMP_ACT_ALLOW"}]})");
  ASSERT_TRUE(filter.ok()) << filter.error().message();
  EXPECT_EQ(CallUnder(**filter, {{SYS_getpid}, {SYS_getppid}}), (std::vector<int>{0, EPERM}));
  ExpectInvalid(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":
      [{"names":["frobnicate"],"action":"SCMP_ACT_ERRNO"}]})",
                "frobnicate");
}

TEST_F(LocalhostTest, WrongProfilesSayWhatIsWrong) {
  ExpectInvalid("", "JSON");
  ExpectInvalid("[]", "JSON object");
  ExpectInvalid("{}", "defaultAction");
  ExpectInvalid(R"({"defaultAction":"SCMP_ACT_DANCE"})", "SCMP_ACT_DANCE");
  ExpectInvalid(R"({"defaultAction":"SCMP_ACT_ALLOW","architectures":["VAX"]})", "VAX");
  ExpectInvalid(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":{}})", "syscalls");
  ExpectInvalid(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[7]})", "syscalls[0]");
  ExpectInvalid(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_LOG"}]})",
                "names");
  ExpectInvalid(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":
      [{"names":["read"],"action":"SCMP_ACT_LOG","args":[{"index":6,"op":"SCMP_CMP_EQ"}]}]})",
                "args[0]");
  ExpectInvalid(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":
      [{"names":["read"],"action":"SCMP_ACT_LOG","includes":{"caps":["CAP_FLY"]}}]})",
                "CAP_FLY");
  ExpectInvalid(R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":
      [{"names":["read"],"action":"SCMP_ACT_LOG","includes":{"minKernel":"new"}}]})",
                "minKernel");
  ExpectInvalid(R"({"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":-1})", "defaultErrnoRet");
  ExpectInvalid(std::string(1000, '['), "64");
  EXPECT_EQ(Load(R"({"defaultAction":"SCMP_ACT_NOTIFY"})").code(), Code::kUnimplemented);
  EXPECT_EQ(
      Load(R"({"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]})").code(),
      Code::kUnimplemented);
}

TEST_F(LocalhostTest, AnOciRuntimeGetsTheRulesThatHoldHere) {
  ASSERT_TRUE(Load(R"({"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,
      "architectures":["SCMP_ARCH_X86_64"],"syscalls":[
      {"names":["read","frobnicate"],"action":"SCMP_ACT_ALLOW"},
      {"names":["chown"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_CHOWN"]}},
      {"names":["bpf"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_BPF"]}},
      {"names":["clone"],"action":"SCMP_ACT_ERRNO","errnoRet":1,
       "args":[{"index":0,"op":"SCMP_CMP_MASKED_EQ","value":6,"valueTwo":2}]}]})")
                  .ok());
  auto text = profiles_.OciJson({ProfileType::kLocalhost, file_}, {"CAP_CHOWN"});
  ASSERT_TRUE(text.ok()) << text.error().message();
  auto json = ParseJson(*text);
  ASSERT_TRUE(json.ok());
  EXPECT_EQ((*json)["defaultAction"], "SCMP_ACT_ERRNO");
  EXPECT_EQ((*json)["defaultErrnoRet"], 38);
  const Json expected = {
      {{"names", {"read"}}, {"action", "SCMP_ACT_ALLOW"}},
      {{"names", {"chown"}}, {"action", "SCMP_ACT_ALLOW"}},
      {{"names", {"clone"}},
       {"action", "SCMP_ACT_ERRNO"},
       {"errnoRet", 1},
       {"args", {{{"index", 0}, {"op", "SCMP_CMP_MASKED_EQ"}, {"value", 6}, {"valueTwo", 2}}}}}};
  EXPECT_EQ((*json)["syscalls"], expected) << *text;
  EXPECT_EQ(*profiles_.OciJson({ProfileType::kUnconfined, ""}, {}), "");
}

TEST_F(LocalhostTest, OnlyRegularFilesByAbsolutePathAreRead) {
  SecurityProfile profile{ProfileType::kLocalhost, "profile.json"};
  EXPECT_EQ(profiles_.Get(profile, {}).code(), Code::kInvalidArgument);
  profile.localhost_ref = StrCat(directory_, "/../etc/passwd");
  EXPECT_EQ(profiles_.Get(profile, {}).code(), Code::kInvalidArgument);
  profile.localhost_ref = StrCat(directory_, "/missing.json");
  EXPECT_EQ(profiles_.Get(profile, {}).code(), Code::kNotFound);
  ASSERT_EQ(mkfifo(file_.c_str(), 0600), 0);
  profile.localhost_ref = file_;
  EXPECT_EQ(profiles_.Get(profile, {}).code(), Code::kInvalidArgument);
}

}  // namespace
}  // namespace berth::runtime
