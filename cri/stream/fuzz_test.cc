// Parsers of clients' bytes against changed and random input, for a bounded time: they must neither
// crash nor keep more than their caps, and what they have refused once stays refused.
#include <gtest/gtest.h>

#include <random>

#include "base/time.h"
#include "cri/stream/http_request.h"
#include "cri/stream/spdy_session.h"
#include "cri/stream/spdy_tunnel.h"
#include "cri/stream/terminal_size.h"
#include "cri/stream/websocket_channels.h"

namespace berth::cri::stream {
namespace {

constexpr int64_t kTimeNs = 1'500'000'000;

class Mutator {
 public:
  explicit Mutator(uint32_t seed) : random_(seed) {}
  uint32_t Below(size_t limit) { return static_cast<uint32_t>(random_() % limit); }

  std::string Change(std::string bytes) {
    const uint32_t changes = Below(8);
    for (uint32_t i = 0; i < changes && !bytes.empty(); ++i) {
      const size_t at = Below(bytes.size());
      switch (Below(5)) {
        case 0:
          bytes[at] = static_cast<char>(random_());
          break;
        case 1:
          bytes.erase(at, Below(16));
          break;
        case 2:
          bytes.insert(at, std::string(Below(16), static_cast<char>(random_())));
          break;
        case 3:
          bytes[at] = static_cast<char>(bytes[at] ^ (1 << Below(8)));
          break;
        default:
          bytes += bytes.substr(at, Below(200));
      }
    }
    return bytes;
  }

 private:
  std::mt19937 random_;
};

// Feeds it in random pieces; drives what the owner of a mux would do with the events.
void Drive(Mux& mux, const std::string& bytes, Mutator& mutator) {
  size_t at = 0;
  while (at < bytes.size()) {
    const size_t size = 1 + mutator.Below(bytes.size());
    std::vector<Event> events;
    const Status status = mux.Feed(std::string_view(bytes).substr(at, size), events);
    at += size;
    for (const Event& event : events) {
      ASSERT_LE(event.data.size(), kMaxWebSocketMessage);
      mux.Consumed(event.stream, event.data.size());
      mux.Write(event.stream, "answer");
      (void)mux.Window(event.stream);
      if (mutator.Below(4) == 0) mux.End(event.stream);
      if (mutator.Below(8) == 0) mux.Reset(event.stream);
    }
    ASSERT_LT(mux.TakeOutput().size(), 4u << 20);
    if (!status.ok()) return;
  }
  mux.Close();
}

std::string SpdyCorpus() {
  HeaderDeflater deflater;
  std::string out;
  const std::string priority("\0\0\0\0\0\0", 6);
  for (uint32_t id = 1; id < 20; id += 2) {
    AppendSpdyControl(out, SpdyType::kSynStream, static_cast<uint8_t>(id % 3), {id},
                      priority + deflater.Deflate({{"streamtype", "data"}, {"port", StrCat(id)}}));
    AppendSpdyData(out, id, std::string(id * 10, 'x'), id % 4 == 1);
    AppendSpdyControl(out, SpdyType::kWindowUpdate, 0, {id, id * 100});
  }
  AppendSpdyControl(out, SpdyType::kSettings, 0, {2, 7, 10'000, 4, 100});
  AppendSpdyControl(out, SpdyType::kPing, 0, {1});
  AppendSpdyControl(out, SpdyType::kRstStream, 0, {3, kSpdyCancel});
  AppendSpdyControl(out, SpdyType::kHeaders, 1, {5}, deflater.Deflate({{"a", "b"}}));
  AppendSpdyControl(out, SpdyType::kGoAway, 0, {19, 0});
  return out;
}

std::string WebSocketCorpus(const std::string& payload) {
  std::string out;
  for (size_t at = 0; at < payload.size(); at += 50) {
    AppendWebSocketMessage(out, Opcode::kBinary, payload.substr(at, 50), 0xdeadbeef);
  }
  AppendWebSocketMessage(out, Opcode::kPing, "ping", 1);
  AppendWebSocketMessage(out, Opcode::kText, "0aGVsbG8=", 2);
  AppendWebSocketMessage(out, Opcode::kClose, ClosePayload(1000, "bye"), 3);
  return out;
}

template <typename Round>
void ForAWhile(Round round) {
  const int64_t until = MonotonicNs() + kTimeNs;
  for (uint32_t seed = 1; MonotonicNs() < until; ++seed) {
    SCOPED_TRACE(seed);
    Mutator mutator(seed);
    round(mutator);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(FuzzTest, Spdy) {
  const std::string corpus = SpdyCorpus();
  ForAWhile([&](Mutator& mutator) {
    SpdySession session;
    Drive(session, mutator.Change(corpus), mutator);
  });
}

TEST(FuzzTest, WebSocketChannels) {
  const std::string corpus = WebSocketCorpus(std::string("\0input\1more\4{\"Width\":1}", 23));
  ForAWhile([&](Mutator& mutator) {
    WebSocketChannels channels(
        {mutator.Below(2) == 0, mutator.Below(2) == 0, 1 + mutator.Below(8)});
    Drive(channels, mutator.Change(corpus), mutator);
  });
}

TEST(FuzzTest, SpdyInsideOfWebSocket) {
  const std::string spdy = SpdyCorpus();
  ForAWhile([&](Mutator& mutator) {
    SpdyTunnel tunnel;
    const bool inside = mutator.Below(2) == 0;
    const std::string bytes =
        inside ? WebSocketCorpus(mutator.Change(spdy)) : mutator.Change(WebSocketCorpus(spdy));
    Drive(tunnel, bytes, mutator);
  });
}

TEST(FuzzTest, HttpAndTerminalSizes) {
  const std::string corpus =
      "GET /exec/0123 HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
      "Sec-WebSocket-Protocol: v5.channel.k8s.io, v4.channel.k8s.io\r\n\r\n{\"Width\":80}";
  ForAWhile([&](Mutator& mutator) {
    const std::string bytes = mutator.Change(corpus);
    HttpRequestReader reader;
    TerminalSizeReader sizes;
    for (size_t at = 0; at < bytes.size(); at += 40) {
      const auto part = std::string_view(bytes).substr(at, 40);
      (void)sizes.Feed(part);
      auto whole = reader.Feed(part);
      if (!whole.ok() || !*whole) continue;
      (void)reader.TakeRequest().List("sec-websocket-protocol");
      break;
    }
  });
}

}  // namespace
}  // namespace berth::cri::stream
