// A node of its own for tests: berthd from the build directory with its own root, state, socket,
// CNI configuration and cgroup, and a registry that has the test image.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/process.h"
#include "base/result.h"
#include "tests/e2e/cri.h"
#include "tests/testing/registry.h"
#include "tests/testing/temp_dir.h"

namespace berth::e2e {

// A program of the host, with the search path that CNI plugins are given.
SpawnOptions Program(const std::string& path, std::vector<std::string> args);

// Whether the machine's controllers are in hierarchies of their own.
bool HasCgroupV1();

// Whether the machine has that cgroup controller ("memory").
bool HasController(const std::string& name);

// What the daemons of the tests are told by cgroup.driver: "cgroupfs", or "systemd" if the variable
// BERTH_TEST_CGROUP_DRIVER says so.
bool UsesSystemd();

struct NodeOptions {
  bool with_cni = true;               // false: the configuration directory is empty
  std::string failpoint = {};         // BERTH_FAILPOINT of the first daemon
  std::string config = {};            // TOML that goes to conf.d
  std::vector<std::string> env = {};  // of every daemon, besides PATH
  std::string root = {};              // of the daemon; empty: one of its own
  // A program and its arguments, to which those of the daemon are added: it executes that.
  std::vector<std::string> launcher = {};
};

// The whole runs in the network and mount namespace of the test process (environment.cc).
class Node {
 public:
  // Starts the daemon and waits until it answers.
  static Result<std::unique_ptr<Node>> Start(const NodeOptions& options);
  // Removes every pod, then ends the daemon.
  ~Node();

  Cri& cri() { return *cri_; }
  const std::string& dir() const { return dir_.path(); }
  std::string socket() const { return dir_ / "berth.sock"; }
  std::string cni_dir() const { return dir_ / "cni"; }
  std::string cdi_dir() const { return dir_ / "cdi"; }
  std::string log_dir() const { return dir_ / "logs"; }
  // The cgroup of a container whose pod has no cgroup_parent, a path of the hierarchy.
  std::string CgroupOf(const std::string& pod, const std::string& container) const;
  std::string CgroupOf(const std::string& pod) const;
  // A cgroup_parent as kubelet gives each of its pods one. As it does, RemoveAllPods removes it,
  // if it is empty then.
  std::string PodParent(const std::string& name);
  pid_t daemon_pid() const { return daemon_.pid(); }

  // A CNI configuration list of a bridge that is this node's only.
  Status WriteCniConfig();
  // Ends the daemon with the signal, waits for its end; returns its exit code.
  Result<int> StopDaemon(int signal);
  Status StartDaemon(const std::string& failpoint = "");

  // What the node's pods have on the machine: shims, mounts and cgroups. Empty once all pods are
  // removed.
  std::vector<std::string> Remains() const;
  Status RemoveAllPods();

 private:
  Node(int number, bool systemd);
  Status WriteConfig(const NodeOptions& options);

  testing::TempDir dir_;
  std::vector<std::string> env_, launcher_;
  const int number_;
  const bool systemd_;  // whether the daemon has systemd make its cgroups
  // The cgroup, in every hierarchy, below which all of the node's containers are: a name or a
  // slice.
  const std::string cgroup_;
  std::string root_;
  std::set<std::string> pod_parents_;  // without the first slash
  Child daemon_;
  std::unique_ptr<Cri> cri_;
};

// The registry that all nodes use, started at the first call, and the reference of an image that it
// has: Debian's busybox-static with a link for every applet, users root, nobody and app
// (1000:1000, also in group "extra" 2000), PATH and the command "sh".
Result<testing::TestRegistry*> SharedRegistry();
Result<std::string> TestImage();
// The content of that image's layer, for images of other configuration.
Result<testing::TestImage> BusyboxImage();

// The directory with the binaries of this build.
std::string BinDir();

}  // namespace berth::e2e
