#include "runtime/lsm.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>

#include "base/file.h"

namespace berth::runtime {

namespace {

constexpr std::string_view kLocalhost = "localhost/";
constexpr size_t kMaxLabelPart = 256;
constexpr uint32_t kCategories = 1024;
constexpr uint32_t kSensitivities = 16;
constexpr char kFreeProcess[] = "system_u:system_r:spc_t:s0";

// One part of a label, between its ':'.
Status CheckLabelPart(std::string_view field, const std::string& text) {
  const bool plain =
      text.size() <= kMaxLabelPart && std::all_of(text.begin(), text.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_' || c == '.' || c == '-';
      });
  if (plain) return Ok();
  return Error(Code::kInvalidArgument, StrCat("selinux_options.", field, ": \"", Printable(text),
                                              "\" is no part of a label"));
}

// "s3" or "c12": the letter and a number below the limit.
bool IsNumbered(std::string_view text, char letter, uint32_t limit) {
  if (text.empty() || text[0] != letter) return false;
  const auto number = ParseNumber<uint32_t>(text.substr(1));
  return number && *number < limit;
}

// "c1" or "c1.c5", a range.
bool IsCategory(std::string_view text) {
  const auto ends = Split(text, '.');
  return ends.size() <= 2 && std::all_of(ends.begin(), ends.end(), [](std::string_view end) {
           return IsNumbered(end, 'c', kCategories);
         });
}

// "s0", "s0:c1,c5" or "s0:c1.c5,c9".
bool IsOneLevel(std::string_view text) {
  const size_t colon = text.find(':');
  if (!IsNumbered(text.substr(0, colon), 's', kSensitivities)) return false;
  if (colon == std::string_view::npos) return true;
  const auto categories = Split(text.substr(colon + 1), ',');
  return std::all_of(categories.begin(), categories.end(), IsCategory);
}

// One level, or two with '-' between them, the lower first (the kernel's mls_context_to_sid).
Status CheckLevel(const std::string& text) {
  const auto levels = Split(text, '-');
  if (text.empty() || (text.size() <= kMaxLabelPart && levels.size() <= 2 &&
                       std::all_of(levels.begin(), levels.end(), IsOneLevel))) {
    return Ok();
  }
  return Error(Code::kInvalidArgument,
               StrCat("selinux_options.level: \"", Printable(text), "\" is no level"));
}

bool IsEmpty(const SelinuxOptions& options) {
  return options.user.empty() && options.role.empty() && options.type.empty() &&
         options.level.empty();
}

constexpr char kSelinuxAttribute[] = "security.selinux";

// Other processes than containers' lose their files by another label. What Go's runtimes refuse to
// relabel (go-selinux), and a file of the same kind.
constexpr std::array<std::string_view, 25> kNodesOwn = {
    "/",        "/bin",        "/boot",    "/dev",    "/etc",   "/etc/group", "/etc/passwd",
    "/etc/pki", "/etc/shadow", "/home",    "/lib",    "/lib64", "/media",     "/opt",
    "/proc",    "/root",       "/run",     "/sbin",   "/srv",   "/sys",       "/tmp",
    "/usr",     "/var",        "/var/lib", "/var/log"};

// `path` is of a file, or of a link itself.
Status SetLabel(const std::string& path, const std::string& label, bool follow) {
  const auto set = follow ? setxattr : lsetxattr;
  if (set(path.c_str(), kSelinuxAttribute, label.c_str(), label.size() + 1, 0) == 0) return Ok();
  if (errno == EOPNOTSUPP || errno == ENOENT) return Ok();  // mounted below; gone meanwhile
  return ErrnoError("set SELinux label");
}

// Labels what a directory has, and adds its directories (paths below `top`) to `left`.
Status LabelEntries(int top, const std::string& path, const std::string& label,
                    std::vector<std::string>& left) {
  auto directory = OpenNoSymlinks(top, path, O_RDONLY | O_DIRECTORY);
  if (!directory.ok()) {
    const int cause = directory.error().sys_errno();
    const bool is_none = cause == ENOTDIR || cause == ENOENT || cause == ELOOP;
    return is_none ? Ok() : Status(std::move(directory).error());
  }
  const std::string prefix = FdPath(directory->get()) + "/";
  return ForEachEntry(directory->get(), [&](const std::string& name) -> Status {
    RETURN_IF_ERROR(SetLabel(prefix + name, label, false), Printable(StrCat(path, "/", name)));
    struct stat info {};
    if (fstatat(directory->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) return Ok();
    if (S_ISDIR(info.st_mode)) left.push_back(StrCat(path, "/", name));
    return Ok();
  });
}

// The top of a tree has the label, or can have none: as in a file system that has no labels, or
// that is mounted with one for all files.
bool IsDone(const std::string& top, const std::string& label) {
  std::array<char, 512> value{};
  const ssize_t size = getxattr(top.c_str(), kSelinuxAttribute, value.data(), value.size() - 1);
  if (size < 0) return errno == EOPNOTSUPP;
  if (label == value.data()) return true;
  const auto length = static_cast<size_t>(size);
  return setxattr(top.c_str(), kSelinuxAttribute, value.data(), length, XATTR_REPLACE) != 0 &&
         errno == EOPNOTSUPP;
}

bool Knows(const SelinuxPolicy& policy, const SelinuxLabels& labels) {
  return policy(labels.process) && policy(labels.mount);
}

// Two of the categories, the same for a pod each time (FNV-1a of its uid).
std::string OwnLevel(const std::string& pod_uid) {
  uint32_t hash = 2166136261U;
  for (unsigned char c : pod_uid) hash = (hash ^ c) * 16777619U;
  const uint32_t low = hash % (kCategories - 1);
  const uint32_t high = low + 1 + (hash / kCategories) % (kCategories - 1 - low);
  return StrCat("s0:c", low, ",c", high);
}

}  // namespace

std::string WithoutLocalhost(const std::string& reference) {
  return reference.starts_with(kLocalhost) ? reference.substr(kLocalhost.size()) : reference;
}

Result<std::optional<SecurityProfile>> ParseOlderProfile(std::string_view field,
                                                         const std::string& text) {
  if (text.empty()) return std::optional<SecurityProfile>();
  SecurityProfile profile;
  if (text == "runtime/default" || text == "docker/default") {
    profile.type = ProfileType::kRuntimeDefault;
  } else if (text == "unconfined") {
    profile.type = ProfileType::kUnconfined;
  } else if (text.starts_with(kLocalhost)) {
    profile = {ProfileType::kLocalhost, WithoutLocalhost(text)};
  } else {
    return Error(Code::kInvalidArgument,
                 StrCat(field, ": \"", Printable(text), "\" is no profile"));
  }
  return std::optional(profile);
}

SelinuxPolicy KernelsSelinuxPolicy() {
  if (access("/sys/fs/selinux/enforce", F_OK) != 0) return nullptr;
  return [](const std::string& label) {
    // The kernel fails to take a label that is none in its policy (selinuxfs "context").
    return WriteFile("/sys/fs/selinux/context", label).ok();
  };
}

Result<SelinuxLabels> SelinuxLabelsFor(const SelinuxSubject& subject, const SelinuxPolicy& policy) {
  SelinuxOptions label = subject.options.value_or(SelinuxOptions());
  RETURN_IF_ERROR(CheckLabelPart("user", label.user));
  RETURN_IF_ERROR(CheckLabelPart("role", label.role));
  RETURN_IF_ERROR(CheckLabelPart("type", label.type));
  RETURN_IF_ERROR(CheckLevel(label.level));
  const bool is_default = IsEmpty(label);
  if (label.user.empty()) label.user = "system_u";
  if (label.role.empty()) label.role = "system_r";
  if (label.type.empty()) label.type = "container_t";
  if (label.level.empty()) label.level = OwnLevel(subject.pod_uid);
  SelinuxLabels labels = {StrCat(label.user, ":", label.role, ":", label.type, ":", label.level),
                          StrCat("system_u:object_r:container_file_t:", label.level)};
  if (subject.privileged) {
    labels.process = kFreeProcess;
    return policy && Knows(policy, labels) ? labels : SelinuxLabels();
  }
  if (is_default && (!policy || subject.sees_hosts_processes)) return SelinuxLabels();
  if (policy) {
    if (Knows(policy, labels)) return labels;
    if (is_default) return SelinuxLabels();
    return Error(Code::kFailedPrecondition,
                 StrCat("selinux_options: the node's policy knows no label \"", labels.process,
                        "\", or none \"", labels.mount, "\""));
  }
  // Many system pods name one of these, and here every process is as free.
  if (label.type == "spc_t" || label.type == "unconfined_t") return SelinuxLabels();
  return Error(Code::kFailedPrecondition,
               StrCat("selinux_options: label \"", labels.process,
                      "\" cannot be applied: the kernel has no SELinux"));
}

Status Relabel(const Context& context, const std::string& path, const std::string& label) {
  ASSIGN_OR_RETURN(UniqueFd top, Open(path, O_PATH));
  std::array<char, PATH_MAX> real{};
  const ssize_t length = readlink(FdPath(top.get()).c_str(), real.data(), real.size());
  if (length < 0) return ErrnoError("readlink");
  const std::string_view place(real.data(), static_cast<size_t>(length));
  if (std::find(kNodesOwn.begin(), kNodesOwn.end(), place) != kNodesOwn.end()) {
    return Error(Code::kInvalidArgument,
                 StrCat("\"", place, "\" is the node's own and keeps its label"));
  }
  const std::string top_path = FdPath(top.get());
  if (IsDone(top_path, label)) return Ok();
  std::vector<std::string> left = {"."};
  while (!left.empty()) {
    RETURN_IF_ERROR(context.Check("relabel"), Printable(path));
    const std::string next = std::move(left.back());
    left.pop_back();
    RETURN_IF_ERROR(LabelEntries(top.get(), next, label, left), "relabel ", Printable(path));
  }
  // Last, since it says that the others have it.
  return SetLabel(top_path, label, true);
}

}  // namespace berth::runtime
