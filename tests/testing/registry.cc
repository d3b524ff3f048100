#include "tests/testing/registry.h"

#include <crypt.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "base/file.h"
#include "image/url.h"

namespace berth::testing {

namespace {

constexpr char kProgram[] = "/usr/bin/docker-registry";

// docker-registry takes bcrypt only.
Result<std::string> HtpasswdLine(const std::string& username, const std::string& password) {
  char salt[CRYPT_GENSALT_OUTPUT_SIZE];
  constexpr unsigned long kCheap = 4;
  if (crypt_gensalt_rn("$2y$", kCheap, nullptr, 0, salt, sizeof salt) == nullptr) {
    return ErrnoError("crypt_gensalt");
  }
  auto data = std::make_unique<crypt_data>();
  const char* hash = crypt_r(password.c_str(), salt, data.get());
  if (hash == nullptr) return ErrnoError("crypt");
  return StrCat(username, ":", std::string(hash), "\n");
}

std::string Base64(std::string_view text) {
  std::string out((text.size() + 2) / 3 * 4 + 1, '\0');
  int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                          reinterpret_cast<const unsigned char*>(text.data()),
                          static_cast<int>(text.size()));
  out.resize(static_cast<size_t>(n));
  return out;
}

}  // namespace

bool HaveDockerRegistry() {
  return access(kProgram, X_OK) == 0;
}

Result<std::unique_ptr<TestRegistry>> TestRegistry::Start(const TestRegistryOptions& options) {
  std::unique_ptr<TestRegistry> registry(new TestRegistry);
  RETURN_IF_ERROR(registry->Launch(options), "test registry");
  RETURN_IF_ERROR(registry->AwaitAddress(), "test registry");
  auto trust = std::make_shared<image::HostOptions>();
  if (options.tls) {
    ASSIGN_OR_RETURN(trust->ca_pem, ReadFile(registry->tls_.certificate));
  }
  registry->trust_ = std::move(trust);
  registry->http_ =
      std::make_unique<image::HttpClient>(image::HttpClientOptions{.stall_timeout_ms = 10'000});
  return registry;
}

Status TestRegistry::Launch(const TestRegistryOptions& options) {
  std::string config = StrCat(
      "version: 0.1\nlog: {level: info, formatter: text}\nstorage:\n  filesystem: {rootdirectory: ",
      dir_ / "storage", "}\n  delete: {enabled: true}\nhttp:\n  addr: 127.0.0.1:0\n");
  if (options.tls) {
    ASSIGN_OR_RETURN(tls_, MakeCertificate(dir_.path()));
    config += StrCat("  tls: {certificate: ", tls_.certificate, ", key: ", tls_.key, "}\n");
  }
  if (!options.username.empty()) {
    ASSIGN_OR_RETURN(std::string line, HtpasswdLine(options.username, options.password));
    RETURN_IF_ERROR(AtomicWriteFileAt(AT_FDCWD, dir_ / "htpasswd", line, 0600));
    config += StrCat("auth:\n  htpasswd: {realm: test, path: ", dir_ / "htpasswd", "}\n");
    authorization_ = StrCat("Basic ", Base64(StrCat(options.username, ":", options.password)));
  }
  RETURN_IF_ERROR(AtomicWriteFileAt(AT_FDCWD, dir_ / "config.yml", config, 0600));
  ASSIGN_OR_RETURN(auto log, Open(dir_ / "log", O_WRONLY | O_CREAT | O_APPEND, 0600));
  SpawnOptions spawn;
  // A test that crashes must not leave a server behind.
  spawn.path = "/usr/bin/setpriv";
  spawn.args = {"setpriv", "--pdeathsig", "KILL", kProgram, "serve", dir_ / "config.yml"};
  spawn.child_fds = {-1, log.get(), log.get()};
  ASSIGN_OR_RETURN(process_, Spawn(spawn));
  return Ok();
}

// The port is the kernel's choice; the log tells it once the registry listens.
Status TestRegistry::AwaitAddress() {
  const std::string marker = "listening on ";
  auto context = Context::WithTimeoutMs(20'000);
  while (true) {
    ASSIGN_OR_RETURN(std::string log, ReadFile(dir_ / "log"));
    size_t at = log.find(marker);
    size_t end = at == std::string::npos ? at : log.find_first_of(",\"\n", at);
    if (end != std::string::npos) {
      address_ = log.substr(at + marker.size(), end - at - marker.size());
      return Ok();
    }
    if (auto exited = process_.Wait(Context::WithTimeoutMs(20)); exited.ok()) {
      return Error(Code::kInternal, StrCat("exit ", *exited, ": ", log));
    }
    RETURN_IF_ERROR(context.Check("wait for it to listen"), log);
  }
}

std::string TestRegistry::Url(std::string_view path) const {
  return StrCat(tls_.certificate.empty() ? "http://" : "https://", address_, "/v2/", path);
}

Status TestRegistry::Upload(const image::HttpRequest& request, std::string* location) {
  image::HttpRequest authorized = request;
  authorized.authorization = authorization_;
  authorized.host = trust_;
  ASSIGN_OR_RETURN(auto response, http_->Send(Context::WithTimeoutMs(60'000), authorized));
  if (!response.ok()) {
    return Error(Code::kInternal, StrCat(request.method, " ", request.url, ": ", response.status,
                                         " ", Printable(response.body)));
  }
  if (location != nullptr) {
    ASSIGN_OR_RETURN(*location, image::ResolveUrl(request.url, response.Header("location")));
  }
  return Ok();
}

Status TestRegistry::PushBlob(const std::string& repository, const Blob& blob) {
  image::HttpRequest begin;
  begin.method = "POST";
  begin.url = Url(StrCat(repository, "/blobs/uploads/"));
  std::string location;
  RETURN_IF_ERROR(Upload(begin, &location), "push blob");
  image::HttpRequest put;
  put.method = "PUT";
  put.url =
      StrCat(location, location.find('?') == std::string::npos ? "?" : "&", "digest=", blob.digest);
  put.headers = {{"Content-Type", "application/octet-stream"}};
  put.body = blob.bytes;
  RETURN_IF_ERROR(Upload(put, nullptr), "push blob");
  return Ok();
}

Status TestRegistry::PushManifest(const std::string& repository, const std::string& tag_or_digest,
                                  const std::string& media_type, const std::string& bytes) {
  image::HttpRequest put;
  put.method = "PUT";
  put.url = Url(StrCat(repository, "/manifests/", tag_or_digest));
  put.headers = {{"Content-Type", media_type}};
  put.body = bytes;
  RETURN_IF_ERROR(Upload(put, nullptr), "push manifest");
  return Ok();
}

Status TestRegistry::Push(const std::string& repository, const std::string& tag,
                          const BuiltImage& image) {
  RETURN_IF_ERROR(PushBlob(repository, image.config));
  for (const Blob& layer : image.layers) RETURN_IF_ERROR(PushBlob(repository, layer));
  return PushManifest(repository, tag.empty() ? image.digest : tag, image.media_type,
                      image.manifest);
}

Status TestRegistry::PushIndex(const std::string& repository, const std::string& tag,
                               const BuiltIndex& index) {
  return PushManifest(repository, tag.empty() ? index.digest : tag, index.media_type, index.index);
}

}  // namespace berth::testing
