#include "image/pull_cgroup.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "base/strings.h"

namespace berth::image {

namespace {

bool IsOfType(const std::string& directory, uint32_t magic) {
  struct statfs info {};
  return statfs(directory.c_str(), &info) == 0 && static_cast<uint32_t>(info.f_type) == magic;
}

// False where the kernel does not know the file, or not the value.
bool WriteSetting(const std::string& file, const std::string& value) {
  auto fd = Open(file, O_WRONLY);
  return fd.ok() && WriteAll(fd->get(), value).ok();
}

Status CheckPath(const std::string& path) {
  bool good = path.size() > 1 && path.front() == '/';
  for (std::string_view part : Split(std::string_view(path).substr(good ? 1 : 0), '/')) {
    good = good && !part.empty() && part != "." && part != "..";
  }
  if (good) return Ok();
  return Error(Code::kInvalidArgument,
               StrCat("\"", Printable(path), "\" is not the absolute path of a cgroup"));
}

Status MakeDirectory(const std::string& directory) {
  if (mkdir(directory.c_str(), 0755) == 0 || errno == EEXIST) return Ok();
  return ErrnoError(StrCat("make ", directory));
}

// One by one: of two in one write, a missing one refuses the other too.
void EnableControllers(const std::string& directory) {
  for (const char* controller : {"+cpu", "+io"}) {
    (void)WriteSetting(directory + "/cgroup.subtree_control", controller);
  }
}

void SetWeightsV2(const std::string& directory, const PullCgroupOptions& options) {
  (void)WriteSetting(directory + "/cpu.weight", StrCat(options.cpu_weight));
  for (const char* file : {"/io.weight", "/io.bfq.weight"}) {
    (void)WriteSetting(directory + file, StrCat("default ", options.io_weight));
  }
}

// In v1's units: others have 1024 shares, and a weight of the disk is 10 to 1000.
void SetWeightsV1(const std::string& directory, const PullCgroupOptions& options) {
  (void)WriteSetting(directory + "/cpu.shares",
                     StrCat(std::max(2, options.cpu_weight * 1024 / 100)));
  for (const char* file : {"/blkio.weight", "/blkio.bfq.weight"}) {
    (void)WriteSetting(directory + file, StrCat(std::clamp(options.io_weight, 10, 1000)));
  }
}

}  // namespace

PullCgroup::~PullCgroup() {
  for (const std::string& directory : Directories()) (void)rmdir(directory.c_str());
}

Result<PullCgroup> PullCgroup::Make(const PullCgroupOptions& options) {
  PullCgroup out;
  if (options.path.empty()) return out;
  RETURN_IF_ERROR(CheckPath(options.path));
  out.options_ = options;
  RETURN_IF_ERROR(out.Join());
  return out;
}

bool PullCgroup::IsV2() const {
  return IsOfType(options_.mount_root, CGROUP2_SUPER_MAGIC);
}

std::vector<std::string> PullCgroup::Directories() const {
  if (options_.path.empty()) return {};
  if (IsV2()) return {options_.mount_root + options_.path};
  std::vector<std::string> out;
  for (const char* controller : {"/cpu", "/blkio"}) {
    const std::string hierarchy = options_.mount_root + controller;
    if (IsOfType(hierarchy, CGROUP_SUPER_MAGIC)) out.push_back(hierarchy + options_.path);
  }
  return out;
}

Result<std::vector<UniqueFd>> PullCgroup::Join() const {
  std::vector<UniqueFd> out;
  const bool v2 = IsV2();
  for (const std::string& directory : Directories()) {
    if (access(directory.c_str(), F_OK) != 0) {
      // The parents too; controllers reach a directory through each of them.
      const size_t root = directory.size() - options_.path.size();
      for (size_t end = root; end != std::string::npos; end = directory.find('/', end + 1)) {
        const std::string parent = directory.substr(0, end);
        if (end != root) RETURN_IF_ERROR(MakeDirectory(parent));
        if (v2) EnableControllers(parent);
      }
      RETURN_IF_ERROR(MakeDirectory(directory));
    }
    if (v2) {
      SetWeightsV2(directory, options_);
    } else {
      SetWeightsV1(directory, options_);
    }
    ASSIGN_OR_RETURN(auto join, Open(directory + (v2 ? "/cgroup.procs" : "/tasks"), O_WRONLY));
    out.push_back(std::move(join));
  }
  return out;
}

}  // namespace berth::image
