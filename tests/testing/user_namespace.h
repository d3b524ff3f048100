// A user namespace for tests of mounts that map ids.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file.h"
#include "base/strings.h"

namespace berth::testing {

// Its ids are those from 100000 on of the host. None where the machine allows no such namespaces.
inline UniqueFd SomeUserNamespace() {
  int ready[2];
  if (pipe(ready) != 0) return {};
  const pid_t child = fork();
  if (child == 0) {
    if (unshare(CLONE_NEWUSER) != 0) _exit(1);
    (void)!write(ready[1], "x", 1);
    while (true) pause();
  }
  char byte = 0;
  UniqueFd ns;
  if (read(ready[0], &byte, 1) == 1 &&
      WriteFile(StrCat("/proc/", child, "/uid_map"), "0 100000 65536").ok() &&
      WriteFile(StrCat("/proc/", child, "/gid_map"), "0 100000 65536").ok()) {
    auto opened = Open(StrCat("/proc/", child, "/ns/user"), O_RDONLY);
    if (opened.ok()) ns = std::move(*opened);
  }
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  for (int end : ready) close(end);
  return ns;
}

}  // namespace berth::testing
