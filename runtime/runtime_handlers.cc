#include "runtime/runtime_handlers.h"

#include <glog/logging.h>

#include <algorithm>

#include "base/json.h"
#include "base/process.h"

namespace berth::runtime {

namespace {

constexpr int64_t kFeaturesTimeoutMs = 5'000;

// runtime-spec features.md: "mountOptions" has every option that the program knows.
Result<bool> KnowsRecursiveReadOnly(const config::RuntimeHandler& handler) {
  SpawnOptions options;
  options.path = handler.path;
  options.args = {handler.path, "features"};
  options.env = {kProgramsPath};
  options.new_session = true;
  ASSIGN_OR_RETURN(auto output,
                   RunProgram(Context::WithTimeoutMs(kFeaturesTimeoutMs), options, ""));
  // Older ones do not know the command.
  if (output.exit_code != 0) return false;
  ASSIGN_OR_RETURN(Json features, ParseJson(output.out));
  ASSIGN_OR_RETURN(auto known, JsonStrings(features, "mountOptions"));
  return std::find(known.begin(), known.end(), "rro") != known.end();
}

}  // namespace

RuntimeHandlers::RuntimeHandlers(const config::Config& config, const HandlerFeatures& builtin)
    : handlers_(config.runtime_handlers) {
  features_[""] = builtin;
  for (const auto& [name, handler] : handlers_) {
    if (handler.type != "oci") {
      features_[name] = builtin;
      continue;
    }
    auto recursive = KnowsRecursiveReadOnly(handler);
    if (!recursive.ok()) {
      LOG(WARNING) << "runtime handler " << name << ": " << recursive.error().message();
    }
    features_[name] = {recursive.ok() && *recursive, /*user_namespaces=*/false};
  }
}

Status RuntimeHandlers::Check(const std::string& name) const {
  if (features_.contains(name)) return Ok();
  std::vector<std::string> names;
  for (const auto& [known, features] : features_) names.push_back(StrCat("\"", known, "\""));
  return Error(Code::kInvalidArgument,
               StrCat("runtime_handler: \"", Printable(name), "\" is not configured; there ",
                      names.size() == 1 ? "is " : "are ", Join(names, ", ")));
}

const config::RuntimeHandler* RuntimeHandlers::FindOci(const std::string& name) const {
  auto it = handlers_.find(name);
  return it == handlers_.end() || it->second.type != "oci" ? nullptr : &it->second;
}

HandlerFeatures RuntimeHandlers::Features(const std::string& name) const {
  auto it = features_.find(name);
  return it == features_.end() ? HandlerFeatures{} : it->second;
}

}  // namespace berth::runtime
