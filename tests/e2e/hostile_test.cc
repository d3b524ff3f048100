// Images, volumes and containers that try to make the node touch files of its own: each is refused
// or stays inside, and a directory of the node is as it was.
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "base/file.h"
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

using testing::EntryType;

class Hostile : public E2eTest {
 protected:
  void SetUp() override {
    E2eTest::SetUp();
    canary_ = StrCat(node().dir(), "/canary-", NewId().substr(0, 8));
    ASSERT_OK(MakeDirs(canary_, 0700));
    ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, canary_ + "/secret", "canary\n", 0600));
    before_ = State();
  }
  void TearDown() override {
    EXPECT_EQ(State(), before_);
    E2eTest::TearDown();
  }
  // What there is in the canary, with modes, owners and content.
  std::string State() {
    std::string text;
    auto add = [&](const std::string& path) {
      struct stat info {};
      EXPECT_EQ(stat(path.c_str(), &info), 0) << path;
      text += StrCat(path, " ", info.st_mode, " ", info.st_uid, ":", info.st_gid, "\n");
    };
    add(canary_);
    auto dir = Open(canary_, O_RDONLY | O_DIRECTORY);
    EXPECT_OK(dir);
    if (!dir.ok()) return text;
    EXPECT_OK(ForEachEntry(dir->get(), [&](const std::string& name) {
      add(canary_ + "/" + name);
      auto content = ReadFileAt(dir->get(), name, 4096);
      text += content.ok() ? *content : "unreadable";
      return Ok();
    }));
    return text;
  }
  // The test image with these entries on top, and a configuration.
  std::string PullWith(const std::vector<testing::TarEntry>& entries, const Json& config = {}) {
    auto base = BusyboxImage();
    EXPECT_OK(base);
    base->layers.push_back({.tar = testing::MakeTar(entries)});
    if (!config.is_null()) base->config.update(config);
    auto registry = SharedRegistry();
    EXPECT_OK(registry);
    const std::string name = StrCat("hostile/", NewId().substr(0, 12));
    EXPECT_OK((*registry)->Push(name, "1", testing::BuildImage(*base)));
    rt::PullImageRequest pull;
    pull.mutable_image()->set_image(StrCat((*registry)->address(), "/", name, ":1"));
    EXPECT_OK(cri().Call(pull));
    return pull.image().image();
  }
  // Its output; empty if it was refused. It must not see the canary either way.
  std::string Try(rt::ContainerConfig config, const std::string& image) {
    config.mutable_image()->set_image(image);
    auto ending = RunToEnd(config);
    std::string text = ending.ok() ? ending->Text() : "";
    EXPECT_EQ(text.find("canary\n"), std::string::npos) << text;
    return text;
  }
  testing::TarEntry LinkToCanary(const std::string& path, const std::string& file = "") {
    return {.path = path, .content = canary_ + file, .type = EntryType::kSymlink};
  }
  std::string ReadCanary() { return StrCat("cat ", canary_, "/secret 2>/dev/null; "); }

  std::string canary_, before_;
};

// CVE-2026-41579, CVE-2026-47766: nodes and links are made in /dev.
TEST_F(Hostile, DevIsALink) {
  rt::ContainerConfig config = ShellConfig(ReadCanary() + "true");
  rt::Device* device = config.add_devices();
  device->set_host_path("/dev/zero");
  device->set_container_path("/dev/mine");
  device->set_permissions("rw");
  Try(config, PullWith({LinkToCanary("dev")}));
}

// CVE-2024-5154: files are made in /etc.
TEST_F(Hostile, EtcIsALink) {
  Try(ShellConfig(ReadCanary() + "true"), PullWith({LinkToCanary("etc")}));
}

// CVE-2019-18837: a file of the pod's is mounted over one of the image's.
TEST_F(Hostile, APodFileIsALink) {
  EXPECT_EQ(
      Try(ShellConfig("cat /etc/hostname"), PullWith({LinkToCanary("etc/hostname", "/secret")})),
      "pod\n");
}

// CVE-2019-19921, CVE-2023-27561, CVE-2023-28642, CVE-2025-54867: what is masked would be another.
TEST_F(Hostile, ProcAndSysAreLinks) {
  for (const char* path : {"proc", "sys", "sys/fs/cgroup"}) {
    const std::string image =
        PullWith({{.path = "other", .type = EntryType::kDirectory, .mode = 0755},
                  {.path = path, .content = "/other", .type = EntryType::kSymlink}});
    EXPECT_EQ(Try(ShellConfig("ls /other; echo end"), image).substr(0, 4),
              std::string(path) == "sys/fs/cgroup" ? "end\n" : "")
        << path;
  }
}

// CVE-2026-55686: a working directory that is not there is made.
TEST_F(Hostile, TheWorkingDirectoryIsBehindALink) {
  const std::string image = PullWith({LinkToCanary("a")}, {{"WorkingDir", "/a/b"}});
  Try(ShellConfig(ReadCanary() + "pwd"), image);
}

// CVE-2022-23648, CVE-2019-16884.
TEST_F(Hostile, VolumesOfTheImageLeadOut) {
  const std::string up = "/../../../../../.." + canary_;
  Try(ShellConfig(ReadCanary() + "true"), PullWith({}, {{"Volumes", {{up, Json::object()}}}}));
  for (const char* path : {"/proc", "/proc/self"}) {
    rt::ContainerConfig config = ShellConfig("true");
    config.mutable_image()->set_image(PullWith({}, {{"Volumes", {{path, Json::object()}}}}));
    EXPECT_FAILS(RunToEnd(config), Code::kInvalidArgument, "Volumes");
  }
}

// CVE-2014-6407, CVE-2021-32760 in the container's root: links of a layer to what is above it.
TEST_F(Hostile, AMountBelowALinkStaysInside) {
  const std::string image = PullWith({LinkToCanary("data")});
  rt::ContainerConfig config = ShellConfig(ReadCanary() + "cat /data/new/mine");
  const std::string volume = StrCat(node().dir(), "/volume-", NewId().substr(0, 8));
  ASSERT_OK(MakeDirs(volume, 0755));
  ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, volume + "/mine", "mine\n", 0644));
  rt::Mount* mount = config.add_mounts();
  mount->set_host_path(volume);
  mount->set_container_path("/data/new");
  EXPECT_EQ(Try(config, image), "mine\n");
}

// CVE-2025-31133: masked files are covered with /dev/null, and another is in its place.
TEST_F(Hostile, NullIsALink) {
  const std::string dev = StrCat(node().dir(), "/dev-", NewId().substr(0, 8));
  ASSERT_OK(MakeDirs(dev, 0755));
  ASSERT_EQ(symlink("/proc/sys/kernel/core_pattern", (dev + "/null").c_str()), 0);
  rt::ContainerConfig config = ShellConfig("(echo x > /proc/interrupts) 2>/dev/null; echo ran");
  rt::Mount* mount = config.add_mounts();
  mount->set_host_path(dev);
  mount->set_container_path("/dev");
  auto pattern = ReadFile("/proc/sys/kernel/core_pattern");
  ASSERT_OK(pattern);
  auto ending = RunToEnd(config);
  EXPECT_FALSE(ending.ok()) << ending->Text();
  EXPECT_EQ(*ReadFile("/proc/sys/kernel/core_pattern"), *pattern);
}

// CVE-2019-5736: the program that enters the container is not one that the container can change.
TEST_F(Hostile, TheProgramThatEntersIsNotWritable) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig(
      "while true; do for p in /proc/[0-9]*; do [ $p = /proc/1 ] && continue; "
      "(echo overwritten > $p/exe) 2>/dev/null && [ \"$(readlink $p/exe)\" != /bin/busybox ] && "
      "echo wrote; done; done");
  rt::LinuxContainerSecurityContext& context = *config.mutable_linux()->mutable_security_context();
  context.mutable_capabilities()->add_add_capabilities("ALL");
  context.mutable_seccomp()->set_profile_type(rt::SecurityProfile::Unconfined);
  context.set_readonly_rootfs(true);
  auto container = RunContainer(*pod, config);
  ASSERT_OK(container);
  // It then is a program like any other, which ends when it is told to.
  EXPECT_FAILS(Exec(*container, {"/proc/self/exe"}, 1), Code::kDeadlineExceeded, "");
  for (int i = 0; i < 30; ++i) EXPECT_EQ(ShellIn(*container, "echo in"), "in\n");
  EXPECT_EQ(LogText(Log(*container)).find("wrote"), std::string::npos);
  auto another = RunContainer(*pod, ShellConfig("echo whole", "another"));
  ASSERT_OK(another);
  EXPECT_TRUE(AwaitLog(*another, "whole"));
}

// CVE-2016-9962: what enters cannot be traced, nor its descriptors be opened, before it is inside.
TEST_F(Hostile, WhatEntersHasNoDescriptorsOfTheNode) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig(
      "while true; do for f in /proc/[0-9]*/fd/* /proc/[0-9]*/cwd /proc/[0-9]*/root; do "
      "cat $f/secret 2>/dev/null; cat $f$CANARY/secret 2>/dev/null; done; done");
  rt::KeyValue* env = config.add_envs();
  env->set_key("CANARY");
  env->set_value(canary_);
  config.mutable_linux()->mutable_security_context()->mutable_capabilities()->add_add_capabilities(
      "SYS_PTRACE");
  auto container = RunContainer(*pod, config);
  ASSERT_OK(container);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(ShellIn(*container, "echo in"), "in\n");
  EXPECT_EQ(LogText(Log(*container)), "");
}

// CVE-2021-30465, CVE-2024-45310: while targets are looked for, one is exchanged for a link.
TEST_F(Hostile, ATargetThatIsExchangedStaysInside) {
  const std::string shared = StrCat(node().dir(), "/shared-", NewId().substr(0, 8));
  ASSERT_OK(MakeDirs(shared + "/t", 0755));
  ASSERT_EQ(symlink(canary_.c_str(), (shared + "/link").c_str()), 0);
  std::atomic<bool> stop = false;
  std::atomic<int> flips = 0;
  std::thread flipper([&] {
    while (!stop) {
      if (renameat2(AT_FDCWD, (shared + "/t").c_str(), AT_FDCWD, (shared + "/link").c_str(),
                    RENAME_EXCHANGE) == 0) {
        ++flips;
      }
    }
  });
  auto pod = RunPod();
  EXPECT_OK(pod);
  rt::ContainerConfig config = ShellConfig(ReadCanary() + "cat /shared/t/secret 2>/dev/null; true");
  auto add = [&](const std::string& host, const std::string& inside) {
    rt::Mount* mount = config.add_mounts();
    mount->set_host_path(host);
    mount->set_container_path(inside);
  };
  add(shared, "/shared");
  int started = 0;
  for (int i = 0; pod.ok() && i < 60; ++i) {
    config.mutable_metadata()->set_attempt(static_cast<uint32_t>(i));
    while (config.mounts_size() > 1) config.mutable_mounts()->RemoveLast();
    add(node().dir() + "/logs", i % 2 == 0 ? "/shared/t" : StrCat("/shared/t/new", i, "/deep"));
    auto container = RunContainer(*pod, config);
    started += container.ok() ? 1 : 0;
    if (container.ok()) EXPECT_OK(AwaitExit(*container));
  }
  stop = true;
  flipper.join();
  EXPECT_GT(started, 0);
  EXPECT_GT(flips, 100);
}

}  // namespace
}  // namespace berth::e2e
