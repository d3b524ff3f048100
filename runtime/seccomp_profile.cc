#include "runtime/seccomp_profile.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "runtime/capabilities.h"
#include "runtime/seccomp_filter.h"
#include "runtime/seccomp_json.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxCachedProfiles = 64;

// A localhost profile's file, opened. Its key changes with its content, as far as stat(2) tells.
struct ProfileFile {
  std::string path, key;
  UniqueFd fd;
};

Result<ProfileFile> OpenProfileFile(std::string path) {
  bool plain = !path.empty() && path[0] == '/' && IsPlainRelativePath(path.substr(1));
  if (!plain) {
    return Error(Code::kInvalidArgument, StrCat("seccomp.localhost_ref: \"", Printable(path),
                                                "\" is not an absolute path without \"..\""));
  }
  ProfileFile file;
  // Not to hang on a FIFO.
  ASSIGN_OR_RETURN(file.fd, Open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY), "seccomp profile ", path);
  struct stat st;
  if (fstat(file.fd.get(), &st) != 0) return ErrnoError(StrCat("seccomp profile ", path));
  if (!S_ISREG(st.st_mode)) {
    return Error(Code::kInvalidArgument,
                 StrCat("seccomp profile ", path, " is not a regular file"));
  }
  file.key = StrCat(path, "\n", st.st_dev, " ", st.st_ino, " ", st.st_size, " ", st.st_mtim.tv_sec,
                    " ", st.st_mtim.tv_nsec, " ", st.st_ctim.tv_sec, " ", st.st_ctim.tv_nsec);
  file.path = std::move(path);
  return file;
}

}  // namespace

struct SeccompProfiles::Profile {
  std::string path;  // for messages
  SeccompDocument document;
  Mutex mutex;
  std::map<CapabilitySet, std::shared_ptr<const SeccompFilter>> filters GUARDED_BY(mutex);

  Result<std::shared_ptr<const SeccompFilter>> FilterFor(CapabilitySet capabilities) {
    capabilities &= document.capabilities;
    MutexLock lock(mutex);
    std::shared_ptr<const SeccompFilter>& filter = filters[capabilities];
    if (filter == nullptr) {
      ASSIGN_OR_RETURN(SeccompFilter compiled, CompileSeccomp(document, capabilities));
      filter = std::make_shared<const SeccompFilter>(std::move(compiled));
    }
    return filter;
  }
};

std::shared_ptr<SeccompProfiles::Profile> SeccompProfiles::Find(const std::string& key) {
  MutexLock lock(mutex_);
  auto it = profiles_.find(key);
  return it == profiles_.end() ? nullptr : it->second;
}

std::shared_ptr<SeccompProfiles::Profile> SeccompProfiles::Add(
    const std::string& key, const std::shared_ptr<Profile>& profile) {
  MutexLock lock(mutex_);
  // Only edited localhost files pile up; to begin anew is cheaper than to keep book.
  if (profiles_.size() >= kMaxCachedProfiles) profiles_.clear();
  return profiles_.try_emplace(key, profile).first->second;
}

Result<std::shared_ptr<SeccompProfiles::Profile>> SeccompProfiles::Load(
    const SecurityProfile& profile) {
  bool is_default = profile.type == ProfileType::kRuntimeDefault;
  ProfileFile file;
  if (is_default) {
    file.key = file.path = "default";
  } else {
    ASSIGN_OR_RETURN(file, OpenProfileFile(profile.localhost_ref));
  }
  std::shared_ptr<Profile> found = Find(file.key);
  if (found != nullptr) return found;
  std::string text(DefaultSeccompJson());
  if (!is_default) {
    ASSIGN_OR_RETURN(text, ReadToEnd(file.fd.get(), kMaxSeccompJsonBytes), "seccomp profile ",
                     file.path);
  }
  auto fresh = std::make_shared<Profile>();
  fresh->path = file.path;
  ASSIGN_OR_RETURN(fresh->document, ParseSeccompJson(text), "seccomp profile ", file.path);
  return Add(file.key, fresh);
}

Result<std::shared_ptr<const SeccompFilter>> SeccompProfiles::Get(
    const SecurityProfile& profile, const std::vector<std::string>& capabilities) {
  if (profile.type == ProfileType::kUnconfined) return std::shared_ptr<const SeccompFilter>();
  ASSIGN_OR_RETURN(CapabilitySet caps, CapabilitiesFromNames(capabilities));
  ASSIGN_OR_RETURN(auto found, Load(profile));
  Result<std::shared_ptr<const SeccompFilter>> filter = found->FilterFor(caps);
  if (!filter.ok()) return std::move(filter).error().Wrap(StrCat("seccomp profile ", found->path));
  return filter;
}

Result<std::string> SeccompProfiles::OciJson(const SecurityProfile& profile,
                                             const std::vector<std::string>& capabilities) {
  if (profile.type == ProfileType::kUnconfined) return std::string();
  ASSIGN_OR_RETURN(CapabilitySet caps, CapabilitiesFromNames(capabilities));
  ASSIGN_OR_RETURN(auto found, Load(profile));
  return SeccompOciJson(found->document,
                        [caps](const SeccompRule& rule) { return Applies(rule, caps); });
}

}  // namespace berth::runtime
