// Missing, wrong, contradictory and huge fields of every RPC but RunPodSandbox and CreateContainer,
// which have tables of their own (bad_input_test.cc). wire_test.cc has requests that are no text.
#include <ostream>

#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

template <typename Request>
berth::Status Ask(Cri& cri, const Request& request) {
  auto answer = cri.Call(request);
  if (answer.ok()) return Ok();
  return std::move(answer).error();
}

// A request whose id, "container_id" or "pod_sandbox_id", is this one.
struct ById {
  const char* name;
  const char* field;
  bool missing_is_fine;  // what is not there needs no stopping
  berth::Status (*ask)(Cri& cri, const std::string& id);
};

std::ostream& operator<<(std::ostream& out, const ById& call) {
  return out << call.name;
}

template <typename Request>
berth::Status OfContainer(Cri& cri, const std::string& id) {
  Request request;
  request.set_container_id(id);
  return Ask(cri, request);
}

template <typename Request>
berth::Status OfPod(Cri& cri, const std::string& id) {
  Request request;
  request.set_pod_sandbox_id(id);
  return Ask(cri, request);
}

class BadIds : public E2eTest, public ::testing::WithParamInterface<ById> {};

TEST_P(BadIds, AreRefusedAndHaveNoEffect) {
  // Ids may be cut short, so one that is nobody's must not fit what is there.
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  const ById& call = GetParam();
  EXPECT_FAILS(call.ask(cri(), ""), Code::kInvalidArgument, StrCat(call.field, ": missing"));
  EXPECT_FAILS(call.ask(cri(), std::string(100'000, 'a')), Code::kInvalidArgument, call.field);
  for (const std::string& nobodys :
       {std::string(64, '0'), std::string("../../etc/passwd"), *container + "0", *pod + "0",
        std::string("%s\n\x1b[31m"), std::string("0\0a", 3)}) {
    if (call.missing_is_fine) {
      EXPECT_OK(call.ask(cri(), nobodys));
    } else {
      EXPECT_FAILS(call.ask(cri(), nobodys), Code::kNotFound, Printable(nobodys));
    }
  }
  EXPECT_EQ(Status(*container)->state(), rt::CONTAINER_RUNNING);
  EXPECT_EQ(PodStatus(*pod)->state(), rt::SANDBOX_READY);
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadIds,
    ::testing::Values(
        ById{"StopPodSandbox", "pod_sandbox_id", true, OfPod<rt::StopPodSandboxRequest>},
        ById{"RemovePodSandbox", "pod_sandbox_id", true, OfPod<rt::RemovePodSandboxRequest>},
        ById{"PodSandboxStatus", "pod_sandbox_id", false, OfPod<rt::PodSandboxStatusRequest>},
        ById{"PodSandboxStats", "pod_sandbox_id", false, OfPod<rt::PodSandboxStatsRequest>},
        ById{"UpdatePodSandboxResources", "pod_sandbox_id", false,
             OfPod<rt::UpdatePodSandboxResourcesRequest>},
        ById{"PortForward", "pod_sandbox_id", false, OfPod<rt::PortForwardRequest>},
        ById{"StartContainer", "container_id", false, OfContainer<rt::StartContainerRequest>},
        ById{"StopContainer", "container_id", true, OfContainer<rt::StopContainerRequest>},
        ById{"RemoveContainer", "container_id", true, OfContainer<rt::RemoveContainerRequest>},
        ById{"ContainerStatus", "container_id", false, OfContainer<rt::ContainerStatusRequest>},
        ById{"ReopenContainerLog", "container_id", false,
             OfContainer<rt::ReopenContainerLogRequest>},
        ById{"ContainerStats", "container_id", false, OfContainer<rt::ContainerStatsRequest>},
        ById{"UpdateContainerResources", "container_id", false,
             [](Cri& cri, const std::string& id) {
               rt::UpdateContainerResourcesRequest request;
               request.set_container_id(id);
               request.mutable_linux()->set_cpu_shares(100);
               return Ask(cri, request);
             }},
        ById{"ExecSync", "container_id", false,
             [](Cri& cri, const std::string& id) {
               rt::ExecSyncRequest request;
               request.set_container_id(id);
               request.add_cmd("true");
               return Ask(cri, request);
             }},
        ById{"Exec", "container_id", false,
             [](Cri& cri, const std::string& id) {
               rt::ExecRequest request;
               request.set_container_id(id);
               request.add_cmd("true");
               request.set_stdout(true);
               return Ask(cri, request);
             }},
        ById{"Attach", "container_id", false,
             [](Cri& cri, const std::string& id) {
               rt::AttachRequest request;
               request.set_container_id(id);
               request.set_stdout(true);
               return Ask(cri, request);
             }},
        ById{"CreateContainer", "pod_sandbox_id", false,
             [](Cri& cri, const std::string& id) {
               rt::CreateContainerRequest request;
               request.set_pod_sandbox_id(id);
               request.mutable_config()->mutable_metadata()->set_name("x");
               request.mutable_config()->mutable_image()->set_image("x");
               return Ask(cri, request);
             }}),
    [](const auto& tested) { return std::string(tested.param.name); });

// A request about a container that runs, or about its pod.
struct BadRequest {
  const char* name;
  const char* says;
  berth::Status (*ask)(Cri& cri, const std::string& pod, const std::string& container);
};

std::ostream& operator<<(std::ostream& out, const BadRequest& bad) {
  return out << bad.name;
}

class BadRequests : public E2eTest, public ::testing::WithParamInterface<BadRequest> {};

TEST_P(BadRequests, NameTheFieldAndHaveNoEffect) {
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = RunContainer(*pod, ShellConfig("sleep 1000"));
  ASSERT_OK(container);
  const std::string before = Status(*container)->ShortDebugString();
  EXPECT_FAILS(GetParam().ask(cri(), *pod, *container), Code::kInvalidArgument, GetParam().says);
  EXPECT_EQ(Status(*container)->ShortDebugString(), before);
  // A program that has just been executed has no arguments yet.
  EXPECT_EQ(
      ShellIn(*container,
              "for i in $(seq 40); do ps -o args | grep -q 'sleep 100[0]' && break; sleep 0.05; "
              "done; ps -o args | grep -c 'sleep 100[0]'"),
      "1\n");
}

template <typename Request>
Request Exec(const std::string& container) {
  Request request;
  request.set_container_id(container);
  request.add_cmd("sleep");
  request.add_cmd("999");
  return request;
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadRequests,
    ::testing::Values(
        BadRequest{"StopBeforeNow", "timeout",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     rt::StopContainerRequest request;
                     request.set_container_id(container);
                     request.set_timeout(-1);
                     return Ask(cri, request);
                   }},
        BadRequest{"ExecSyncNothing", "cmd: missing",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     auto request = Exec<rt::ExecSyncRequest>(container);
                     request.clear_cmd();
                     return Ask(cri, request);
                   }},
        BadRequest{"ExecSyncAnEmptyName", "cmd: missing",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     auto request = Exec<rt::ExecSyncRequest>(container);
                     request.set_cmd(0, "");
                     return Ask(cri, request);
                   }},
        BadRequest{"ExecSyncANul", "cmd: ",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     auto request = Exec<rt::ExecSyncRequest>(container);
                     request.add_cmd(std::string("1\0002", 3));
                     return Ask(cri, request);
                   }},
        BadRequest{"ExecANul", "cmd: ",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     auto request = Exec<rt::ExecRequest>(container);
                     request.set_stdout(true);
                     request.add_cmd(std::string("1\0002", 3));
                     return Ask(cri, request);
                   }},
        BadRequest{"ExecSyncALongWord", "cmd: 200008 bytes",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     auto request = Exec<rt::ExecSyncRequest>(container);
                     request.add_cmd(std::string(200'000, 'x'));
                     return Ask(cri, request);
                   }},
        BadRequest{"ExecSyncManyWords", "cmd: ",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     auto request = Exec<rt::ExecSyncRequest>(container);
                     for (int i = 0; i < 100; ++i) request.add_cmd(std::string(100'000, 'x'));
                     return Ask(cri, request);
                   }},
        BadRequest{"ExecSyncBeforeNow", "timeout: -5 is negative",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     auto request = Exec<rt::ExecSyncRequest>(container);
                     request.set_timeout(-5);
                     return Ask(cri, request);
                   }},
        BadRequest{"ExecNothing", "cmd: missing",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     auto request = Exec<rt::ExecRequest>(container);
                     request.clear_cmd();
                     request.set_stdout(true);
                     return Ask(cri, request);
                   }},
        BadRequest{"ExecWithoutAStream", "stdin, stdout, stderr",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     return Ask(cri, Exec<rt::ExecRequest>(container));
                   }},
        BadRequest{"ExecTerminalWithStderr", "stderr",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     auto request = Exec<rt::ExecRequest>(container);
                     request.set_tty(true);
                     request.set_stdout(true);
                     request.set_stderr(true);
                     return Ask(cri, request);
                   }},
        BadRequest{"AttachWithoutAStream", "stdin, stdout, stderr",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     return OfContainer<rt::AttachRequest>(cri, container);
                   }},
        BadRequest{"ForwardPort0", "port: 0",
                   [](Cri& cri, const std::string& pod, const std::string&) {
                     rt::PortForwardRequest request;
                     request.set_pod_sandbox_id(pod);
                     request.add_port(0);
                     return Ask(cri, request);
                   }},
        BadRequest{"ForwardPort70000", "port: 70000",
                   [](Cri& cri, const std::string& pod, const std::string&) {
                     rt::PortForwardRequest request;
                     request.set_pod_sandbox_id(pod);
                     request.add_port(70000);
                     return Ask(cri, request);
                   }},
        BadRequest{"ForwardManyPorts", "port: 1000 are too many",
                   [](Cri& cri, const std::string& pod, const std::string&) {
                     rt::PortForwardRequest request;
                     request.set_pod_sandbox_id(pod);
                     for (int i = 1; i <= 1000; ++i) request.add_port(i);
                     return Ask(cri, request);
                   }},
        BadRequest{"UpdateNothing", "linux: missing",
                   [](Cri& cri, const std::string&, const std::string& container) {
                     return OfContainer<rt::UpdateContainerResourcesRequest>(cri, container);
                   }},
        BadRequest{"ListPodsOfNoState", "filter.state",
                   [](Cri& cri, const std::string&, const std::string&) {
                     rt::ListPodSandboxRequest request;
                     request.mutable_filter()->mutable_state()->set_state(
                         static_cast<rt::PodSandboxState>(9));
                     return Ask(cri, request);
                   }},
        BadRequest{"StreamPodsOfNoState", "filter.state",
                   [](Cri& cri, const std::string&, const std::string&) {
                     rt::StreamPodSandboxesRequest request;
                     request.mutable_filter()->mutable_state()->set_state(
                         static_cast<rt::PodSandboxState>(-1));
                     return Ask(cri, request);
                   }},
        BadRequest{"ListContainersOfNoState", "filter.state",
                   [](Cri& cri, const std::string&, const std::string&) {
                     rt::ListContainersRequest request;
                     request.mutable_filter()->mutable_state()->set_state(
                         static_cast<rt::ContainerState>(9));
                     return Ask(cri, request);
                   }},
        BadRequest{"StreamContainersOfNoState", "filter.state",
                   [](Cri& cri, const std::string&, const std::string&) {
                     rt::StreamContainersRequest request;
                     request.mutable_filter()->mutable_state()->set_state(
                         static_cast<rt::ContainerState>(9));
                     return Ask(cri, request);
                   }},
        BadRequest{"NoRange", "runtime_config.network_config.pod_cidr",
                   [](Cri& cri, const std::string&, const std::string&) {
                     rt::UpdateRuntimeConfigRequest request;
                     request.mutable_runtime_config()->mutable_network_config()->set_pod_cidr(
                         "10.0.0.0/8;rm");
                     return Ask(cri, request);
                   }},
        BadRequest{"HugeRange", "runtime_config.network_config.pod_cidr",
                   [](Cri& cri, const std::string&, const std::string&) {
                     rt::UpdateRuntimeConfigRequest request;
                     request.mutable_runtime_config()->mutable_network_config()->set_pod_cidr(
                         std::string(1 << 20, ','));
                     return Ask(cri, request);
                   }},
        BadRequest{"StatusOfNoImage", "image.image: missing",
                   [](Cri& cri, const std::string&, const std::string&) {
                     return Ask(cri, rt::ImageStatusRequest());
                   }},
        BadRequest{"StatusOfAHugeImage", "image.image: 100000 bytes",
                   [](Cri& cri, const std::string&, const std::string&) {
                     rt::ImageStatusRequest request;
                     request.mutable_image()->set_image(std::string(100'000, 'a'));
                     return Ask(cri, request);
                   }},
        BadRequest{"RemoveNoImage", "image.image: missing",
                   [](Cri& cri, const std::string&, const std::string&) {
                     return Ask(cri, rt::RemoveImageRequest());
                   }},
        BadRequest{"RemoveAHugeImage", "image.image: 100000 bytes",
                   [](Cri& cri, const std::string&, const std::string&) {
                     rt::RemoveImageRequest request;
                     request.mutable_image()->set_image(std::string(100'000, 'a'));
                     return Ask(cri, request);
                   }},
        BadRequest{"PullNoImage", "image.image: missing",
                   [](Cri& cri, const std::string&, const std::string&) {
                     return Ask(cri, rt::PullImageRequest());
                   }}),
    [](const auto& tested) { return std::string(tested.param.name); });

class BadCheckpoints : public E2eTest {};

TEST_F(BadCheckpoints, AreNotThereYetWhateverIsAsked) {
  rt::CheckpointContainerRequest request;
  request.set_container_id(std::string(100'000, 'a'));
  request.set_location("../../etc");
  request.set_timeout(-1);
  EXPECT_FAILS(cri().Call(request), Code::kUnimplemented,
               "Berth does not implement CheckpointContainer yet");
  rt::CheckpointPodRequest pod;
  pod.set_pod_sandbox_id(std::string(100'000, 'a'));
  pod.set_output_path("../../etc");
  EXPECT_FAILS(cri().CallRaw("runtime.v1.RuntimeService/CheckpointPod", pod.SerializeAsString()),
               Code::kUnimplemented, "Berth does not implement CheckpointPod yet");
  rt::RestorePodRequest restore;
  restore.set_checkpoint_path("../../etc");
  EXPECT_FAILS(cri().CallRaw("runtime.v1.RuntimeService/RestorePod", restore.SerializeAsString()),
               Code::kUnimplemented, "Berth does not implement RestorePod yet");
}

}  // namespace
}  // namespace berth::e2e
