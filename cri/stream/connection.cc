#include "cri/stream/connection.h"

#include <glog/logging.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <sys/stat.h>

namespace berth::cri::stream {

namespace {

Error TlsError(std::string_view what) {
  const unsigned long number = ERR_get_error();
  const char* reason = ERR_reason_error_string(number);
  ERR_clear_error();
  return {Code::kFailedPrecondition, StrCat(what, ": ", reason != nullptr ? reason : "TLS failed")};
}

bool WouldBlock() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

}  // namespace

void TlsContext::Free::operator()(ssl_ctx_st* context) const {
  SSL_CTX_free(context);
}

Result<TlsContext::Pointer> TlsContext::Make(const std::string& cert_file,
                                             const std::string& key_file) {
  Pointer context(SSL_CTX_new(TLS_server_method()));
  if (!context) return TlsError("TLS");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
  if (SSL_CTX_use_certificate_chain_file(context.get(), cert_file.c_str()) != 1) {
    return TlsError(StrCat("certificate ", cert_file));
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return TlsError(StrCat("key ", key_file));
  }
  return context;
}

std::string TlsContext::Stamp() const {
  std::string stamp;
  for (const std::string* file : {&cert_file_, &key_file_}) {
    struct stat info {};
    if (stat(file->c_str(), &info) != 0) continue;
    stamp += StrCat(info.st_ino, ":", info.st_mtim.tv_sec, ".", info.st_mtim.tv_nsec, " ");
  }
  return stamp;
}

Result<TlsContext> TlsContext::Load(const std::string& cert_file, const std::string& key_file) {
  TlsContext context(cert_file, key_file);
  context.stamp_ = context.Stamp();
  ASSIGN_OR_RETURN(context.context_, Make(cert_file, key_file));
  return context;
}

ssl_ctx_st* TlsContext::Current() {
  std::string stamp = Stamp();
  if (stamp != stamp_) {
    stamp_ = std::move(stamp);
    auto renewed = Make(cert_file_, key_file_);
    if (renewed.ok()) {
      context_ = std::move(*renewed);
    } else {
      LOG(ERROR) << "streaming: the old certificate stays: " << renewed.error().message();
    }
  }
  return context_.get();
}

void Connection::Free::operator()(ssl_st* ssl) const {
  SSL_free(ssl);
}

Connection::Connection(UniqueFd socket, ssl_ctx_st* tls) : socket_(std::move(socket)) {
  if (tls == nullptr) return;
  ssl_.reset(SSL_new(tls));
  SSL_set_fd(ssl_.get(), socket_.get());
  SSL_set_accept_state(ssl_.get());
}

Result<std::optional<size_t>> Connection::Outcome(int result, std::string_view what) {
  wants_write_ = false;
  if (result > 0) return std::optional<size_t>(static_cast<size_t>(result));
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_WRITE:
      wants_write_ = true;
      return std::optional<size_t>();
    case SSL_ERROR_WANT_READ:
      return std::optional<size_t>();
    case SSL_ERROR_ZERO_RETURN:
      return std::optional<size_t>(0);
    default:
      return TlsError(what).WithCode(Code::kUnavailable);
  }
}

Result<std::optional<size_t>> Connection::Read(char* buffer, size_t size) {
  if (ssl_) {
    ERR_clear_error();
    return Outcome(SSL_read(ssl_.get(), buffer, static_cast<int>(size)), "read");
  }
  const ssize_t n = recv(socket_.get(), buffer, size, 0);
  if (n >= 0) return std::optional<size_t>(static_cast<size_t>(n));
  if (WouldBlock()) return std::optional<size_t>();
  return ErrnoError("read").WithCode(Code::kUnavailable);
}

Result<size_t> Connection::Write(std::string_view bytes) {
  if (ssl_) {
    ERR_clear_error();
    ASSIGN_OR_RETURN(
        auto written,
        Outcome(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())), "write"));
    return written.value_or(0);
  }
  const ssize_t n = send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (n >= 0) return static_cast<size_t>(n);
  if (WouldBlock()) return size_t{0};
  return ErrnoError("write").WithCode(Code::kUnavailable);
}

bool Connection::HasPending() const {
  return ssl_ && SSL_pending(ssl_.get()) > 0;
}

void Connection::EndWriting() {
  if (ssl_) SSL_shutdown(ssl_.get());
  shutdown(socket_.get(), SHUT_WR);
}

}  // namespace berth::cri::stream
