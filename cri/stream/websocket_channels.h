// Kubernetes' channels over WebSocket: the first byte of each message names its stream.
//
//   binary:  byte N, then data                      base64:  digit N, then data in base64, as text
//   v5:      byte 255, byte N: the client writes nothing more to N
//
// Streams are there from the beginning and open without an event.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cri/stream/mux.h"
#include "cri/stream/websocket.h"

namespace berth::cri::stream {

class WebSocketChannels final : public Mux {
 public:
  struct Options {
    bool base64 = false;
    bool close_signal = false;  // v5
    uint32_t channels = 5;      // numbers below this exist; at most 255
  };
  explicit WebSocketChannels(Options options)
      : options_(options), reader_(WebSocketSide::kServer) {}

  Status Feed(std::string_view bytes, std::vector<Event>& events) override;
  void Write(uint32_t stream, std::string_view data) override;
  // The protocol has no words for these; all streams end together, with Close().
  void End(uint32_t) override {}
  void Reset(uint32_t) override {}
  void Consumed(uint32_t, size_t) override {}
  size_t Window(uint32_t) const override { return SIZE_MAX; }
  void Close() override { CloseWith(1000, ""); }
  std::string TakeOutput() override { return std::exchange(out_, {}); }

 private:
  Status Handle(WebSocketMessage& message, std::vector<Event>& events);
  Status HandleData(WebSocketMessage& message, std::vector<Event>& events) const;
  void CloseWith(uint16_t code, std::string_view reason);

  const Options options_;
  WebSocketReader reader_;
  std::string out_;
  bool closed_ = false;
};

}  // namespace berth::cri::stream
