// Certificates that a client shows a server that asks for one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

typedef struct evp_pkey_st EVP_PKEY;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_st SSL;
typedef struct x509_st X509;

namespace berth::image {

// Several, each with its key and the chain above it. Immutable; shared by connections.
class ClientCertificates {
 public:
  // Adds the first certificate of the PEM text, with the others as its chain; the key is in
  // `key_pem`. InvalidArgument if there is no certificate, no key, or they do not belong together;
  // never quotes them.
  Status Add(const std::string& certificate_pem, const std::string& key_pem);
  bool empty() const { return pairs_.empty(); }
  // Tells sets apart without being a secret.
  const std::string& Fingerprint() const { return fingerprint_; }

  // Has connections of the context show the first one whose chain ends with an issuer that the
  // server names, else the first one. This must outlive the handshakes.
  void Use(SSL_CTX* context) const;

 private:
  struct Free {
    void operator()(X509* certificate) const;
    void operator()(EVP_PKEY* key) const;
  };
  struct Pair {
    std::vector<std::unique_ptr<X509, Free>> chain;  // its own certificate first
    std::unique_ptr<EVP_PKEY, Free> key;
  };
  static int Choose(SSL* ssl, void* self);

  std::vector<Pair> pairs_;
  std::string fingerprint_;
};

}  // namespace berth::image
