#include "cli/stop_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace berth::cli {
namespace {

namespace rt = ::runtime::v1;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class StopPlanTest : public ::testing::Test {
 protected:
  void AddPod(const std::string& id, rt::PodSandboxState state = rt::SANDBOX_READY) {
    rt::PodSandbox* pod = pods_.add_items();
    pod->set_id(id);
    pod->set_state(state);
    pod->mutable_metadata()->set_namespace_("default");
    pod->mutable_metadata()->set_name(id);
  }
  rt::Container* AddContainer(const std::string& pod, const std::string& id, int64_t created_at) {
    rt::Container* container = containers_.add_containers();
    container->set_id(id);
    container->set_pod_sandbox_id(pod);
    container->set_created_at(created_at);
    container->set_state(rt::CONTAINER_RUNNING);
    return container;
  }
  std::vector<PodStop> Plan(const std::vector<std::string>& host_network = {}) {
    return PlanStops(pods_, containers_, host_network, 30);
  }

  rt::ListPodSandboxResponse pods_;
  rt::ListContainersResponse containers_;
};

TEST_F(StopPlanTest, TheLastContainerMadeIsTheFirstStopped) {
  AddPod("web");
  AddContainer("web", "sidecar", 10);
  AddContainer("web", "app", 30);
  AddContainer("web", "init", 20)->set_state(rt::CONTAINER_EXITED);
  AddContainer("other", "stray", 40);
  const auto plan = Plan();
  ASSERT_EQ(plan.size(), 1u);
  EXPECT_EQ(plan[0].name, "default/web");
  EXPECT_THAT(plan[0].containers, ElementsAre("app", "sidecar"));
}

TEST_F(StopPlanTest, PodsThatAreStoppedAreLeftOutAndThoseOfTheHostNetworkAreLast) {
  AddPod("agent");
  AddPod("web");
  AddPod("old", rt::SANDBOX_NOTREADY);
  const auto plan = Plan({"agent", "old"});
  ASSERT_EQ(plan.size(), 2u);
  EXPECT_TRUE(plan[0].last);
  EXPECT_FALSE(plan[1].last);
  EXPECT_THAT(plan[1].containers, IsEmpty());
}

TEST_F(StopPlanTest, TheGraceIsWhatKubeletNoted) {
  constexpr char kKey[] = "io.kubernetes.pod.terminationGracePeriod";
  for (const char* pod : {"noted", "plain", "wrong", "negative", "huge"}) {
    AddPod(pod);
    AddContainer(pod, pod, 1);
  }
  auto note = [&](int index, const char* value) {
    (*containers_.mutable_containers(index)->mutable_annotations())[kKey] = value;
  };
  note(0, "7");
  note(2, "soon");
  note(3, "-1");
  note(4, "99999999999");
  const auto plan = Plan();
  ASSERT_EQ(plan.size(), 5u);
  EXPECT_EQ(plan[0].grace_s, 7);
  EXPECT_EQ(plan[1].grace_s, 30);
  EXPECT_EQ(plan[2].grace_s, 30);
  EXPECT_EQ(plan[3].grace_s, 30);
  EXPECT_EQ(plan[4].grace_s, 24 * 3600);
}

}  // namespace
}  // namespace berth::cli
