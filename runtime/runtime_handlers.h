// Runtime handlers: who starts a pod's containers. The built-in one, "", is always there; others
// are configured, and an OCI one is a program that the shim drives.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "config/config.h"

namespace berth::runtime {

struct HandlerFeatures {
  bool recursive_read_only_mounts = false;
  bool user_namespaces = false;  // if the node can (PodManager::SupportsUserNamespaces)
};

// Immutable once made, and so thread-safe.
class RuntimeHandlers {
 public:
  // Asks each program what it can do (`PATH features`), which takes some milliseconds each. One
  // that cannot say can do nothing special; one that is missing is an error at a pod's start.
  RuntimeHandlers(const config::Config& config, const HandlerFeatures& builtin);

  // InvalidArgument names the handlers that there are.
  Status Check(const std::string& name) const;
  // Null for the built-in one, by whatever name.
  const config::RuntimeHandler* FindOci(const std::string& name) const;
  HandlerFeatures Features(const std::string& name) const;
  // "" first, then by name.
  const std::map<std::string, HandlerFeatures>& All() const { return features_; }

 private:
  std::map<std::string, config::RuntimeHandler> handlers_;
  std::map<std::string, HandlerFeatures> features_;
};

}  // namespace berth::runtime
