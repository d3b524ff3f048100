// Log files in CRI's format, written by the shim.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include <regex>

#include "base/file.h"
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

class Logs : public E2eTest {};

TEST_F(Logs, EveryLineHasTimeStreamAndTag) {
  auto ending = RunToEnd(ShellConfig("echo out; echo err >&2; echo; echo ' blanks  kept '"));
  ASSERT_OK(ending);
  const std::regex format(
      R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d) (stdout|stderr) F .*)");
  int lines = 0;
  for (std::string_view line : Split(ending->log, '\n')) {
    if (line.empty()) continue;
    ++lines;
    EXPECT_TRUE(std::regex_match(std::string(line), format)) << line;
  }
  EXPECT_EQ(lines, 4);
  EXPECT_NE(ending->log.find(" stderr F err\n"), std::string::npos);
  EXPECT_NE(ending->log.find(" stdout F out\n"), std::string::npos);
  EXPECT_NE(ending->log.find(" stdout F  blanks  kept \n"), std::string::npos);
}

TEST_F(Logs, LongLinesAreCutAt16KiB) {
  // 40000 bytes and the line end: 16384 P, 16384 P, 7232 F.
  auto ending = RunToEnd(ShellConfig("head -c 40000 /dev/zero | tr '\\0' x; echo"));
  ASSERT_OK(ending);
  std::vector<size_t> sizes;
  std::string tags;
  for (std::string_view line : Split(ending->log, '\n')) {
    if (line.empty()) continue;
    const std::vector<std::string_view> fields = Split(line, ' ');
    ASSERT_EQ(fields.size(), 4u);
    tags += fields[2];
    sizes.push_back(fields[3].size());
  }
  EXPECT_EQ(tags, "PPF");
  EXPECT_EQ(sizes, (std::vector<size_t>{16384, 16384, 7232}));
  EXPECT_EQ(ending->Text(), std::string(40000, 'x') + "\n");
}

TEST_F(Logs, OutputWithoutALineEndIsThere) {
  auto ending = RunToEnd(ShellConfig("printf 'no end'"));
  ASSERT_OK(ending);
  EXPECT_NE(ending->log.find("no end"), std::string::npos);
  EXPECT_TRUE(ending->log.ends_with('\n'));
}

TEST_F(Logs, TheLastByteIsThereWhenTheExitIs) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  for (int i = 0; i < 20; ++i) {
    rt::ContainerConfig config = ShellConfig("seq 1 20000; echo last", StrCat("c", i));
    auto container = RunContainer(*pod, config);
    ASSERT_OK(container);
    ASSERT_OK(AwaitExit(*container));
    const std::string log = Log(*container);
    ASSERT_TRUE(log.ends_with(" stdout F last\n")) << "round " << i;
    ASSERT_NE(log.find(" F 20000\n"), std::string::npos);
    ASSERT_OK(Remove(*container));
  }
}

TEST_F(Logs, AChildThatKeepsTheOutputOpenDoesNotHoldTheExitUp) {
  auto ending = RunToEnd(ShellConfig("sleep 1000 & echo done"));
  ASSERT_OK(ending);
  EXPECT_EQ(ending->Text(), "done\n");
  EXPECT_EQ(ending->status.exit_code(), 0);
}

TEST_F(Logs, ATerminalIsOneStream) {
  rt::ContainerConfig config = ShellConfig("tty; test -t 0 && test -t 1 && echo yes; echo e >&2");
  config.set_tty(true);
  auto ending = RunToEnd(config);
  ASSERT_OK(ending);
  EXPECT_NE(ending->log.find("/dev/pts/0"), std::string::npos) << ending->log;
  EXPECT_NE(ending->log.find("yes"), std::string::npos) << ending->log;
  EXPECT_EQ(ending->log.find(" stderr "), std::string::npos);
}

TEST_F(Logs, ReopenAfterRotationLosesNothing) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = RunContainer(
      *pod, ShellConfig("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done; echo end"));
  ASSERT_OK(container);
  auto status = Status(*container);
  ASSERT_OK(status);
  std::vector<std::string> parts;
  for (int i = 0; i < 5; ++i) {
    parts.push_back(StrCat(status->log_path(), ".", i));
    ASSERT_EQ(rename(status->log_path().c_str(), parts.back().c_str()), 0);
    rt::ReopenContainerLogRequest request;
    request.set_container_id(*container);
    auto reopened = cri().Call(request);
    // It may have exited by now: then nobody writes any more.
    if (!reopened.ok()) {
      EXPECT_EQ(static_cast<int>(reopened.code()), static_cast<int>(Code::kFailedPrecondition));
      break;
    }
    struct stat info {};
    EXPECT_EQ(stat(status->log_path().c_str(), &info), 0) << "no new file after the reopen";
  }
  ASSERT_OK(AwaitExit(*container));
  std::string text;
  parts.push_back(status->log_path());
  for (const std::string& part : parts) {
    auto log = ReadFile(part);
    if (log.ok()) text += LogText(*log);
  }
  std::string expected;
  for (int i = 1; i <= 20000; ++i) expected += StrCat(i, "\n");
  EXPECT_TRUE(text == expected + "end\n") << text.size() << " bytes";
}

TEST_F(Logs, TheFileIsPrivate) {
  auto ending = RunToEnd(ShellConfig("echo secret"));
  ASSERT_OK(ending);
  struct stat info {};
  ASSERT_EQ(stat(ending->status.log_path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0007, 0u);
}

TEST_F(Logs, ALinkInPlaceOfTheLogIsNotFollowed) {
  rt::PodSandboxConfig pod_config = PodConfig();
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  const std::string victim = node().dir() + "/victim";
  ASSERT_OK(AtomicWriteFileAt(AT_FDCWD, victim, "untouched", 0644));
  ASSERT_EQ(symlink(victim.c_str(), (pod_config.log_directory() + "/main.log").c_str()), 0);
  auto container = RunContainer(*pod, ShellConfig("echo overwritten"));
  if (container.ok()) (void)AwaitExit(*container);
  EXPECT_EQ(*ReadFile(victim), "untouched");
}

}  // namespace
}  // namespace berth::e2e
