#include "tests/testing/fake_registry.h"

#include <algorithm>
#include <cstdlib>

namespace berth::testing {

FakeRegistry::FakeRegistry() {
  auto server = HttpServer::Start([this](const ServerRequest& request) { return Answer(request); });
  if (!server.ok()) abort();
  server_ = std::move(*server);
}

void FakeRegistry::Add(const std::string& tag, const BuiltImage& image) {
  MutexLock lock(mutex_);
  for (const std::string& name : {tag, image.digest}) {
    content_[StrCat("/manifests/", name)] = {image.media_type, image.manifest, image.digest};
  }
  content_[StrCat("/blobs/", image.config.digest)] = {"", image.config.bytes, image.config.digest};
  for (const Blob& layer : image.layers) {
    content_[StrCat("/blobs/", layer.digest)] = {"", layer.bytes, layer.digest};
  }
}

void FakeRegistry::SetHook(Hook hook) {
  MutexLock lock(mutex_);
  hook_ = std::move(hook);
  while (hooks_running_ > 0) hook_ended_.Wait(mutex_);
}

int FakeRegistry::Count(std::string_view method, std::string_view path_end) const {
  auto requests = server_->requests();
  return static_cast<int>(
      std::count_if(requests.begin(), requests.end(), [&](const ServerRequest& request) {
        return request.method == method && request.path.ends_with(path_end);
      }));
}

ServerReply FakeRegistry::Answer(const ServerRequest& request) {
  Hook hook;
  {
    MutexLock lock(mutex_);
    hook = hook_;
    ++hooks_running_;
  }
  std::optional<ServerReply> reply;
  if (hook) reply = hook(request);
  MutexLock lock(mutex_);
  if (--hooks_running_ == 0) hook_ended_.NotifyAll();
  if (reply.has_value()) return *reply;
  for (const auto& [end, content] : content_) {
    if (!request.path.ends_with(end)) continue;
    ServerReply found{.body = content.bytes};
    found.headers = {
        {"Docker-Content-Digest", content.digest},
        {"Content-Type", content.type.empty() ? "application/octet-stream" : content.type}};
    return found;
  }
  return {.status = 404, .body = R"({"errors":[{"code":"NOT_FOUND","message":"no such thing"}]})"};
}

}  // namespace berth::testing
