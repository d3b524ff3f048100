// Seccomp filters: profiles in Docker's JSON format, compiled to BPF with libseccomp, once a
// profile.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sync.h"
#include "runtime/types.h"

namespace berth::runtime {

// An array of struct sock_filter (linux/filter.h), ready for seccomp(2).
using SeccompFilter = std::string;

// Thread-safe; a filter is compiled once for each (profile, capabilities that it depends on).
class SeccompProfiles {
 public:
  // The filter for a profile; null for Unconfined. `capabilities` are the container's bounding set,
  // which the default profile's "includes"/"excludes" refer to. InvalidArgument names the file and
  // what is wrong in it; NotFound for a localhost_ref that does not exist.
  Result<std::shared_ptr<const SeccompFilter>> Get(const SecurityProfile& profile,
                                                   const std::vector<std::string>& capabilities);
  // The same as the text that an OCI runtime takes; empty for Unconfined.
  Result<std::string> OciJson(const SecurityProfile& profile,
                              const std::vector<std::string>& capabilities);

 private:
  struct Profile;  // parsed, with its filters by the capabilities that it refers to
  Result<std::shared_ptr<Profile>> Load(const SecurityProfile& profile) EXCLUDES(mutex_);
  std::shared_ptr<Profile> Find(const std::string& key) EXCLUDES(mutex_);
  std::shared_ptr<Profile> Add(const std::string& key, const std::shared_ptr<Profile>& profile)
      EXCLUDES(mutex_);

  Mutex mutex_;
  // By "default", or by a localhost file's path and identity: an edited file is a new profile.
  std::map<std::string, std::shared_ptr<Profile>> profiles_ GUARDED_BY(mutex_);
};

// The text of the built-in default profile (config/seccomp_default.json).
std::string_view DefaultSeccompJson();

}  // namespace berth::runtime
