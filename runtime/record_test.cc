#include "runtime/record.h"

#include <gtest/gtest.h>

#include "base/json.h"

namespace berth::runtime {
namespace {

ContainerRecord SomeContainer() {
  ContainerRecord record;
  record.container.id = "abc";
  record.container.pod_id = "pod";
  record.container.config.metadata = {"web", 3};
  record.container.config.envs = {{"BYTES", std::string("\xff\xfe\0x", 4)}};
  record.container.config.security.run_as_user = 1000;
  record.container.config.security.capabilities = Capabilities{{"NET_ADMIN"}, {"ALL"}, {}};
  record.container.config.mounts.push_back({});
  record.container.config.mounts[0].propagation = MountPropagation::kBidirectional;
  record.container.resources.hugepage_limits = {{"2MB", 4096}};
  record.container.exit_code = 137;
  record.phase = ContainerPhase::kExited;
  record.device_rules = {{true, 'c', 1, 3, "rw"}};
  record.init_start_time = 1234567890123ULL;
  return record;
}

TEST(Record, AContainerSurvivesTheRoundTrip) {
  const std::string bytes = EncodeRecord(SomeContainer());
  auto record = DecodeContainerRecord(bytes);
  ASSERT_TRUE(record.ok()) << record.error().message();
  EXPECT_EQ(EncodeRecord(*record), bytes);
  EXPECT_EQ(record->container.config.envs[0].value, std::string("\xff\xfe\0x", 4));
  EXPECT_EQ(record->container.config.security.run_as_user, 1000);
  EXPECT_FALSE(record->container.config.security.run_as_group.has_value());
  EXPECT_EQ(record->container.config.security.capabilities->drop[0], "ALL");
  EXPECT_EQ(record->container.config.mounts[0].propagation, MountPropagation::kBidirectional);
  EXPECT_EQ(record->phase, ContainerPhase::kExited);
  EXPECT_EQ(record->device_rules[0].minor, 3);
}

TEST(Record, APodSurvivesTheRoundTrip) {
  PodRecord pod;
  pod.pod.id = "p";
  pod.pod.config.dns = DnsConfig{{"10.0.0.1"}, {"a.b"}, {}};
  pod.pod.ips = {"10.88.0.2", "fd00::2"};
  pod.network = true;
  pod.init = {42, 99};
  auto record = DecodePodRecord(EncodeRecord(pod));
  ASSERT_TRUE(record.ok());
  EXPECT_EQ(record->pod.config.dns->servers[0], "10.0.0.1");
  EXPECT_EQ(record->pod.ips[1], "fd00::2");
  EXPECT_TRUE(record->network);
  EXPECT_EQ(record->init.start_time, 99U);
}

TEST(Record, AnUpdateUnderWaySurvivesTheRoundTrip) {
  ContainerRecord container = SomeContainer();
  EXPECT_FALSE(DecodeContainerRecord(EncodeRecord(container))->update.has_value());
  container.update = ResourceUpdate();
  container.update->limits.files = {{"memory", "memory.max", "max\n"}, {"io", "io.max", {}}};
  container.update->limits.unit = {{"cpu", "cpu.weight", "100"}};
  for (const std::optional<OomScores>& scores :
       {std::optional<OomScores>(), std::optional(OomScores()),
        std::optional(OomScores{{42, -999}, {43, 1000}})}) {
    container.update->scores = scores;
    auto record = DecodeContainerRecord(EncodeRecord(container));
    ASSERT_TRUE(record.ok()) << record.error().message();
    ASSERT_TRUE(record->update.has_value());
    EXPECT_EQ(record->update->scores, scores);
    ASSERT_EQ(record->update->limits.files.size(), 2U);
    EXPECT_EQ(record->update->limits.files[0].value, "max\n");
    EXPECT_EQ(record->update->limits.files[1].value, std::nullopt);
    EXPECT_EQ(record->update->limits.unit.at(0).file, "cpu.weight");
  }
}

// What an older version did not write keeps its default; what a newer one adds is ignored.
TEST(Record, OlderAndNewerRecordsAreRead) {
  std::string bytes;
  Json::to_cbor(Json{{"pod", {{"id", "old"}}}, {"phase", 1}, {"from_the_future", {1, 2}}}, bytes);
  auto record = DecodePodRecord(bytes);
  ASSERT_TRUE(record.ok()) << record.error().message();
  EXPECT_EQ(record->pod.id, "old");
  EXPECT_EQ(record->phase, PodPhase::kReady);
  EXPECT_FALSE(record->network);
}

TEST(Record, TornBytesAreAnErrorAndNoCrash) {
  const std::string bytes = EncodeRecord(SomeContainer());
  for (size_t n = 0; n < bytes.size(); n += 7) {
    EXPECT_FALSE(DecodeContainerRecord(bytes.substr(0, n)).ok()) << n;
  }
  EXPECT_FALSE(DecodePodRecord("\xa1\x65phase\x63ten").ok());
}

}  // namespace
}  // namespace berth::runtime
