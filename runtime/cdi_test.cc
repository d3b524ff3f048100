#include "runtime/cdi.h"

#include <gmock/gmock.h>

#include "runtime/oci_spec_testing.h"
#include "tests/testing/temp_dir.h"

namespace berth::runtime {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

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
    Write(file, StrCat(R"({"cdiVersion": "0.7.0", "kind": ")", kind,
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
                           "v.com/gpu=../0", "v.com/gpu=0\n", "1v.com/gpu=0", "v.com/1gpu=0",
                           "v.com/gpu-=0", "v.com./gpu=0", "v.com/gpu=0.", "v.com/gpu=:0"}) {
    ExpectFails({name}, Code::kInvalidArgument, "CDI_devices[0]");
  }
  Write("first/broken.json", "{");
  Write("first/other.yaml", "kind: v.com/gpu");
  Write("first/list.json", "[]");
  Write("first/kind.json", R"({"cdiVersion": "0.5.0", "kind": "nothing"})");
  Write("first/readme.txt", "{");
  ExpectFails({"v.com/gpu=0"}, Code::kNotFound, "broken.json");
  ExpectFails({"v.com/gpu=0"}, Code::kNotFound, "other.yaml: cdiVersion");
  ExpectFails({"v.com/gpu=0"}, Code::kNotFound, "list.json: not an object");
  ExpectFails({"v.com/gpu=0"}, Code::kNotFound, "kind.json: kind");
  EXPECT_THAT(Find({"v.com/gpu=0"}).error().message(), Not(HasSubstr("readme.txt")));
  WriteKind("first/good.json", "v.com/gpu", "{}");
  EXPECT_TRUE(Find({"v.com/gpu=0"}).ok());
  ExpectFails({"v.com/gpu=0", "v.com/gpu=2"}, Code::kNotFound, "CDI_devices[1] \"v.com/gpu=2\"");
}

TEST_F(CdiTest, WhatCannotBeGivenWholeIsRefused) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"intelRdt": {"closID": "a"}})", "containerEdits.intelRdt"},
      {R"({"hooks": [{"hookName": "poststop", "path": "/bin/true", "cwd": "/"}]})", "hooks.cwd"},
      {R"({"netDevices": [{"hostInterfaceName": "a", "name": "b"}]})", "netDevices"},
      {R"({"deviceNodes": [{"path": "/dev/zero", "new": 1}]})", "deviceNodes.new"},
  };
  for (const auto& [edits, words] : cases) {
    WriteKind("first/a.json", "v.com/gpu", edits);
    ExpectFails({"v.com/gpu=0"}, Code::kUnimplemented, words);
  }
  for (const char* edits :
       {"[]",
        R"({"env": ["=x"]})",
        R"({"env": ["X"]})",
        R"({"env": [3]})",
        R"({"deviceNodes": [{}]})",
        R"({"deviceNodes": {"path": "/dev/zero"}})",
        R"({"deviceNodes": [{"path": "/dev/zero", "uid": 4294967296}]})",
        R"({"mounts": [{"hostPath": "/", "containerPath": "/"}]})",
        R"({"mounts": [{"hostPath": "a", "containerPath": "/x"}]})",
        R"({"mounts": [{"hostPath": "a", "containerPath": "/x", "type": "a/b"}]})",
        R"({"mounts": [{"hostPath": "a", "containerPath": "/x", "type": "image"}]})",
        R"({"hooks": {}})",
        R"({"hooks": [{"path": "/bin/true"}]})",
        R"({"hooks": [{"hookName": "prestop", "path": "/bin/true"}]})",
        R"({"hooks": [{"hookName": "poststop"}]})",
        R"({"hooks": [{"hookName": "poststop", "path": "true"}]})",
        R"({"hooks": [{"hookName": "poststop", "path": "/a\u0000b"}]})",
        R"({"hooks": [{"hookName": "poststop", "path": "/a", "args": "a"}]})",
        R"({"hooks": [{"hookName": "poststop", "path": "/a", "args": [{}]}]})",
        R"({"hooks": [{"hookName": "poststop", "path": "/a", "args": ["\u0000"]}]})",
        R"({"hooks": [{"hookName": "poststop", "path": "/a", "env": ["a"]}]})",
        R"({"hooks": [{"hookName": "poststop", "path": "/a", "timeout": 0}]})",
        R"({"hooks": [{"hookName": "poststop", "path": "/a", "timeout": -1}]})",
        R"({"hooks": [{"hookName": "poststop", "path": "/a", "timeout": "1"}]})",
        R"({"additionalGids": [-1]})",
        R"({"additionalGids": ["video"]})"}) {
    WriteKind("first/a.json", "v.com/gpu", edits);
    ExpectFails({"v.com/gpu=0"}, Code::kInvalidArgument, "a.json");
  }
  // Nothing asked for by what is empty.
  WriteKind("first/a.json", "v.com/gpu", R"({"hooks": [], "intelRdt": null})");
  EXPECT_TRUE(Find({"v.com/gpu=0"}).ok());
}

// As nvidia-ctk writes them.
constexpr char kYaml[] = R"(---
cdiVersion: 0.5.0
kind: nvidia.com/gpu
containerEdits:
  env:
    - NVIDIA_VISIBLE_DEVICES=void
  deviceNodes:
    - path: /dev/gpuctl
      hostPath: /dev/zero
  hooks:
    - hookName: createContainer
      path: /usr/bin/nvidia-cdi-hook
      args:
        - nvidia-cdi-hook
        - create-symlinks
        - --link
        - libcuda.so.1::/usr/lib/x86_64-linux-gnu/libcuda.so
      env:
        - NVIDIA_CTK_DEBUG=false
  mounts:
    - hostPath: /usr/bin/nvidia-smi
      containerPath: /usr/bin/nvidia-smi
      options: [ro, nosuid, nodev, bind]
devices:
  - name: "0"
    containerEdits: &first
      deviceNodes:
        - path: /dev/gpu0
          hostPath: /dev/null
          fileMode: 0660
  - name: 1
  - name: all
    containerEdits: *first
)";

TEST_F(CdiTest, YamlIsReadAsJsonIs) {
  Write("first/nvidia.yaml", kYaml);
  Write("first/other.yml", "{");  // another's
  auto found = Find({"nvidia.com/gpu=all"});
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_THAT(found->env, ElementsAre("NVIDIA_VISIBLE_DEVICES=void"));
  ASSERT_EQ(found->nodes.size(), 2u);
  EXPECT_EQ(found->nodes[1].device.container_path, "/dev/gpu0");
  EXPECT_EQ(found->nodes[1].mode, 0660u);
  ASSERT_EQ(found->mounts.size(), 1u);
  EXPECT_EQ(found->mounts[0].type, "bind");
  EXPECT_THAT(found->mounts[0].options, ElementsAre("rprivate", "ro", "nosuid", "nodev", "bind"));
  ASSERT_EQ(found->hooks.size(), 1u);
  EXPECT_EQ(found->hooks[0].name, "createContainer");
  EXPECT_EQ(found->hooks[0].path, "/usr/bin/nvidia-cdi-hook");
  EXPECT_EQ(found->hooks[0].args.size(), 4u);
  EXPECT_THAT(found->hooks[0].env, ElementsAre("NVIDIA_CTK_DEBUG=false"));
  EXPECT_EQ(found->hooks[0].timeout_s, 0u);
  // Names that are not quoted are names.
  EXPECT_TRUE(Find({"nvidia.com/gpu=1"}).ok());
  // It is one with what JSON says.
  WriteKind("first/a.json", "nvidia.com/gpu", "{}");
  ExpectFails({"nvidia.com/gpu=0"}, Code::kFailedPrecondition, "more than one file");
}

TEST_F(CdiTest, AFileThatIsWrongCountsForNothingAndSaysWhy) {
  const std::string devices = "devices:\n  - name: a\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"cdiVersion: 0.5.0\nkind: v.com/gpu\ndevices: [", "not valid YAML: line"},
      {"cdiVersion: 0.5.0\nkind: v.com/gpu\nkind: v.com/gpu\n", "line 3: \"kind\" is there twice"},
      {"- a\n", "not an object"},
      {StrCat("kind: v.com/gpu\n", devices), "cdiVersion: \"\""},
      {StrCat("cdiVersion: 1.2.0\nkind: v.com/gpu\n", devices), "cdiVersion: \"1.2.0\""},
      {StrCat("cdiVersion: 0.5\nkind: v.com/gpu\n", devices), "cdiVersion: \"0.5\""},
      {StrCat("cdiVersion: [0.5.0]\nkind: v.com/gpu\n", devices), "\"cdiVersion\" is not a string"},
      {StrCat("cdiVersion: 0.5.0\nkind: v.com/gpu\nmore: [1]\n", devices), "more is not something"},
      {StrCat("cdiVersion: 0.5.0\nkind: v.com/g.pu\n", devices),
       "a class with a dot is of cdiVersion 0.6.0"},
      {StrCat("cdiVersion: 0.5.0\nkind: 1.com/gpu\n", devices), "kind: \"1.com/gpu\""},
      {StrCat("cdiVersion: 0.5.0\nkind: v.com/gpu\nannotations: {a: b}\n", devices),
       "annotations is of cdiVersion 0.6.0"},
      {StrCat("cdiVersion: 0.6.0\nkind: v.com/gpu\nannotations: {a: [b]}\n", devices),
       "annotations"},
      {StrCat("cdiVersion: 0.6.0\nkind: v.com/gpu\nannotations: {a: ", std::string(257 << 10, 'x'),
              "}\n", devices),
       "annotations has more than"},
      {"cdiVersion: 0.5.0\nkind: v.com/gpu\n", "devices has none"},
      {"cdiVersion: 0.5.0\nkind: v.com/gpu\ndevices: {a: b}\n", "devices is no list"},
      {"cdiVersion: 0.5.0\nkind: v.com/gpu\ndevices: [{}]\n", "devices: \"\" is not the name"},
      {"cdiVersion: 0.5.0\nkind: v.com/gpu\ndevices: [{name: a/b}]\n", "\"a/b\" is not the name"},
      {"cdiVersion: 0.5.0\nkind: v.com/gpu\ndevices: [{name: a, x: 1}]\n", "device a: x is not"},
      {"cdiVersion: 0.4.0\nkind: v.com/gpu\ndevices: [{name: 0}]\n",
       "a name that begins with a digit is of cdiVersion 0.5.0"},
      {StrCat("cdiVersion: 0.5.0\nkind: v.com/gpu\n", devices, "  - name: a\n"),
       "a is there twice"},
      {std::string((4 << 20) + 1, ' '), "wrong.yaml"},
      {StrCat("a: &a ", std::string(1 << 20, 'x'),
              "\nb: [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]"),
       "with its aliases written out"},
  };
  for (const auto& [text, words] : cases) {
    Write("first/wrong.yaml", text);
    ExpectFails({"v.com/gpu=a"}, Code::kNotFound, words);
    ExpectFails({"v.com/gpu=a"}, Code::kNotFound, "wrong.yaml: ");
  }
  // Others are not drawn into it.
  WriteKind("first/good.json", "v.com/gpu", "{}");
  EXPECT_TRUE(Find({"v.com/gpu=0"}).ok());
}

TEST_F(CdiTest, FieldsThatAreNewerThanTheFilesVersionAreRefused) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"mounts: [{hostPath: /a, containerPath: /a, type: bind}]",
       "mounts.type is of cdiVersion 0.4.0"},
      {"deviceNodes: [{path: /dev/a, hostPath: /dev/zero}]",
       "deviceNodes.hostPath is of cdiVersion 0.5.0"},
      {"additionalGids: [1]", "additionalGids is of cdiVersion 0.7.0"},
  };
  for (const auto& [edits, words] : cases) {
    Write("first/a.yaml", StrCat("cdiVersion: 0.3.0\nkind: v.com/gpu\ndevices:\n- name: a\n",
                                 "  containerEdits: {", edits, "}\n"));
    ExpectFails({"v.com/gpu=a"}, Code::kInvalidArgument, words);
    Write("first/a.yaml", StrCat("cdiVersion: 1.1.0\nkind: v.com/gpu\ndevices:\n- name: a\n",
                                 "  containerEdits: {", edits, "}\n"));
    EXPECT_TRUE(Find({"v.com/gpu=a"}).ok()) << edits;
  }
}

TEST_F(CdiTest, MountsAreBindsUnlessTheyHaveATypeAndReplaceOthers) {
  Write("first/a.yaml", R"(
cdiVersion: 0.7.0
kind: v.com/gpu
devices:
- name: a
  containerEdits:
    additionalGids: [0, 5]
    mounts:
    - {hostPath: tmpfs, containerPath: /run/gpu, type: tmpfs, options: [size=1m]}
    - {hostPath: /proc, containerPath: /x, type: none, options: [rbind, ro]}
    - {hostPath: mqueue, containerPath: /dev/mqueue, type: mqueue}
)");
  auto found = Find({"v.com/gpu=a"});
  ASSERT_TRUE(found.ok()) << found.error().message();
  ASSERT_EQ(found->mounts.size(), 3u);
  EXPECT_EQ(found->mounts[0].type, "tmpfs");
  EXPECT_THAT(found->mounts[0].options, ElementsAre("size=1m"));
  EXPECT_EQ(found->mounts[1].type, "bind");
  EXPECT_THAT(found->mounts[1].options, ElementsAre("rprivate", "rbind", "ro"));
  EXPECT_EQ(found->mounts[2].type, "mqueue");
  EXPECT_THAT(found->groups, ElementsAre(5));
  auto spec = BuildWith({"v.com/gpu=a"});
  ASSERT_TRUE(spec.ok()) << spec.error().message();
  EXPECT_EQ(std::count_if(spec->mounts.begin(), spec->mounts.end(),
                          [](const OciMount& m) { return m.destination == "/dev/mqueue"; }),
            1);
}

TEST_F(CdiTest, HooksReachTheSpecAndItsText) {
  WriteKind("first/a.json", "v.com/gpu", R"({"hooks": [
      {"hookName": "createContainer", "path": "/usr/bin/../bin/no"}]})");
  ExpectFails({"v.com/gpu=0"}, Code::kInvalidArgument, "hooks.path");
  WriteKind("first/a.json", "v.com/gpu", R"({"hooks": [
      {"hookName": "poststop", "path": "/bin/a", "args": ["a", 1], "env": ["A=1"], "timeout": 5},
      {"hookName": "prestart", "path": "/bin/b"}, {"hookName": "poststop", "path": "/bin/c"}]})");
  auto spec = BuildWith({"v.com/gpu=0"});
  ASSERT_TRUE(spec.ok()) << spec.error().message();
  ASSERT_EQ(spec->hooks.size(), 3u);
  EXPECT_EQ(ToText(ParseJson(OciSpecJson(*spec))->at("hooks")),
            R"({"poststop":[{"args":["a","1"],"env":["A=1"],"path":"/bin/a","timeout":5},)"
            R"({"env":[],"path":"/bin/c"}],"prestart":[{"env":[],"path":"/bin/b"}]})");
  auto without = BuildWith({});
  EXPECT_THAT(without->hooks, IsEmpty());
  EXPECT_FALSE(ParseJson(OciSpecJson(*without))->contains("hooks"));
}

// Without a word of the file on it: who runs in the container owns what it has asked for.
TEST_F(CdiTest, NodesAreTheContainersUsers) {
  WriteKind("first/a.json", "v.com/gpu", R"({"deviceNodes": [
      {"path": "/dev/gpu0", "hostPath": "/dev/zero"},
      {"path": "/dev/gpu1", "hostPath": "/dev/zero", "uid": 0, "gid": 7}]})");
  user_.uid = 1000;
  user_.gid = 2000;
  auto spec = BuildWith({"v.com/gpu=0"});
  ASSERT_TRUE(spec.ok()) << spec.error().message();
  const OciDevice& last = spec->devices.back();
  const OciDevice& first = spec->devices[spec->devices.size() - 2];
  EXPECT_EQ(first.uid, 1000u);
  EXPECT_EQ(first.gid, 2000u);
  EXPECT_EQ(last.uid, 0u);
  EXPECT_EQ(last.gid, 7u);
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
