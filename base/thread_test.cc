#include "base/thread.h"

#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace berth {
namespace {

TEST(RunInThread, GivesTheResultOfAnotherThread) {
  const pid_t own = gettid();
  auto result = RunInThread([]() -> Result<pid_t> { return gettid(); });
  ASSERT_TRUE(result.ok());
  EXPECT_NE(*result, own);
  auto failed = RunInThread([]() -> Status { return Error(Code::kAborted, "no"); });
  EXPECT_EQ(failed.code(), Code::kAborted);
}

// As where a limit of processes is reached, for the calling thread alone.
bool HaveNoThreads() {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 1, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{std::size(code), code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0;
}

TEST(RunInThread, NoThreadIsAnErrorAndNoException) {
  bool limited = false;
  Status status;
  std::thread([&] {
    limited = HaveNoThreads();
    status = RunInThread([]() -> Status { return Ok(); });
  }).join();
  if (!limited) GTEST_SKIP() << "no filter can be installed here";
  ASSERT_FALSE(status.ok());
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
}

}  // namespace
}  // namespace berth
