// The lists that come in chunks.
#include <functional>
#include <set>

#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

// Pods with so much to tell that one chunk does not do.
class StreamLists : public E2eTest {
 protected:
  static constexpr int kPods = 8;

  void SetUp() override {
    E2eTest::SetUp();
    for (int i = 0; i < kPods; ++i) {
      rt::PodSandboxConfig config = PodConfig(StrCat("pod", i));
      (*config.mutable_annotations())["much"] = std::string(100 << 10, 'x');
      (*config.mutable_labels())["parity"] = i % 2 == 0 ? "even" : "odd";
      auto pod = RunPod(config);
      ASSERT_OK(pod);
      pods_.insert(*pod);
      rt::ContainerConfig container = ShellConfig("sleep 1000");
      (*container.mutable_annotations())["much"] = std::string(100 << 10, 'x');
      auto id = RunContainer(*pod, container);
      ASSERT_OK(id);
      containers_.insert(*id);
    }
  }

  // Every id once, in more than one chunk, none of which is large.
  template <typename Chunk>
  void ExpectOnce(const Result<std::vector<Chunk>>& chunks, const std::set<std::string>& expected,
                  const std::function<std::vector<std::string>(const Chunk&)>& ids_of) {
    ASSERT_OK(chunks);
    EXPECT_GT(chunks->size(), 1u);
    std::multiset<std::string> ids;
    for (const Chunk& chunk : *chunks) {
      EXPECT_LT(chunk.ByteSizeLong(), 1u << 20);
      for (const std::string& id : ids_of(chunk)) ids.insert(id);
    }
    EXPECT_EQ(ids, std::multiset<std::string>(expected.begin(), expected.end()));
  }

  std::set<std::string> pods_, containers_;
};

TEST_F(StreamLists, GiveEveryItemOnceAndEnd) {
  ExpectOnce<rt::StreamPodSandboxesResponse>(cri().Call(rt::StreamPodSandboxesRequest()), pods_,
                                             [](const auto& chunk) {
                                               std::vector<std::string> ids;
                                               for (const auto& pod : chunk.pod_sandboxes())
                                                 ids.push_back(pod.id());
                                               return ids;
                                             });
  ExpectOnce<rt::StreamContainersResponse>(cri().Call(rt::StreamContainersRequest()), containers_,
                                           [](const auto& chunk) {
                                             std::vector<std::string> ids;
                                             for (const auto& container : chunk.containers())
                                               ids.push_back(container.id());
                                             return ids;
                                           });
  ExpectOnce<rt::StreamContainerStatsResponse>(cri().Call(rt::StreamContainerStatsRequest()),
                                               containers_, [](const auto& chunk) {
                                                 std::vector<std::string> ids;
                                                 for (const auto& stats : chunk.container_stats())
                                                   ids.push_back(stats.attributes().id());
                                                 return ids;
                                               });
  ExpectOnce<rt::StreamPodSandboxStatsResponse>(
      cri().Call(rt::StreamPodSandboxStatsRequest()), pods_, [](const auto& chunk) {
        std::vector<std::string> ids;
        for (const auto& stats : chunk.pod_sandbox_stats()) {
          ids.push_back(stats.attributes().id());
        }
        return ids;
      });
}

TEST_F(StreamLists, OfMetricsAndImagesAreThoseOfTheirSiblings) {
  auto metrics = cri().Call(rt::StreamPodSandboxMetricsRequest());
  ASSERT_OK(metrics);
  std::multiset<std::string> ids;
  for (const auto& chunk : *metrics) {
    for (const auto& pod : chunk.pod_sandbox_metrics()) ids.insert(pod.pod_sandbox_id());
  }
  EXPECT_EQ(ids, std::multiset<std::string>(pods_.begin(), pods_.end()));

  auto listed = cri().Call(rt::ListImagesRequest());
  ASSERT_OK(listed);
  auto images = cri().Call(rt::StreamImagesRequest());
  ASSERT_OK(images);
  std::vector<std::string> streamed, expected;
  for (const auto& image : listed->images()) expected.push_back(image.id());
  for (const auto& chunk : *images) {
    for (const auto& one : chunk.images()) streamed.push_back(one.id());
  }
  EXPECT_EQ(streamed, expected);
  EXPECT_FALSE(streamed.empty());
}

TEST_F(StreamLists, Filter) {
  rt::StreamPodSandboxesRequest request;
  (*request.mutable_filter()->mutable_label_selector())["parity"] = "odd";
  auto odd = cri().Call(request);
  ASSERT_OK(odd);
  int count = 0;
  for (const auto& chunk : *odd) count += chunk.pod_sandboxes_size();
  EXPECT_EQ(count, kPods / 2);
  request.mutable_filter()->set_id("none");
  auto none = cri().Call(request);
  ASSERT_OK(none);
  EXPECT_TRUE(none->empty());
  rt::StreamContainersRequest wrong;
  wrong.mutable_filter()->mutable_state()->set_state(static_cast<rt::ContainerState>(77));
  EXPECT_FAILS(cri().Call(wrong), Code::kInvalidArgument, "filter.state");
}

}  // namespace
}  // namespace berth::e2e
