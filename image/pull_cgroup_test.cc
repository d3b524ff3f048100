// The cgroup of pulls, on the machine's own hierarchies.
#include "image/pull_cgroup.h"

#include <unistd.h>

#include "image/unpack/unpacker_fixture.h"

namespace berth::image {
namespace {

std::string PathOfTest() {
  return StrCat("/berth-pull-test-", getpid());
}

std::string TextOf(const std::string& file) {
  auto text = ReadFile(file);
  return text.ok() ? *text : "";
}

// The lines of /proc/PID/cgroup.
std::string CgroupsOf(const std::string& pid) {
  return TextOf(StrCat("/proc/", pid, "/cgroup"));
}

class PullCgroupTest : public UnpackerTest {
 protected:
  void SetUp() override {
    UnpackerTest::SetUp();
    if (IsSkipped()) return;
    options_.path = PathOfTest() + "/pulls";
    options_.cpu_weight = 20;
    auto made = PullCgroup::Make(options_);
    ASSERT_TRUE(made.ok()) << made.error().message();
    auto files = made->Join();
    ASSERT_TRUE(files.ok());
    if (files->empty()) GTEST_SKIP() << "the machine has no cgroup that weighs CPU or disk";
    for (const char* root : {"/sys/fs/cgroup", "/sys/fs/cgroup/cpu", "/sys/fs/cgroup/blkio"}) {
      if (access((root + options_.path).c_str(), F_OK) == 0) roots_.emplace_back(root);
    }
    unpacker_ = std::make_unique<LayerUnpacker>(WorkerPath(), *snapshotter_, std::move(*made));
  }
  void TearDown() override {
    unpacker_.reset();
    for (const std::string& root : roots_) {
      EXPECT_NE(access((root + options_.path).c_str(), F_OK), 0) << "it is left in " << root;
      (void)rmdir((root + PathOfTest()).c_str());
    }
    UnpackerTest::TearDown();
  }

  // What the worker of an unpacking under way says of itself.
  std::string WorkerCgroups(Status& outcome) {
    TarBuilder tar;
    tar.File("f", std::string(100'000, 'x'));
    const Context context = Context::WithTimeoutMs(60'000);
    auto unpack = unpacker_->Begin(RequestFor(tar.Tar(), tar.Tar(), Compression::kNone));
    if (!unpack.ok()) {
      outcome = std::move(unpack).error();
      return "";
    }
    std::string found;
    for (int i = 0; i < 500 && found.find(options_.path) == std::string::npos; ++i) {
      if (const pid_t worker = FindWorker(); worker > 0) found = CgroupsOf(StrCat(worker));
      usleep(10'000);
    }
    (void)unpack->Write(context, tar.Tar());
    outcome = unpack->Finish(context);
    (void)snapshotter_->RemoveLayer(DigestOf(tar.Tar()));
    return found;
  }

  PullCgroupOptions options_;
  std::vector<std::string> roots_;
};

TEST_F(PullCgroupTest, WorkersAreInItAndTheDaemonIsNot) {
  Status outcome;
  const std::string found = WorkerCgroups(outcome);
  EXPECT_TRUE(outcome.ok()) << NameOfCode(outcome);
  EXPECT_NE(found.find(options_.path + "\n"), std::string::npos) << found;
  EXPECT_EQ(CgroupsOf("self").find(options_.path), std::string::npos);
}

TEST_F(PullCgroupTest, ItsShareIsSmall) {
  for (const auto& [file, value] :
       {std::pair{"/sys/fs/cgroup" + options_.path + "/cpu.weight", "20\n"},
        std::pair{"/sys/fs/cgroup/cpu" + options_.path + "/cpu.shares", "204\n"}}) {
    if (access(file.c_str(), F_OK) != 0) continue;
    EXPECT_EQ(TextOf(file), value) << file;
  }
}

// As another daemon that shares it does at its end.
TEST_F(PullCgroupTest, OneThatWasRemovedIsMadeAnew) {
  for (const std::string& root : roots_) {
    ASSERT_EQ(rmdir((root + options_.path).c_str()), 0);
    ASSERT_EQ(rmdir((root + PathOfTest()).c_str()), 0);
  }
  Status outcome;
  EXPECT_NE(WorkerCgroups(outcome).find(options_.path + "\n"), std::string::npos);
  EXPECT_TRUE(outcome.ok()) << NameOfCode(outcome);
}

TEST_F(PullCgroupTest, PathsThatLeadElsewhereAreRefused) {
  for (const char* path : {"relative", "/", "/a/../../b", "/a//b", "/a/"}) {
    PullCgroupOptions options;
    options.path = path;
    EXPECT_EQ(PullCgroup::Make(options).code(), Code::kInvalidArgument) << path;
  }
}

}  // namespace
}  // namespace berth::image
