// A real OCI registry (Debian's docker-registry) for tests, on a loopback port, and the pushing
// half of the distribution API.
//
//   auto registry = TestRegistry::Start({});
//   auto image = SimpleImage({{.path = "etc/motd", .content = "hi"}});
//   registry->Push("team/app", "v1", image);
//   ... pull StrCat(registry->address(), "/team/app:v1"), whose id is image.config.digest
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/process.h"
#include "base/result.h"
#include "image/http_client.h"
#include "tests/testing/http_server.h"
#include "tests/testing/image_builder.h"
#include "tests/testing/temp_dir.h"

namespace berth::testing {

struct TestRegistryOptions {
  std::string username;  // with a password: everybody has to log in (Basic)
  std::string password;
  bool tls = false;  // with a certificate of its own: see certificate()
};

// True where docker-registry is installed; tests skip with this as their reason otherwise.
bool HaveDockerRegistry();

// The registry runs until the destructor, or until the thread that started it has ended. Its
// storage is a temporary directory.
class TestRegistry {
 public:
  static Result<std::unique_ptr<TestRegistry>> Start(const TestRegistryOptions& options);

  std::string address() const { return address_; }  // "127.0.0.1:4711"
  std::string certificate() const { return tls_.certificate; }

  // Uploads whatever the image has, and names its manifest by the tag. Pushing by "" keeps the
  // digest as the only name.
  Status Push(const std::string& repository, const std::string& tag, const BuiltImage& image);
  // The images of the index must have been pushed to the same repository.
  Status PushIndex(const std::string& repository, const std::string& tag, const BuiltIndex& index);
  Status PushBlob(const std::string& repository, const Blob& blob);
  Status PushManifest(const std::string& repository, const std::string& tag_or_digest,
                      const std::string& media_type, const std::string& bytes);

 private:
  TestRegistry() = default;
  Status Launch(const TestRegistryOptions& options);
  Status AwaitAddress();
  Status Upload(const image::HttpRequest& request, std::string* location);
  std::string Url(std::string_view path) const;

  TempDir dir_;
  TlsFiles tls_;
  std::string authorization_;
  std::string address_;
  std::shared_ptr<const image::HostOptions> trust_;
  std::unique_ptr<image::HttpClient> http_;
  Child process_;
};

}  // namespace berth::testing
