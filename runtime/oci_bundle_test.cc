#include "runtime/oci_bundle.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "base/json.h"
#include "shim/wire/messages.h"
#include "tests/testing/temp_dir.h"

namespace berth::runtime {
namespace {

class OciBundle : public ::testing::Test {
 protected:
  OciBundle() : fd_(*Open(dir_.path(), O_RDONLY | O_DIRECTORY)) {}
  Json Read(const char* name) { return *ParseJson(*ReadFile(dir_ / name)); }

  testing::TempDir dir_;
  UniqueFd fd_;
};

OciSpec SomeSpec() {
  OciSpec spec;
  spec.process.args = {"sh"};
  spec.process.env = {"A=1"};
  spec.process.cwd = "/work";
  spec.process.terminal = true;
  spec.process.oom_score_adj = 7;
  spec.cgroups_path = "/berth/x";
  spec.resources.memory_limit_bytes = 1 << 20;
  spec.device_rules = {{true, 'c', 1, 3, "rw"}};
  return spec;
}

TEST_F(OciBundle, ExecsShareTheProcessButForWhatIsTheirOwn) {
  ASSERT_TRUE(WriteOciBundle(fd_.get(), "/bundle", SomeSpec(), "").ok());
  const Json config = Read(shim::wire::kOciConfigName);
  EXPECT_EQ(config["process"]["args"], Json::array({"sh"}));
  EXPECT_EQ(config["root"]["path"], "rootfs");
  EXPECT_FALSE(config["linux"].contains("seccomp"));
  const Json process = Read(shim::wire::kOciProcessName);
  EXPECT_EQ(process["cwd"], "/work");
  EXPECT_EQ(process["oomScoreAdj"], 7);
  for (const char* own : {"args", "env", "terminal"}) EXPECT_FALSE(process.contains(own)) << own;
  // The shim puts its members in front of the first one.
  EXPECT_TRUE(ReadFile(dir_ / shim::wire::kOciProcessName)->starts_with("{\""));
}

TEST_F(OciBundle, HooksAreThereWithAFileForWhatTheySay) {
  OciSpec spec = SomeSpec();
  ASSERT_TRUE(WriteOciBundle(fd_.get(), "/bundle", spec, "").ok());
  EXPECT_FALSE(Read(shim::wire::kOciConfigName).contains("hooks"));
  EXPECT_FALSE(Read(shim::wire::kOciConfigName).contains("annotations"));
  spec.hooks = {{"poststop", "/bin/a", {"a"}, {}, 3}};
  ASSERT_TRUE(WriteOciBundle(fd_.get(), "/bundle", spec, "").ok());
  const Json config = Read(shim::wire::kOciConfigName);
  EXPECT_EQ(config["hooks"]["poststop"][0]["timeout"], 3);
  EXPECT_EQ(config["annotations"]["run.oci.hooks.stderr"], "/bundle/hooks.log");
  // The shim's own: without the file, and with the root's place.
  ASSERT_TRUE(WriteHookBundle(fd_.get(), spec).ok());
  EXPECT_FALSE(Read(shim::wire::kOciConfigName).contains("annotations"));
  EXPECT_TRUE(*Exists(dir_ / shim::wire::kOciRootName));
}

TEST_F(OciBundle, SeccompGoesToLinux) {
  ASSERT_TRUE(
      WriteOciBundle(fd_.get(), "/bundle", SomeSpec(), R"({"defaultAction":"SCMP_ACT_ALLOW"})")
          .ok());
  EXPECT_EQ(Read(shim::wire::kOciConfigName)["linux"]["seccomp"]["defaultAction"],
            "SCMP_ACT_ALLOW");
}

TEST_F(OciBundle, ImagesAreBoundFromWhereTheShimMountsThem) {
  OciSpec spec = SomeSpec();
  spec.mounts = {{"/one", "image", "/part", {"ro", "nodev"}}, {"/two", "image", ""}};
  ASSERT_TRUE(WriteOciBundle(fd_.get(), "/b", spec, "").ok());
  const Json mounts = Read(shim::wire::kOciConfigName)["mounts"];
  EXPECT_EQ(mounts[0]["type"], "bind");
  EXPECT_EQ(mounts[0]["source"], "/b/image-0");
  EXPECT_EQ(mounts[0]["options"], Json::array({"ro", "nodev", "bind"}));
  EXPECT_EQ(mounts[1]["source"], "/b/image-1");
}

TEST_F(OciBundle, NewLimitsKeepTheDevices) {
  ASSERT_TRUE(WriteOciBundle(fd_.get(), "/bundle", SomeSpec(), "").ok());
  LinuxResources resources;
  resources.memory_limit_bytes = 2 << 20;
  resources.oom_score_adj = 99;
  ASSERT_TRUE(UpdateOciBundle(fd_.get(), resources).ok());
  const Json config = Read(shim::wire::kOciConfigName);
  EXPECT_EQ(config["linux"]["resources"]["memory"]["limit"], 2 << 20);
  EXPECT_EQ(config["linux"]["resources"]["devices"].size(), 1u);
  EXPECT_EQ(config["process"]["oomScoreAdj"], 99);
  EXPECT_EQ(config["process"]["args"], Json::array({"sh"}));
  EXPECT_EQ(Read(shim::wire::kOciProcessName)["oomScoreAdj"], 99);
}

void ExpectRefused(const PodConfig& pod, const ContainerConfig& config, const std::string& field) {
  Status status = CheckOciContainer(pod, config, {});
  ASSERT_FALSE(status.ok()) << field;
  EXPECT_EQ(status.code(), Code::kInvalidArgument);
  EXPECT_EQ(status.error().message().rfind(field, 0), 0u) << status.error().message();
}

TEST(OciContainer, WhatOnlyTheBuiltInHandlerDoesIsRefusedByName) {
  EXPECT_TRUE(CheckOciContainer({}, {}, {}).ok());
  PodConfig userns;
  userns.security.namespaces.userns.emplace();
  ExpectRefused(userns, {}, "userns_options");
  // What kubelet says for an ordinary pod once it knows of user namespaces.
  userns.security.namespaces.userns->mode = NamespaceMode::kNode;
  EXPECT_TRUE(CheckOciContainer(userns, {}, {}).ok());
  ContainerConfig bytes;
  bytes.envs = {{"GOOD", "\xc3\xa4"}};
  EXPECT_TRUE(CheckOciContainer({}, bytes, {}).ok());
  bytes.envs.push_back({"BYTES", "\xff"});
  ExpectRefused({}, bytes, "envs: BYTES");
  ContainerConfig mount;
  mount.mounts.resize(2);
  EXPECT_TRUE(CheckOciContainer({}, mount, {}).ok());
  mount.mounts[1].recursive_read_only = true;
  ExpectRefused({}, mount, "mounts[1].recursive_read_only");
  EXPECT_TRUE(CheckOciContainer({}, mount, {.recursive_read_only_mounts = true}).ok());
}

}  // namespace
}  // namespace berth::runtime
