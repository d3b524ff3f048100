// What stands around the streams: tokens, HTTP requests, negotiation, statuses, terminal sizes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/json.h"
#include "cri/stream/command_status.h"
#include "cri/stream/http_request.h"
#include "cri/stream/terminal_size.h"
#include "cri/stream/tokens.h"
#include "cri/stream/upgrade.h"

namespace berth::cri::stream {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(TokensTest, AreGoodOnceAndForAMinute) {
  Tokens tokens;
  auto token = tokens.IssueAt(AttachRequest{"c", {}}, 1000);
  ASSERT_TRUE(token.ok());
  EXPECT_EQ(token->size(), 64u);
  EXPECT_FALSE(tokens.ConsumeAt("", 1000).has_value());
  EXPECT_FALSE(tokens.ConsumeAt(token->substr(0, 63), 1000).has_value());
  EXPECT_TRUE(tokens.ConsumeAt(*token, 1000 + Tokens::kLifetimeMs - 1).has_value());
  EXPECT_FALSE(tokens.ConsumeAt(*token, 1000).has_value());
  auto late = tokens.IssueAt(AttachRequest{"c", {}}, 1000);
  EXPECT_FALSE(tokens.ConsumeAt(*late, 1000 + Tokens::kLifetimeMs).has_value());
}

TEST(TokensTest, AreBoundedAndExpiredOnesMakeRoom) {
  Tokens tokens;
  for (size_t i = 0; i < Tokens::kMaxTokens; ++i) {
    ASSERT_TRUE(tokens.IssueAt(AttachRequest{"c", {}}, 0).ok());
  }
  EXPECT_EQ(tokens.IssueAt(AttachRequest{"c", {}}, 1).code(), Code::kResourceExhausted);
  EXPECT_TRUE(tokens.IssueAt(AttachRequest{"c", {}}, Tokens::kLifetimeMs).ok());
}

Result<HttpRequest> Read(std::string_view bytes) {
  HttpRequestReader reader;
  ASSIGN_OR_RETURN(bool whole, reader.Feed(bytes));
  if (!whole) return Error(Code::kUnavailable, "not whole");
  return reader.TakeRequest();
}

TEST(HttpRequestTest, HeadersInAnyPiecesAndWhatFollows) {
  const std::string head =
      "POST /exec/abc?x=y HTTP/1.1\r\nHost: h\r\nconnection: keep-alive, Upgrade\r\n"
      "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
      "x-stream-protocol-version: v3.channel.k8s.io, v2.channel.k8s.io\r\n\r\n";
  HttpRequestReader reader;
  for (size_t i = 0; i + 1 < head.size(); ++i) {
    auto whole = reader.Feed(std::string_view(head).substr(i, 1));
    ASSERT_TRUE(whole.ok() && !*whole);
  }
  auto whole = reader.Feed("\nrest");
  ASSERT_TRUE(whole.ok() && *whole);
  EXPECT_EQ(reader.TakeRest(), "rest");
  const HttpRequest request = reader.TakeRequest();
  EXPECT_EQ(request.method, "POST");
  EXPECT_EQ(request.target, "/exec/abc?x=y");
  EXPECT_TRUE(request.Has("connection", "upgrade"));
  EXPECT_THAT(
      request.List("x-stream-protocol-version"),
      ::testing::ElementsAre("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io"));
}

TEST(HttpRequestTest, GarbageAndTooMuchAreRefused) {
  EXPECT_EQ(Read("\x16\x03\x01\x02\x00\x01").code(), Code::kInvalidArgument);
  EXPECT_EQ(Read("garbage\r\n\r\n").code(), Code::kInvalidArgument);
  EXPECT_EQ(Read("GET / HTTP/1.1\r\nX: " + std::string(kMaxRequestHead, 'x')).code(),
            Code::kResourceExhausted);
}

std::variant<Upgrade, Refusal> Ask(const std::string& headers, Purpose purpose,
                                   const std::string& method = "GET") {
  auto request = Read(StrCat(method, " /exec/t HTTP/1.1\r\n", headers, "\r\n"));
  EXPECT_TRUE(request.ok());
  return Negotiate(*request, purpose);
}

const char kSpdy[] = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";
const char kWebSocket[] =
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

TEST(NegotiateTest, TheClientsFirstKnownProtocolWins) {
  auto spdy = Ask(StrCat(kSpdy,
                         "X-Stream-Protocol-Version: v9.channel.k8s.io\r\n"
                         "X-Stream-Protocol-Version: v3.channel.k8s.io\r\n"
                         "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n"),
                  Purpose::kRemoteCommand, "POST");
  ASSERT_TRUE(std::holds_alternative<Upgrade>(spdy));
  EXPECT_EQ(std::get<Upgrade>(spdy).version, 3);
  EXPECT_THAT(std::get<Upgrade>(spdy).answer,
              HasSubstr("X-Stream-Protocol-Version: v3.channel.k8s.io\r\n"));

  auto base64 = Ask(StrCat(kWebSocket, "Sec-WebSocket-Protocol: v4.base64.channel.k8s.io\r\n"),
                    Purpose::kRemoteCommand);
  ASSERT_TRUE(std::holds_alternative<Upgrade>(base64));
  EXPECT_TRUE(std::get<Upgrade>(base64).base64);
  EXPECT_THAT(std::get<Upgrade>(base64).answer,
              HasSubstr("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));

  auto tunnel = Ask(StrCat(kWebSocket, "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n"),
                    Purpose::kPortForward);
  ASSERT_TRUE(std::holds_alternative<Upgrade>(tunnel));
  EXPECT_EQ(std::get<Upgrade>(tunnel).transport, Transport::kSpdyTunnel);
}

TEST(NegotiateTest, ClientsThatNameNoProtocolGetTheFirst) {
  auto spdy = Ask(kSpdy, Purpose::kRemoteCommand);
  ASSERT_TRUE(std::holds_alternative<Upgrade>(spdy));
  EXPECT_EQ(std::get<Upgrade>(spdy).version, 1);
  EXPECT_THAT(std::get<Upgrade>(spdy).answer, Not(HasSubstr("X-Stream-Protocol-Version")));
  auto websocket = Ask(kWebSocket, Purpose::kRemoteCommand);
  ASSERT_TRUE(std::holds_alternative<Upgrade>(websocket));
  EXPECT_EQ(std::get<Upgrade>(websocket).version, 1);
  EXPECT_FALSE(std::get<Upgrade>(websocket).base64);
}

TEST(NegotiateTest, RefusalsSayWhatIsWrong) {
  auto answer = [](const std::variant<Upgrade, Refusal>& result) {
    return std::holds_alternative<Refusal>(result) ? std::get<Refusal>(result).answer : "";
  };
  EXPECT_THAT(answer(Ask("", Purpose::kRemoteCommand)), HasSubstr("HTTP/1.1 400 "));
  EXPECT_THAT(answer(Ask("Connection: Upgrade\r\nUpgrade: h2c\r\n", Purpose::kRemoteCommand)),
              HasSubstr("HTTP/1.1 400 "));
  EXPECT_THAT(answer(Ask(kSpdy, Purpose::kRemoteCommand, "DELETE")), HasSubstr(" 405 "));
  EXPECT_THAT(answer(Ask(kWebSocket, Purpose::kRemoteCommand, "POST")), HasSubstr(" 405 "));
  const std::string unknown =
      answer(Ask(StrCat(kSpdy, "X-Stream-Protocol-Version: v9\r\n"), Purpose::kPortForward));
  EXPECT_THAT(unknown, HasSubstr(" 403 "));
  EXPECT_THAT(unknown, HasSubstr("X-Accepted-Stream-Protocol-Versions: portforward.k8s.io\r\n"));
  EXPECT_THAT(answer(Ask("Connection: Upgrade\r\nUpgrade: websocket\r\n"
                         "Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: x\r\n",
                         Purpose::kRemoteCommand)),
              HasSubstr(" 426 "));
}

TEST(CommandStatusTest, IsAStatusOfKubernetesFromVersion4On) {
  EXPECT_EQ(CommandStatus(0, 4), R"({"metadata":{},"status":"Success"})");
  auto failed = ParseJson(CommandStatus(7, 4));
  ASSERT_TRUE(failed.ok());
  EXPECT_EQ((*failed)["status"], "Failure");
  EXPECT_EQ((*failed)["reason"], "NonZeroExitCode");
  EXPECT_EQ((*failed)["details"]["causes"][0]["reason"], "ExitCode");
  EXPECT_EQ((*failed)["details"]["causes"][0]["message"], "7");
  auto error = ParseJson(CommandStatus(Error(Code::kInternal, "no \xff luck"), 5));
  ASSERT_TRUE(error.ok());
  EXPECT_EQ((*error)["reason"], "InternalError");
  EXPECT_EQ((*error)["code"], 500);
  EXPECT_THAT((*error)["message"].get<std::string>(), HasSubstr("luck"));
}

TEST(CommandStatusTest, IsPlainTextBefore) {
  EXPECT_EQ(CommandStatus(0, 3), "");
  EXPECT_EQ(CommandStatus(7, 1), "command terminated with exit code 7");
  EXPECT_EQ(CommandStatus(Error(Code::kInternal, "no luck"), 2), "no luck");
}

TEST(TerminalSizeTest, ObjectsInAnyPiecesTheLastCounts) {
  TerminalSizeReader reader;
  EXPECT_FALSE(reader.Feed("{\"Width\":80,").has_value());
  auto size = reader.Feed("\"Height\":24}\n{\"Width\":132,\"Height\":43}\n{\"Wid");
  ASSERT_TRUE(size.has_value());
  EXPECT_EQ(size->width, 132);
  EXPECT_EQ(size->height, 43);
  EXPECT_TRUE(reader.Feed("th\":1,\"Height\":2}").has_value());
}

TEST(TerminalSizeTest, NonsenseIsSkipped) {
  TerminalSizeReader reader;
  EXPECT_FALSE(reader.Feed("{\"Width\":-1,\"Height\":24}").has_value());
  EXPECT_FALSE(reader.Feed("{\"Width\":70000,\"Height\":24}").has_value());
  EXPECT_FALSE(reader.Feed("}}}{}[]\"").has_value());
  EXPECT_FALSE(reader.Feed(std::string(10'000, '{')).has_value());
  EXPECT_TRUE(reader.Feed("{\"Width\":80,\"Height\":24}").has_value());
}

}  // namespace
}  // namespace berth::cri::stream
