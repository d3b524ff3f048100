// A registry that serves built images from memory, and anything else that a test wants instead.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/sync.h"
#include "tests/testing/http_server.h"
#include "tests/testing/image_builder.h"

namespace berth::testing {

// Every repository name sees the same content. Thread-safe.
class FakeRegistry {
 public:
  // Asked before each answer; nothing means the honest one.
  using Hook = std::function<std::optional<ServerReply>(const ServerRequest&)>;

  FakeRegistry();

  std::string address() const { return server_->address(); }
  void Add(const std::string& tag, const BuiltImage& image) EXCLUDES(mutex_);
  // Returns once the hook before is not running any more.
  void SetHook(Hook hook) EXCLUDES(mutex_);
  // Ends the hook before the variables that it refers to: declared after them.
  class HookScope {
   public:
    HookScope(FakeRegistry& registry, Hook hook) : registry_(registry) {
      registry_.SetHook(std::move(hook));
    }
    ~HookScope() { registry_.SetHook({}); }
    HookScope(const HookScope&) = delete;
    HookScope& operator=(const HookScope&) = delete;

   private:
    FakeRegistry& registry_;
  };
  // Requests with that method whose path ends so.
  int Count(std::string_view method, std::string_view path_end) const;

 private:
  struct Content {
    std::string type;
    std::string bytes;
    std::string digest;
  };
  ServerReply Answer(const ServerRequest& request) EXCLUDES(mutex_);

  Mutex mutex_;
  std::map<std::string, Content> content_ GUARDED_BY(mutex_);  // by the end of the path
  Hook hook_ GUARDED_BY(mutex_);
  int hooks_running_ GUARDED_BY(mutex_) = 0;
  CondVar hook_ended_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace berth::testing
