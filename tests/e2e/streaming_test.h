// The fixture of the streaming tests: a container, and what clients do with URLs.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/e2e/e2e_test.h"
#include "tests/testing/stream_client.h"

namespace berth::e2e {

using testing::CommandStreams;
using testing::SpdyClient;
using testing::TunnelClient;
using testing::WantedStreams;
using testing::WebSocketClient;

// What one exec has shown.
struct Shown {
  std::string out, err;
  std::string status;  // JSON, of version 4
};

class Streaming : public InAContainer {
 protected:
  Result<std::string> ExecUrl(const std::vector<std::string>& command, WantedStreams wanted = {},
                              bool terminal = false);
  Result<std::string> AttachUrl(const std::string& container, WantedStreams wanted = {},
                                bool terminal = false);
  Result<std::string> ForwardUrl(const std::string& pod, const std::vector<int>& ports = {});

  // Runs a shell script over SPDY version 4, with `input` on its stdin, to its end.
  Result<Shown> RunScript(const std::string& script, const std::string& input = "");

  static std::unique_ptr<SpdyClient> Spdy(const Result<std::string>& url, int version = 4);
  // Opens both streams of one forwarded connection: error, then data.
  struct Forwarded {
    uint32_t error = 0, data = 0;
  };
  static Forwarded Forward(SpdyClient& client, int port, int request_id);

  size_t DaemonDescriptors();
  size_t DaemonThreads();
};

}  // namespace berth::e2e
