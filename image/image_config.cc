#include "image/image_config.h"

#include <algorithm>

#include "base/json.h"
#include "image/digest.h"
#include "image/manifest.h"

namespace berth::image {

namespace {

constexpr size_t kMaxListEntries = 10'000;

Error Malformed(std::string_view why) {
  return {Code::kDataLoss, std::string(why)};
}

bool HasNul(std::string_view text) {
  return text.find('\0') != std::string_view::npos;
}

// A C string is what becomes of all of these in the end.
Result<std::string> Text(const Json& json, const char* key) {
  ASSIGN_OR_RETURN(std::string text, JsonString(json, key));
  if (HasNul(text)) return Malformed(StrCat("\"", key, "\" has a NUL byte"));
  return text;
}

Result<std::vector<std::string>> Texts(const Json& json, const char* key) {
  ASSIGN_OR_RETURN(auto texts, JsonStrings(json, key));
  if (texts.size() > kMaxListEntries) return Malformed(StrCat("\"", key, "\" is too long"));
  if (std::any_of(texts.begin(), texts.end(), HasNul)) {
    return Malformed(StrCat("\"", key, "\" has a NUL byte"));
  }
  return texts;
}

Result<std::map<std::string, std::string>> Labels(const Json& json) {
  std::map<std::string, std::string> out;
  auto labels = json.find("Labels");
  if (labels == json.end() || labels->is_null()) return out;
  if (!labels->is_object()) return Malformed("\"Labels\" is not an object");
  for (const auto& [name, value] : labels->items()) {
    if (!value.is_string()) return Malformed("\"Labels\" has a value that is no text");
    out[name] = value.get<std::string>();
  }
  return out;
}

// A set, written as an object of empty objects.
Result<std::vector<std::string>> Volumes(const Json& json) {
  std::vector<std::string> out;
  auto volumes = json.find("Volumes");
  if (volumes == json.end() || volumes->is_null()) return out;
  if (!volumes->is_object()) return Malformed("\"Volumes\" is not an object");
  for (const auto& [path, unused] : volumes->items()) {
    if (HasNul(path)) return Malformed("\"Volumes\" has a NUL byte");
    out.push_back(path);
  }
  return out;
}

bool IsUsableEnv(const std::string& entry) {
  size_t equals = entry.find('=');
  return equals != std::string::npos && equals > 0;
}

Status ParseExecution(const Json& json, ImageConfig* out) {
  ASSIGN_OR_RETURN(out->user, Text(json, "User"));
  ASSIGN_OR_RETURN(out->working_dir, Text(json, "WorkingDir"));
  ASSIGN_OR_RETURN(out->stop_signal, Text(json, "StopSignal"));
  ASSIGN_OR_RETURN(out->entrypoint, Texts(json, "Entrypoint"));
  ASSIGN_OR_RETURN(out->cmd, Texts(json, "Cmd"));
  ASSIGN_OR_RETURN(out->env, Texts(json, "Env"));
  std::erase_if(out->env, [](const std::string& entry) { return !IsUsableEnv(entry); });
  ASSIGN_OR_RETURN(out->volumes, Volumes(json));
  ASSIGN_OR_RETURN(out->labels, Labels(json));
  return Ok();
}

Status ParseRootfs(const Json& json, ImageConfig* out) {
  auto rootfs = json.find("rootfs");
  if (rootfs == json.end() || !rootfs->is_object()) return Malformed("no \"rootfs\"");
  ASSIGN_OR_RETURN(std::string type, JsonString(*rootfs, "type"));
  if (type != "layers") return Malformed("rootfs.type is not \"layers\"");
  ASSIGN_OR_RETURN(out->diff_ids, JsonStrings(*rootfs, "diff_ids"));
  if (out->diff_ids.size() > kMaxLayers) {
    return Malformed(StrCat("rootfs.diff_ids: more than ", kMaxLayers, " layers"));
  }
  for (const std::string& diff_id : out->diff_ids) {
    RETURN_IF_ERROR(CheckDigest(diff_id, "rootfs.diff_ids"));
  }
  return Ok();
}

Result<ImageConfig> Parse(std::string_view bytes) {
  ASSIGN_OR_RETURN(Json json, ParseJson(bytes));
  if (!json.is_object()) return Malformed("not a JSON object");
  ImageConfig out;
  ASSIGN_OR_RETURN(out.architecture, Text(json, "architecture"));
  ASSIGN_OR_RETURN(out.os, Text(json, "os"));
  if (auto config = json.find("config"); config != json.end() && !config->is_null()) {
    RETURN_IF_ERROR(ParseExecution(*config, &out), "config");
  }
  RETURN_IF_ERROR(ParseRootfs(json, &out));
  return out;
}

}  // namespace

Result<ImageConfig> ParseImageConfig(std::string_view bytes) {
  auto config = Parse(bytes);
  if (config.ok()) return config;
  // The helpers blame an argument; here it is what the registry sent.
  return std::move(config).error().WithCode(Code::kDataLoss).Wrap("image configuration");
}

Status CheckForHost(const ImageConfig& config, size_t layers) {
  const Platform host = HostPlatform();
  const bool other_os = !config.os.empty() && config.os != host.os;
  const bool other_cpu = !config.architecture.empty() && config.architecture != host.architecture;
  if (other_os || other_cpu) {
    return Error(Code::kNotFound,
                 StrCat("no image for ", host.os, "/", host.architecture, "; this one is for ",
                        Printable(config.os, 20), "/", Printable(config.architecture, 20)));
  }
  if (config.diff_ids.size() != layers) {
    return Error(Code::kDataLoss, StrCat("the manifest has ", layers,
                                         " layers and the configuration ", config.diff_ids.size()));
  }
  return Ok();
}

}  // namespace berth::image
