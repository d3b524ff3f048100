// Several streams over one connection, as a state machine without any I/O: bytes that the client
// sent go in, events come out, and what is to be sent is collected for somebody else to send.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace berth::cri::stream {

using Headers = std::map<std::string, std::string>;  // names in lower case

struct Event {
  enum class Kind {
    kOpened,  // with its headers
    kData,
    kEnded,   // the client writes nothing more
    kReset,   // gone in both directions
    kGoodbye  // the whole connection; what the client has sent came before it
  };
  Kind kind = Kind::kData;
  uint32_t stream = 0;
  std::string data = {};
  Headers headers = {};
};

// Everything here is of one connection and used by one thread. Calls for a stream that is not
// there, or not any more, do nothing.
class Mux {
 public:
  Mux() = default;
  Mux(const Mux&) = delete;
  Mux& operator=(const Mux&) = delete;
  virtual ~Mux() = default;

  // Takes bytes in whatever pieces they come. An error is the client's fault and the end of the
  // connection; what it should be told is in TakeOutput().
  virtual Status Feed(std::string_view bytes, std::vector<Event>& events) = 0;
  virtual void Write(uint32_t stream, std::string_view data) = 0;
  // Nothing more is written to the stream.
  virtual void End(uint32_t stream) = 0;
  // Gone in both directions.
  virtual void Reset(uint32_t stream) = 0;
  // So much of what the client sent has gone where it belongs: it may send as much again.
  virtual void Consumed(uint32_t stream, size_t bytes) = 0;
  // How much may be written to the stream now.
  virtual size_t Window(uint32_t stream) const = 0;
  // Says goodbye to the client; nothing is written after it.
  virtual void Close() = 0;
  // What is to be sent to the client next.
  virtual std::string TakeOutput() = 0;
};

}  // namespace berth::cri::stream
