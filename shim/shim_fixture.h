// The real berth-shim, driven over its socket as the daemon does it, with a root file system of
// Debian's static busybox and new namespaces for every container.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/file.h"
#include "base/process.h"
#include "base/socket.h"
#include "shim/wire/messages.h"

namespace berth::shim {

inline constexpr int64_t kTimeoutMs = 20'000;

// The machine that runs the tests may itself be confined.
inline uint64_t OwnCapabilities() {
  const std::string status = *ReadFile("/proc/self/status");
  for (std::string_view line : Split(status, '\n')) {
    if (line.starts_with("CapEff:\t")) return *ParseNumber<uint64_t>(line.substr(8), 16);
  }
  return 0;
}

class ShimTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to make namespaces";
    if (access("/bin/busybox", X_OK) != 0) GTEST_SKIP() << "needs busybox-static";
    char name[] = "/tmp/berth-shim-test-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    dir_ = name;
    for (const char* part :
         {"/root", "/root/bin", "/root/proc", "/root/dev", "/root/etc", "/state", "/log"}) {
      ASSERT_EQ(mkdir((dir_ + part).c_str(), 0755), 0);
    }
    auto busybox = ReadFile("/bin/busybox", 16 << 20);
    ASSERT_TRUE(busybox.ok());
    auto bin = Open(dir_ + "/root/bin", O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(AtomicWriteFileAt(bin->get(), "busybox", *busybox, 0755).ok());
    for (const char* applet : {"sh", "echo", "cat", "sleep", "true", "id", "head", "tr", "stat",
                               "ls", "kill", "pidof"}) {
      ASSERT_EQ(symlink("busybox", (dir_ + "/root/bin/" + applet).c_str()), 0);
    }
    state_dir_ = std::move(*Open(dir_ + "/state", O_RDONLY | O_DIRECTORY));
    plan_.process.env = {"PATH=/bin"};
    plan_.process.cwd = "/";
    plan_.process.bounding = plan_.process.effective = plan_.process.permitted = OwnCapabilities();
    for (int flag : {CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP}) {
      plan_.namespaces.push_back({flag, ""});
    }
    AddFilesystem("proc", "/proc", {});
    AddFilesystem("tmpfs", "/dev", {"mode=755"});
    AddFilesystem("devpts", "/dev/pts", {"newinstance", "ptmxmode=0666", "mode=0620"});
    plan_.devices = {{"/dev/null", S_IFCHR | 0666, 1, 3, 0, 0},
                     {"/dev/zero", S_IFCHR | 0666, 1, 5, 0, 0},
                     {"/dev/tty", S_IFCHR | 0666, 5, 0, 0, 0}};
    plan_.log = {dir_ + "/log", "0.log", 16384};
  }

  void TearDown() override {
    shim_.KillAndReap();
    if (dir_.empty()) return;
    auto tmp = Open("/tmp", O_RDONLY | O_DIRECTORY);
    EXPECT_TRUE(RemoveTreeAt(tmp->get(), dir_.substr(5)).ok());
  }

  void AddFilesystem(const char* type, const char* where, std::vector<std::string> options) {
    wire::MountPlan mount;
    mount.fstype = type;
    mount.destination = where;
    mount.options = std::move(options);
    plan_.mounts.push_back(std::move(mount));
  }

  // Starts a shim and sends the launch; what it answers.
  Result<wire::State> Launch(std::vector<std::string> args) {
    plan_.process.args = std::move(args);
    RETURN_IF_ERROR(
        AtomicWriteFileAt(state_dir_.get(), wire::kPlanName, wire::Encode(plan_), 0600));
    ASSIGN_OR_RETURN(auto listener, ListenSeqpacket(state_dir_.get(), wire::kSocketName));
    SpawnOptions options;
    options.path = BERTH_SHIM_BINARY;
    options.args = {"berth-shim"};
    options.child_fds = {listener.get(), state_dir_.get(), 2};
    ASSIGN_OR_RETURN(shim_, Spawn(options));
    ASSIGN_OR_RETURN(socket_, ConnectSeqpacket(state_dir_.get(), wire::kSocketName));
    UniqueFd rootfs(
        open_tree(AT_FDCWD, (dir_ + "/root").c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    if (!rootfs.ok()) return ErrnoError("open_tree");
    RETURN_IF_ERROR(SendPacket(socket_.get(), wire::Pack(wire::Type::kLaunch), {rootfs.get()}));
    return Receive<wire::State>(socket_.get(), wire::Type::kLaunched);
  }

  template <typename T>
  static Result<T> Receive(int socket, wire::Type wanted, std::vector<UniqueFd>* fds = nullptr) {
    ASSIGN_OR_RETURN(auto packet,
                     ReceivePacket(Context::WithTimeoutMs(kTimeoutMs), socket, "test"));
    ASSIGN_OR_RETURN(auto message, wire::Unpack(packet.bytes));
    if (message.type == wire::Type::kFailed) {
      ASSIGN_OR_RETURN(auto failure, wire::Decode<wire::Failure>(message.body));
      return wire::ToError(failure);
    }
    if (message.type != wanted) return Error(Code::kInternal, "another message");
    if (fds != nullptr) *fds = std::move(packet.fds);
    return wire::Decode<T>(message.body);
  }

  Result<wire::ExitStatus> AwaitExit() {
    return Receive<wire::ExitStatus>(socket_.get(), wire::Type::kExited);
  }

  // Launches, waits for the exit, acknowledges it, and returns it.
  wire::ExitStatus RunToEnd(std::vector<std::string> args) {
    auto launched = Launch(std::move(args));
    EXPECT_TRUE(launched.ok()) << launched.error().message();
    auto exit = AwaitExit();
    EXPECT_TRUE(exit.ok());
    EXPECT_TRUE(SendPacket(socket_.get(), wire::Pack(wire::Type::kAcknowledge)).ok());
    auto code = shim_.Wait(Context::WithTimeoutMs(kTimeoutMs));
    EXPECT_TRUE(code.ok() && *code == 0);
    return exit.ok() ? *exit : wire::ExitStatus{};
  }

  // The log without its timestamps.
  std::string Log() {
    std::string out;
    auto text = ReadFile(dir_ + "/log/0.log", 64 << 20);
    if (!text.ok()) return out;
    for (std::string_view line : Split(*text, '\n')) {
      if (!line.empty()) out += StrCat(line.substr(line.find(' ') + 1), "\n");
    }
    return out;
  }

  Result<wire::ExitStatus> RunExec(std::vector<std::string> args, std::string* output) {
    ASSIGN_OR_RETURN(auto connection, ConnectSeqpacket(state_dir_.get(), wire::kSocketName));
    wire::Exec request;
    request.args = std::move(args);
    RETURN_IF_ERROR(SendPacket(connection.get(), wire::Pack(wire::Type::kExec, request)));
    std::vector<UniqueFd> fds;
    ASSIGN_OR_RETURN(auto state,
                     Receive<wire::State>(connection.get(), wire::Type::kExecStarted, &fds));
    EXPECT_GT(state.pid, 0);
    if (fds.size() != 2) return Error(Code::kInternal, "streams");
    ASSIGN_OR_RETURN(*output, ReadToEnd(fds[0].get(), 1 << 20));
    return Receive<wire::ExitStatus>(connection.get(), wire::Type::kExecExited);
  }

  std::string dir_;
  UniqueFd state_dir_;
  wire::LaunchPlan plan_;
  Child shim_;
  UniqueFd socket_;
};

}  // namespace berth::shim
