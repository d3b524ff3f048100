// One client: its connection and the streams on it. Used by the thread of its session.
#pragma once

#include <poll.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "cri/stream/connection.h"
#include "cri/stream/mux.h"

namespace berth::cri::stream {

class Link {
 public:
  // `answer` is sent first; `received` came with the request already.
  Link(Connection connection, std::unique_ptr<Mux> mux, std::string answer, std::string received);

  Mux& mux() { return *mux_; }
  // More than `limit` waits to be sent.
  static constexpr size_t kCongestedBytes = 256 << 10;
  bool Congested(size_t limit = kCongestedBytes) const { return out_.size() - sent_ > limit; }

  // Waits until `others` or the client have something, `timeout_ms` at most (-1: without end), and
  // moves what there is in both directions. With `take` false the client's bytes are left where
  // they are. Unavailable when the client has gone, Cancelled or DeadlineExceeded with the context,
  // else the client's fault. The first of `others` must be free for the client itself.
  Result<std::vector<Event>> Wait(const Context& context, std::vector<pollfd>& others, bool take,
                                  int timeout_ms);

  // Says goodbye, sends what is left and waits a little for the client to close, so that nothing
  // that was sent gets lost on its way.
  void Finish(const Context& context);

  // Of the monotonic clock: when a byte has last moved.
  int64_t last_moved_ns() const { return last_moved_ns_; }

 private:
  Status Receive(std::vector<Event>& events);
  Status Send();

  Connection connection_;
  std::unique_ptr<Mux> mux_;
  std::string received_;  // not yet fed
  std::string out_;
  size_t sent_ = 0;  // of out_
  std::vector<char> buffer_;
  std::optional<Error> fault_;  // met after bytes that still count
  int64_t last_moved_ns_;
};

}  // namespace berth::cri::stream
