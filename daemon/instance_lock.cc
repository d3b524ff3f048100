#include "daemon/instance_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/file.h"

namespace berth::daemon {

Result<UniqueFd> LockDirectory(const std::string& directory) {
  std::string path = directory + "/lock";
  ASSIGN_OR_RETURN(auto lock, Open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
  if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoError(StrCat("lock ", path));
    auto holder = ReadToEnd(lock.get(), 32);
    std::string pid = holder.ok() ? Printable(Trim(*holder)) : "unknown";
    return Error(Code::kFailedPrecondition,
                 StrCat(directory, " is in use by another berthd, pid ", pid));
  }
  if (ftruncate(lock.get(), 0) != 0) return ErrnoError(StrCat("truncate ", path));
  RETURN_IF_ERROR(WriteAll(lock.get(), StrCat(getpid(), "\n")), "write ", path);
  return lock;
}

}  // namespace berth::daemon
