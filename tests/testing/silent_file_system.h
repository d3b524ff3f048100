// A file system whose server hangs.
#pragma once

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <string>
#include <thread>

#include "base/fd.h"
#include "base/strings.h"

namespace berth::testing {

// Speaks FUSE as far as to be mounted, and never answers when a name is looked up. The kernel
// does not even let a process be killed that waits for such an answer.
class SilentFileSystem {
 public:
  explicit SilentFileSystem(const std::string& path) : path_(path) {
    mkdir(path.c_str(), 0755);
    fuse_.Reset(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    const std::string options =
        StrCat("fd=", fuse_.get(), ",rootmode=40000,user_id=0,group_id=0,allow_other");
    mounted_ = fuse_.ok() && mount("silent", path.c_str(), "fuse", 0, options.c_str()) == 0;
    stop_.Reset(eventfd(0, EFD_CLOEXEC));
    if (mounted_) thread_ = std::thread([this] { Serve(); });
  }
  ~SilentFileSystem() { End(); }

  bool mounted() const { return mounted_; }
  bool AwaitLookup() const {
    for (int i = 0; i < 5000 && !looked_up_; ++i) usleep(1000);
    return looked_up_;
  }
  // Whoever waits for an answer gets an error.
  void End() {
    if (!thread_.joinable()) return;
    const uint64_t one = 1;
    (void)!write(stop_.get(), &one, sizeof one);
    thread_.join();
    fuse_.Reset();
    umount2(path_.c_str(), MNT_DETACH);
  }

 private:
  void Serve() {
    std::string buffer(256 << 10, '\0');
    while (true) {
      pollfd fds[2] = {{fuse_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
      poll(fds, 2, -1);
      if (fds[1].revents != 0) return;
      if (read(fuse_.get(), buffer.data(), buffer.size()) < 0) continue;
      const auto* request = reinterpret_cast<const fuse_in_header*>(buffer.data());
      Answer(*request);
    }
  }
  void Answer(const fuse_in_header& request) {
    if (request.opcode == FUSE_INIT) {
      fuse_init_out init{};
      init.major = FUSE_KERNEL_VERSION;
      init.minor = 31;
      init.max_write = 4096;
      return Reply(request, 0, &init, sizeof init);
    }
    if (request.opcode == FUSE_GETATTR) {
      fuse_attr_out attributes{};
      attributes.attr_valid = 1000;
      attributes.attr.ino = 1;
      attributes.attr.mode = S_IFDIR | 0755;
      attributes.attr.nlink = 2;
      return Reply(request, 0, &attributes, sizeof attributes);
    }
    if (request.opcode == FUSE_LOOKUP) {
      looked_up_ = true;
      return;
    }
    Reply(request, -ENOSYS, nullptr, 0);
  }
  void Reply(const fuse_in_header& request, int error, void* body, size_t size) {
    fuse_out_header header{static_cast<uint32_t>(sizeof(fuse_out_header) + size), error,
                           request.unique};
    iovec parts[2] = {{&header, sizeof header}, {body, size}};
    (void)!writev(fuse_.get(), parts, size > 0 ? 2 : 1);
  }

  std::string path_;
  UniqueFd fuse_, stop_;
  bool mounted_ = false;
  std::atomic<bool> looked_up_ = false;
  std::thread thread_;
};

}  // namespace berth::testing
