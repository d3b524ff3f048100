// The shim's only thread: waits for the daemon's requests, the container's output and its
// children's ends. Nothing in it blocks but the launch of the container, its hooks and, for one
// that an OCI runtime keeps, that runtime's commands.
#pragma once

#include <poll.h>

#include <map>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/socket.h"
#include "shim/children.h"
#include "shim/container.h"
#include "shim/exec.h"
#include "shim/wire/messages.h"

namespace berth::shim {

class Server {
 public:
  Server(UniqueFd listener, UniqueFd signals, UniqueFd state_dir);
  // Returns when the container's exit is acknowledged, when its launch has failed, or when the
  // daemon went away before it asked for a launch.
  void Run();

 private:
  struct Connection {
    UniqueFd socket;
    bool watching = false;
    bool closing = false;
    int exec = 0;  // the number of its exec; 0: none
    bool attached = false;
    bool ends_input = false;  // the container's stdin ends with this one's
  };

  void WaitOnce();
  void Accept();
  int TimeoutMs() const;
  void NoteEnded();
  // The connection of an exec; null if it has closed.
  Connection* ConnectionOf(int exec);
  void AdvanceStarts(const std::vector<pollfd>& fds);
  void Advance(int number, ExecProcess& exec);
  // Tells the caller that its exec runs, or why it cannot.
  void AnswerExec(int number, ExecProcess& exec, const Status& started);
  void Serve(Connection& connection);
  void Handle(Connection& connection, const wire::Unpacked& message, Packet& packet);
  void Launch(Connection& connection, Packet& packet);
  void Watch(Connection& connection);
  void Exec(Connection& connection, std::string_view body);
  void Attach(Connection& connection, std::string_view body);
  void EndInput(Connection& connection);
  void Close(Connection& connection);
  void Answer(Connection& connection, const Status& status);
  void PublishExit();

  UniqueFd listener_;
  UniqueFd signals_;
  UniqueFd state_dir_;
  Children children_;
  Container container_;
  std::vector<Connection> connections_;
  std::map<int, ExecProcess> execs_;
  std::vector<std::string> busy_cgroups_;  // of execs that ended before what they started
  int next_exec_ = 1;
  bool done_ = false;
};

}  // namespace berth::shim
