// Content digests: the names of blobs, layers, manifests and images.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct evp_md_ctx_st;

namespace berth::image {

// "sha256:" and 64 lower-case hexadecimal digits; no other algorithm, no other spelling. Only such
// a text may become part of a path or of a URL.
bool IsDigest(std::string_view text);
// InvalidArgument that says what the text was meant to be: "layer 3: digest ...".
Status CheckDigest(std::string_view text, std::string_view what);

// SHA-256 of bytes that arrive in pieces.
class Sha256 {
 public:
  Sha256();
  void Update(std::string_view bytes);
  // "sha256:<hex>" of everything so far. Nothing may be added afterwards.
  std::string Finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

// The digest of bytes that are here already.
std::string DigestOf(std::string_view bytes);

}  // namespace berth::image
