#include "shim/stdio.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/socket.h"

namespace berth::shim {

Result<StdioPair> MakeStdio(bool terminal, bool stdin_pipe) {
  StdioPair pair;
  if (terminal) return pair;
  if (stdin_pipe) {
    ASSIGN_OR_RETURN(auto in, MakePipe());
    pair.child.in = std::move(in.read);
    pair.parent.in = std::move(in.write);
  } else {
    ASSIGN_OR_RETURN(pair.child.in, Open("/dev/null", O_RDONLY));
  }
  ASSIGN_OR_RETURN(auto out, MakePipe());
  ASSIGN_OR_RETURN(auto err, MakePipe());
  pair.child.out = std::move(out.write);
  pair.child.err = std::move(err.write);
  pair.parent.out = std::move(out.read);
  pair.parent.err = std::move(err.read);
  return pair;
}

Status ApplyStdioInChild(const ChildStdio& stdio, int terminal) {
  const int sources[3] = {terminal >= 0 ? terminal : stdio.in.get(),
                          terminal >= 0 ? terminal : stdio.out.get(),
                          terminal >= 0 ? terminal : stdio.err.get()};
  // Sources are 3 or higher: the shim keeps its own 0, 1 and 2 open.
  for (int i = 0; i < 3; ++i) {
    if (dup2(sources[i], i) < 0) return ErrnoError("dup2");
  }
  if (setsid() < 0) return ErrnoError("setsid");
  if (terminal >= 0 && ioctl(0, TIOCSCTTY, 0) != 0) return ErrnoError("TIOCSCTTY");
  return Ok();
}

Result<UniqueFd> OpenTerminalInChild(int root, int sync_socket) {
  ASSIGN_OR_RETURN(auto master, OpenNoSymlinks(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY),
                   "open terminal");
  struct statfs fs {};
  if (fstatfs(master.get(), &fs) != 0) return ErrnoError("open terminal: statfs");
  if (fs.f_type != DEVPTS_SUPER_MAGIC) {
    return Error(Code::kFailedPrecondition, "open terminal: /dev/pts is not a devpts");
  }
  int unlocked = 0;
  if (ioctl(master.get(), TIOCSPTLCK, &unlocked) != 0) return ErrnoError("unlock terminal");
  UniqueFd slave(ioctl(master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!slave.ok()) return ErrnoError("open terminal's slave");
  RETURN_IF_ERROR(SendPacket(sync_socket, "t", {master.get()}), "hand over terminal");
  return slave;
}

}  // namespace berth::shim
