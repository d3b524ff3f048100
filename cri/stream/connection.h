// One client's bytes, plain or inside of TLS. Nothing here blocks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/fd.h"
#include "base/result.h"

struct ssl_st;
struct ssl_ctx_st;

namespace berth::cri::stream {

// A certificate and its key, from files that may be replaced while the server runs. Used by one
// thread.
class TlsContext {
 public:
  // Both in PEM. FailedPrecondition if they cannot be read or do not belong together.
  static Result<TlsContext> Load(const std::string& cert_file, const std::string& key_file);
  // The state for one more connection. Looks whether the files have changed; if the new ones are
  // of no use, the old ones stay.
  ssl_ctx_st* Current();

 private:
  struct Free {
    void operator()(ssl_ctx_st* context) const;
  };
  using Pointer = std::unique_ptr<ssl_ctx_st, Free>;
  TlsContext(std::string cert_file, std::string key_file)
      : cert_file_(std::move(cert_file)), key_file_(std::move(key_file)) {}
  static Result<Pointer> Make(const std::string& cert_file, const std::string& key_file);
  std::string Stamp() const;

  std::string cert_file_, key_file_;
  std::string stamp_;  // of the files that are in use
  Pointer context_;
};

class Connection {
 public:
  // `socket` does not block. `tls`: null for plain bytes.
  Connection(UniqueFd socket, ssl_ctx_st* tls);
  Connection(Connection&&) = default;
  Connection& operator=(Connection&&) = default;

  int fd() const { return socket_.get(); }
  // The bytes read, 0 at the end of what the client sends; nothing while there is none.
  Result<std::optional<size_t>> Read(char* buffer, size_t size);
  // How much of it was taken.
  Result<size_t> Write(std::string_view bytes);
  // Bytes wait that poll(2) does not know of.
  bool HasPending() const;
  // TLS has something of its own to send.
  bool WantsToWrite() const { return wants_write_; }
  // Tells the client that nothing follows.
  void EndWriting();

 private:
  struct Free {
    void operator()(ssl_st* ssl) const;
  };
  // Nothing: to be tried again.
  Result<std::optional<size_t>> Outcome(int result, std::string_view what);

  UniqueFd socket_;
  std::unique_ptr<ssl_st, Free> ssl_;  // null: plain
  bool wants_write_ = false;
};

}  // namespace berth::cri::stream
