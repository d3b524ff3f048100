#include "cri/server.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "base/file.h"
#include "cri/proto/api.grpc.pb.h"
#include "cri/status.h"

namespace berth::cri {
namespace {

namespace v1 = ::runtime::v1;
using ::testing::HasSubstr;

// Knows one RPC, which echoes, and leaves the others to the generated code.
class EchoService final : public v1::RuntimeService::Service {
  grpc::Status Version(grpc::ServerContext*, const v1::VersionRequest* request,
                       v1::VersionResponse* response) override {
    if (request->version() == "fail") {
      return ToGrpc(Error(Code::kFailedPrecondition, "asked to fail: \xff"));
    }
    response->set_version(request->version());
    return grpc::Status::OK;
  }
};

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = StrCat(::testing::TempDir(), "/server_test.XXXXXX");
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    socket_ = dir_ + "/s.sock";
  }
  void TearDown() override {
    auto parent = Open(::testing::TempDir(), O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(parent.ok());
    EXPECT_TRUE(RemoveTreeAt(parent->get(), dir_.substr(dir_.rfind('/') + 1)).ok());
  }

  Result<std::unique_ptr<Server>> Start() {
    return Server::Start({socket_, static_cast<int>(getgid()), &stats_}, {&runtime_, &images_});
  }
  std::unique_ptr<v1::RuntimeService::Stub> Connect() {
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(-1);
    // Channels to one address share a connection otherwise, and a test would see the last server's.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return v1::RuntimeService::NewStub(grpc::CreateCustomChannel(
        "unix:" + socket_, grpc::InsecureChannelCredentials(), arguments));
  }
  grpc::Status Call(const std::string& text, std::string* answer = nullptr) {
    auto stub = Connect();
    grpc::ClientContext context;
    v1::VersionRequest request;
    request.set_version(text);
    v1::VersionResponse response;
    grpc::Status status = stub->Version(&context, request, &response);
    if (answer != nullptr) *answer = response.version();
    return status;
  }

  std::string dir_, socket_;
  CallStats stats_;
  EchoService runtime_;
  v1::ImageService::Service images_;
};

TEST_F(ServerTest, CountsCallsByMethodAndCode) {
  auto server = Start();
  ASSERT_TRUE(server.ok()) << server.error().message();
  EXPECT_TRUE(Call("a").ok());
  EXPECT_TRUE(Call("b").ok());
  EXPECT_FALSE(Call("fail").ok());
  (*server)->Stop();
  PrometheusText text;
  stats_.WriteTo(text);
  const std::string out = text.Take();
  const std::string labels = "{service=\"runtime.v1.RuntimeService\",method=\"Version\",code=";
  EXPECT_THAT(out, HasSubstr(StrCat("berth_rpc_seconds_count", labels, "\"OK\"} 2\n")));
  EXPECT_THAT(out,
              HasSubstr(StrCat("berth_rpc_seconds_count", labels, "\"FailedPrecondition\"} 1\n")));
}

TEST_F(ServerTest, ServesOnAPrivateSocketAndRemovesIt) {
  auto server = Start();
  ASSERT_TRUE(server.ok()) << server.error().message();
  struct stat info {};
  ASSERT_EQ(stat(socket_.c_str(), &info), 0);
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  EXPECT_EQ(info.st_mode & 07777, 0660u);
  std::string answer;
  grpc::Status status = Call("hello", &answer);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(answer, "hello");
  (*server)->Stop();
  auto left = Open(dir_, O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(left.ok());
  EXPECT_TRUE(ForEachEntry(left->get(), [](const std::string& name) {
                return Status(Error(Code::kInternal, "left: " + name));
              }).ok());
}

TEST_F(ServerTest, UnimplementedSaysSo) {
  auto server = Start();
  ASSERT_TRUE(server.ok());
  auto stub = Connect();
  grpc::ClientContext context;
  v1::AttachResponse response;
  grpc::Status status = stub->Attach(&context, v1::AttachRequest(), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(status.error_message(), "Berth does not implement Attach yet");

  grpc::ClientContext stream_context;
  auto reader = stub->GetContainerEvents(&stream_context, v1::GetEventsRequest());
  v1::ContainerEventResponse event;
  EXPECT_FALSE(reader->Read(&event));
  EXPECT_EQ(reader->Finish().error_message(), "Berth does not implement GetContainerEvents yet");
}

TEST_F(ServerTest, FailuresKeepCodeAndMessage) {
  auto server = Start();
  ASSERT_TRUE(server.ok());
  grpc::Status status = Call("fail");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("asked to fail: \xEF\xBF\xBD"));
}

TEST_F(ServerTest, BoundsRequestsAndNotAnswers) {
  auto server = Start();
  ASSERT_TRUE(server.ok());
  std::string answer;
  EXPECT_TRUE(Call(std::string(15 << 20, 'x'), &answer).ok());
  EXPECT_EQ(answer.size(), 15u << 20);
  EXPECT_EQ(Call(std::string(17 << 20, 'x')).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
}

TEST_F(ServerTest, RefusesASocketInUse) {
  auto first = Start();
  ASSERT_TRUE(first.ok());
  auto second = Start();
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.code(), Code::kFailedPrecondition);
  EXPECT_THAT(second.error().message(),
              HasSubstr(StrCat("process ", getpid(), " serves it already")));
  EXPECT_TRUE(Call("x").ok()) << "the first one must not notice";
}

TEST_F(ServerTest, ReplacesAStaleSocket) {
  int stale = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  socket_.copy(address.sun_path, sizeof address.sun_path - 1);
  ASSERT_EQ(bind(stale, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  close(stale);
  // What a start that was killed may leave.
  ASSERT_EQ(mkdir((dir_ + "/.s.sock.new").c_str(), 0700), 0);
  std::ofstream(dir_ + "/.s.sock.new/s") << "x";
  auto server = Start();
  ASSERT_TRUE(server.ok()) << server.error().message();
  EXPECT_TRUE(Call("x").ok());
}

TEST_F(ServerTest, LeavesAFileAlone) {
  std::ofstream(socket_) << "precious";
  auto server = Start();
  ASSERT_FALSE(server.ok());
  EXPECT_THAT(server.error().message(), HasSubstr("not a socket"));
  EXPECT_EQ(*ReadFile(socket_), "precious");
}

TEST_F(ServerTest, PathMayBeLong) {
  socket_ = dir_ + "/" + std::string(90, 'a') + "/" + std::string(60, 'b') + ".sock";
  auto server = Start();
  ASSERT_TRUE(server.ok()) << server.error().message();
  // A client that is as clever as the server reaches it.
  auto parent = Open(dir_ + "/" + std::string(90, 'a'), O_RDONLY | O_DIRECTORY);
  ASSERT_TRUE(parent.ok());
  socket_ = StrCat(FdPath(parent->get()), "/", std::string(60, 'b'), ".sock");
  EXPECT_TRUE(Call("x").ok());
}

}  // namespace
}  // namespace berth::cri
