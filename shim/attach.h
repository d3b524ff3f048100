// Clients that see a copy of the container's output.
//
// Each has pipes of its own, of 1 MiB. The container never waits for them: what it writes goes to
// the log first and then, as a whole, into every pipe that has room. A client whose pipe has none
// is cut off and told so, since with a gap its copy would be of no use.
#pragma once

#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "shim/wire/messages.h"

namespace berth::shim {

class Attachments {
 public:
  static constexpr size_t kMaxClients = 64;

  // A new client, known by its connection's socket, which outlives it. Sends kAttached with the
  // ends that are the client's; `in` (-1: none) is sent with them.
  Status Add(int socket, const wire::Attach& wanted, int in, bool terminal);
  void Remove(int socket);

  void Write(bool to_err, std::string_view bytes);
  // The container writes nothing more: ends the pipes and sends kAttachEnded.
  void EndAll();

 private:
  struct Client {
    int socket = -1;
    UniqueFd out, err;
  };
  static void End(Client& client, bool too_slow);

  std::vector<Client> clients_;
};

}  // namespace berth::shim
