// Namespaces of the test process itself: bridges, addresses, iptables rules and mounts of the tests
// are in them and go with them. Set up before any thread is there.
#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"

namespace berth::e2e {
namespace {

bool BringUpLoopback() {
  const UniqueFd socket_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  return ioctl(socket_fd.get(), SIOCSIFFLAGS, &request) == 0;
}

std::vector<pid_t> Children() {
  std::vector<pid_t> pids;
  auto tasks = Open("/proc/self/task", O_RDONLY | O_DIRECTORY);
  if (!tasks.ok()) return pids;
  (void)ForEachEntry(tasks->get(), [&](const std::string& task) -> Status {
    auto text = ReadFile(StrCat("/proc/self/task/", task, "/children"));
    if (!text.ok()) return Ok();
    for (std::string_view word : Split(*text, ' ')) {
      if (auto pid = ParseNumber<pid_t>(Trim(word))) pids.push_back(*pid);
    }
    return Ok();
  });
  return pids;
}

class Namespaces : public ::testing::Environment {
 public:
  void SetUp() override {
    ASSERT_EQ(geteuid(), 0u) << "must run as root";
    ASSERT_EQ(unshare(CLONE_NEWNET | CLONE_NEWNS), 0);
    ASSERT_EQ(mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
    ASSERT_TRUE(BringUpLoopback());
    // Shims whose daemon has been killed become ours and not init's, so that none can be left.
    ASSERT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  }

  void TearDown() override {
    // Killing a shim makes its container's processes our children: once more until none is left.
    for (std::vector<pid_t> pids = Children(); !pids.empty(); pids = Children()) {
      for (pid_t pid : pids) {
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
      }
    }
  }
};

const auto* const kNamespaces = ::testing::AddGlobalTestEnvironment(new Namespaces);

}  // namespace
}  // namespace berth::e2e
