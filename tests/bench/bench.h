// The suites of the benchmark. Each measures all targets, alternating between them in small blocks
// so that a change of the machine's load hits all of them alike.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/bench/cri_client.h"
#include "tests/bench/report.h"

namespace berth::bench {

struct Target {
  std::string name;
  std::string socket_path;
  // The runtime runs in it and pods are made below it; empty: no CPU figures of the runtime itself.
  // With a name like "/x.slice" it is one of systemd's, and so are the pods'.
  std::string cgroup;
  std::unique_ptr<CriClient> client;
  pid_t daemon_pid = 0;
  int64_t idle_pss = 0;
};

// How often each thing is done.
struct Plan {
  int serial_lives = 40;
  int parallel_lives = 48;
  int at_once = 8;
  int block = 10;
  int execs = 200;
  int lists = 100;
  int polls = 3;
  int idle_pods = 50;
  int many_pods = 100;
  int pulls = 3;
  int64_t settle_ms = 300;
  int64_t poll_ms = 10'000;
  int64_t memory_settle_ms = 3000;
};

struct PullCase {
  std::string group;  // of the report
  std::string image;
  double floor_s = 0;  // the slowest part of the work, done alone; 0: not known
};

struct Bench {
  std::vector<Target> targets;
  Plan plan;
  std::string image;  // has /pause and /bin/true
  std::vector<PullCase> pulls;
  std::string log_root;  // an existing directory for container logs
  std::string registry_cgroup;
  const std::atomic<bool>* interrupted = nullptr;
  Report* report = nullptr;
};

// RunPodSandbox to RemovePodSandbox, one after the other and several at once, on both networks.
Status RunPodSuite(Bench& bench);
// ExecSync of `true` in a running container.
Status RunExecSuite(Bench& bench);
// Memory with idle pods, lists with many.
Status RunScaleSuite(Bench& bench);
// Large images from the local registry.
Status RunPullSuite(Bench& bench);

// Group names of the pod suite, which the floor is compared with.
std::string SerialGroup(bool host_network);

// Figures of one pod, in nanoseconds.
struct Pod {
  PodSpec spec;
  std::string id;
  std::string container_id;
  int64_t run_pod_ns = 0;
  int64_t create_ns = 0;
  int64_t start_ns = 0;
  int64_t stop_container_ns = 0;
  int64_t remove_container_ns = 0;
  int64_t stop_pod_ns = 0;
  int64_t remove_pod_ns = 0;

  int64_t up_ns() const { return run_pod_ns + create_ns + start_ns; }
  int64_t down_ns() const {
    return stop_container_ns + remove_container_ns + stop_pod_ns + remove_pod_ns;
  }
};

// The cgroup_parent of that pod alone, or of all pods together.
std::string CgroupParent(const Target& target, const std::string& pod);

// Pods that do not exist yet, with names of their own and with log directories, which it makes.
Result<std::vector<Pod>> PlanPods(const Bench& bench, const Target& target, int count,
                                  bool host_network);
// All of them, `at_once` at a time; returns the first failure once those in flight have ended.
Status BringUp(const Bench& bench, Target& target, std::vector<Pod>& pods, int at_once);
Status TakeDown(const Bench& bench, Target& target, std::vector<Pod>& pods, int at_once);

void SleepMs(int64_t ms);
// Milliseconds for a report.
double Ms(int64_t ns);
// Cancelled once the user has asked to stop.
Status CheckInterrupted(const Bench& bench);

}  // namespace berth::bench
