#include "cli/session.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>
#include <optional>
#include <vector>

#include "base/base64.h"
#include "base/json.h"
#include "base/strings.h"
#include "cri/stream/websocket.h"

namespace berth::cli {

namespace stream = cri::stream;

namespace {

constexpr size_t kBufferBytes = 32 << 10;
constexpr size_t kMaxHeadBytes = 16 << 10;
// Channels of a command; of a forwarded port 0 is data and 1 is error.
constexpr char kIn = 0, kOut = 1, kErr = 2, kError = 3, kResize = 4;
constexpr char kCloseSignal[] = {static_cast<char>(0xff), kIn};

Result<UniqueFd> ConnectTo(const StreamUrl& url) {
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  v4.sin_family = AF_INET;
  v6.sin6_family = AF_INET6;
  v4.sin_port = v6.sin6_port = htons(url.port);
  const bool is_v4 = inet_pton(AF_INET, url.host.c_str(), &v4.sin_addr) == 1;
  if (!is_v4 && inet_pton(AF_INET6, url.host.c_str(), &v6.sin6_addr) != 1) {
    return Error(Code::kInvalidArgument, StrCat(url.host, " is not an address"));
  }
  UniqueFd fd(socket(is_v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.ok()) return ErrnoError("socket");
  const auto* address =
      is_v4 ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6);
  if (connect(fd.get(), address, is_v4 ? sizeof v4 : sizeof v6) != 0) {
    return ErrnoError(StrCat("connect to ", url.host, ":", url.port));
  }
  return fd;
}

// A client's WebSocket connection, which blocks.
class WebSocket {
 public:
  static Result<WebSocket> Connect(const std::string& url, std::string_view protocol) {
    ASSIGN_OR_RETURN(const StreamUrl parts, ParseStreamUrl(url));
    ASSIGN_OR_RETURN(auto fd, ConnectTo(parts));
    WebSocket websocket(std::move(fd));
    char nonce[16];
    if (getrandom(nonce, sizeof nonce, 0) != sizeof nonce) return ErrnoError("getrandom");
    const std::string key = ToBase64({nonce, sizeof nonce});
    RETURN_IF_ERROR(WriteAll(
        websocket.fd(),
        StrCat("GET ", parts.path, " HTTP/1.1\r\nHost: ", parts.host, ":", parts.port,
               "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: ",
               key, "\r\nSec-WebSocket-Protocol: ", protocol, "\r\n\r\n")));
    RETURN_IF_ERROR(websocket.ReadHead(key));
    return websocket;
  }

  int fd() const { return fd_.get(); }

  Status Send(char channel, std::string_view data) { return SendMessage(StrCat(channel, data)); }
  Status SendMessage(std::string_view payload, stream::Opcode kind = stream::Opcode::kBinary) {
    uint32_t mask = 0;
    if (getrandom(&mask, sizeof mask, 0) != sizeof mask) return ErrnoError("getrandom");
    std::string bytes;
    stream::AppendWebSocketMessage(bytes, kind, payload, mask);
    return WriteAll(fd_.get(), bytes);
  }

  // What has come, without waiting for more than some bytes. Sets closed() at the end.
  Result<std::vector<stream::WebSocketMessage>> Receive() {
    std::vector<stream::WebSocketMessage> messages;
    if (rest_.empty()) {
      rest_.resize(kBufferBytes);
      ASSIGN_OR_RETURN(const size_t size, ReadSome(fd_.get(), rest_.data(), rest_.size()));
      rest_.resize(size);
      closed_ = closed_ || size == 0;
    }
    RETURN_IF_ERROR(reader_.Feed(std::exchange(rest_, {}), messages));
    for (const stream::WebSocketMessage& message : messages) {
      if (message.opcode == stream::Opcode::kClose) closed_ = true;
      if (message.opcode == stream::Opcode::kPing) {
        RETURN_IF_ERROR(SendMessage(message.payload, stream::Opcode::kPong));
      }
    }
    return messages;
  }
  bool closed() const { return closed_; }
  bool has_pending() const { return !rest_.empty(); }

 private:
  explicit WebSocket(UniqueFd fd) : fd_(std::move(fd)), reader_(stream::WebSocketSide::kClient) {}

  Status ReadHead(const std::string& key) {
    size_t end = 0;
    while ((end = rest_.find("\r\n\r\n")) == std::string::npos) {
      char buffer[4096];
      ASSIGN_OR_RETURN(const size_t size, ReadSome(fd_.get(), buffer, sizeof buffer));
      rest_.append(buffer, size);
      if (size == 0 || rest_.size() > kMaxHeadBytes) {
        return Error(Code::kUnavailable, "the streaming server did not answer");
      }
    }
    const std::string head = rest_.substr(0, end);
    if (!head.starts_with("HTTP/1.1 101 ")) {
      return Error(Code::kFailedPrecondition,
                   StrCat("the streaming server answered: ", Printable(Trim(rest_.substr(end)))));
    }
    if (head.find(stream::WebSocketAccept(key)) == std::string::npos) {
      return Error(Code::kFailedPrecondition, "what answered is no WebSocket server");
    }
    rest_.erase(0, end + 4);
    return Ok();
  }

  UniqueFd fd_;
  stream::WebSocketReader reader_;
  std::string rest_;  // received and not yet read
  bool closed_ = false;
};

// Written to by the signal handler; -1 until sizes are watched.
int resize_event = -1;

// Keys as they are pressed, and news of the size, until it is destroyed.
class RawTerminal {
 public:
  static Result<RawTerminal> Enter() {
    RawTerminal terminal;
    if (tcgetattr(STDIN_FILENO, &terminal.before_) != 0) {
      return Error(Code::kInvalidArgument, "standard input is not a terminal: leave -t out");
    }
    terminal.event_.Reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!terminal.event_.ok()) return ErrnoError("eventfd");
    resize_event = terminal.event_.get();
    struct sigaction action {};
    action.sa_flags = SA_RESTART;
    action.sa_handler = [](int) {
      const uint64_t one = 1;
      (void)!write(resize_event, &one, sizeof one);
    };
    if (sigaction(SIGWINCH, &action, nullptr) != 0) return ErrnoError("watch the terminal's size");
    termios raw = terminal.before_;
    cfmakeraw(&raw);
    if (tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) != 0) return ErrnoError("set up the terminal");
    terminal.entered_ = true;
    return terminal;
  }
  RawTerminal(RawTerminal&& other) noexcept
      : before_(other.before_),
        event_(std::move(other.event_)),
        entered_(std::exchange(other.entered_, false)) {}
  RawTerminal& operator=(RawTerminal&&) = delete;
  ~RawTerminal() {
    if (entered_) (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  }

  int event() const { return event_.get(); }
  // As the server wants to hear it; empty if it is not known.
  std::string Size() const {
    uint64_t count = 0;
    (void)!read(event_.get(), &count, sizeof count);
    winsize size{};
    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return "";
    return StrCat("{\"Width\":", size.ws_col, ",\"Height\":", size.ws_row, "}");
  }

 private:
  RawTerminal() = default;
  termios before_{};
  UniqueFd event_;
  bool entered_ = false;
};

Status SendSize(WebSocket& websocket, const RawTerminal& terminal) {
  const std::string size = terminal.Size();
  return size.empty() ? Ok() : websocket.Send(kResize, size);
}

// Passes what can be read on; false at the end of the input.
Result<bool> PassInput(WebSocket& websocket, int from) {
  char buffer[kBufferBytes];
  ASSIGN_OR_RETURN(const size_t size, ReadSome(from, buffer, sizeof buffer));
  if (size == 0) return false;
  RETURN_IF_ERROR(websocket.Send(kIn, {buffer, size}));
  return true;
}

// Shows what has come; the error channel is collected.
Status ShowOutput(WebSocket& websocket, std::string& status) {
  ASSIGN_OR_RETURN(const auto messages, websocket.Receive());
  for (const stream::WebSocketMessage& message : messages) {
    if (message.opcode != stream::Opcode::kBinary || message.payload.empty()) continue;
    const std::string_view data = std::string_view(message.payload).substr(1);
    switch (message.payload[0]) {
      case kOut:
        RETURN_IF_ERROR(WriteAll(STDOUT_FILENO, data), "write to standard output");
        break;
      case kErr:
        RETURN_IF_ERROR(WriteAll(STDERR_FILENO, data), "write to standard error");
        break;
      case kError:
        status += data;
        break;
      default:
        break;
    }
  }
  return Ok();
}

// What the server says about one forwarded port: data, and what went wrong.
class PortMessages {
 public:
  // False once nobody takes the data any more.
  bool PassOn(const std::vector<stream::WebSocketMessage>& messages, int to) {
    for (const stream::WebSocketMessage& message : messages) {
      if (message.opcode != stream::Opcode::kBinary || message.payload.empty()) continue;
      const bool is_data = message.payload[0] == 0;
      // The first message on both channels is the port's number.
      if (!std::exchange(named_[is_data ? 0 : 1], true)) continue;
      const std::string_view data = std::string_view(message.payload).substr(1);
      if (!is_data) {
        failure_ += data;
      } else if (!WriteAll(to, data).ok()) {
        return false;
      }
    }
    return true;
  }
  const std::string& failure() const { return failure_; }

 private:
  bool named_[2] = {false, false};
  std::string failure_;
};

}  // namespace

Result<StreamUrl> ParseStreamUrl(const std::string& url) {
  constexpr std::string_view kScheme = "http://";
  const Error bad(Code::kUnimplemented,
                  StrCat("the streaming server's URL is not one of plain HTTP: ", Printable(url)));
  if (!url.starts_with(kScheme)) return bad;
  const size_t slash = url.find('/', kScheme.size());
  if (slash == std::string::npos) return bad;
  const std::string authority = url.substr(kScheme.size(), slash - kScheme.size());
  const size_t colon = authority.rfind(':');
  const auto port = colon == std::string::npos
                        ? std::nullopt
                        : ParseNumber<uint16_t>(std::string_view(authority).substr(colon + 1));
  if (!port) return bad;
  std::string host = authority.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return StreamUrl{std::move(host), *port, url.substr(slash)};
}

Result<int> ExitCodeOf(const std::string& status) {
  ASSIGN_OR_RETURN(const Json json, ParseJson(status), "the server's last word");
  if (!json.is_object()) return Error(Code::kInternal, "the server's last word is not readable");
  ASSIGN_OR_RETURN(const std::string outcome, JsonString(json, "status"));
  if (outcome == "Success") return 0;
  ASSIGN_OR_RETURN(const std::string reason, JsonString(json, "reason"));
  ASSIGN_OR_RETURN(const std::string message, JsonString(json, "message"));
  const Json none = Json::array();
  const Json& causes = json.contains("details") && json["details"].is_object()
                           ? json["details"].value("causes", none)
                           : none;
  for (const Json& cause : causes) {
    if (reason != "NonZeroExitCode" || !cause.is_object()) break;
    ASSIGN_OR_RETURN(const std::string text, JsonString(cause, "message"));
    if (auto code = ParseNumber<int>(text)) return *code;
  }
  return Error(Code::kUnknown, Printable(message, 2048));
}

Result<int> RunSession(const std::string& url, const SessionOptions& options) {
  ASSIGN_OR_RETURN(auto websocket, WebSocket::Connect(url, "v5.channel.k8s.io"));
  std::optional<RawTerminal> terminal;
  if (options.terminal) {
    ASSIGN_OR_RETURN(auto entered, RawTerminal::Enter());
    terminal.emplace(std::move(entered));
    RETURN_IF_ERROR(SendSize(websocket, *terminal));
  }
  bool reading = options.in;
  std::string status;
  while (!websocket.closed()) {
    pollfd fds[3] = {{websocket.fd(), POLLIN, 0},
                     {reading ? STDIN_FILENO : -1, POLLIN, 0},
                     {terminal ? terminal->event() : -1, POLLIN, 0}};
    if (poll(fds, 3, websocket.has_pending() ? 0 : -1) < 0 && errno != EINTR) {
      return ErrnoError("poll");
    }
    if (fds[0].revents != 0 || websocket.has_pending()) {
      RETURN_IF_ERROR(ShowOutput(websocket, status));
    }
    if (fds[1].revents != 0) {
      ASSIGN_OR_RETURN(reading, PassInput(websocket, STDIN_FILENO));
      if (!reading) RETURN_IF_ERROR(websocket.SendMessage({kCloseSignal, sizeof kCloseSignal}));
    }
    if (fds[2].revents != 0) RETURN_IF_ERROR(SendSize(websocket, *terminal));
  }
  if (status.empty()) return Error(Code::kUnavailable, "berthd has ended the session");
  return ExitCodeOf(status);
}

Status ForwardConnection(const std::string& url, UniqueFd connection) {
  ASSIGN_OR_RETURN(auto websocket, WebSocket::Connect(url, "v4.channel.k8s.io"));
  PortMessages messages;
  while (!websocket.closed()) {
    pollfd fds[2] = {{websocket.fd(), POLLIN, 0}, {connection.get(), POLLIN, 0}};
    if (poll(fds, 2, websocket.has_pending() ? 0 : -1) < 0 && errno != EINTR) {
      return ErrnoError("poll");
    }
    if (fds[0].revents != 0 || websocket.has_pending()) {
      ASSIGN_OR_RETURN(const auto received, websocket.Receive());
      // A local client that has gone is how a connection ends.
      if (!messages.PassOn(received, connection.get())) return Ok();
    }
    if (fds[1].revents != 0) {
      auto more = PassInput(websocket, connection.get());
      if (!more.ok() || !*more) return Ok();
    }
  }
  if (messages.failure().empty()) return Ok();
  return Error(Code::kUnavailable, Printable(messages.failure(), 1024));
}

}  // namespace berth::cli
