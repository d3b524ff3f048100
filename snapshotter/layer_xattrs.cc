#include "snapshotter/layer_xattrs.h"

#include <errno.h>
#include <sys/xattr.h>

#include <algorithm>

#include "base/strings.h"

namespace berth::snapshotter {

namespace {

constexpr size_t kMaxListBytes = 64 << 10;  // XATTR_LIST_MAX
constexpr size_t kMaxValueBytes = 64 << 10;

}  // namespace

bool IsLayerXattr(std::string_view name) {
  return name == "security.capability" || name == "system.posix_acl_access" ||
         name == "system.posix_acl_default" ||
         (name.starts_with("user.") && !name.starts_with("user.overlay."));
}

Result<LayerXattrs> ReadLayerXattrs(int fd) {
  LayerXattrs out;
  // Most files have none, and those that have some a few.
  char few[256];
  std::string list;
  ssize_t size = flistxattr(fd, few, sizeof few);
  if (size >= 0) {
    list.assign(few, static_cast<size_t>(size));
  } else if (errno == EOPNOTSUPP) {
    return out;
  } else {
    list.resize(kMaxListBytes);
    size = flistxattr(fd, list.data(), list.size());
    if (size < 0) return ErrnoError("list attributes");
    list.resize(static_cast<size_t>(size));
  }
  for (std::string_view name : Split(list, '\0')) {
    if (!IsLayerXattr(name)) continue;
    std::string value(kMaxValueBytes, '\0');
    const ssize_t n = fgetxattr(fd, std::string(name).c_str(), value.data(), value.size());
    if (n < 0) return ErrnoError(StrCat("read attribute ", Printable(name)));
    value.resize(static_cast<size_t>(n));
    out.emplace_back(name, std::move(value));
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool IsOpaque(int directory) {
  char value = 0;
  return fgetxattr(directory, "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

}  // namespace berth::snapshotter
