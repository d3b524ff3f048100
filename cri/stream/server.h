// The HTTP server of exec, attach and port-forward.
//
//   CRI call --Url()--> token --HTTP request with the token--> 101 --> one session, one thread
//
// One thread accepts and reads requests; a connection costs a thread of its own only once it has
// shown a token. Everything that clients can make many of has a cap: connections without a token
// (the oldest goes), sessions (503), tokens, the bytes and the time of a request.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "base/context.h"
#include "base/fd.h"
#include "base/result.h"
#include "base/sync.h"
#include "cri/stream/connection.h"
#include "cri/stream/http_request.h"
#include "cri/stream/requests.h"
#include "cri/stream/tokens.h"
#include "cri/stream/upgrade.h"

namespace berth::cri::stream {

struct ServerOptions {
  std::string address = "127.0.0.1";        // an IP address that clients can reach, not a wildcard
  uint16_t port = 0;                        // 0: any that is free
  std::string tls_cert_file, tls_key_file;  // PEM; empty: plain HTTP
  int64_t idle_timeout_ms = 4 * 3600 * 1000;
};

// Thread-safe.
class Server {
 public:
  static constexpr size_t kMaxSessions = 500;
  static constexpr size_t kMaxWithoutToken = 100;
  static constexpr int64_t kRequestTimeoutMs = 10'000;

  static Result<std::unique_ptr<Server>> Start(ServerOptions options, RuntimeCalls calls);
  // Stop().
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Where a client finds what is asked for, once, within a minute.
  Result<std::string> Url(Request request);

  // Ends all sessions and waits for their threads.
  void Stop();

 private:
  struct Arrival {
    Connection connection;
    HttpRequestReader reader;
    int64_t deadline_ns = 0;
    std::string from;
  };
  struct Session {
    std::thread thread;
    std::atomic<bool> over{false};
  };

  Server(ServerOptions options, RuntimeCalls calls, Context context)
      : options_(std::move(options)), calls_(std::move(calls)), context_(std::move(context)) {}
  Status Listen();
  void Run();
  void Accept();
  // False: the connection goes.
  bool ReadRequest(Arrival& arrival);
  void Serve(Arrival& arrival);
  void StartSession(Arrival& arrival, Request request, Upgrade upgrade);
  void RunSession(Connection connection, const Request& request, const Upgrade& upgrade,
                  std::string received);
  void Refuse(Arrival& arrival, std::string_view reason, const std::string& answer);
  void JoinSessions(bool all);

  const ServerOptions options_;
  const RuntimeCalls calls_;
  const Context context_;  // cancelled by Stop()
  std::optional<TlsContext> tls_;
  Tokens tokens_;
  UniqueFd listener_;
  std::string base_url_;
  // Of the accepting thread:
  std::list<Arrival> arrivals_;
  std::list<Session> sessions_;
  int64_t last_refusal_ns_ = 0;
  uint64_t refusals_not_logged_ = 0;
  std::thread acceptor_;
};

}  // namespace berth::cri::stream
