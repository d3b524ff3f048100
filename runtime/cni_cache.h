// What an ADD used and got, one file a pod, so that DEL and CHECK can follow it after a restart and
// after the configuration has changed.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"
#include "base/json.h"
#include "base/result.h"
#include "runtime/cni_config.h"

namespace berth::runtime {

// NOLINTNEXTLINE(bugprone-exception-escape): moving a Json does not throw.
struct CniRecord {
  CniNetwork network;
  Json capabilities;  // CniCapabilities of the pod
  std::string args;   // CniArgs of the pod
  std::string netns;
  Json result;  // null until the ADD has succeeded
};

// Files are replaced as a whole: a reader sees the old or the new record.
class CniCache {
 public:
  static Result<CniCache> Open(const std::string& dir);

  Status Write(const std::string& pod_id, const CniRecord& record) const;
  // NotFound, or DataLoss if the file is damaged.
  Result<CniRecord> Read(const std::string& pod_id) const;
  Status Remove(const std::string& pod_id) const;
  Result<std::vector<std::string>> List() const;

 private:
  explicit CniCache(UniqueFd dir) : dir_(std::move(dir)) {}
  UniqueFd dir_;
};

}  // namespace berth::runtime
