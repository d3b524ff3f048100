// SPDY inside of WebSocket: each message carries a piece of the SPDY connection's bytes, cut
// anywhere ("SPDY/3.1+portforward.k8s.io").
#pragma once

#include "cri/stream/spdy_session.h"
#include "cri/stream/websocket.h"

namespace berth::cri::stream {

class SpdyTunnel final : public Mux {
 public:
  SpdyTunnel() : reader_(WebSocketSide::kServer) {}

  Status Feed(std::string_view bytes, std::vector<Event>& events) override;
  void Write(uint32_t stream, std::string_view data) override { spdy_.Write(stream, data); }
  void End(uint32_t stream) override { spdy_.End(stream); }
  void Reset(uint32_t stream) override { spdy_.Reset(stream); }
  void Consumed(uint32_t stream, size_t bytes) override { spdy_.Consumed(stream, bytes); }
  size_t Window(uint32_t stream) const override { return spdy_.Window(stream); }
  void Close() override { CloseWith(1000, ""); }
  std::string TakeOutput() override;

 private:
  Status Handle(const WebSocketMessage& message, std::vector<Event>& events);
  void CloseWith(uint16_t code, std::string_view reason);
  // Moves what the inner connection sends into a message.
  void Wrap();

  WebSocketReader reader_;
  SpdySession spdy_;
  std::string out_;
  bool closed_ = false;
};

}  // namespace berth::cri::stream
