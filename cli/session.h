// Sessions with berthd's streaming server, over WebSocket: a command or a container on this
// terminal, and a connection to a port of a pod.
#pragma once

#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace berth::cli {

struct SessionOptions {
  bool in = false;        // pass standard input on
  bool terminal = false;  // raw keys and the terminal's size
};

// Moves bytes between this process's standard streams and what the URL stands for, to its end; the
// exit code. While it lasts, keys of a terminal (`terminal`) go to the other side, Ctrl-C too.
Result<int> RunSession(const std::string& url, const SessionOptions& options);

// Moves bytes between a connection and the only port of a forwarding URL, until one side ends. The
// error is what the server said went wrong.
Status ForwardConnection(const std::string& url, UniqueFd connection);

// "http://ADDRESS:PORT/PATH", with an address in numbers.
struct StreamUrl {
  std::string host;
  uint16_t port = 0;
  std::string path;
};
Result<StreamUrl> ParseStreamUrl(const std::string& url);

// The exit code in what an error stream says at the end: 0 for success. An error for anything else
// than that the command has exited.
Result<int> ExitCodeOf(const std::string& status);

}  // namespace berth::cli
