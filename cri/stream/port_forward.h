// One port-forward session: connects a client's streams to ports in a pod.
//
// SPDY: each connection has two streams, "data" and "error", which name the port and, by a request
// id, each other. WebSocket: channels 2n and 2n+1 are data and error of the n-th port asked for,
// and the first message on each is the port's number, 16 bits, little-endian.
//
//   paired -> connecting to 127.0.0.1 -> refused: to ::1 -> open -> both sides have ended: gone
//
// What goes wrong before the connection is open is told on the error stream. After that nothing
// is: a client of Kubernetes takes an error for the end of the whole session.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "cri/stream/link.h"
#include "cri/stream/requests.h"

namespace berth::cri::stream {

class PortForward {
 public:
  // Connections at one time on one session.
  static constexpr size_t kMaxForwards = 500;

  struct Options {
    PortForwardRequest request;
    bool over_spdy = false;
    int64_t idle_ms = 0;
    std::function<Result<UniqueFd>(const std::string& pod_id, int family)> pod_socket;
  };
  // All must outlive it.
  PortForward(Link& link, Options options) : link_(link), options_(std::move(options)) {}

  // Until the client goes, or with WebSocket until all ports are done; the number of connections
  // that there were.
  Result<int32_t> Run(const Context& context);

 private:
  using Id = uint64_t;
  struct Forward {
    std::optional<uint32_t> data, error;  // streams
    std::string request;                  // what pairs them
    uint16_t port = 0;
    UniqueFd socket;
    int family = 0;
    bool connected = false;
    int64_t deadline_ns = 0;  // of pairing or connecting
    std::string input;        // from the client
    size_t input_sent = 0;
    bool client_ended = false, target_ended = false, input_closed = false;

    size_t InputWaiting() const { return input.size() - input_sent; }
  };

  void OpenFixedPorts();
  Status RunOnce(const Context& context);
  void Handle(Event& event);
  void OnOpened(const Event& event);
  void OnData(Forward& forward, Event& event);
  // False: it is over.
  bool Serve(Forward& forward, short revents);
  bool Connect(Forward& forward, int family);
  bool OnConnected(Forward& forward);
  bool WriteInput(Forward& forward);
  bool ReadOutput(Forward& forward);
  bool Fail(Forward& forward, const Error& error);
  bool IsOver(const Forward& forward) const;
  void CheckDeadlines();
  void Erase(Id id);
  pollfd Wanted(const Forward& forward) const;
  size_t InputWaiting() const;

  Link& link_;
  const Options options_;
  std::map<Id, Forward> forwards_;
  std::map<uint32_t, Id> by_stream_;
  std::map<std::string, Id> by_request_;  // half of a pair
  Id next_id_ = 1;
  int32_t opened_ = 0;
  bool client_left_ = false;
  std::vector<char> buffer_;
};

}  // namespace berth::cri::stream
