#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include "cri/stream/spdy_dictionary.h"
#include "cri/stream/spdy_frame.h"
#include "cri/stream/spdy_headers.h"
#include "cri/stream/spdy_session.h"

namespace berth::cri::stream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// What a client sends.
class Client {
 public:
  std::string Open(uint32_t id, const Headers& headers, uint8_t flags = 0) {
    std::string tail("\0\0\0\0\0\0", 6);
    tail += deflater_.Deflate(headers);
    return Control(SpdyType::kSynStream, {id}, tail, flags);
  }
  static std::string Data(uint32_t id, std::string_view data, bool fin = false) {
    std::string out;
    AppendSpdyData(out, id, data, fin);
    return out;
  }
  static std::string Control(SpdyType type, const std::vector<uint32_t>& words,
                             std::string_view tail = {}, uint8_t flags = 0) {
    std::string out;
    AppendSpdyControl(out, type, flags, words, tail);
    return out;
  }

 private:
  HeaderDeflater deflater_;
};

std::vector<SpdyFrame> FramesOf(std::string_view bytes) {
  std::vector<SpdyFrame> frames;
  while (true) {
    auto frame = TakeSpdyFrame(bytes);
    if (!frame.ok() || !frame->has_value()) break;
    frames.push_back(**frame);
  }
  EXPECT_THAT(bytes, IsEmpty());
  return frames;
}

std::vector<Event> Feed(SpdySession& session, std::string_view bytes) {
  std::vector<Event> events;
  Status status = session.Feed(bytes, events);
  EXPECT_TRUE(status.ok()) << status.error().message();
  return events;
}

TEST(SpdyDictionaryTest, IsThatOfTheProtocol) {
  const std::string_view text = SpdyDictionary();
  EXPECT_EQ(text.size(), 1423u);
  EXPECT_EQ(adler32(adler32(0, nullptr, 0), reinterpret_cast<const Bytef*>(text.data()),
                    static_cast<uInt>(text.size())),
            0xe3c6a7c2u);
}

TEST(SpdyFrameTest, KnownBytes) {
  std::string out;
  AppendSpdyData(out, 5, "ab", true);
  EXPECT_EQ(out, std::string("\0\0\0\5\1\0\0\2ab", 10));
  out.clear();
  AppendSpdyControl(out, SpdyType::kRstStream, 0, {5, kSpdyCancel});
  EXPECT_EQ(out, std::string("\x80\3\0\3\0\0\0\x8\0\0\0\5\0\0\0\5", 16));
}

TEST(SpdyFrameTest, WaitsForTheWholeFrame) {
  const std::string whole = Client::Data(3, "hello", false);
  for (size_t size = 0; size < whole.size(); ++size) {
    std::string_view part = std::string_view(whole).substr(0, size);
    auto frame = TakeSpdyFrame(part);
    ASSERT_TRUE(frame.ok());
    EXPECT_FALSE(frame->has_value());
    EXPECT_EQ(part.size(), size);
  }
}

TEST(SpdyFrameTest, RefusesWhatCannotBe) {
  auto code = [](std::string_view bytes) { return TakeSpdyFrame(bytes).code(); };
  // Version 2.
  EXPECT_EQ(code(std::string_view("\x80\2\0\6\0\0\0\4\0\0\0\1", 12)), Code::kInvalidArgument);
  // A data frame of 16 MiB, a control frame of 1 MiB: refused before their bytes come.
  EXPECT_EQ(code(std::string_view("\0\0\0\1\0\xff\xff\xff", 8)), Code::kResourceExhausted);
  EXPECT_EQ(code(std::string_view("\x80\3\0\1\0\x10\0\0", 8)), Code::kResourceExhausted);
  // Too short and too long for their type.
  EXPECT_EQ(code(std::string_view("\x80\3\0\6\0\0\0\2\0\0", 10)), Code::kInvalidArgument);
  EXPECT_EQ(code(std::string_view("\x80\3\0\3\0\0\0\xc\0\0\0\1\0\0\0\1\0\0\0\0", 20)),
            Code::kInvalidArgument);
}

TEST(SpdyHeadersTest, RoundTripThroughOneStreamInOrder) {
  HeaderDeflater deflater;
  HeaderInflater inflater;
  for (int i = 0; i < 20; ++i) {
    const Headers headers = {
        {"streamtype", "data"}, {"port", StrCat(8000 + i)}, {"requestid", StrCat(i)}};
    auto read = inflater.Inflate(deflater.Deflate(headers));
    ASSERT_TRUE(read.ok()) << read.error().message();
    EXPECT_EQ(*read, headers);
  }
  EXPECT_THAT(*inflater.Inflate(deflater.Deflate({})), IsEmpty());
}

TEST(SpdyHeadersTest, BombsAreRefused) {
  HeaderDeflater deflater;
  HeaderInflater inflater;
  const std::string bomb = deflater.Deflate({{"x", std::string(50 << 20, 'a')}});
  EXPECT_LT(bomb.size(), 300u << 10);
  auto read = inflater.Inflate(std::string_view(bomb).substr(0, kMaxSpdyControl));
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.code(), Code::kResourceExhausted);

  Headers many;
  for (int i = 0; i < 100; ++i) many[StrCat("h", i)] = "v";
  HeaderDeflater other;
  HeaderInflater fresh;
  EXPECT_EQ(fresh.Inflate(other.Deflate(many)).code(), Code::kResourceExhausted);
}

TEST(SpdyHeadersTest, GarbageIsRefused) {
  EXPECT_FALSE(HeaderInflater().Inflate("").ok());
  EXPECT_FALSE(HeaderInflater().Inflate("garbage").ok());
  HeaderDeflater deflater;
  std::string cut = deflater.Deflate({{"streamtype", "data"}});
  EXPECT_FALSE(HeaderInflater().Inflate(cut.substr(0, cut.size() / 2)).ok());
}

TEST(SpdySessionTest, AStreamFromItsOpeningToBothEnds) {
  Client client;
  SpdySession session;
  auto events = Feed(session, client.Open(1, {{"streamtype", "stdin"}}));
  ASSERT_THAT(events, SizeIs(1));
  EXPECT_EQ(events[0].kind, Event::Kind::kOpened);
  EXPECT_EQ(events[0].headers.at("streamtype"), "stdin");
  auto frames = session.TakeOutput();
  ASSERT_THAT(FramesOf(frames), SizeIs(1));
  EXPECT_EQ(FramesOf(frames)[0].type, SpdyType::kSynReply);

  events = Feed(session, Client::Data(1, "in") + Client::Data(1, "", true));
  ASSERT_THAT(events, SizeIs(2));
  EXPECT_EQ(events[0].data, "in");
  EXPECT_EQ(events[1].kind, Event::Kind::kEnded);

  session.Write(1, "out");
  session.End(1);
  session.Write(1, "after the end");
  const std::string out = session.TakeOutput();
  auto sent = FramesOf(out);
  ASSERT_THAT(sent, SizeIs(2));
  EXPECT_EQ(sent[0].payload, "out");
  EXPECT_EQ(sent[1].flags, kSpdyFin);
}

TEST(SpdySessionTest, BytesMayComeOneByOne) {
  Client client;
  SpdySession session;
  const std::string bytes =
      client.Open(1, {{"streamtype", "stdin"}}) + Client::Data(1, "hello", true);
  std::vector<Event> events;
  for (char c : bytes) ASSERT_TRUE(session.Feed({&c, 1}, events).ok());
  ASSERT_THAT(events, SizeIs(3));
  EXPECT_EQ(events[1].data, "hello");
}

TEST(SpdySessionTest, PingsAreAnsweredOnceAndOnlyTheClients) {
  SpdySession session;
  Feed(session, Client::Control(SpdyType::kPing, {7}) + Client::Control(SpdyType::kPing, {8}));
  const std::string out = session.TakeOutput();
  ASSERT_THAT(FramesOf(out), SizeIs(1));
  EXPECT_EQ(FramesOf(out)[0].stream, 7u);
}

TEST(SpdySessionTest, EvenAndFallingStreamNumbersAreReset) {
  Client client;
  SpdySession session;
  EXPECT_THAT(Feed(session, client.Open(5, {})), SizeIs(1));
  EXPECT_THAT(Feed(session, client.Open(3, {}) + client.Open(6, {}) + client.Open(5, {})),
              IsEmpty());
  const std::string out = session.TakeOutput();
  std::vector<uint32_t> reset;
  for (const SpdyFrame& frame : FramesOf(out)) {
    if (frame.type == SpdyType::kRstStream) reset.push_back(frame.stream);
  }
  EXPECT_THAT(reset, ElementsAre(3, 6, 5));
}

TEST(SpdySessionTest, TooManyStreamsAreRefused) {
  Client client;
  SpdySession session;
  uint32_t id = 1;
  for (size_t i = 0; i < SpdySession::kMaxStreams; ++i, id += 2) Feed(session, client.Open(id, {}));
  (void)session.TakeOutput();
  EXPECT_THAT(Feed(session, client.Open(id, {})), IsEmpty());
  const std::string out = session.TakeOutput();
  ASSERT_THAT(FramesOf(out), SizeIs(1));
  EXPECT_EQ(FramesOf(out)[0].value, kSpdyRefusedStream);
}

TEST(SpdySessionTest, DataForNoStreamIsReset) {
  SpdySession session;
  EXPECT_THAT(Feed(session, Client::Data(9, "x")), IsEmpty());
  const std::string out = session.TakeOutput();
  EXPECT_EQ(FramesOf(out).at(0).type, SpdyType::kRstStream);
}

TEST(SpdySessionTest, AClientWithoutWindowsIsNotHeldToThem) {
  Client client;
  SpdySession session;
  Feed(session, client.Open(1, {}));
  session.Write(1, std::string(1 << 20, 'x'));
  EXPECT_EQ(session.Window(1), SIZE_MAX);
}

TEST(SpdySessionTest, AClientWithWindowsIs) {
  Client client;
  SpdySession session;
  Feed(session, client.Open(1, {}));
  // One entry: SETTINGS_INITIAL_WINDOW_SIZE 1000.
  Feed(session, Client::Control(SpdyType::kSettings, {1, 7, 1000}));
  EXPECT_EQ(session.Window(1), 1000u);
  session.Write(1, std::string(1500, 'x'));
  EXPECT_EQ(session.Window(1), 0u);
  Feed(session, Client::Control(SpdyType::kWindowUpdate, {1, 600}));
  EXPECT_EQ(session.Window(1), 100u);
  // The window of the whole connection is 64 KiB, until it grows.
  Feed(session, Client::Control(SpdyType::kWindowUpdate, {1, 0x7fffffff}));
  EXPECT_EQ(session.Window(1), (64u << 10) - 1500);
  Feed(session, Client::Control(SpdyType::kWindowUpdate, {0, 0x7fffffff}));
  EXPECT_GT(session.Window(1), 1u << 30);
}

TEST(SpdySessionTest, ConsumedBytesOpenTheClientsWindow) {
  Client client;
  SpdySession session;
  Feed(session, client.Open(1, {}));
  (void)session.TakeOutput();
  session.Consumed(1, 20 << 10);
  EXPECT_THAT(session.TakeOutput(), IsEmpty());
  session.Consumed(1, 20 << 10);
  const std::string out = session.TakeOutput();
  auto frames = FramesOf(out);
  ASSERT_THAT(frames, SizeIs(2));
  EXPECT_EQ(frames[0].stream, 0u);
  EXPECT_EQ(frames[1].stream, 1u);
  EXPECT_EQ(frames[1].value, 40u << 10);
}

TEST(SpdySessionTest, AFaultEndsTheConnectionWithAGoodbye) {
  SpdySession session;
  std::vector<Event> events;
  Status status = session.Feed("GET / HTTP/1.1\r\n\r\n this is no SPDY at all", events);
  // As a data frame of 0x20 << 24... it is refused for its length.
  ASSERT_FALSE(status.ok());
  EXPECT_THAT(status.error().message(), HasSubstr("spdy"));
  const std::string out = session.TakeOutput();
  EXPECT_EQ(FramesOf(out).at(0).type, SpdyType::kGoAway);
}

}  // namespace
}  // namespace berth::cri::stream
