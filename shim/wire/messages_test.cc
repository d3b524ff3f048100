#include "shim/wire/messages.h"

#include <gtest/gtest.h>

namespace berth::shim::wire {
namespace {

LaunchPlan SomePlan() {
  LaunchPlan plan;
  plan.process.args = {"sh", "-c", "echo hi"};
  plan.process.env = {"A=1", std::string("B=\xff\0x", 5)};
  plan.process.cwd = "/";
  plan.process.groups = {1, 2, 3};
  plan.process.rlimits = {{7, 1024, 4096}};
  plan.process.seccomp = std::string(24, '\x06');
  plan.namespaces = {{0x20000000, ""}, {0x40000000, "/run/ns/net"}};
  plan.mounts.resize(2);
  plan.mounts[1].options = {"mode=755", "size=64k"};
  plan.devices = {{"/dev/null", 020666, 1, 3, 0, 0}};
  plan.cgroup.tasks_files = {"/a/tasks", "/b/tasks"};
  plan.log = {"/var/log/pods/x", "0.log", 100};
  plan.hooks.list = {{HookPoint::kPoststop, "/bin/a", {"a", "b"}, {"C=1"}, 5}};
  plan.hooks.bundle = "/run/x";
  return plan;
}

TEST(Codec, PlanSurvivesTheRoundTrip) {
  const std::string bytes = Encode(SomePlan());
  auto plan = Decode<LaunchPlan>(bytes);
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(Encode(*plan), bytes);
  EXPECT_EQ(plan->process.env[1], std::string("B=\xff\0x", 5));
  EXPECT_EQ(plan->mounts[1].options[1], "size=64k");
  EXPECT_EQ(plan->log.max_line_bytes, 100U);
  EXPECT_EQ(plan->hooks.list[0].point, HookPoint::kPoststop);
  EXPECT_EQ(plan->hooks.list[0].timeout_s, 5U);
}

// Fields that are missing at the end keep their defaults (an older writer); anything cut within a
// field is an error. Neither reads beyond the end: the asan preset would say so.
TEST(Codec, TruncationNeverReadsBeyondTheEnd) {
  const std::string bytes = Encode(SomePlan());
  size_t refused = 0;
  for (size_t n = 0; n < bytes.size(); ++n) {
    std::string cut(bytes.data(), n);
    cut.shrink_to_fit();
    if (!Decode<LaunchPlan>(cut).ok()) ++refused;
  }
  EXPECT_GT(refused, bytes.size() * 9 / 10);
}

TEST(Codec, FalseLengthsAreRefused) {
  std::string bytes = Encode(Failure{3, 2, "message"});
  for (size_t i = 8; i < 12; ++i) {  // the length of `message`
    std::string hostile = bytes;
    hostile[i] = '\xff';
    EXPECT_FALSE(Decode<Failure>(hostile).ok()) << i;
  }
  EXPECT_FALSE(Decode<Exec>(std::string("\xff\xff\xff\x7f", 4)).ok());
}

TEST(Codec, FieldsOfANewerWriterAreIgnored) {
  std::string bytes = Encode(Signal{15}) + "more of it";
  auto signal = Decode<Signal>(bytes);
  ASSERT_TRUE(signal.ok());
  EXPECT_EQ(signal->number, 15);
}

TEST(Messages, PackAndUnpack) {
  const std::string packet = Pack(Type::kSignal, Signal{9});
  auto message = Unpack(packet);
  ASSERT_TRUE(message.ok());
  EXPECT_EQ(message->type, Type::kSignal);
  EXPECT_EQ(Decode<Signal>(message->body)->number, 9);
}

TEST(Messages, AnotherVersionIsRefusedByNumber) {
  auto message = Unpack(Encode(Header{99, Type::kWatch}));
  ASSERT_FALSE(message.ok());
  EXPECT_EQ(message.code(), Code::kUnimplemented);
  EXPECT_NE(message.error().message().find("99"), std::string::npos);
  EXPECT_FALSE(Unpack("abc").ok());
}

TEST(Messages, AFailureKeepsCodeAndErrno) {
  Error error = ToError(ToFailure(ErrnoError(ENOENT, "open x")));
  EXPECT_EQ(error.code(), Code::kNotFound);
  EXPECT_EQ(error.sys_errno(), ENOENT);
  EXPECT_EQ(ToError(Failure{4711, 0, "odd"}).code(), Code::kInternal);
}

}  // namespace
}  // namespace berth::shim::wire
