#include "runtime/cni_cache.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/file.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxFileBytes = 8 << 20;
constexpr std::string_view kSuffix = ".json";

std::string FileName(const std::string& pod_id) {
  return StrCat(pod_id, kSuffix);
}

Result<CniRecord> Parse(std::string_view text) {
  ASSIGN_OR_RETURN(Json json, ParseJson(text));
  if (!json.is_object()) return Error(Code::kInvalidArgument, "not a JSON object");
  CniRecord record;
  ASSIGN_OR_RETURN(record.network,
                   ParseCniNetwork(ToText(json.value("network", Json())), /*single=*/false));
  record.capabilities = json.value("capabilities", Json::object());
  if (!record.capabilities.is_object()) {
    return Error(Code::kInvalidArgument, "\"capabilities\" is not an object");
  }
  ASSIGN_OR_RETURN(record.args, JsonString(json, "args"));
  ASSIGN_OR_RETURN(record.netns, JsonString(json, "netns"));
  record.result = json.value("result", Json());
  return record;
}

}  // namespace

Result<CniCache> CniCache::Open(const std::string& dir) {
  RETURN_IF_ERROR(MakeDirs(dir, 0700));
  ASSIGN_OR_RETURN(UniqueFd fd, berth::Open(dir, O_RDONLY | O_DIRECTORY));
  // Left by a daemon that died while it wrote.
  std::vector<std::string> stale;
  RETURN_IF_ERROR(ForEachEntry(fd.get(), [&](const std::string& name) {
    if (name.find(".json.tmp") != std::string::npos) stale.push_back(name);
    return Ok();
  }));
  for (const std::string& name : stale) unlinkat(fd.get(), name.c_str(), 0);
  return CniCache(std::move(fd));
}

Status CniCache::Write(const std::string& pod_id, const CniRecord& record) const {
  Json json = {{"network", CniNetworkJson(record.network)},
               {"capabilities", record.capabilities},
               {"args", record.args},
               {"netns", record.netns},
               {"result", record.result}};
  return AtomicWriteFileAt(dir_.get(), FileName(pod_id), ToText(json), 0600);
}

Result<CniRecord> CniCache::Read(const std::string& pod_id) const {
  ASSIGN_OR_RETURN(std::string text, ReadFileAt(dir_.get(), FileName(pod_id), kMaxFileBytes));
  auto record = Parse(text);
  if (record.ok()) return record;
  return std::move(record)
      .error()
      .WithCode(Code::kDataLoss)
      .Wrap(StrCat("cached network of pod ", pod_id));
}

Status CniCache::Remove(const std::string& pod_id) const {
  if (unlinkat(dir_.get(), FileName(pod_id).c_str(), 0) != 0 && errno != ENOENT) {
    return ErrnoError(StrCat("remove cached network of pod ", pod_id));
  }
  return Ok();
}

Result<std::vector<std::string>> CniCache::List() const {
  std::vector<std::string> ids;
  RETURN_IF_ERROR(ForEachEntry(dir_.get(), [&](const std::string& name) {
    if (name.ends_with(kSuffix)) ids.push_back(name.substr(0, name.size() - kSuffix.size()));
    return Ok();
  }));
  return ids;
}

}  // namespace berth::runtime
