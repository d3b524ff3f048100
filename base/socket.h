// Unix SOCK_SEQPACKET sockets with descriptor passing. A path may be longer than the 108 bytes of
// sun_path: every call goes through a directory descriptor.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/context.h"
#include "base/fd.h"
#include "base/result.h"

namespace berth {

// Binds `name` in the directory (replacing a stale socket), mode 0600, and listens.
Result<UniqueFd> ListenSeqpacket(int dir, const std::string& name);
// NotFound or Unavailable if nobody listens there, or accepts nobody for a tenth of a second.
Result<UniqueFd> ConnectSeqpacket(int dir, const std::string& name);
Result<UniqueFd> AcceptSocket(int listener);

// The most bytes one packet may carry; more goes into a memfd that is passed along.
inline constexpr size_t kMaxPacketBytes = 64 << 10;
inline constexpr size_t kMaxPacketFds = 64;

struct Packet {
  std::string bytes;  // empty: the peer has closed
  std::vector<UniqueFd> fds;
};

// One packet, whole or not at all.
Status SendPacket(int socket, std::string_view bytes, const std::vector<int>& fds = {});
// A packet larger than kMaxPacketBytes or with more descriptors than kMaxPacketFds is an error.
Result<Packet> ReceivePacket(int socket);
// The same, waiting no longer than the context allows.
Result<Packet> ReceivePacket(const Context& context, int socket, std::string_view step);

struct PeerCredentials {
  pid_t pid;
  uid_t uid;
};
Result<PeerCredentials> PeerOf(int socket);

}  // namespace berth
