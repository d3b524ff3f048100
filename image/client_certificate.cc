#include "image/client_certificate.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>

#include <algorithm>

#include "image/digest.h"

namespace berth::image {

namespace {

constexpr size_t kMaxChain = 16;

struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Bio = std::unique_ptr<BIO, BioFree>;

Bio Reader(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// A daemon has no terminal to ask for a passphrase at.
int NoPassphrase(char*, int, int, void*) {
  return -1;
}

}  // namespace

void ClientCertificates::Free::operator()(X509* certificate) const {
  X509_free(certificate);
}
void ClientCertificates::Free::operator()(EVP_PKEY* key) const {
  EVP_PKEY_free(key);
}

Status ClientCertificates::Add(const std::string& certificate_pem, const std::string& key_pem) {
  Pair pair;
  Bio certificates = Reader(certificate_pem);
  while (pair.chain.size() < kMaxChain) {
    std::unique_ptr<X509, Free> next(
        PEM_read_bio_X509(certificates.get(), nullptr, NoPassphrase, nullptr));
    if (next == nullptr) break;
    pair.chain.push_back(std::move(next));
  }
  pair.key.reset(PEM_read_bio_PrivateKey(Reader(key_pem).get(), nullptr, NoPassphrase, nullptr));
  const bool match = !pair.chain.empty() && pair.key != nullptr &&
                     X509_check_private_key(pair.chain[0].get(), pair.key.get()) == 1;
  ERR_clear_error();
  if (pair.chain.empty()) return Error(Code::kInvalidArgument, "no PEM certificate");
  if (pair.key == nullptr) {
    return Error(Code::kInvalidArgument, "no PEM key, or one with a passphrase");
  }
  if (!match) return Error(Code::kInvalidArgument, "the key is not the certificate's");
  pairs_.push_back(std::move(pair));
  fingerprint_ = DigestOf(StrCat(fingerprint_, certificate_pem, key_pem));
  return Ok();
}

void ClientCertificates::Use(SSL_CTX* context) const {
  // OpenSSL hands it back to Choose(), which changes nothing.
  SSL_CTX_set_cert_cb(context, Choose, const_cast<ClientCertificates*>(this));
}

int ClientCertificates::Choose(SSL* ssl, void* self) {
  const auto& pairs = static_cast<const ClientCertificates*>(self)->pairs_;
  const STACK_OF(X509_NAME)* issuers = SSL_get0_peer_CA_list(ssl);
  auto accepted = [&](const Pair& pair) {
    for (int i = 0; i < sk_X509_NAME_num(issuers); ++i) {
      const X509_NAME* issuer = sk_X509_NAME_value(issuers, i);
      if (std::any_of(pair.chain.begin(), pair.chain.end(), [&](const auto& certificate) {
            return X509_NAME_cmp(X509_get_issuer_name(certificate.get()), issuer) == 0;
          })) {
        return true;
      }
    }
    return false;
  };
  auto chosen = std::find_if(pairs.begin(), pairs.end(), accepted);
  if (chosen == pairs.end()) chosen = pairs.begin();
  if (SSL_use_certificate(ssl, chosen->chain[0].get()) != 1 ||
      SSL_use_PrivateKey(ssl, chosen->key.get()) != 1) {
    return 0;
  }
  SSL_clear_chain_certs(ssl);
  for (size_t i = 1; i < chosen->chain.size(); ++i) {
    if (SSL_add1_chain_cert(ssl, chosen->chain[i].get()) != 1) return 0;
  }
  return 1;
}

}  // namespace berth::image
