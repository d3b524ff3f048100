// Headers of a tar: ustar, with pax headers for what does not fit (POSIX, "pax Interchange
// Format"). The same values make the same bytes.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

namespace berth::image {

struct TarHeader {
  std::string name;
  char type = '0';  // of ustar: file, '1' hard link, '2' symlink, '3' '4' devices, '5' directory,
                    // '6' fifo
  std::string link = {};
  uint32_t mode = 0644;
  uint64_t uid = 0, gid = 0;
  uint64_t size = 0;  // of a file
  timespec mtime = {};
  uint32_t device_major = 0, device_minor = 0;
  std::vector<std::pair<std::string, std::string>> xattrs = {};
};

std::string EncodeTarHeader(const TarHeader& header);
// What follows a content of that size.
std::string TarPadding(uint64_t size);
// What follows the last member.
std::string TarEnd();

}  // namespace berth::image
