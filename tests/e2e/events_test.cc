// GetContainerEvents, and statuses that agree with it.
#include <poll.h>

#include <filesystem>

#include "base/time.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

constexpr auto kCreated = rt::CONTAINER_CREATED_EVENT;
constexpr auto kStarted = rt::CONTAINER_STARTED_EVENT;
constexpr auto kStopped = rt::CONTAINER_STOPPED_EVENT;
constexpr auto kDeleted = rt::CONTAINER_DELETED_EVENT;

class Events : public E2eTest {
 protected:
  using Told = std::vector<std::pair<rt::ContainerEventType, std::string>>;

  // The next `count` events; fewer if the stream ends.
  std::vector<rt::ContainerEventResponse> Read(EventStream& stream, size_t count) {
    std::vector<rt::ContainerEventResponse> events;
    while (events.size() < count) {
      auto event = stream.Next();
      EXPECT_OK(event);
      if (!event.ok()) break;
      events.push_back(*event);
    }
    return events;
  }
  static Told Types(const std::vector<rt::ContainerEventResponse>& events) {
    Told told;
    for (const auto& event : events) {
      told.emplace_back(event.container_event_type(), event.container_id());
    }
    return told;
  }
  size_t DaemonThreads() { return CountEntries("task"); }
  size_t DaemonFiles() { return CountEntries("fd"); }

 private:
  size_t CountEntries(const char* what) {
    const std::string dir = StrCat("/proc/", node().daemon_pid(), "/", std::string(what));
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(dir),
                                             std::filesystem::directory_iterator()));
  }
};

TEST_F(Events, TellAPodsAndAContainersLifeInOrder) {
  auto one = cri().Events();
  auto two = cri().Events();
  const int64_t begin = WallNs();
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("exit 3"));
  ASSERT_OK(container);
  ASSERT_OK(AwaitExit(*container));
  ASSERT_OK(Remove(*container));
  ASSERT_OK(node().RemoveAllPods());
  auto events = Read(*one, 8);
  const Told expected = {{kCreated, *pod},       {kStarted, *pod},       {kCreated, *container},
                         {kStarted, *container}, {kStopped, *container}, {kDeleted, *container},
                         {kStopped, *pod},       {kDeleted, *pod}};
  ASSERT_EQ(Types(events), expected);
  EXPECT_EQ(Types(Read(*two, 8)), expected);
  int64_t last = begin;
  for (const auto& event : events) {
    EXPECT_GE(event.created_at(), last);
    last = event.created_at();
    EXPECT_EQ(event.pod_sandbox_status().id(), *pod);
  }
  EXPECT_LE(last, WallNs());
  // The statuses are those after the event.
  const std::vector<std::vector<rt::ContainerState>> states = {
      {}, {}, {rt::CONTAINER_CREATED}, {rt::CONTAINER_RUNNING}, {rt::CONTAINER_EXITED}, {}, {}, {}};
  for (size_t i = 0; i < events.size(); ++i) {
    std::vector<rt::ContainerState> now;
    for (const auto& status : events[i].containers_statuses()) now.push_back(status.state());
    EXPECT_EQ(now, states[i]) << i;
    EXPECT_EQ(events[i].pod_sandbox_status().state(),
              i < 6 ? rt::SANDBOX_READY : rt::SANDBOX_NOTREADY)
        << i;
  }
  EXPECT_EQ(events[4].containers_statuses(0).exit_code(), 3);
  EXPECT_EQ(events[4].containers_statuses(0).image().image(), image());
}

TEST_F(Events, AStartThatFailsIsTold) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = Create(*pod, ProgramConfig("/no/such/program"));
  ASSERT_OK(container);
  auto stream = cri().Events();
  EXPECT_FALSE(StartIt(*container).ok());
  auto events = Read(*stream, 1);
  ASSERT_EQ(Types(events), (Told{{kStopped, *container}}));
  EXPECT_EQ(events[0].containers_statuses(0).reason(), "StartError");
}

TEST_F(Events, APodThatCannotBeMadeIsNotTold) {
  auto stream = cri().Events();
  rt::PodSandboxConfig config = PodConfig("refused");
  (*config.mutable_linux()->mutable_sysctls())["net.core.no_such_thing"] = "1";
  EXPECT_FALSE(RunPod(config).ok());
  auto pod = RunPod();
  ASSERT_OK(pod);
  EXPECT_EQ(Types(Read(*stream, 1)), (Told{{kCreated, *pod}}));
}

TEST_F(Events, PodStatusHasContainersAndTimestamp) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto running = RunContainer(*pod, ShellConfig("sleep 1000", "running"));
  auto created = Create(*pod, ShellConfig("sleep 1000", "created"));
  ASSERT_OK(running);
  ASSERT_OK(created);
  rt::PodSandboxStatusRequest request;
  request.set_pod_sandbox_id(*pod);
  const int64_t before = WallNs();
  auto response = cri().Call(request);
  ASSERT_OK(response);
  EXPECT_GE(response->timestamp(), before);
  EXPECT_LE(response->timestamp(), WallNs());
  ASSERT_EQ(response->containers_statuses_size(), 2);
  for (const auto& status : response->containers_statuses()) {
    auto alone = Status(status.id());
    ASSERT_OK(alone);
    EXPECT_EQ(status.SerializeAsString().size(), alone->SerializeAsString().size());
    EXPECT_EQ(status.state(),
              status.id() == *running ? rt::CONTAINER_RUNNING : rt::CONTAINER_CREATED);
  }
}

TEST_F(Events, SubscribersThatGoAwayLeaveNothing) {
  auto cycle = [&] {
    for (int i = 0; i < 100; ++i) cri().Events();
    // Noticed within a quarter of a second.
    (void)poll(nullptr, 0, 1000);
  };
  cycle();
  const size_t threads = DaemonThreads(), files = DaemonFiles();
  cycle();
  // gRPC keeps a few threads for calls to come.
  EXPECT_LE(DaemonThreads(), threads + 4);
  EXPECT_LE(DaemonFiles(), files + 2);
  auto stream = cri().Events();
  auto pod = RunPod();
  ASSERT_OK(pod);
  EXPECT_EQ(Types(Read(*stream, 1)), (Told{{kCreated, *pod}}));
}

TEST_F(Events, ASlowSubscriberIsEndedAndSlowsNobody) {
  rt::PodSandboxConfig config = PodConfig();
  // So that few events fill what lies between the daemon and a client that does not read.
  (*config.mutable_annotations())["much"] = std::string(32 << 10, 'x');
  auto pod = RunPod(config);
  ASSERT_OK(pod);
  auto slow = cri().Events();
  auto quick = cri().Events();
  constexpr int kContainers = 400;  // two events each
  for (int i = 0; i < kContainers; ++i) {
    auto container = Create(*pod, ShellConfig("true"));
    ASSERT_OK(container);
    ASSERT_OK(Remove(*container));
    EXPECT_EQ(Types(Read(*quick, 2)), (Told{{kCreated, *container}, {kDeleted, *container}}));
  }
  Result<rt::ContainerEventResponse> event = slow->Next();
  for (int i = 0; i < 2 * kContainers && event.ok(); ++i) event = slow->Next();
  EXPECT_FAILS(event, Code::kResourceExhausted, "subscribe again");
}

}  // namespace
}  // namespace berth::e2e
