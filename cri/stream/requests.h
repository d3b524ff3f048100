// What clients may be given over HTTP, and the calls of the runtime that give it. cri/stream knows
// nothing else of the runtime.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "base/context.h"
#include "base/fd.h"
#include "base/result.h"

namespace berth::cri::stream {

// The standard streams that the client asked for.
struct StandardStreams {
  bool in = false, out = false, err = false;
  bool terminal = false;
};
struct ExecRequest {
  std::string container_id;
  std::vector<std::string> command;
  StandardStreams streams;
};
struct AttachRequest {
  std::string container_id;
  StandardStreams streams;
};
struct PortForwardRequest {
  std::string pod_id;
  std::vector<uint16_t>
      ports;  // what WebSocket clients get; those of SPDY name the port themselves
};
using Request = std::variant<ExecRequest, AttachRequest, PortForwardRequest>;

// A process whose streams a client has. Destroying it lets go of it: what an exec has started is
// killed, what was attached to runs on.
struct Process {
  // Not blocking. What was not asked for, or what the process does not have, is empty.
  UniqueFd in, out, err;
  UniqueFd terminal;  // to set its size; empty: there is none
  // If it could not be executed: what its standard error shows instead.
  std::string failure;
  // Readable once it has ended, -1 if it has already; `ending` then says how: the exit code, or an
  // error for the client.
  int ended_fd = -1;
  std::function<Result<int32_t>()> ending;
  // The client writes nothing more. `in` has been closed before.
  std::function<void()> input_ended;
};

struct RuntimeCalls {
  std::function<Result<Process>(const Context&, const ExecRequest&)> exec;
  std::function<Result<Process>(const Context&, const AttachRequest&)> attach;
  // A TCP socket, not blocking, of the address family in the pod's network namespace.
  std::function<Result<UniqueFd>(const std::string& pod_id, int family)> pod_socket;
};

}  // namespace berth::cri::stream
