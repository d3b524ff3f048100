// SHA-256 of a stream, by OpenSSL (which uses the processor's SHA extensions).
#pragma once

#include <memory>
#include <string>
#include <string_view>

struct evp_md_ctx_st;

namespace berth::image {

class Sha256 {
 public:
  Sha256();
  void Update(std::string_view data);
  // 64 lower-case hex digits; ends the use of the object.
  std::string Hex();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

}  // namespace berth::image
