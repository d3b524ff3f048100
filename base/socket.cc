#include "base/socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace berth {

namespace {

Result<sockaddr_un> AddressOf(int dir, const std::string& name) {
  std::string path = StrCat("/proc/self/fd/", dir, "/", name);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return ErrnoError(ENAMETOOLONG, name);
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

constexpr int kConnectAttempts = 20;
constexpr useconds_t kConnectPauseUs = 5'000;

Result<UniqueFd> NewSocket() {
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return ErrnoError("socket");
  return fd;
}

union ControlBuffer {
  cmsghdr align;
  char bytes[CMSG_SPACE(kMaxPacketFds * sizeof(int))];
};

}  // namespace

Result<UniqueFd> ListenSeqpacket(int dir, const std::string& name) {
  ASSIGN_OR_RETURN(auto address, AddressOf(dir, name));
  ASSIGN_OR_RETURN(auto fd, NewSocket());
  if (unlinkat(dir, name.c_str(), 0) != 0 && errno != ENOENT)
    return ErrnoError(StrCat("unlink ", name));
  // The mode of a new socket file is taken from the socket's own inode; no other moment is open.
  if (fchmod(fd.get(), 0600) != 0) return ErrnoError("fchmod");
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    return ErrnoError(StrCat("bind ", name));
  }
  if (listen(fd.get(), 64) != 0) return ErrnoError("listen");
  return fd;
}

Result<UniqueFd> ConnectSeqpacket(int dir, const std::string& name) {
  ASSIGN_OR_RETURN(auto address, AddressOf(dir, name));
  ASSIGN_OR_RETURN(auto fd, NewSocket());
  // Or it waits, for ever, for a place in the queue of a listener that accepts nobody.
  if (fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0) return ErrnoError("fcntl");
  for (int i = 1; connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0;
       ++i) {
    if (errno != EAGAIN) return ErrnoError(StrCat("connect ", name));
    if (i == kConnectAttempts) {
      return ErrnoError(StrCat("connect ", name)).WithCode(Code::kUnavailable);
    }
    usleep(kConnectPauseUs);
  }
  if (fcntl(fd.get(), F_SETFL, 0) != 0) return ErrnoError("fcntl");
  return fd;
}

Result<UniqueFd> AcceptSocket(int listener) {
  UniqueFd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd.ok()) return ErrnoError("accept");
  return fd;
}

Status SendPacket(int socket, std::string_view bytes, const std::vector<int>& fds) {
  if (bytes.size() > kMaxPacketBytes || fds.size() > kMaxPacketFds) {
    return Error(Code::kResourceExhausted, "packet too large");
  }
  iovec io{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  ControlBuffer control{};
  if (!fds.empty()) {
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  while (sendmsg(socket, &message, MSG_NOSIGNAL) < 0) {
    if (errno != EINTR) return ErrnoError("send");
  }
  return Ok();
}

Result<Packet> ReceivePacket(int socket) {
  Packet packet;
  // Asks for the length first, so that a short message costs no large buffer.
  ssize_t length = 0;
  while ((length = recv(socket, nullptr, 0, MSG_PEEK | MSG_TRUNC)) < 0) {
    if (errno != EINTR) return ErrnoError("receive");
  }
  if (static_cast<size_t>(length) > kMaxPacketBytes) {
    return Error(Code::kResourceExhausted, "received packet too large");
  }
  packet.bytes.resize(static_cast<size_t>(length));
  iovec io{packet.bytes.data(), packet.bytes.size()};
  ControlBuffer control{};
  msghdr message{};
  message.msg_iov = &io;
  message.msg_iovlen = 1;
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof control.bytes;
  ssize_t n = 0;
  while ((n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC)) < 0) {
    if (errno != EINTR) return ErrnoError("receive");
  }
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd = -1;
      memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
      packet.fds.emplace_back(fd);
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    return Error(Code::kResourceExhausted, "received packet too large");
  }
  packet.bytes.resize(static_cast<size_t>(n));
  return packet;
}

Result<Packet> ReceivePacket(const Context& context, int socket, std::string_view step) {
  RETURN_IF_ERROR(context.Poll(socket, POLLIN, step));
  return ReceivePacket(socket);
}

Result<PeerCredentials> PeerOf(int socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return ErrnoError("SO_PEERCRED");
  }
  return PeerCredentials{credentials.pid, credentials.uid};
}

}  // namespace berth
