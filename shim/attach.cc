#include "shim/attach.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/socket.h"

namespace berth::shim {

namespace {

constexpr int kPipeBytes = 1 << 20;

Result<PipeEnds> MakeOutputPipe() {
  ASSIGN_OR_RETURN(auto pipe, MakePipe(O_NONBLOCK));
  // Without the privilege for more it stays as it is.
  (void)fcntl(pipe.write.get(), F_SETPIPE_SZ, kPipeBytes);
  return pipe;
}

// False if it did not take all of it.
bool WriteWhole(const UniqueFd& pipe, std::string_view bytes) {
  return write(pipe.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
}

}  // namespace

Status Attachments::Add(int socket, const wire::Attach& wanted, int in, bool terminal) {
  if (clients_.size() >= kMaxClients) {
    return Error(Code::kResourceExhausted, StrCat(kMaxClients, " clients are attached already"));
  }
  Client client;
  client.socket = socket;
  wire::Attached attached;
  attached.terminal = terminal;
  attached.in = in >= 0;
  attached.out = wanted.out;
  attached.err = wanted.err && !terminal;
  PipeEnds out;
  PipeEnds err;
  std::vector<int> fds;
  if (attached.in) fds.push_back(in);
  if (attached.out) {
    ASSIGN_OR_RETURN(out, MakeOutputPipe());
    fds.push_back(out.read.get());
  }
  if (attached.err) {
    ASSIGN_OR_RETURN(err, MakeOutputPipe());
    fds.push_back(err.read.get());
  }
  RETURN_IF_ERROR(SendPacket(socket, wire::Pack(wire::Type::kAttached, attached), fds));
  client.out = std::move(out.write);
  client.err = std::move(err.write);
  clients_.push_back(std::move(client));
  return Ok();
}

void Attachments::Remove(int socket) {
  std::erase_if(clients_, [socket](const Client& client) { return client.socket == socket; });
  if (clients_.empty()) clients_.shrink_to_fit();
}

void Attachments::End(Client& client, bool too_slow) {
  client.out.Reset();
  client.err.Reset();
  (void)SendPacket(client.socket,
                   wire::Pack(wire::Type::kAttachEnded, wire::AttachEnded{too_slow}));
  client.socket = -1;
}

void Attachments::Write(bool to_err, std::string_view bytes) {
  for (Client& client : clients_) {
    const UniqueFd& pipe = to_err ? client.err : client.out;
    if (pipe.ok() && !WriteWhole(pipe, bytes)) End(client, /*too_slow=*/true);
  }
  std::erase_if(clients_, [](const Client& client) { return client.socket < 0; });
}

void Attachments::EndAll() {
  for (Client& client : clients_) End(client, /*too_slow=*/false);
  clients_.clear();
}

}  // namespace berth::shim
