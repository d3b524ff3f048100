// /metrics of a real daemon.
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "base/fd.h"
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

using ::testing::HasSubstr;

std::string Scrape(const std::string& path) {
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return "";
  EXPECT_OK(WriteAll(fd.get(), "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"));
  auto answer = ReadToEnd(fd.get(), 16 << 20);
  EXPECT_OK(answer);
  return answer.ok() ? *answer : "";
}

TEST(MetricsPage, TellsOfCallsPullsStoreAndPods) {
  if (geteuid() != 0) GTEST_SKIP() << "a daemon needs root";
  const testing::TempDir dir;
  const std::string socket = dir / "metrics.sock";
  NodeOptions options;
  options.config = StrCat("[metrics]\nlisten = \"unix://", socket, "\"\n");
  auto node = Node::Start(options);
  ASSERT_OK(node);
  auto image = TestImage();
  ASSERT_OK(image);
  rt::PullImageRequest pull;
  pull.mutable_image()->set_image(*image);
  ASSERT_OK((*node)->cri().Call(pull));
  pull.mutable_image()->set_image("127.0.0.1:1/absent:v1");
  EXPECT_FALSE((*node)->cri().Call(pull).ok());
  rt::RunPodSandboxRequest run;
  auto* metadata = run.mutable_config()->mutable_metadata();
  metadata->set_name("metrics");
  metadata->set_namespace_("default");
  metadata->set_uid("1");
  auto pod = (*node)->cri().Call(run);
  ASSERT_OK(pod);

  const std::string text = Scrape(socket);
  EXPECT_THAT(text, HasSubstr("HTTP/1.1 200 OK\r\n"));
  auto calls = [](const std::string& service, const std::string& method) {
    return StrCat("berth_rpc_seconds_count{service=\"runtime.v1.", service, "\",method=\"", method,
                  "\",code=\"OK\"} 1\n");
  };
  for (const std::string& line :
       {std::string("berth_build_info{version=\""),
        std::string("berth_image_pulls_total{code=\"OK\"} 1\n"),
        std::string("berth_image_pulls_total{code=\"Unavailable\"} 1\n"),
        std::string("berth_image_pull_layers_total{state=\"done\"} 1\n"),
        std::string("berth_image_pull_seconds_count 1\n"),
        std::string("berth_image_pulls_in_progress 0\n"), std::string("berth_images 1\n"),
        std::string("berth_store_layers 1\n"), std::string("berth_pods{state=\"ready\"} 1\n"),
        std::string("berth_containers{state=\"running\"} 0\n"), calls("ImageService", "PullImage"),
        calls("RuntimeService", "RunPodSandbox"), std::string("process_open_fds "),
        std::string("process_start_time_seconds 1")}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  const size_t store = text.find("\nberth_store_bytes ");
  ASSERT_NE(store, std::string::npos);
  EXPECT_NE(text.at(store + strlen("\nberth_store_bytes ")), '0');
}

}  // namespace
}  // namespace berth::e2e
