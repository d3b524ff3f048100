// The life of containers: states, timestamps, filters, idempotence, defaults of the image.
#include <signal.h>

#include <map>
#include <thread>

#include "base/json.h"
#include "base/strings.h"
#include "base/time.h"
#include "tests/e2e/e2e_test.h"
#include "tests/testing/silent_file_system.h"

namespace berth::e2e {
namespace {

class Containers : public InAPod {
 protected:
  std::vector<std::string> List(const rt::ContainerFilter& filter) {
    rt::ListContainersRequest request;
    *request.mutable_filter() = filter;
    auto list = cri().Call(request);
    EXPECT_OK(list);
    std::vector<std::string> ids;
    if (list.ok()) {
      for (const auto& item : list->containers()) ids.push_back(item.id());
    }
    return ids;
  }
};

TEST_F(Containers, StatesAndTimestamps) {
  const int64_t before = WallNs();
  auto container = Create(pod_, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  auto created = Status(*container);
  ASSERT_OK(created);
  EXPECT_EQ(created->state(), rt::CONTAINER_CREATED);
  EXPECT_GE(created->created_at(), before);
  EXPECT_EQ(created->started_at(), 0);
  EXPECT_EQ(created->finished_at(), 0);

  ASSERT_OK(StartIt(*container));
  auto running = Status(*container);
  ASSERT_OK(running);
  EXPECT_EQ(running->state(), rt::CONTAINER_RUNNING);
  EXPECT_GE(running->started_at(), running->created_at());
  EXPECT_EQ(running->finished_at(), 0);

  ASSERT_OK(Stop(*container));
  auto exited = Status(*container);
  ASSERT_OK(exited);
  EXPECT_EQ(exited->state(), rt::CONTAINER_EXITED);
  EXPECT_GE(exited->finished_at(), running->started_at());
  EXPECT_EQ(exited->created_at(), created->created_at());
  EXPECT_EQ(exited->started_at(), running->started_at());
  EXPECT_EQ(exited->exit_code(), 137);
}

TEST_F(Containers, ARemovalDoesNotPassACreationThatHangs) {
  testing::SilentFileSystem silent(node().dir() + "/silent");
  if (!silent.mounted()) GTEST_SKIP() << "needs FUSE";
  rt::CreateContainerRequest request;
  request.set_pod_sandbox_id(pod_);
  *request.mutable_config() = ShellConfig("true");
  auto* mount = request.mutable_config()->add_mounts();
  mount->set_host_path(node().dir() + "/silent/volume");
  mount->set_container_path("/mnt");
  bool created = false;
  std::thread creator([&] { created = cri().Call(request).ok(); });
  EXPECT_TRUE(silent.AwaitLookup());
  rt::RemovePodSandboxRequest remove;
  remove.set_pod_sandbox_id(pod_);
  EXPECT_FAILS(cri().Call(remove, 1'000), Code::kDeadlineExceeded, "");
  EXPECT_OK(PodStatus(pod_));
  silent.End();
  creator.join();
  EXPECT_FALSE(created);
  EXPECT_OK(cri().Call(remove));
  EXPECT_EQ(List({}), std::vector<std::string>());
  EXPECT_EQ(node().Remains(), std::vector<std::string>());
}

TEST_F(Containers, StatusSaysWhatWasAsked) {
  rt::ContainerConfig config = ShellConfig("true");
  config.mutable_metadata()->set_attempt(2);
  (*config.mutable_labels())["a"] = "b";
  (*config.mutable_annotations())["c"] = "d";
  auto container = Create(pod_, config);
  ASSERT_OK(container);
  auto status = Status(*container);
  ASSERT_OK(status);
  EXPECT_EQ(status->metadata().name(), "main");
  EXPECT_EQ(status->metadata().attempt(), 2u);
  EXPECT_EQ(status->labels().at("a"), "b");
  EXPECT_EQ(status->annotations().at("c"), "d");
  EXPECT_EQ(status->image().image(), image());
  EXPECT_TRUE(status->log_path().ends_with("/main.log")) << status->log_path();
}

// In statuses and lists, of pods and containers, and of the next daemon, too.
TEST_F(Containers, LabelsAndAnnotationsComeBackByteForByte) {
  google::protobuf::Map<std::string, std::string> strange;
  strange[""] = "";
  strange["empty"] = "";
  strange["io.kubernetes.pod.name/x_Y-z.0"] = " two  spaces ";
  strange["control"] = std::string("\0\x01\t\r\n\x1b[31m\x7f", 11);
  strange["quotes \"'`\\"] = "{\"a\": [1, \"\\n\"]}";
  strange["\u00fcn\u00efcode \U0001F980"] = "e\u0301 \u202e \ufeff";
  strange["long"] = std::string(200'000, 'l');
  rt::PodSandboxConfig pod_config = PodConfig("labelled");
  *pod_config.mutable_labels() = *pod_config.mutable_annotations() = strange;
  auto pod = RunPod(pod_config);
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("true");
  *config.mutable_labels() = *config.mutable_annotations() = strange;
  auto container = Create(*pod, config);
  ASSERT_OK(container);
  const std::map<std::string, std::string> wanted(strange.begin(), strange.end());
  auto expect_same = [&](const auto& what, const char* where) {
    EXPECT_EQ((std::map<std::string, std::string>(what.labels().begin(), what.labels().end())),
              wanted)
        << where;
    EXPECT_EQ(
        (std::map<std::string, std::string>(what.annotations().begin(), what.annotations().end())),
        wanted)
        << where;
  };
  for (bool again : {false, true}) {
    if (again) {
      ASSERT_OK(node().StopDaemon(SIGKILL));
      ASSERT_OK(node().StartDaemon());
    }
    auto pod_status = PodStatus(*pod);
    ASSERT_OK(pod_status);
    expect_same(*pod_status, "pod's status");
    auto status = Status(*container);
    ASSERT_OK(status);
    expect_same(*status, "container's status");
    rt::ListPodSandboxRequest list_pods;
    list_pods.mutable_filter()->set_id(*pod);
    auto pods = cri().Call(list_pods);
    ASSERT_OK(pods);
    ASSERT_EQ(pods->items_size(), 1);
    expect_same(pods->items(0), "list of pods");
    rt::ListContainersRequest list;
    list.mutable_filter()->set_id(*container);
    auto containers = cri().Call(list);
    ASSERT_OK(containers);
    ASSERT_EQ(containers->containers_size(), 1);
    expect_same(containers->containers(0), "list of containers");
  }
}

TEST_F(Containers, StopSignalThenKill) {
  auto polite =
      RunContainer(pod_, ShellConfig("trap 'exit 7' TERM; echo on; while :; do sleep 0.05; done"));
  ASSERT_OK(polite);
  ASSERT_TRUE(AwaitLog(*polite, "on"));
  ASSERT_OK(Stop(*polite, 10));
  EXPECT_EQ(Status(*polite)->exit_code(), 7);

  auto stubborn = RunContainer(
      pod_, ShellConfig("trap '' TERM; echo on; while :; do sleep 0.05; done", "stub"));
  ASSERT_OK(stubborn);
  ASSERT_TRUE(AwaitLog(*stubborn, "on"));
  const int64_t started = MonotonicNs();
  ASSERT_OK(Stop(*stubborn, 1));
  const int64_t took_ms = (MonotonicNs() - started) / 1'000'000;
  EXPECT_GE(took_ms, 900);
  EXPECT_LT(took_ms, 5000);
  EXPECT_EQ(Status(*stubborn)->exit_code(), 137);
}

TEST_F(Containers, TheStopSignalCanBeChosen) {
  rt::ContainerConfig config =
      ShellConfig("trap 'exit 9' USR1; echo on; while :; do sleep 0.05; done");
  config.set_stop_signal(rt::SIGNAL_SIGUSR1);
  auto container = RunContainer(pod_, config);
  ASSERT_OK(container);
  ASSERT_TRUE(AwaitLog(*container, "on"));
  ASSERT_OK(Stop(*container, 10));
  EXPECT_EQ(Status(*container)->exit_code(), 9);
  EXPECT_EQ(Status(*container)->stop_signal(), rt::SIGNAL_SIGUSR1);
}

TEST_F(Containers, StopAndRemoveAreIdempotent) {
  auto container = RunContainer(pod_, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  EXPECT_OK(Stop(*container));
  EXPECT_OK(Stop(*container));
  EXPECT_OK(Remove(*container));
  EXPECT_OK(Remove(*container));
  EXPECT_OK(Stop(*container));
  EXPECT_FAILS(Status(*container), Code::kNotFound, container->substr(0, 12));
}

TEST_F(Containers, RemoveForcesWhatRuns) {
  auto container = RunContainer(pod_, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  EXPECT_OK(Remove(*container));
  EXPECT_FAILS(Status(*container), Code::kNotFound, "");
}

TEST_F(Containers, StartOnlyOnce) {
  auto container = RunContainer(pod_, ShellConfig("true"));
  ASSERT_OK(container);
  ASSERT_OK(AwaitExit(*container));
  EXPECT_FAILS(StartIt(*container), Code::kFailedPrecondition, "");
}

TEST_F(Containers, ListFilters) {
  rt::ContainerConfig config = ShellConfig("sleep 1000", "one");
  (*config.mutable_labels())["role"] = "a";
  auto one = RunContainer(pod_, config);
  ASSERT_OK(one);
  config = ShellConfig("sleep 1000", "two");
  (*config.mutable_labels())["role"] = "b";
  auto two = Create(pod_, config);
  ASSERT_OK(two);

  rt::ContainerFilter filter;
  filter.set_pod_sandbox_id(pod_);
  EXPECT_EQ(List(filter).size(), 2u);
  filter.mutable_state()->set_state(rt::CONTAINER_RUNNING);
  EXPECT_EQ(List(filter), std::vector<std::string>{*one});
  filter.mutable_state()->set_state(rt::CONTAINER_CREATED);
  EXPECT_EQ(List(filter), std::vector<std::string>{*two});
  filter.clear_state();
  (*filter.mutable_label_selector())["role"] = "b";
  EXPECT_EQ(List(filter), std::vector<std::string>{*two});
  filter.Clear();
  filter.set_id(one->substr(0, 20));
  EXPECT_EQ(List(filter), std::vector<std::string>{*one});
}

TEST_F(Containers, TheSameMetadataTwiceIsTheSameContainer) {
  auto first = Create(pod_, ShellConfig("true"));
  ASSERT_OK(first);
  auto second = Create(pod_, ShellConfig("true"));
  ASSERT_OK(second);
  EXPECT_EQ(*first, *second);
}

TEST_F(Containers, EnvironmentArgumentsAndDirectory) {
  rt::ContainerConfig config = ShellConfig("");
  config.clear_command();
  for (const char* word :
       {"sh", "-c", "pwd; echo \"$A|$B|$PATH|$HOME|$HOSTNAME\"; echo $0 $1", "zero", "one two"}) {
    config.add_command(word);
  }
  config.set_working_dir("/tmp");
  auto* a = config.add_envs();
  a->set_key("A");
  a->set_value("first");
  a = config.add_envs();
  a->set_key("A");
  a->set_value("last");
  auto* b = config.add_envs();
  b->set_key("B");
  b->set_value("not utf-8: \xff=");
  auto container = RunContainer(pod_, config);
  ASSERT_OK(container);
  ASSERT_OK(AwaitExit(*container));
  EXPECT_EQ(LogText(Log(*container)),
            "/tmp\nlast|not utf-8: \xff=|/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:"
            "/bin|/root|pod\nzero one two\n");
}

TEST_F(Containers, EntrypointAndCommandOfTheImage) {
  auto base = BusyboxImage();
  ASSERT_OK(base);
  base->config["Entrypoint"] = {"echo", "entry"};
  base->config["Cmd"] = {"default"};
  base->config["WorkingDir"] = "/made/by/the/image";
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  ASSERT_OK((*registry)->Push("containers/entry", "1", testing::BuildImage(*base)));
  rt::PullImageRequest pull;
  pull.mutable_image()->set_image((*registry)->address() + "/containers/entry:1");
  ASSERT_OK(cri().Call(pull));

  struct Case {
    std::vector<std::string> command, args;
    std::string output;
  };
  const std::vector<Case> cases = {{{}, {}, "entry default\n"},
                                   {{}, {"args"}, "entry args\n"},
                                   {{"echo", "command"}, {}, "command\n"},
                                   {{"echo", "command"}, {"args"}, "command args\n"},
                                   {{"pwd"}, {}, "/made/by/the/image\n"}};
  int number = 0;
  for (const Case& c : cases) {
    rt::ContainerConfig config = ShellConfig("", StrCat("case", number++));
    config.mutable_image()->set_image(pull.image().image());
    config.mutable_command()->Assign(c.command.begin(), c.command.end());
    config.mutable_args()->Assign(c.args.begin(), c.args.end());
    auto container = RunContainer(pod_, config);
    ASSERT_OK(container);
    ASSERT_OK(AwaitExit(*container));
    EXPECT_EQ(LogText(Log(*container)), c.output);
  }
}

TEST_F(Containers, EachHasItsOwnWritableLayer) {
  auto one = RunContainer(pod_, ShellConfig("sleep 1000", "one"));
  ASSERT_OK(one);
  auto two = RunContainer(pod_, ShellConfig("sleep 1000", "two"));
  ASSERT_OK(two);
  ShellIn(*one, "echo mine > /file; rm /etc/group");
  EXPECT_EQ(ShellIn(*two, "ls /file 2>/dev/null; ls /etc/group"), "/etc/group\n");
}

TEST_F(Containers, VerboseStatusHasPidAndSpec) {
  auto container = RunContainer(pod_, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  rt::ContainerStatusRequest request;
  request.set_container_id(*container);
  request.set_verbose(true);
  auto status = cri().Call(request);
  ASSERT_OK(status);
  ASSERT_TRUE(status->info().contains("info"));
  auto info = ParseJson(status->info().at("info"));
  ASSERT_OK(info);
  EXPECT_GT(JsonInt(*info, "pid").value(), 1);
}

}  // namespace
}  // namespace berth::e2e
