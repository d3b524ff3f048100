// One exec or attach: gives a process's streams to a client, until the process ends or the client
// goes.
//
//   await the client's streams -> start the process -> relay -> process over: the rest of its
//   output, then the status, then goodbye
//
// Nothing is buffered without bound: a client that reads slowly is waited for by not reading the
// process's output, a process that reads slowly by not reading the client's connection.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/context.h"
#include "base/result.h"
#include "cri/stream/link.h"
#include "cri/stream/requests.h"
#include "cri/stream/terminal_size.h"

namespace berth::cri::stream {

class RemoteCommand {
 public:
  struct Options {
    StandardStreams streams;
    int version = 4;         // of the channel protocol
    bool over_spdy = false;  // the client opens its streams; else they have fixed numbers
    int64_t idle_ms = 0;     // the session ends when nothing has moved for so long
    // Output that may wait for the client before the process is made to wait.
    size_t backlog = Link::kCongestedBytes;
    std::function<Result<Process>(const Context&)> start;
  };
  // All must outlive it.
  RemoteCommand(Link& link, Options options);

  // The exit code; or why the client did not get to know one, as text for the log.
  Result<int32_t> Run(const Context& context);

 private:
  // Numbers of the WebSocket channels.
  enum Role { kIn = 0, kOut = 1, kErr = 2, kError = 3, kResize = 4, kRoles = 5 };
  struct Output {
    UniqueFd fd;
    Role role;
    int64_t owed = 0;  // bytes that were there when the process ended
  };

  Status AwaitStreams(const Context& context);
  bool Expects(Role role) const;
  bool HasAllStreams() const;
  Status RelayOnce(const Context& context);
  void Handle(std::vector<Event>& events);
  void HandleOne(Event& event);
  void OnOpened(const Event& event);
  void WriteInput();
  void ReadOutput(Output& output);
  bool WantsOutput(const Output& output) const;
  void OnProcessEnd();
  bool IsOver() const;
  int WaitMs() const;
  void Resize(TerminalSize size);
  void Report(const Result<int32_t>& ending);
  std::optional<Role> RoleOf(uint32_t stream) const;
  size_t InputWaiting() const { return input_.size() - input_sent_; }

  Link& link_;
  const Options options_;
  std::array<std::optional<uint32_t>, kRoles> streams_;
  Process process_;
  std::array<Output, 2> outputs_ = {Output{UniqueFd(), kOut}, Output{UniqueFd(), kErr}};
  std::string input_;
  size_t input_sent_ = 0;
  bool input_ended_ = false;   // by the client
  bool input_closed_ = false;  // and passed on
  TerminalSizeReader sizes_;
  std::optional<TerminalSize> size_;
  std::vector<char> buffer_;
  bool ended_ = false;
  bool client_left_ = false;
  Result<int32_t> ending_ = int32_t{0};
  int64_t drain_until_ns_ = 0;
};

}  // namespace berth::cri::stream
