// The hooks of a container: where each of them runs, what it gets, and what becomes of one that
// does not do what it should.

#include <gmock/gmock.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/time.h"
#include "shim/shim_fixture.h"

namespace berth::shim {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using wire::HookPoint;

class ShimHooks : public ShimTest {
 protected:
  void SetUp() override {
    ShimTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_TRUE(MakeDirAt(state_dir_.get(), wire::kOciRootName, 0755).ok());
    plan_.hooks.id = "the-id";
    plan_.hooks.bundle = dir_ + "/state";
  }
  // A script of the host's busybox, or of the container's for startContainer. Before it the state
  // is in $state, and $told is a file that is read by Told().
  void Add(HookPoint point, const std::string& script, uint32_t timeout_s = 0) {
    const bool inside = point == HookPoint::kStartContainer;
    const std::string told = inside ? "/told" : dir_ + "/root/told";
    plan_.hooks.list.push_back({point,
                                inside ? "/bin/sh" : "/bin/busybox",
                                {"sh", "-c", StrCat("told=", told, "; read state; ", script)},
                                {"PATH=/bin:/usr/bin", "OWN=1"},
                                timeout_s});
  }
  std::vector<std::string> Told() {
    auto text = ReadFile(dir_ + "/root/told");
    std::vector<std::string> lines;
    if (!text.ok()) return lines;
    for (std::string_view line : Split(Trim(*text), '\n')) lines.emplace_back(line);
    return lines;
  }
  void ExpectLaunchFails(Code code, const std::string& words) {
    auto launched = Launch({"sh", "-c", "echo ran >> /told"});
    ASSERT_FALSE(launched.ok());
    EXPECT_EQ(launched.code(), code) << launched.error().message();
    EXPECT_THAT(launched.error().message(), HasSubstr(words));
    EXPECT_THAT(Told(), Not(testing::Contains("ran")));
    // The shim has nothing to stay for.
    EXPECT_TRUE(shim_.Wait(Context::WithTimeoutMs(kTimeoutMs)).ok());
  }
  // Processes of the host whose command line has the text.
  static int CountProcesses(const std::string& text) {
    int count = 0;
    auto proc = Open("/proc", O_RDONLY | O_DIRECTORY);
    EXPECT_TRUE(ForEachEntry(proc->get(), [&](const std::string& name) {
                  if (!ParseNumber<int>(name)) return Ok();
                  auto line = ReadFile(StrCat("/proc/", name, "/cmdline"));
                  if (line.ok() && line->find(text) != std::string::npos) ++count;
                  return Ok();
                }).ok());
    return count;
  }
};

TEST_F(ShimHooks, RunInTheirOrderBeforeAndAfterTheProgram) {
  Add(HookPoint::kPoststop, "echo poststop >> $told");
  Add(HookPoint::kPoststart, "echo poststart >> $told; echo > $told.go");
  Add(HookPoint::kStartContainer, "echo startContainer >> $told");
  Add(HookPoint::kCreateContainer, "echo createContainer 1 >> $told");
  Add(HookPoint::kCreateContainer, "echo createContainer 2 >> $told");
  Add(HookPoint::kCreateRuntime, "echo createRuntime >> $told");
  Add(HookPoint::kPrestart, "echo prestart >> $told");
  auto exit = RunToEnd(
      {"sh", "-c", "until [ -e /told.go ]; do sleep 0.01; done; echo program >> /told; exit 3"});
  EXPECT_EQ(exit.exit_code, 3);
  EXPECT_THAT(Told(),
              ElementsAre("prestart", "createRuntime", "createContainer 1", "createContainer 2",
                          "startContainer", "poststart", "program", "poststop"));
}

TEST_F(ShimHooks, EachHasTheStateAndItsOwnEnvironmentAndNoMore) {
  for (HookPoint point : {HookPoint::kPrestart, HookPoint::kCreateContainer,
                          HookPoint::kStartContainer, HookPoint::kPoststart}) {
    // What ls has open besides is the directory.
    Add(point,
        "{ echo $state; cat; env | grep -v -e PATH -e PWD -e SHLVL; pwd; ls /proc/self/fd | tr "
        "'\\n' "
        "' '; "
        "cat /proc/self/oom_score_adj; } >> $told");
  }
  ASSERT_EQ(symlink("busybox", (dir_ + "/root/bin/env").c_str()), 0);
  ASSERT_EQ(symlink("busybox", (dir_ + "/root/bin/grep").c_str()), 0);
  plan_.process.oom_score_adj = 77;
  auto launched = Launch({"sleep", "60"});
  ASSERT_TRUE(launched.ok()) << launched.error().message();
  auto state = [&](std::string_view status, pid_t pid) {
    return StrCat(R"({"ociVersion":"1.1.0","id":"the-id","status":")", status, R"(","pid":)", pid,
                  R"(,"bundle":")", dir_, R"(/state","annotations":{}})");
  };
  const std::string bundle = dir_ + "/state";
  EXPECT_THAT(Told(), ElementsAre(state("creating", launched->pid), "OWN=1", bundle, "0 1 2 3 0",
                                  state("creating", 1), "OWN=1", bundle, "0 1 2 3 77",
                                  state("created", 1), "OWN=1", "/", "0 1 2 3 77",
                                  state("running", launched->pid), "OWN=1", bundle, "0 1 2 3 0"));
}

TEST_F(ShimHooks, RunInTheirNamespaces) {
  ASSERT_EQ(symlink("busybox", (dir_ + "/root/bin/readlink").c_str()), 0);
  for (HookPoint point : {HookPoint::kCreateRuntime, HookPoint::kCreateContainer,
                          HookPoint::kStartContainer, HookPoint::kPoststart}) {
    Add(point, "readlink /proc/self/ns/net >> $told");
  }
  ASSERT_TRUE(Launch({"sleep", "60"}).ok());
  std::string inside;
  ASSERT_TRUE(RunExec({"readlink", "/proc/self/ns/net"}, &inside).ok());
  inside = Trim(inside);
  char own[64] = "";
  ASSERT_GT(readlink("/proc/self/ns/net", own, sizeof own - 1), 0);
  EXPECT_NE(inside, own);
  EXPECT_THAT(Told(), ElementsAre(own, inside, inside, own));
}

// As the hooks of GPUs do: the bundle of the state leads to the root file system, with all mounts,
// before it is read-only.
TEST_F(ShimHooks, CreateContainerChangesTheRootByTheBundle) {
  AddFilesystem("tmpfs", "/run", {});
  Add(HookPoint::kCreateContainer,
      "b=${state#*bundle\\\":\\\"}; b=${b%%\\\"*}; ln -s made $b/rootfs/etc/link; "
      "echo content > $b/rootfs/run/made; cat $b/plan > /dev/null && [ -c $b/rootfs/dev/null ]");
  plan_.root_readonly = true;
  ASSERT_EQ(symlink("busybox", (dir_ + "/root/bin/readlink").c_str()), 0);
  RunToEnd({"sh", "-c", "readlink /etc/link; cat /run/made; echo x > /x"});
  EXPECT_THAT(Log(), HasSubstr("stdout F made\n"));
  EXPECT_THAT(Log(), HasSubstr("stdout F content\n"));
  EXPECT_THAT(Log(), HasSubstr("Read-only file system"));
  // The host has nothing of the mount.
  auto rootfs = Open(dir_ + "/state/rootfs", O_RDONLY | O_DIRECTORY);
  EXPECT_TRUE(ForEachEntry(rootfs->get(), [](const std::string& name) {
                return Status(Error(Code::kInternal, name));
              }).ok());
}

TEST_F(ShimHooks, StartContainerHasTheRightsOfTheProgram) {
  ASSERT_EQ(chmod((dir_ + "/root").c_str(), 0777), 0);
  ASSERT_EQ(symlink("busybox", (dir_ + "/root/bin/grep").c_str()), 0);
  plan_.process.uid = 1000;
  plan_.process.gid = 1001;
  plan_.process.bounding = plan_.process.effective = plan_.process.permitted = 0;
  plan_.process.no_new_privs = true;
  plan_.process.rlimits = {{RLIMIT_NOFILE, 99, 99}};
  Add(HookPoint::kStartContainer,
      "{ id -u; id -g; grep -e CapBnd -e NoNewPrivs /proc/self/status; ulimit -n; } >> $told");
  RunToEnd({"true"});
  EXPECT_THAT(Told(),
              ElementsAre("1000", "1001", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "99"));
}

// It holds for the hook, and does not keep it from being started.
TEST_F(ShimHooks, AFilterThatForbidsNewProcessesIsTheHooksToo) {
  std::vector<sock_filter> code = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};
  for (unsigned number : {SYS_clone, SYS_clone3}) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  plan_.process.seccomp = {reinterpret_cast<const char*>(code.data()),
                           code.size() * sizeof(sock_filter)};
  for (bool no_new_privs : {false, true}) {
    plan_.process.no_new_privs = no_new_privs;
    plan_.hooks.list.clear();
    Add(HookPoint::kStartContainer, "echo hook >> $told");
    RunToEnd({"sh", "-c", "echo program >> /told"});
    EXPECT_THAT(Told(), ElementsAre("hook", "program"));
    ASSERT_EQ(unlink((dir_ + "/root/told").c_str()), 0);
    Add(HookPoint::kStartContainer, "sleep 0; exit 0");
    ExpectLaunchFails(Code::kFailedPrecondition, "can't fork");
    ASSERT_EQ(unlink((dir_ + "/root/told").c_str()), 0);
  }
}

TEST_F(ShimHooks, OneThatFailsFailsTheStartAndIsNamed) {
  for (HookPoint point : {HookPoint::kPrestart, HookPoint::kCreateRuntime,
                          HookPoint::kCreateContainer, HookPoint::kStartContainer}) {
    plan_.hooks.list.clear();
    Add(point, "echo out; echo why >&2; exit 7");
    Add(HookPoint::kPoststop, "echo poststop >> $told");
    const std::string name(wire::kHookNames[static_cast<size_t>(point)]);
    const std::string path = point == HookPoint::kStartContainer ? "/bin/sh" : "/bin/busybox";
    ExpectLaunchFails(Code::kFailedPrecondition, StrCat(name, " hook ", path, ": exit 7: out why"));
    EXPECT_THAT(Told(), ElementsAre("poststop")) << name;
    ASSERT_EQ(unlink((dir_ + "/root/told").c_str()), 0);
  }
}

TEST_F(ShimHooks, PoststartThatFailsEndsTheContainer) {
  Add(HookPoint::kPoststart, "echo why >&2; kill -9 $$");
  auto launched = Launch({"sleep", "4321"});
  ASSERT_FALSE(launched.ok());
  EXPECT_THAT(launched.error().message(), HasSubstr("poststart hook /bin/busybox: signal 9: why"));
  EXPECT_TRUE(shim_.Wait(Context::WithTimeoutMs(kTimeoutMs)).ok());
  for (int i = 0; i < 1000 && CountProcesses("4321") > 0; ++i) usleep(10'000);
  EXPECT_EQ(CountProcesses("4321"), 0);
}

TEST_F(ShimHooks, PoststopThatFailsChangesNothingAndTheNextOneRuns) {
  Add(HookPoint::kPoststop, "exit 1");
  Add(HookPoint::kPoststop, "echo second >> $told");
  EXPECT_EQ(RunToEnd({"sh", "-c", "exit 5"}).exit_code, 5);
  EXPECT_THAT(Told(), ElementsAre("second"));
}

TEST_F(ShimHooks, OneThatIsNotThereIsNamed) {
  plan_.hooks.list = {{HookPoint::kCreateContainer, "/no/such/hook", {}, {}, 0}};
  ExpectLaunchFails(Code::kFailedPrecondition,
                    "createContainer hook /no/such/hook: exit 127: cannot be executed: No such");
  // A path of the host's is none in the container.
  plan_.hooks.list = {{HookPoint::kStartContainer, dir_ + "/root/bin/sh", {}, {}, 0}};
  ExpectLaunchFails(Code::kFailedPrecondition, "cannot be executed: No such");
}

// With all that it has started, though that holds its output open.
TEST_F(ShimHooks, TheTimeoutKillsItsWholeGroup) {
  for (HookPoint point :
       {HookPoint::kCreateRuntime, HookPoint::kCreateContainer, HookPoint::kStartContainer}) {
    plan_.hooks.list.clear();
    Add(point, "echo begun; sleep 98765 & sleep 98765; exit 0", 1);
    const int64_t begin = MonotonicNs();
    ExpectLaunchFails(Code::kDeadlineExceeded,
                      "killed: it took longer than its timeout, 1 s: begun");
    EXPECT_GE(MonotonicNs() - begin, 1'000'000'000);
    for (int i = 0; i < 1000 && CountProcesses("98765") > 0; ++i) usleep(10'000);
    EXPECT_EQ(CountProcesses("98765"), 0);
  }
}

TEST_F(ShimHooks, WhatOneLeavesBehindInItsGroupGoes) {
  Add(HookPoint::kCreateRuntime, "sleep 87654 & exit 0");
  Add(HookPoint::kStartContainer, "sleep 87654 & exit 0");
  Add(HookPoint::kCreateContainer, "sleep 87654 & exit 0");
  // The program is the only process of its PID namespace, and has no child that it does not know.
  auto exit = RunToEnd({"sh", "-c", "echo /proc/[0-9]*"});
  EXPECT_EQ(exit.exit_code, 0);
  EXPECT_THAT(Log(), HasSubstr("stdout F /proc/1\n"));
  EXPECT_EQ(CountProcesses("87654"), 0);
}

TEST_F(ShimHooks, OutputWithoutEndHasItsEnd) {
  Add(HookPoint::kCreateRuntime, "yes 0123456789; exit 0", 1);
  Add(HookPoint::kPoststop, "head -c 100000 /dev/zero | tr '\\0' x; echo done >> $told");
  ExpectLaunchFails(Code::kDeadlineExceeded, "0123456789");
  EXPECT_THAT(Told(), ElementsAre("done"));
}

TEST_F(ShimHooks, AContainerThatIsKilledEndsTheHookThatItWaitsFor) {
  Add(HookPoint::kCreateRuntime, "p=${state#*pid\\\":}; kill -9 ${p%%,*}; sleep 76543");
  ExpectLaunchFails(Code::kAborted, "the container has ended meanwhile");
  EXPECT_EQ(CountProcesses("76543"), 0);
}

// Nothing waits any more for one whose shim has been killed.
TEST_F(ShimHooks, OneEndsWithItsShim) {
  Add(HookPoint::kCreateRuntime, "kill -9 $PPID; exec sleep 65432");
  EXPECT_FALSE(Launch({"true"}).ok());
  for (int i = 0; i < 1000 && CountProcesses("65432") > 0; ++i) usleep(10'000);
  EXPECT_EQ(CountProcesses("65432"), 0);
}

}  // namespace
}  // namespace berth::shim
