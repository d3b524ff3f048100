#include "image/unpack/sha256.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "base/strings.h"

namespace berth::image {

Sha256::Sha256() {
  // OpenSSL's configuration file can change nothing about a hash, and reading it takes longer than
  // all else that starts here.
  OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG, nullptr);
  context_.reset(EVP_MD_CTX_new());
  EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr);
}

void Sha256::Update(std::string_view data) {
  EVP_DigestUpdate(context_.get(), data.data(), data.size());
}

std::string Sha256::Hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(context_.get(), digest, &size) != 1) return "";
  return ToHex(digest, size);
}

void Sha256::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

}  // namespace berth::image
