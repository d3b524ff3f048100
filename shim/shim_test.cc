// What a container gets from the shim, and what the daemon hears of it.

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/time.h"
#include "shim/shim_fixture.h"

namespace berth::shim {
namespace {

using testing::HasSubstr;

TEST_F(ShimTest, ExitCodeAndOutput) {
  auto exit = RunToEnd({"sh", "-c", "echo out; echo err >&2; exit 7"});
  EXPECT_EQ(exit.exit_code, 7);
  EXPECT_EQ(exit.signal, 0);
  EXPECT_FALSE(exit.oom_killed);
  EXPECT_THAT(Log(), HasSubstr("stdout F out\n"));
  EXPECT_THAT(Log(), HasSubstr("stderr F err\n"));
}

TEST_F(ShimTest, SignalIsReported) {
  auto exit = RunToEnd({"sh", "-c", "kill -9 $$"});
  // The first process of a PID namespace is not ended by its own signals.
  EXPECT_EQ(exit.exit_code, 0);
}

TEST_F(ShimTest, ASignalFromOutsideEndsIt) {
  ASSERT_TRUE(Launch({"sleep", "60"}).ok());
  ASSERT_TRUE(
      SendPacket(socket_.get(), wire::Pack(wire::Type::kSignal, wire::Signal{SIGKILL})).ok());
  auto packet = ReceivePacket(Context::WithTimeoutMs(kTimeoutMs), socket_.get(), "done");
  ASSERT_TRUE(packet.ok());
  EXPECT_EQ(wire::Unpack(packet->bytes)->type, wire::Type::kDone);
  auto exit = AwaitExit();
  ASSERT_TRUE(exit.ok());
  EXPECT_EQ(exit->exit_code, 137);
  EXPECT_EQ(exit->signal, SIGKILL);
}

TEST_F(ShimTest, TheLastByteIsInTheLogBeforeTheExitIsKnown) {
  auto exit = RunToEnd({"sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; echo end"});
  EXPECT_EQ(exit.exit_code, 0);
  std::string log = Log();
  size_t xs = 0;
  for (char c : log) xs += c == 'x';
  EXPECT_EQ(xs, 3000000U);
  EXPECT_TRUE(log.ends_with("stdout F end\n"));
}

TEST_F(ShimTest, LongLinesAreSplitAndTheLastPartIsFull) {
  plan_.log.max_line_bytes = 10;
  RunToEnd({"sh", "-c", "echo 0123456789abcdefghijXYZ; echo 0123456789; echo -n tail"});
  EXPECT_EQ(Log(),
            "stdout P 0123456789\nstdout P abcdefghij\nstdout F XYZ\nstdout F 0123456789\n"
            "stdout P tail\n");
}

TEST_F(ShimTest, AMissingProgramIsNamed) {
  auto launched = Launch({"nonesuch"});
  ASSERT_FALSE(launched.ok());
  EXPECT_EQ(launched.code(), Code::kInvalidArgument);
  EXPECT_THAT(launched.error().message(), HasSubstr("\"nonesuch\""));
  EXPECT_THAT(launched.error().message(), HasSubstr("not found in $PATH"));
  // Nothing was launched, so nothing is left to wait for.
  EXPECT_TRUE(shim_.Wait(Context::WithTimeoutMs(kTimeoutMs)).ok());
}

TEST_F(ShimTest, AWorkingDirectoryThatIsAFileIsNamed) {
  plan_.process.cwd = "/bin/busybox";
  auto launched = Launch({"true"});
  ASSERT_FALSE(launched.ok());
  EXPECT_THAT(launched.error().message(), HasSubstr("/bin/busybox"));
}

TEST_F(ShimTest, AMissingWorkingDirectoryIsMade) {
  plan_.process.cwd = "/srv/app";
  RunToEnd({"sh", "-c", "pwd"});
  EXPECT_THAT(Log(), HasSubstr("stdout F /srv/app\n"));
}

TEST_F(ShimTest, AWorkingDirectoryThroughALinkStaysInside) {
  ASSERT_EQ(symlink("/../../../tmp/berth-escape", (dir_ + "/root/escape").c_str()), 0);
  plan_.process.cwd = "/escape/sub";
  RunToEnd({"true"});
  EXPECT_EQ(access("/tmp/berth-escape", F_OK), -1);
  EXPECT_EQ(access((dir_ + "/root/tmp/berth-escape/sub").c_str(), F_OK), 0);
}

TEST_F(ShimTest, AMissingHostPathIsNamed) {
  wire::MountPlan bind;
  bind.kind = wire::MountKind::kBind;
  bind.source = "/nonexistent/host/path";
  bind.destination = "/mnt";
  plan_.mounts.push_back(bind);
  auto launched = Launch({"true"});
  ASSERT_FALSE(launched.ok());
  EXPECT_THAT(launched.error().message(), HasSubstr("/nonexistent/host/path"));
}

TEST_F(ShimTest, AProcLinkInTheImageIsRefused) {
  ASSERT_EQ(rmdir((dir_ + "/root/proc").c_str()), 0);
  ASSERT_EQ(symlink("/etc", (dir_ + "/root/proc").c_str()), 0);
  auto launched = Launch({"true"});
  ASSERT_FALSE(launched.ok());
  EXPECT_THAT(launched.error().message(), HasSubstr("/proc"));
}

TEST_F(ShimTest, MaskedAndReadonlyPaths) {
  ASSERT_TRUE(WriteFileAt(state_dir_.get(), "x", "").code() == Code::kNotFound);
  auto etc = Open(dir_ + "/root/etc", O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(AtomicWriteFileAt(etc->get(), "secret", "hidden", 0644).ok());
  ASSERT_EQ(mkdir((dir_ + "/root/etc/dir").c_str(), 0755), 0);
  ASSERT_EQ(mkdir((dir_ + "/root/etc/dir/in").c_str(), 0755), 0);
  plan_.masked_paths = {"/etc/secret", "/etc/dir", "/etc/absent"};
  plan_.readonly_paths = {"/bin", "/absent"};
  RunToEnd(
      {"sh", "-c", "cat /etc/secret; ls /etc/dir; echo x > /bin/x; echo y > /y && echo wrote"});
  EXPECT_THAT(Log(), testing::Not(HasSubstr("hidden")));
  EXPECT_THAT(Log(), testing::Not(HasSubstr("stdout F in\n")));
  EXPECT_THAT(Log(), HasSubstr("Read-only file system"));
  EXPECT_THAT(Log(), HasSubstr("stdout F wrote\n"));
}

TEST_F(ShimTest, PrivilegesAreWhatThePlanSays) {
  plan_.process.uid = 1000;
  plan_.process.gid = 100;
  plan_.process.groups = {100, 200};
  plan_.process.bounding = 1;
  plan_.process.effective = plan_.process.permitted = 0;
  plan_.process.no_new_privs = true;
  plan_.process.rlimits = {{7, 100, 200}};
  RunToEnd({"sh", "-c", "id; cat /proc/self/status; ulimit -n; ulimit -Hn; ls /proc/self/fd"});
  std::string log = Log();
  EXPECT_THAT(log, HasSubstr("uid=1000 gid=100 groups=100,200"));
  EXPECT_THAT(log, HasSubstr("CapBnd:\t0000000000000001"));
  EXPECT_THAT(log, HasSubstr("CapEff:\t0000000000000000"));
  EXPECT_THAT(log, HasSubstr("CapInh:\t0000000000000000"));
  EXPECT_THAT(log, HasSubstr("CapAmb:\t0000000000000000"));
  EXPECT_THAT(log, HasSubstr("NoNewPrivs:\t1"));
  EXPECT_THAT(log, HasSubstr("stdout F 100\nstdout F 200\n"));
  EXPECT_THAT(log, HasSubstr("stdout F 0\nstdout F 1\nstdout F 2\nstdout F 3\n"));
  EXPECT_THAT(log, testing::Not(HasSubstr("stdout F 4\n")));
}

// Allows these system calls and answers all others with EPERM.
std::string FilterThatAllows(const std::vector<unsigned>& numbers) {
  std::vector<sock_filter> code = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};
  for (unsigned number : numbers) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  }
  code.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
  return {reinterpret_cast<const char*>(code.data()), code.size() * sizeof(sock_filter)};
}

TEST_F(ShimTest, AFilterNeedAllowNoMoreThanTheProgramCalls) {
  std::vector<unsigned> numbers = {SYS_execve, SYS_exit_group, SYS_write, SYS_brk,
                                   SYS_mmap,   SYS_mprotect,   SYS_getuid};
#ifdef SYS_arch_prctl
  numbers.push_back(SYS_arch_prctl);
#endif
  plan_.process.seccomp = FilterThatAllows(numbers);
  plan_.process.no_new_privs = true;
  // The first directory has no such program: the search goes on within the filter.
  plan_.process.env = {"PATH=/etc:/bin"};
  auto exit = RunToEnd({"echo", "inside"});
  EXPECT_EQ(exit.exit_code, 0);
  EXPECT_THAT(Log(), HasSubstr("stdout F inside"));
}

// The kernel keeps labels of files without SELinux, too.
TEST_F(ShimTest, TheRootOfANewFileSystemIsLabelled) {
  AddFilesystem("tmpfs", "/labelled", {});
  plan_.mounts.back().root_label = "a:b:c:s0";
  auto launched = Launch({"sleep", "60"});
  ASSERT_TRUE(launched.ok()) << launched.error().message();
  char label[64] = {};
  const std::string path = StrCat("/proc/", launched->pid, "/root/labelled");
  ASSERT_GT(getxattr(path.c_str(), "security.selinux", label, sizeof label - 1), 0);
  EXPECT_STREQ(label, "a:b:c:s0");
}

// As of pid mode TARGET, whose target may have ended, and its number be another's.
TEST_F(ShimTest, APidNamespaceOfAnotherProcessThanWasMeantIsRefused) {
  SpawnOptions options;
  options.path = "/bin/busybox";
  options.args = {"sleep", "60"};
  auto target = Spawn(options);
  ASSERT_TRUE(target.ok());
  const uint64_t start_time = *ProcessStartTime(target->pid());
  wire::NamespacePlan& pid = plan_.namespaces[0];
  ASSERT_EQ(pid.flag, CLONE_NEWPID);
  pid.path = StrCat("/proc/", target->pid(), "/ns/pid");
  pid.pid = target->pid();
  pid.start_time = start_time + 1;
  auto refused = Launch({"true"});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.code(), Code::kFailedPrecondition) << refused.error().message();
  EXPECT_TRUE(shim_.Wait(Context::WithTimeoutMs(kTimeoutMs)).ok());
  pid.start_time = start_time;
  auto launched = Launch({"true"});
  EXPECT_TRUE(launched.ok()) << launched.error().message();
}

TEST_F(ShimTest, ATerminalIsTheControllingOne) {
  plan_.process.terminal = true;
  RunToEnd({"sh", "-c",
            "test -t 0 && test -t 1 && echo tty; stat -c %t /dev/console; echo hi > /dev/tty"});
  EXPECT_THAT(Log(), HasSubstr("stdout F tty\r\n"));
  EXPECT_THAT(Log(), HasSubstr("stdout F 88\r\n"));  // 0x88: a pty's slave
  EXPECT_THAT(Log(), HasSubstr("stdout F hi\r\n"));
}

TEST_F(ShimTest, ExecRunsInsideWithItsOwnExit) {
  ASSERT_TRUE(Launch({"sleep", "60"}).ok());
  std::string output;
  auto exit = RunExec({"sh", "-c", "echo $$; pidof sleep; exit 3"}, &output);
  ASSERT_TRUE(exit.ok()) << exit.error().message();
  EXPECT_EQ(exit->exit_code, 3);
  EXPECT_THAT(output, HasSubstr("\n1\n"));
  auto missing = RunExec({"nonesuch"}, &output);
  ASSERT_FALSE(missing.ok());
  EXPECT_THAT(missing.error().message(), HasSubstr("not found in $PATH"));
}

TEST_F(ShimTest, AnExecEndsWithItsConnection) {
  ASSERT_TRUE(Launch({"sleep", "60"}).ok());
  auto connection = ConnectSeqpacket(state_dir_.get(), wire::kSocketName);
  wire::Exec request;
  request.args = {"sleep", "61"};
  ASSERT_TRUE(SendPacket(connection->get(), wire::Pack(wire::Type::kExec, request)).ok());
  auto state = Receive<wire::State>(connection->get(), wire::Type::kExecStarted);
  ASSERT_TRUE(state.ok());
  connection->Reset();
  int64_t deadline = MonotonicNs() + kTimeoutMs * 1'000'000;
  while (kill(state->pid, 0) == 0 && MonotonicNs() < deadline) usleep(1000);
  EXPECT_EQ(kill(state->pid, 0), -1);
}

TEST_F(ShimTest, TheLogIsReopened) {
  ASSERT_TRUE(Launch({"sh", "-c", "echo one; read x < /dev/null; sleep 60"}).ok());
  std::string log = dir_ + "/log/0.log";
  int64_t deadline = MonotonicNs() + kTimeoutMs * 1'000'000;
  while (Log().empty() && MonotonicNs() < deadline) usleep(1000);
  ASSERT_EQ(rename(log.c_str(), (log + ".1").c_str()), 0);
  ASSERT_TRUE(SendPacket(socket_.get(), wire::Pack(wire::Type::kReopenLog)).ok());
  auto packet = ReceivePacket(Context::WithTimeoutMs(kTimeoutMs), socket_.get(), "done");
  EXPECT_EQ(wire::Unpack(packet->bytes)->type, wire::Type::kDone);
  EXPECT_EQ(access(log.c_str(), F_OK), 0);
}

TEST_F(ShimTest, TheExitWaitsForADaemonThatReturns) {
  ASSERT_TRUE(Launch({"sh", "-c", "sleep 0.2; exit 5"}).ok());
  socket_.Reset();  // the daemon is gone
  int64_t deadline = MonotonicNs() + kTimeoutMs * 1'000'000;
  while (access((dir_ + "/state/exit").c_str(), F_OK) != 0 && MonotonicNs() < deadline)
    usleep(1000);
  auto again = ConnectSeqpacket(state_dir_.get(), wire::kSocketName);
  ASSERT_TRUE(again.ok());
  ASSERT_TRUE(SendPacket(again->get(), wire::Pack(wire::Type::kWatch)).ok());
  auto state = Receive<wire::State>(again->get(), wire::Type::kState);
  ASSERT_TRUE(state.ok());
  EXPECT_TRUE(state->exited);
  EXPECT_EQ(state->exit.exit_code, 5);
  ASSERT_TRUE(SendPacket(again->get(), wire::Pack(wire::Type::kAcknowledge)).ok());
  EXPECT_TRUE(shim_.Wait(Context::WithTimeoutMs(kTimeoutMs)).ok());
}

TEST_F(ShimTest, AShimWithoutALaunchEndsWithItsConnection) {
  auto listener = ListenSeqpacket(state_dir_.get(), wire::kSocketName);
  SpawnOptions options;
  options.path = BERTH_SHIM_BINARY;
  options.args = {"berth-shim"};
  options.child_fds = {listener->get(), state_dir_.get(), 2};
  shim_ = std::move(*Spawn(options));
  ConnectSeqpacket(state_dir_.get(), wire::kSocketName)->Reset();
  EXPECT_TRUE(shim_.Wait(Context::WithTimeoutMs(kTimeoutMs)).ok());
}

// One client's connection and what it was given.
struct AttachedClient {
  UniqueFd socket;
  wire::Attached what;
  std::vector<UniqueFd> fds;
};

Result<AttachedClient> AttachTo(int state_dir, const wire::Attach& wanted) {
  AttachedClient client;
  ASSIGN_OR_RETURN(client.socket, ConnectSeqpacket(state_dir, wire::kSocketName));
  RETURN_IF_ERROR(SendPacket(client.socket.get(), wire::Pack(wire::Type::kAttach, wanted)));
  ASSIGN_OR_RETURN(auto packet,
                   ReceivePacket(Context::WithTimeoutMs(kTimeoutMs), client.socket.get(), "test"));
  ASSIGN_OR_RETURN(auto message, wire::Unpack(packet.bytes));
  if (message.type != wire::Type::kAttached) return Error(Code::kInternal, "not attached");
  ASSIGN_OR_RETURN(client.what, wire::Decode<wire::Attached>(message.body));
  client.fds = std::move(packet.fds);
  return client;
}

TEST_F(ShimTest, AttachedClientsGetCopiesAndAFullPipeIsCutOff) {
  plan_.keep_stdin_open = true;
  ASSERT_TRUE(Launch({"sh", "-c", "read x; head -c 3000000 /dev/zero; echo end >&2"}).ok());
  auto slow = AttachTo(state_dir_.get(), {.out = true});
  ASSERT_TRUE(slow.ok()) << slow.error().message();
  ASSERT_EQ(slow->fds.size(), 1u);
  auto quick = AttachTo(state_dir_.get(), {.in = true, .err = true, .stdin_once = true});
  ASSERT_TRUE(quick.ok());
  EXPECT_TRUE(quick->what.in && !quick->what.out && quick->what.err && !quick->what.terminal);
  ASSERT_EQ(quick->fds.size(), 2u);
  ASSERT_TRUE(WriteAll(quick->fds[0].get(), "go\n").ok());
  // The container ends although nobody reads the first client's pipe.
  EXPECT_TRUE(AwaitExit().ok());
  auto cut = Receive<wire::AttachEnded>(slow->socket.get(), wire::Type::kAttachEnded);
  ASSERT_TRUE(cut.ok());
  EXPECT_TRUE(cut->too_slow);
  auto ended = Receive<wire::AttachEnded>(quick->socket.get(), wire::Type::kAttachEnded);
  ASSERT_TRUE(ended.ok());
  EXPECT_FALSE(ended->too_slow);
  EXPECT_EQ(*ReadToEnd(quick->fds[1].get(), 100), "end\n");
}

TEST_F(ShimTest, StdinEndsWithTheFirstClientThatSaysSo) {
  plan_.keep_stdin_open = true;
  ASSERT_TRUE(Launch({"cat"}).ok());
  {
    auto other = AttachTo(state_dir_.get(), {.in = true});
    ASSERT_TRUE(other.ok());
  }
  auto client = AttachTo(state_dir_.get(), {.in = true, .stdin_once = true});
  ASSERT_TRUE(client.ok());
  ASSERT_TRUE(WriteAll(client->fds[0].get(), "last\n").ok());
  client->fds.clear();
  ASSERT_TRUE(SendPacket(client->socket.get(), wire::Pack(wire::Type::kInputEnded)).ok());
  auto exit = AwaitExit();
  ASSERT_TRUE(exit.ok());
  EXPECT_EQ(exit->exit_code, 0);
  EXPECT_THAT(Log(), HasSubstr("last"));
}

}  // namespace
}  // namespace berth::shim
