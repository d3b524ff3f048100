// Serves /metrics, for Prometheus, by HTTP on a loopback address or a unix socket.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <thread>

#include "base/context.h"
#include "base/fd.h"
#include "base/result.h"
#include "cri/stream/http_request.h"

namespace berth::cri {

// One thread. Everything that clients can make many of has a cap: connections (the oldest goes),
// the bytes and the time of a request.
class MetricsServer {
 public:
  static constexpr size_t kMaxConnections = 16;
  static constexpr int64_t kRequestTimeoutMs = 10'000;

  // `listen` is "127.0.0.1:9430", "[::1]:0" (any free port) or "unix:/path" (mode 0660, of the
  // group; one that nobody serves is replaced). `content` makes the text.
  static Result<std::unique_ptr<MetricsServer>> Start(const std::string& listen, int socket_gid,
                                                      std::function<std::string()> content);
  ~MetricsServer();
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;

  // As `listen`, with the port that it has.
  const std::string& address() const { return address_; }

 private:
  struct Client {
    UniqueFd socket;
    stream::HttpRequestReader reader;
    std::string answer;     // what of it is still to be written
    bool answered = false;  // whatever else comes is read and dropped, until the client goes
    int64_t deadline_ns = 0;
  };

  MetricsServer(std::function<std::string()> content, Context context)
      : content_(std::move(content)), context_(std::move(context)) {}
  Status ListenTcp(const std::string& listen);
  Status ListenUnix(const std::string& path, int gid);
  void Run();
  void Accept();
  // False: the connection goes.
  bool Serve(Client& client);
  bool Read(Client& client);
  static bool Drop(Client& client);
  std::string AnswerTo(const stream::HttpRequest& request) const;

  const std::function<std::string()> content_;
  const Context context_;
  UniqueFd listener_;
  std::string address_, socket_path_;
  std::list<Client> clients_;
  std::thread thread_;
};

}  // namespace berth::cri
