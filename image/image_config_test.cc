#include "image/image_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/json.h"

namespace berth::image {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::string kDiffId = "sha256:" + std::string(64, 'd');

Json ConfigJson() {
  return {{"architecture", "amd64"},
          {"os", "linux"},
          {"config",
           {{"User", "nobody:1"},
            {"WorkingDir", "/srv"},
            {"StopSignal", "SIGQUIT"},
            {"Entrypoint", {"/bin/sh", "-c"}},
            {"Cmd", nullptr},
            {"Env", {"PATH=/bin", "EMPTY="}},
            {"Volumes", {{"/data", Json::object()}}},
            {"Labels", {{"a", "b"}}}}},
          {"rootfs", {{"type", "layers"}, {"diff_ids", {kDiffId}}}}};
}

TEST(ImageConfigTest, ReadsWhatContainersNeed) {
  auto config = ParseImageConfig(ConfigJson().dump());
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_EQ(config->user, "nobody:1");
  EXPECT_EQ(config->working_dir, "/srv");
  EXPECT_EQ(config->stop_signal, "SIGQUIT");
  EXPECT_THAT(config->entrypoint, ElementsAre("/bin/sh", "-c"));
  EXPECT_TRUE(config->cmd.empty());
  EXPECT_THAT(config->env, ElementsAre("PATH=/bin", "EMPTY="));
  EXPECT_THAT(config->volumes, ElementsAre("/data"));
  EXPECT_EQ(config->labels.at("a"), "b");
  EXPECT_EQ(config->architecture, "amd64");
  EXPECT_EQ(config->os, "linux");
  EXPECT_THAT(config->diff_ids, ElementsAre(kDiffId));
}

TEST(ImageConfigTest, AllButTheLayersMayBeMissing) {
  EXPECT_TRUE(ParseImageConfig(R"({"rootfs":{"type":"layers","diff_ids":[]}})").ok());
  EXPECT_TRUE(ParseImageConfig(R"({"config":null,"rootfs":{"type":"layers"}})").ok());
}

TEST(ImageConfigTest, DropsEnvironmentThatWouldAskTheDaemons) {
  Json json = ConfigJson();
  json["config"]["Env"] = {"HOME", "*", "", "=x", "A=*"};
  auto config = ParseImageConfig(json.dump());
  ASSERT_TRUE(config.ok());
  EXPECT_THAT(config->env, ElementsAre("A=*"));
}

TEST(ImageConfigTest, RefusesWhatIsWrong) {
  struct Row {
    const char* pointer;
    Json value;
    const char* message;
  };
  const Row table[] = {
      {"/rootfs", nullptr, "rootfs"},
      {"/rootfs/type", "images", "rootfs.type"},
      {"/rootfs/diff_ids/0", "sha256:../../x", "rootfs.diff_ids"},
      {"/rootfs/diff_ids", "x", "diff_ids"},
      {"/rootfs/diff_ids", std::vector<std::string>(501, kDiffId), "more than 500"},
      {"/config", "x", "config"},
      {"/config/User", 0, "User"},
      {"/config/User", std::string("a\0b", 3), "User"},
      {"/config/Env/0", 5, "Env"},
      {"/config/Env/0", std::string("A=\0", 3), "Env"},
      {"/config/Cmd", "sh -c", "Cmd"},
      {"/config/Entrypoint", std::vector<std::string>(10'001, "x"), "Entrypoint"},
      {"/config/Volumes", {"/a"}, "Volumes"},
      {"/config/Labels", {{"a", 1}}, "Labels"},
      {"/os", {1}, "os"},
  };
  for (const Row& row : table) {
    Json json = ConfigJson();
    json[Json::json_pointer(row.pointer)] = row.value;
    auto config = ParseImageConfig(json.dump());
    ASSERT_FALSE(config.ok()) << row.pointer;
    EXPECT_EQ(config.code(), Code::kDataLoss) << row.pointer;
    EXPECT_THAT(config.error().message(), HasSubstr(row.message));
  }
  for (const char* text : {"", "[]", "null", "{", "\xff\xfe"}) {
    EXPECT_EQ(ParseImageConfig(text).code(), Code::kDataLoss) << text;
  }
}

}  // namespace
}  // namespace berth::image
