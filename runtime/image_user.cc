#include "runtime/image_user.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "base/file.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxFileBytes = 10 << 20;
constexpr int64_t kMaxId = INT32_MAX;
constexpr size_t kMaxGroups = 65536;  // NGROUPS_MAX: setgroups(2) takes no more
constexpr size_t kMaxUserBytes = 512;

struct PasswdEntry {
  std::string name;
  int64_t uid = 0, gid = 0;
  std::string home;
};

// True for what can only be meant as a number, in range or not: "12", "-1", "+7".
bool LooksNumeric(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

std::optional<int64_t> ParseId(std::string_view text) {
  std::optional<int64_t> id = ParseNumber<int64_t>(text);
  if (!id || *id < 0 || *id > kMaxId) return std::nullopt;
  return id;
}

Error OutOfRange(std::string_view field, std::string_view value) {
  return {Code::kInvalidArgument,
          StrCat(field, ": \"", Printable(value), "\" is not an id from 0 to ", kMaxId)};
}

// The content of a regular file of the image; empty where there is none. What is found is looked at
// before it is opened: opening a device would already call its driver.
Result<std::string> ReadImageFile(int rootfs, const std::string& path) {
  Result<UniqueFd> found = OpenInRoot(rootfs, path, O_PATH);
  if (!found.ok()) {
    int cause = found.error().sys_errno();
    if (cause == ENOENT || cause == ENOTDIR) return std::string();
    return std::move(found).error().Wrap(StrCat("image's /", path));
  }
  struct stat st;
  if (fstat(found->get(), &st) != 0) return ErrnoError(StrCat("image's /", path));
  if (!S_ISREG(st.st_mode)) {
    return Error(Code::kInvalidArgument, StrCat("image's /", path, " is not a regular file"));
  }
  if (static_cast<size_t>(st.st_size) > kMaxFileBytes) {
    return Error(Code::kInvalidArgument,
                 StrCat("image's /", path, " is larger than ", kMaxFileBytes, " bytes"));
  }
  ASSIGN_OR_RETURN(UniqueFd file, Open(FdPath(found->get()), O_RDONLY), "image's /", path);
  Result<std::string> text = ReadToEnd(file.get(), kMaxFileBytes);
  if (!text.ok()) return std::move(text).error().Wrap(StrCat("image's /", path));
  return text;
}

// Calls `visit` with the fields of every line that has at least `min_fields`, until it returns
// true.
void ForEachLine(std::string_view text, size_t min_fields,
                 const std::function<bool(const std::vector<std::string_view>&)>& visit) {
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = Trim(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty() || line[0] == '#') continue;
    std::vector<std::string_view> fields = Split(line, ':');
    if (fields.size() >= min_fields && visit(fields)) return;
  }
}

bool IsUsableHome(std::string_view home) {
  return !home.empty() && home[0] == '/' && home.size() < PATH_MAX &&
         std::none_of(home.begin(), home.end(), [](char c) { return c >= 0 && c < ' '; });
}

// The first line that fits, as getpwnam(3) and getpwuid(3) do; lines with ids out of range never
// fit.
std::optional<PasswdEntry> FindUser(std::string_view passwd,
                                    const std::function<bool(const PasswdEntry&)>& fits) {
  std::optional<PasswdEntry> found;
  ForEachLine(passwd, 4, [&](const std::vector<std::string_view>& fields) {
    std::optional<int64_t> uid = ParseId(fields[2]), gid = ParseId(fields[3]);
    if (!uid || !gid) return false;
    PasswdEntry entry{std::string(fields[0]), *uid, *gid, "/"};
    if (!fits(entry)) return false;
    if (fields.size() > 5 && IsUsableHome(fields[5])) entry.home = fields[5];
    found = std::move(entry);
    return true;
  });
  return found;
}

std::optional<int64_t> FindGroup(std::string_view group, std::string_view name) {
  std::optional<int64_t> found;
  ForEachLine(group, 3, [&](const std::vector<std::string_view>& fields) {
    if (fields[0] != name) return false;
    found = ParseId(fields[2]);
    return found.has_value();
  });
  return found;
}

// The groups that list the user as a member.
Result<std::vector<int64_t>> GroupsOf(std::string_view group, std::string_view user) {
  std::vector<int64_t> gids;
  ForEachLine(group, 4, [&](const std::vector<std::string_view>& fields) {
    std::optional<int64_t> gid = ParseId(fields[2]);
    if (!gid) return false;
    std::vector<std::string_view> members = Split(fields[3], ',');
    if (std::find(members.begin(), members.end(), user) != members.end()) gids.push_back(*gid);
    return gids.size() > kMaxGroups;
  });
  if (gids.size() > kMaxGroups) {
    return Error(Code::kInvalidArgument, StrCat("image's /etc/group has user \"", Printable(user),
                                                "\" in more than ", kMaxGroups, " groups"));
  }
  return gids;
}

// What was asked for, before any look-up: numbers or names, and the field that they came from.
struct Wanted {
  std::string field;
  std::string user, group;  // empty: not given
};

Result<std::string> IdText(std::string_view field, int64_t id) {
  if (id < 0 || id > kMaxId) return OutOfRange(field, StrCat(id));
  return StrCat(id);
}

Result<Wanted> ParseImageUser(const std::string& image_user) {
  Wanted wanted{"image's USER", "", ""};
  if (image_user.size() > kMaxUserBytes) {
    return Error(Code::kInvalidArgument,
                 StrCat(wanted.field, " is longer than ", kMaxUserBytes, " bytes"));
  }
  std::vector<std::string_view> parts = Split(image_user, ':');
  bool empty_part = parts.size() == 2 && (parts[0].empty() || parts[1].empty());
  if (parts.size() > 2 || empty_part) {
    return Error(Code::kInvalidArgument, StrCat(wanted.field, ": \"", Printable(image_user),
                                                "\" is neither user nor user:group"));
  }
  wanted.user = parts[0];
  if (parts.size() == 2) wanted.group = parts[1];
  return wanted;
}

// CRI's fields come first, and as one: with run_as_user the image's group counts no more.
Result<Wanted> WantedUser(const ContainerSecurityContext& security, const std::string& image_user) {
  const std::string& username = security.run_as_username;
  if (security.run_as_user && !username.empty()) {
    return Error(Code::kInvalidArgument, "run_as_user and run_as_username are both set");
  }
  Wanted wanted;
  if (security.run_as_user) {
    wanted.field = "run_as_user";
    ASSIGN_OR_RETURN(wanted.user, IdText("run_as_user", *security.run_as_user));
  } else if (!username.empty()) {
    wanted.field = "run_as_username";
    if (username.size() > kMaxUserBytes || username.find(':') != std::string::npos) {
      return Error(Code::kInvalidArgument,
                   StrCat("run_as_username: \"", Printable(username), "\" is not a user name"));
    }
    wanted.user = username;
  } else if (security.run_as_group) {
    return Error(Code::kInvalidArgument,
                 "run_as_group is set without run_as_user or run_as_username");
  } else {
    return ParseImageUser(image_user);
  }
  if (security.run_as_group) {
    ASSIGN_OR_RETURN(wanted.group, IdText("run_as_group", *security.run_as_group));
  }
  return wanted;
}

// Numbers may be in the files or not, names must be. `entry` is the user's line where there is one.
Result<int64_t> ResolveUid(const Wanted& wanted, std::string_view passwd,
                           std::optional<PasswdEntry>& entry) {
  if (wanted.user.empty() || LooksNumeric(wanted.user)) {
    std::optional<int64_t> uid = wanted.user.empty() ? 0 : ParseId(wanted.user);
    if (!uid) return OutOfRange(wanted.field, wanted.user);
    entry = FindUser(passwd, [&](const PasswdEntry& line) { return line.uid == *uid; });
    return *uid;
  }
  entry = FindUser(passwd, [&](const PasswdEntry& line) { return line.name == wanted.user; });
  if (!entry) {
    return Error(Code::kNotFound, StrCat(wanted.field, ": no user \"", Printable(wanted.user),
                                         "\" in the image's /etc/passwd"));
  }
  return entry->uid;
}

Result<int64_t> ResolveGid(const Wanted& wanted, std::string_view group,
                           const std::optional<PasswdEntry>& entry) {
  if (wanted.group.empty()) return entry ? entry->gid : 0;
  if (LooksNumeric(wanted.group)) {
    std::optional<int64_t> gid = ParseId(wanted.group);
    if (!gid) return OutOfRange(wanted.field, wanted.group);
    return *gid;
  }
  std::optional<int64_t> gid = FindGroup(group, wanted.group);
  if (!gid) {
    return Error(Code::kNotFound, StrCat(wanted.field, ": no group \"", Printable(wanted.group),
                                         "\" in the image's /etc/group"));
  }
  return *gid;
}

}  // namespace

Result<ImageUser> ResolveImageUser(int rootfs, const ContainerSecurityContext& security,
                                   const std::string& image_user) {
  ASSIGN_OR_RETURN(Wanted wanted, WantedUser(security, image_user));
  ASSIGN_OR_RETURN(std::string passwd, ReadImageFile(rootfs, "etc/passwd"));
  ASSIGN_OR_RETURN(std::string group, ReadImageFile(rootfs, "etc/group"));

  ImageUser result;
  std::optional<PasswdEntry> entry;
  ASSIGN_OR_RETURN(result.user.uid, ResolveUid(wanted, passwd, entry));
  ASSIGN_OR_RETURN(result.user.gid, ResolveGid(wanted, group, entry));
  result.home = entry ? entry->home : "/";

  // The primary group stands in the list as well: otherwise a process that gives its group up would
  // escape files that deny this group (CVE-2022-36109).
  std::vector<int64_t> gids = {result.user.gid};
  if (entry && security.supplemental_groups_policy == SupplementalGroupsPolicy::kMerge) {
    ASSIGN_OR_RETURN(std::vector<int64_t> listed, GroupsOf(group, entry->name));
    gids.insert(gids.end(), listed.begin(), listed.end());
  }
  for (int64_t gid : security.supplemental_groups) {
    if (gid < 0 || gid > kMaxId) return OutOfRange("supplemental_groups", StrCat(gid));
    gids.push_back(gid);
  }
  std::sort(gids.begin(), gids.end());
  gids.erase(std::unique(gids.begin(), gids.end()), gids.end());
  if (gids.size() > kMaxGroups) {
    return Error(Code::kInvalidArgument,
                 StrCat("supplemental_groups: more than ", kMaxGroups, " groups"));
  }
  result.user.supplemental_groups = std::move(gids);
  return result;
}

}  // namespace berth::runtime
