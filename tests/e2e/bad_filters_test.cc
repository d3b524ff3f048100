// Filters that fit nothing, in every RPC that has one: an empty list, whatever they are.
#include <map>

#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

// How many items a unary list has, or all messages of a stream together.
template <typename Items, typename Response>
size_t CountOf(const Result<Response>& response, Items items) {
  EXPECT_OK(response);
  return response.ok() ? static_cast<size_t>(items(*response)) : 1;
}
template <typename Items, typename Response>
size_t CountOf(const Result<std::vector<Response>>& responses, Items items) {
  EXPECT_OK(responses);
  size_t count = responses.ok() ? 0 : 1;
  for (size_t i = 0; responses.ok() && i < responses->size(); ++i) {
    count += static_cast<size_t>(items((*responses)[i]));
  }
  return count;
}

// Sets the fields that the message of that filter has.
struct BadFilter {
  const char* name;
  std::string id, pod_id, label_key, label_value;
};
std::ostream& operator<<(std::ostream& out, const BadFilter& filter) {
  return out << filter.name;
}

class BadFilters : public InAContainer, public ::testing::WithParamInterface<BadFilter> {
 protected:
  template <typename Filter>
  static void Set(Filter* filter) {
    const BadFilter& bad = GetParam();
    filter->set_id(bad.id);
    if constexpr (requires { filter->set_pod_sandbox_id(""); }) {
      filter->set_pod_sandbox_id(bad.pod_id);
    } else if (bad.id.empty()) {
      filter->set_id(bad.pod_id);
    }
    if (!bad.label_key.empty()) {
      (*filter->mutable_label_selector())[bad.label_key] = bad.label_value;
    }
  }
  template <typename Request, typename Items>
  size_t Count(Items items) {
    Request request;
    Set(request.mutable_filter());
    return CountOf(cri().Call(request), items);
  }
};

TEST_P(BadFilters, FindNothing) {
  auto of = [](const auto& response) { return response.containers_size(); };
  EXPECT_EQ(Count<rt::ListContainersRequest>(of), 0U);
  EXPECT_EQ(Count<rt::StreamContainersRequest>(of), 0U);
  EXPECT_EQ(Count<rt::ListPodSandboxRequest>([](const auto& r) { return r.items_size(); }), 0U);
  EXPECT_EQ(
      Count<rt::StreamPodSandboxesRequest>([](const auto& r) { return r.pod_sandboxes_size(); }),
      0U);
  EXPECT_EQ(Count<rt::ListContainerStatsRequest>([](const auto& r) { return r.stats_size(); }), 0U);
  EXPECT_EQ(Count<rt::StreamContainerStatsRequest>(
                [](const auto& r) { return r.container_stats_size(); }),
            0U);
  EXPECT_EQ(Count<rt::ListPodSandboxStatsRequest>([](const auto& r) { return r.stats_size(); }),
            0U);
  EXPECT_EQ(Count<rt::StreamPodSandboxStatsRequest>(
                [](const auto& r) { return r.pod_sandbox_stats_size(); }),
            0U);
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadFilters,
    ::testing::Values(
        BadFilter{"UnknownId", std::string(64, '0'), "", "", ""},
        BadFilter{"HugeId", std::string(1 << 20, 'a'), "", "", ""},
        BadFilter{"PathAsId", "../../etc", "", "", ""},
        BadFilter{"IdWithNul", std::string("a\0b", 3), "", "", ""},
        BadFilter{"UnknownPod", "", std::string(64, '0'), "", ""},
        BadFilter{"HugePod", "", std::string(1 << 20, 'b'), "", ""},
        BadFilter{"UnknownLabel", "", "", "nobody", "has"},
        BadFilter{"HugeLabel", "", "", std::string(1 << 20, 'k'), std::string(1 << 20, 'v')},
        BadFilter{"Contradiction", std::string(64, 'f'), std::string(64, '0'), "a", "b"}),
    [](const auto& tested) { return std::string(tested.param.name); });

class BadImageFilters : public E2eTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(BadImageFilters, FindNothing) {
  rt::ListImagesRequest list;
  list.mutable_filter()->mutable_image()->set_image(GetParam());
  EXPECT_EQ(CountOf(cri().Call(list), [](const auto& r) { return r.images_size(); }), 0U);
  rt::StreamImagesRequest stream;
  *stream.mutable_filter() = list.filter();
  EXPECT_EQ(CountOf(cri().Call(stream), [](const auto& r) { return r.images_size(); }), 0U);
}

INSTANTIATE_TEST_SUITE_P(Table, BadImageFilters,
                         ::testing::Values("nobody/has:this", "UPPER CASE//", "../../etc",
                                           "sha256:zz", "a@sha256:", ":", "http://x/y"));

}  // namespace
}  // namespace berth::e2e
