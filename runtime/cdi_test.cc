#include "runtime/cdi.h"

#include <gmock/gmock.h>

#include "runtime/oci_spec_testing.h"
#include "tests/testing/temp_dir.h"

namespace berth::runtime {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CdiTest : public OciSpecTest {
 protected:
  CdiTest() {
    for (const char* name : {"/first", "/second", "/lib"}) {
      EXPECT_TRUE(MakeDirs(dir_.path() + name, 0755).ok());
    }
  }
  void Write(const std::string& file, const std::string& text) {
    ASSERT_TRUE(AtomicWriteFileAt(AT_FDCWD, dir_ / file, text, 0644).ok());
  }
  // A file that describes the devices "0" and "1" of a kind, with edits of its own.
  void WriteKind(const std::string& file, const std::string& kind, const std::string& edits) {
    Write(file, StrCat(R"({"cdiVersion": "0.6.0", "kind": ")", kind,
                       R"(", "containerEdits": {"env": ["KIND=)", kind,
                       R"("]}, "devices": [{"name": "0", "containerEdits": )", edits,
                       R"(}, {"name": "1", "containerEdits": {"env": ["ONE=1"]}}]})"));
  }
  Result<CdiEdits> Find(const std::vector<std::string>& names) {
    return FindCdiDevices(names, {dir_ / "first", dir_ / "missing", dir_ / "second"});
  }
  void ExpectFails(const std::vector<std::string>& names, Code code, const std::string& words) {
    auto found = Find(names);
    ASSERT_FALSE(found.ok()) << words;
    EXPECT_EQ(found.code(), code) << found.error().message();
    EXPECT_THAT(found.error().message(), HasSubstr(words));
  }
  Result<OciSpec> BuildWith(const std::vector<std::string>& names) {
    container_.cdi_devices = names;
    SpecInputs inputs{pod_, container_, image_, user_, home_, paths_, "/berth/p/c", target_pid_ns_};
    inputs.cdi_dirs = {dir_ / "first"};
    return BuildOciSpec(inputs);
  }

  testing::TempDir dir_;
};

TEST_F(CdiTest, AFilesOwnEditsComeFirstAndOnce) {
  WriteKind("first/a.json", "v.com/gpu", R"({"env": ["ZERO=0"], "additionalGids": [7]})");
  auto found = Find({"v.com/gpu=1", "v.com/gpu=0", "v.com/gpu=1"});
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_THAT(found->env, ElementsAre("KIND=v.com/gpu", "ONE=1", "ZERO=0"));
  EXPECT_THAT(found->groups, ElementsAre(7));
  EXPECT_TRUE(Find({})->env.empty());
}

TEST_F(CdiTest, TheLaterDirectoryCounts) {
  WriteKind("first/a.json", "v.com/gpu", R"({"env": ["FROM=first"]})");
  WriteKind("second/a.json", "v.com/gpu", R"({"env": ["FROM=second"]})");
  auto found = Find({"v.com/gpu=0"});
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_THAT(found->env, ElementsAre("KIND=v.com/gpu", "FROM=second"));
  WriteKind("second/b.json", "v.com/gpu", "{}");
  ExpectFails({"v.com/gpu=0"}, Code::kFailedPrecondition, "more than one file");
}

TEST_F(CdiTest, NamesAreCheckedAndMissingOnesSayWhatWasRead) {
  for (const char* name : {"", "gpu", "v.com/gpu", "v.com/gpu=", "/gpu=0", "v.com/=0", "a/b/c=0",
                           "v.com/gpu=../0", "v.com/gpu=0\n"}) {
    ExpectFails({name}, Code::kInvalidArgument, "CDI_devices[0]");
  }
  Write("first/broken.json", "{");
  Write("first/other.yaml", "kind: v.com/gpu");
  Write("first/list.json", "[]");
  Write("first/kind.json", R"({"kind": "nothing"})");
  ExpectFails({"v.com/gpu=0"}, Code::kNotFound, "broken.json");
  ExpectFails({"v.com/gpu=0"}, Code::kNotFound, "other.yaml is YAML");
  ExpectFails({"v.com/gpu=0"}, Code::kNotFound, "kind.json: kind");
  WriteKind("first/good.json", "v.com/gpu", "{}");
  EXPECT_TRUE(Find({"v.com/gpu=0"}).ok());
  ExpectFails({"v.com/gpu=0", "v.com/gpu=2"}, Code::kNotFound, "CDI_devices[1] \"v.com/gpu=2\"");
}

TEST_F(CdiTest, WhatCannotBeGivenWholeIsRefused) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"hooks": [{"hookName": "createContainer", "path": "/bin/true"}]})", "hooks"},
      {R"({"netDevices": [{"hostInterfaceName": "a", "name": "b"}]})", "netDevices"},
      {R"({"deviceNodes": [{"path": "/dev/zero", "new": 1}]})", "deviceNodes.new"},
      {R"({"mounts": [{"hostPath": "/", "containerPath": "/x", "type": "overlay"}]})", "overlay"},
  };
  for (const auto& [edits, words] : cases) {
    WriteKind("first/a.json", "v.com/gpu", edits);
    ExpectFails({"v.com/gpu=0"}, Code::kUnimplemented, words);
  }
  for (const char* edits : {"[]", R"({"env": ["=x"]})", R"({"env": ["X"]})", R"({"env": [3]})",
                            R"({"deviceNodes": [{}]})", R"({"deviceNodes": {"path": "/dev/zero"}})",
                            R"({"deviceNodes": [{"path": "/dev/zero", "uid": 4294967296}]})",
                            R"({"mounts": [{"hostPath": "/", "containerPath": "/"}]})",
                            R"({"mounts": [{"hostPath": "a", "containerPath": "/x"}]})",
                            R"({"additionalGids": [-1]})", R"({"additionalGids": ["video"]})"}) {
    WriteKind("first/a.json", "v.com/gpu", edits);
    ExpectFails({"v.com/gpu=0"}, Code::kInvalidArgument, "a.json");
  }
  // Nothing asked for by what is empty.
  WriteKind("first/a.json", "v.com/gpu", R"({"hooks": [], "intelRdt": null})");
  EXPECT_TRUE(Find({"v.com/gpu=0"}).ok());
}

TEST_F(CdiTest, EverythingReachesTheSpec) {
  const std::string lib = dir_ / "lib";
  WriteKind("first/a.json", "v.com/gpu",
            StrCat(R"({"env": ["PATH=/gpu", "GPU=0"], "additionalGids": [44],
                       "deviceNodes": [{"path": "/dev/gpu0", "hostPath": "/dev/zero",
                                        "permissions": "rw", "fileMode": 384, "uid": 5}],
                       "mounts": [{"hostPath": ")",
                   lib, R"(", "containerPath": "/usr/lib/gpu", "options": ["ro", "nodev"]}]})"));
  auto spec = BuildWith({"v.com/gpu=0"});
  ASSERT_TRUE(spec.ok()) << spec.error().message();
  EXPECT_THAT(spec->process.env, Contains("PATH=/gpu"));
  EXPECT_THAT(spec->process.env, Contains("GPU=0"));
  EXPECT_THAT(spec->process.user.supplemental_groups, Contains(44));
  const OciMount* mount = MountAt(*spec, "/usr/lib/gpu");
  ASSERT_NE(mount, nullptr);
  EXPECT_EQ(mount->source, lib);
  EXPECT_THAT(mount->options, ElementsAre("rbind", "rprivate", "ro", "nodev"));
  auto node = std::find_if(spec->devices.begin(), spec->devices.end(),
                           [](const OciDevice& device) { return device.path == "/dev/gpu0"; });
  ASSERT_NE(node, spec->devices.end());
  EXPECT_EQ(node->minor, 5);
  EXPECT_EQ(node->file_mode, 0600u);
  EXPECT_EQ(node->uid, 5u);
  EXPECT_EQ(spec->device_rules.back().access, "rw");
}

TEST_F(CdiTest, ANodeThatIsAnotherOneHereIsRefused) {
  for (const char* right : {R"("type": "c", "major": 1, "minor": 5)", R"("type": "u")",
                            R"("major": 1, "minor": 5)", R"("type": "", "major": 0)"}) {
    WriteKind("first/a.json", "v.com/gpu",
              StrCat(R"({"deviceNodes": [{"path": "/dev/zero", )", right, "}]}"));
    auto spec = BuildWith({"v.com/gpu=0"});
    EXPECT_TRUE(spec.ok()) << right << spec.error().message();
  }
  for (const char* wrong : {R"("type": "c", "major": 1, "minor": 3)", R"("type": "b")",
                            R"("major": 195)", R"("type": "p")"}) {
    WriteKind("first/a.json", "v.com/gpu",
              StrCat(R"({"deviceNodes": [{"path": "/dev/zero", )", wrong, "}]}"));
    auto spec = BuildWith({"v.com/gpu=0"});
    ASSERT_EQ(spec.code(), Code::kFailedPrecondition) << wrong;
    EXPECT_THAT(spec.error().message(), HasSubstr("/dev/zero is c 1:5 here"));
  }
}

TEST_F(CdiTest, WhatTheNodeDoesNotHaveIsNamed) {
  WriteKind("first/a.json", "v.com/gpu", R"({"deviceNodes": [{"path": "/dev/no-such-gpu"}]})");
  auto spec = BuildWith({"v.com/gpu=0"});
  ASSERT_EQ(spec.code(), Code::kNotFound);
  EXPECT_THAT(spec.error().message(), HasSubstr("/dev/no-such-gpu"));
  WriteKind("first/a.json", "v.com/gpu",
            R"({"mounts": [{"hostPath": "/no/such/lib", "containerPath": "/lib/gpu"}]})");
  spec = BuildWith({"v.com/gpu=0"});
  ASSERT_EQ(spec.code(), Code::kNotFound);
  EXPECT_THAT(spec.error().message(), HasSubstr("/no/such/lib"));
}

}  // namespace
}  // namespace berth::runtime
