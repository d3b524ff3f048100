#include "cri/stream/websocket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cri/stream/spdy_tunnel.h"
#include "cri/stream/websocket_channels.h"

namespace berth::cri::stream {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint32_t kMask = 0x12345678;

std::string FromClient(std::string_view payload, Opcode opcode = Opcode::kBinary) {
  std::string out;
  AppendWebSocketMessage(out, opcode, payload, kMask);
  return out;
}

std::vector<WebSocketMessage> FromServer(const std::string& bytes) {
  WebSocketReader reader(WebSocketSide::kClient);
  std::vector<WebSocketMessage> messages;
  EXPECT_TRUE(reader.Feed(bytes, messages).ok());
  return messages;
}

Code CodeOf(const std::string& bytes) {
  WebSocketReader reader(WebSocketSide::kServer);
  std::vector<WebSocketMessage> messages;
  return reader.Feed(bytes, messages).code();
}

TEST(WebSocketTest, AcceptIsThatOfTheRfc) {
  EXPECT_EQ(WebSocketAccept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocketTest, EveryLengthRoundTripsInAnyPieces) {
  for (size_t size : {0, 1, 125, 126, 127, 65535, 65536, 100000}) {
    std::string payload(size, 'x');
    for (size_t i = 0; i < size; ++i) payload[i] = static_cast<char>(i * 31);
    const std::string bytes = FromClient(payload);
    WebSocketReader reader(WebSocketSide::kServer);
    std::vector<WebSocketMessage> messages;
    for (size_t i = 0; i < bytes.size(); i += 1000) {
      ASSERT_TRUE(reader.Feed(std::string_view(bytes).substr(i, 1000), messages).ok());
    }
    ASSERT_THAT(messages, SizeIs(1)) << size;
    EXPECT_EQ(messages[0].payload, payload);
  }
}

TEST(WebSocketTest, FragmentsAreJoinedAndPingsMayComeBetween) {
  std::string first = FromClient("hel");
  first[0] = static_cast<char>(0x02);  // not final
  std::string last = FromClient("lo", Opcode::kContinuation);
  WebSocketReader reader(WebSocketSide::kServer);
  std::vector<WebSocketMessage> messages;
  ASSERT_TRUE(reader.Feed(first + FromClient("p", Opcode::kPing) + last, messages).ok());
  ASSERT_THAT(messages, SizeIs(2));
  EXPECT_EQ(messages[0].opcode, Opcode::kPing);
  EXPECT_EQ(messages[1].payload, "hello");
  EXPECT_EQ(messages[1].opcode, Opcode::kBinary);
}

TEST(WebSocketTest, RefusesWhatTheRfcForbids) {
  std::string unmasked;
  AppendWebSocketMessage(unmasked, Opcode::kBinary, "x");
  EXPECT_EQ(CodeOf(unmasked), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(FromClient("x", Opcode::kContinuation)), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf(FromClient(std::string(126, 'x'), Opcode::kPing)), Code::kInvalidArgument);
  EXPECT_EQ(CodeOf("\xf2\x80"), Code::kInvalidArgument);  // reserved bits
  EXPECT_EQ(CodeOf("\x83\x80"), Code::kInvalidArgument);  // opcode 3
  // Lengths beyond the cap are refused before the bytes come.
  EXPECT_EQ(CodeOf(std::string("\x82\xff\0\0\0\0\x7f\xff\xff\xff\0\0\0\0", 14)),
            Code::kResourceExhausted);
  EXPECT_EQ(CodeOf(std::string("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14)),
            Code::kResourceExhausted);
}

TEST(WebSocketTest, EndlessFragmentsAreRefused) {
  WebSocketReader reader(WebSocketSide::kServer);
  std::vector<WebSocketMessage> messages;
  std::string part = FromClient(std::string(100'000, 'x'));
  part[0] = 0x02;
  Status status = reader.Feed(part, messages);
  part[0] = 0x00;
  for (int i = 0; i < 20 && status.ok(); ++i) status = reader.Feed(part, messages);
  EXPECT_EQ(status.code(), Code::kResourceExhausted);
}

TEST(WebSocketChannelsTest, BinaryChannelsBothWays) {
  WebSocketChannels channels({});
  std::vector<Event> events;
  ASSERT_TRUE(channels.Feed(FromClient(std::string("\0input", 6)), events).ok());
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].stream, 0u);
  EXPECT_EQ(events[0].data, "input");
  channels.Write(1, "output");
  auto messages = FromServer(channels.TakeOutput());
  ASSERT_THAT(messages, SizeIs(1));
  EXPECT_EQ(messages[0].payload, "\1output");
}

TEST(WebSocketChannelsTest, Base64ChannelsAreText) {
  WebSocketChannels channels({.base64 = true});
  std::vector<Event> events;
  ASSERT_TRUE(channels.Feed(FromClient("0aGk=", Opcode::kText), events).ok());
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].data, "hi");
  channels.Write(2, "err");
  auto messages = FromServer(channels.TakeOutput());
  ASSERT_THAT(messages, SizeIs(1));
  EXPECT_EQ(messages[0].opcode, Opcode::kText);
  EXPECT_EQ(messages[0].payload, "2ZXJy");
  EXPECT_EQ(channels.Feed(FromClient("0!!!!", Opcode::kText), events).code(),
            Code::kInvalidArgument);
}

TEST(WebSocketChannelsTest, TheCloseSignalIsOneOnlyInVersion5) {
  const std::string signal = FromClient(std::string("\xff\0", 2));
  std::vector<Event> events;
  WebSocketChannels v5({.close_signal = true});
  ASSERT_TRUE(v5.Feed(signal, events).ok());
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].kind, Event::Kind::kEnded);
  EXPECT_EQ(events[0].stream, 0u);
  WebSocketChannels v4({});
  EXPECT_EQ(v4.Feed(signal, events).code(), Code::kInvalidArgument);
}

TEST(WebSocketChannelsTest, PingsAndCloseAreAnswered) {
  WebSocketChannels channels({});
  std::vector<Event> events;
  ASSERT_TRUE(channels.Feed(FromClient("abc", Opcode::kPing), events).ok());
  ASSERT_TRUE(channels.Feed(FromClient(ClosePayload(1000, ""), Opcode::kClose), events).ok());
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].kind, Event::Kind::kGoodbye);
  auto messages = FromServer(channels.TakeOutput());
  ASSERT_THAT(messages, SizeIs(2));
  EXPECT_EQ(messages[0].opcode, Opcode::kPong);
  EXPECT_EQ(messages[0].payload, "abc");
  EXPECT_EQ(messages[1].opcode, Opcode::kClose);
  channels.Write(1, "after the end");
  EXPECT_THAT(channels.TakeOutput(), IsEmpty());
}

TEST(SpdyTunnelTest, CarriesSpdyCutAnywhere) {
  std::string spdy;
  AppendSpdyControl(spdy, SpdyType::kPing, 0, {1});
  SpdyTunnel tunnel;
  std::vector<Event> events;
  ASSERT_TRUE(tunnel.Feed(FromClient(spdy.substr(0, 5)) + FromClient(spdy.substr(5)), events).ok());
  auto messages = FromServer(tunnel.TakeOutput());
  ASSERT_THAT(messages, SizeIs(1));
  EXPECT_EQ(messages[0].opcode, Opcode::kBinary);
  EXPECT_EQ(messages[0].payload, spdy);
}

}  // namespace
}  // namespace berth::cri::stream
