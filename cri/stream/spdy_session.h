// The server's side of one SPDY/3.1 connection. Every stream is opened by the client and accepted
// at once; whoever owns the session resets those that it has no use for.
//
//                  SYN_STREAM
//                      v
//   client's FIN <-- open --> our FIN          both: the stream is forgotten
//                      |
//                 RST_STREAM of either: forgotten
//
// Flow control: we tell the client of every 32 KiB that have gone where they belong. We heed its
// windows only if it has shown that it keeps account of them (a SETTINGS window or a
// WINDOW_UPDATE): the library of Kubernetes' clients does not know windows and would never open
// one. TCP then limits both sides.
#pragma once

#include <map>

#include "cri/stream/mux.h"
#include "cri/stream/remainder.h"
#include "cri/stream/spdy_frame.h"
#include "cri/stream/spdy_headers.h"

namespace berth::cri::stream {

class SpdySession final : public Mux {
 public:
  // More at one time are refused (REFUSED_STREAM).
  static constexpr size_t kMaxStreams = 1024;

  Status Feed(std::string_view bytes, std::vector<Event>& events) override;
  void Write(uint32_t id, std::string_view data) override;
  void End(uint32_t id) override;
  void Reset(uint32_t id) override;
  void Consumed(uint32_t id, size_t bytes) override;
  size_t Window(uint32_t id) const override;
  void Close() override;
  std::string TakeOutput() override { return std::exchange(out_, {}); }

 private:
  struct Stream {
    bool peer_ended = false, ended = false;
    int64_t sent = 0, granted = 0;  // the peer's window is what it began with + granted - sent
    size_t unreported = 0;          // consumed, and the peer not told yet
  };
  using Streams = std::map<uint32_t, Stream>;

  Status Handle(const SpdyFrame& frame, std::vector<Event>& events);
  Status OnSynStream(const SpdyFrame& frame, std::vector<Event>& events);
  Status OnHeaders(const SpdyFrame& frame, std::vector<Event>& events);
  Status OnSettings(const SpdyFrame& frame);
  void OnData(const SpdyFrame& frame, std::vector<Event>& events);
  void OnReset(const SpdyFrame& frame, std::vector<Event>& events);
  void OnWindowUpdate(const SpdyFrame& frame);
  void OnPeerEnd(Streams::iterator stream, std::vector<Event>& events);
  void SendReset(uint32_t stream, uint32_t reason);
  void ForgetIfDone(Streams::iterator stream);

  Remainder pending_;
  std::string out_;
  HeaderInflater inflater_;
  HeaderDeflater deflater_;
  Streams streams_;
  uint32_t last_stream_ = 0;
  bool closed_ = false;
  bool peer_has_windows_ = false;
  int64_t initial_window_ = 64 << 10;
  int64_t session_sent_ = 0, session_granted_ = 0;
  size_t session_unreported_ = 0;
};

}  // namespace berth::cri::stream
