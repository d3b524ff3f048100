#include "cri/metrics_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"

namespace berth::cri {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class MetricsServerTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<MetricsServer>> Start(const std::string& listen) {
    return MetricsServer::Start(listen, static_cast<int>(getgid()), [this] { return content_; });
  }
  static UniqueFd Connect(const std::string& address) {
    if (address.starts_with("unix:")) {
      sockaddr_un path{};
      path.sun_family = AF_UNIX;
      address.copy(path.sun_path, sizeof path.sun_path, 5);
      UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&path), sizeof path), 0);
      return fd;
    }
    const auto port = ParseNumber<uint16_t>(address.substr(address.rfind(':') + 1));
    UniqueFd fd;
    if (address.starts_with('[')) {
      sockaddr_in6 to{};
      to.sin6_family = AF_INET6;
      to.sin6_addr = in6addr_loopback;
      to.sin6_port = htons(port.value_or(0));
      fd.Reset(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
      EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    } else {
      sockaddr_in to{};
      to.sin_family = AF_INET;
      to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      to.sin_port = htons(port.value_or(0));
      fd.Reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    }
    return fd;
  }
  static std::string Exchange(const std::string& address, const std::string& request) {
    const UniqueFd fd = Connect(address);
    EXPECT_TRUE(WriteAll(fd.get(), request).ok());
    auto answer = ReadToEnd(fd.get(), 64 << 20);
    return answer.ok() ? *answer : answer.error().message();
  }

  std::string content_ = "berth_up 1\n";
};

constexpr char kGet[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

TEST_F(MetricsServerTest, ServesOnLoopbackAndOnASocket) {
  // More than a socket takes at once.
  content_ = std::string(8 << 20, 'm');
  const std::string path = StrCat(::testing::TempDir(), "/metrics_test.", getpid(), ".sock");
  for (const std::string& listen :
       {std::string("127.0.0.1:0"), std::string("[::1]:0"), "unix:" + path}) {
    auto server = Start(listen);
    ASSERT_TRUE(server.ok()) << server.error().message();
    const std::string answer = Exchange((*server)->address(), kGet);
    EXPECT_THAT(answer.substr(0, 200), StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer.substr(0, 200), HasSubstr("Content-Type: text/plain; version=0.0.4"));
    EXPECT_TRUE(answer.ends_with("\r\n\r\n" + content_)) << answer.size();
  }
  EXPECT_NE(access(path.c_str(), F_OK), 0);
}

TEST_F(MetricsServerTest, TheSocketIsThatOfTheGroupAndReplacesADeadOne) {
  const std::string path = StrCat(::testing::TempDir(), "/metrics_test.", getpid(), ".sock");
  {
    const UniqueFd dead(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path);
    ASSERT_EQ(bind(dead.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  }
  auto server = Start("unix:" + path);
  ASSERT_TRUE(server.ok()) << server.error().message();
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0660u);
  auto second = Start("unix:" + path);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(second.error().message(), HasSubstr("another process serves it"));
}

TEST_F(MetricsServerTest, OnlyMetricsAreServed) {
  auto server = Start("127.0.0.1:0");
  ASSERT_TRUE(server.ok());
  const std::string& address = (*server)->address();
  EXPECT_THAT(Exchange(address, "GET / HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Exchange(address, "GET /metrics/../etc HTTP/1.1\r\n\r\n"),
              StartsWith("HTTP/1.1 404"));
  EXPECT_THAT(Exchange(address, "POST /metrics HTTP/1.1\r\n\r\n"), StartsWith("HTTP/1.1 405"));
  EXPECT_THAT(Exchange(address, "rubbish\r\n\r\n"), StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(
      Exchange(address, "GET /metrics HTTP/1.1\r\nX: " + std::string(20 << 10, 'x') + "\r\n\r\n"),
      StartsWith("HTTP/1.1 431"));
  const std::string head = Exchange(address, "HEAD /metrics HTTP/1.1\r\n\r\n");
  EXPECT_THAT(head, StartsWith("HTTP/1.1 200"));
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
}

TEST_F(MetricsServerTest, ThoseWhoSayNothingKeepNobodyOut) {
  auto server = Start("127.0.0.1:0");
  ASSERT_TRUE(server.ok());
  std::vector<UniqueFd> silent;
  for (size_t i = 0; i < 2 * MetricsServer::kMaxConnections; ++i) {
    silent.push_back(Connect((*server)->address()));
  }
  EXPECT_THAT(Exchange((*server)->address(), kGet), StartsWith("HTTP/1.1 200"));
}

TEST_F(MetricsServerTest, WhatCannotBeListenedOnIsAnError) {
  for (const char* listen :
       {"nowhere", "127.0.0.1", "127.0.0.1:99999", "unix:/no/such/dir/s", "unix:/etc"}) {
    auto server = Start(listen);
    ASSERT_FALSE(server.ok()) << listen;
    EXPECT_THAT(server.error().message(), HasSubstr(listen));
  }
}

}  // namespace
}  // namespace berth::cri
