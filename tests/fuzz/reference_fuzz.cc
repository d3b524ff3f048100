// Names of images, and digests. What comes out goes into URLs and paths as it is.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "image/digest.h"
#include "image/reference.h"

namespace berth::image {
namespace {

void Require(bool condition) {
  if (!condition) std::abort();
}

bool IsSafe(std::string_view text) {
  constexpr std::string_view kChars =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:[]";
  return text.find_first_not_of(kChars) == std::string_view::npos &&
         text.find("..") == std::string_view::npos && text.find("//") == std::string_view::npos;
}

void CheckReference(std::string_view text) {
  auto reference = ParseReference(text);
  if (!reference.ok()) {
    Require(reference.code() == Code::kInvalidArgument);
    return;
  }
  for (const std::string* part : {&reference->repository, &reference->tag, &reference->digest}) {
    Require(reference->tag == *part || IsSafe(*part));
  }
  Require(!reference->domain.empty() && IsSafe(reference->domain));
  Require(reference->tag.find('/') == std::string::npos);
  Require(!reference->TagOrDigest().empty());
  Require(reference->digest.empty() || IsDigest(reference->digest));
  // Its own name means the same.
  auto again = ParseReference(reference->ToString());
  Require(again.ok() && again->ToString() == reference->ToString());
}

}  // namespace
}  // namespace berth::image

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  berth::image::CheckReference(text);
  if (berth::image::IsDigest(text) != berth::image::CheckDigest(text, "digest").ok()) std::abort();
  return 0;
}
