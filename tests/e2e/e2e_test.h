// The fixture of the acceptance tests: a shared node, and the requests that kubelet would send.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/e2e/node.h"

#define ASSERT_OK(expr)                                                             \
  do {                                                                              \
    const auto& result_ = (expr);                                                   \
    ASSERT_TRUE(result_.ok()) << #expr << ": " << ::berth::e2e::ErrorText(result_); \
  } while (0)
#define EXPECT_OK(expr)                                                             \
  do {                                                                              \
    const auto& result_ = (expr);                                                   \
    EXPECT_TRUE(result_.ok()) << #expr << ": " << ::berth::e2e::ErrorText(result_); \
  } while (0)
// It fails with the code, and the message holds the text.
#define EXPECT_FAILS(expr, expected_code, text)                                    \
  do {                                                                             \
    const auto& result_ = (expr);                                                  \
    ASSERT_FALSE(result_.ok()) << #expr << " succeeded";                           \
    EXPECT_EQ(static_cast<int>(result_.code()), static_cast<int>(expected_code))   \
        << ::berth::e2e::ErrorText(result_);                                       \
    EXPECT_NE(result_.error().message().find(text), std::string::npos)             \
        << "\"" << (text) << "\" is not in: " << ::berth::e2e::ErrorText(result_); \
  } while (0)

namespace berth::e2e {

template <typename T>
std::string ErrorText(const Result<T>& result) {
  return result.ok()
             ? "ok"
             : StrCat("code ", static_cast<int>(result.code()), ": ", result.error().message());
}

// How a container's life ended, and what it had written.
struct Ending {
  rt::ContainerStatus status;
  std::string log;  // the file as it is
  // The log's text without prefixes, lines of several parts joined.
  std::string Text() const;
};

class E2eTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite();
  void SetUp() override;
  // Removes all pods.
  void TearDown() override;

  // The node that tests share, with the test image pulled.
  Node& node() { return *shared_; }
  Cri& cri() { return shared_->cri(); }
  const std::string& image() const { return image_; }

  // As kubelet makes them: unique uid, log directory, each container its own PID namespace.
  rt::PodSandboxConfig PodConfig(const std::string& name = "pod");
  // Runs a program of the test image, without arguments.
  rt::ContainerConfig ProgramConfig(const std::string& program, const std::string& name = "main");
  // Runs `sh -c script` from the test image.
  rt::ContainerConfig ShellConfig(const std::string& script, const std::string& name = "main");

  Result<std::string> RunPod(const rt::PodSandboxConfig& config, const std::string& handler = "");
  Result<std::string> RunPod() { return RunPod(PodConfig()); }
  Result<std::string> Create(const std::string& pod, const rt::ContainerConfig& config);
  Result<rt::StartContainerResponse> StartIt(const std::string& container);
  // Create and start.
  Result<std::string> RunContainer(const std::string& pod, const rt::ContainerConfig& config);
  Result<rt::StopContainerResponse> Stop(const std::string& container, int64_t timeout_s = 0);
  Result<rt::RemoveContainerResponse> Remove(const std::string& container);
  Result<rt::ContainerStatus> Status(const std::string& container);
  Result<rt::PodSandboxStatus> PodStatus(const std::string& pod);
  Result<rt::ExecSyncResponse> Exec(const std::string& container,
                                    const std::vector<std::string>& command, int64_t timeout_s = 0);
  // Standard output of `sh -c script` in the container; fails the test unless it exits with 0.
  std::string ShellIn(const std::string& container, const std::string& script);

  // Waits until the container has exited.
  Result<rt::ContainerStatus> AwaitExit(const std::string& container, int64_t timeout_ms = 30'000);
  // Waits until the log has the text.
  bool AwaitLog(const std::string& container, const std::string& text, int64_t timeout_ms = 10'000);
  // The container's log file as it is.
  std::string Log(const std::string& container);
  // One container of its own pod from start to end.
  Result<Ending> RunToEnd(const rt::ContainerConfig& config);
  Result<Ending> RunToEnd(const rt::PodSandboxConfig& pod, const rt::ContainerConfig& config);

  // A value of a "Name:\tvalue" file such as /proc/PID/status.
  static std::string Field(const std::string& text, const std::string& name);

 private:
  static std::unique_ptr<Node> shared_;
  static std::string image_;
  std::map<std::string, rt::PodSandboxConfig> pods_;  // of this test, by id
};

// With a pod for the whole test.
class InAPod : public E2eTest {
 protected:
  void SetUp() override;

  std::string pod_;
};

// With a container in it that does nothing.
class InAContainer : public InAPod {
 protected:
  void SetUp() override;

  std::string container_;
};

// For suites that run with each kind of runtime handler, by its name.
inline const auto kHandlers = ::testing::Values("", "runc", "crun");
std::string HandlerName(const ::testing::TestParamInfo<const char*>& tested);

// Log lines without their prefixes.
std::string LogText(const std::string& log);

}  // namespace berth::e2e
