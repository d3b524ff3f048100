// Named places at which a test can end the daemon as kill -9 would. Set BERTH_FAILPOINT=name.
#pragma once

#include <array>
#include <string_view>

namespace berth {

// Every failpoint, in the order in which a pod's life meets them. tests/crash walks this list.
inline constexpr std::array<std::string_view, 26> kFailpoints = {
    "run_pod.recorded",
    "run_pod.namespaces",
    "run_pod.network",
    "run_pod.files",
    "run_pod.ready",
    "create_container.recorded",
    "create_container.snapshot",
    "create_container.done",
    "start_container.recorded",
    "start_container.cgroup",
    "start_container.shim",
    "start_container.launched",
    "start_container.done",
    "update_container.recorded",
    "update_container.limits",
    "update_container.done",
    "update_pod.recorded",
    "update_pod.limits",
    "pull.begun",
    "pull.layer_started",
    "pull.layer_unpacked",
    "pull.layer_committed",
    "pull.image_recorded",
    "remove_container.recorded",
    "stop_pod.recorded",
    "remove_pod.recorded",
};

consteval bool IsFailpoint(std::string_view name) {
  for (std::string_view known : kFailpoints) {
    if (known == name) return true;
  }
  return false;
}

namespace failpoint_internal {
void Reach(std::string_view name);
}

// A name that is not in the list does not compile.
struct FailpointName {
  // NOLINTNEXTLINE(google-explicit-constructor): it is written as a plain string.
  consteval FailpointName(const char* text) : name(text) {
    if (!IsFailpoint(name)) throw "not in kFailpoints";
  }
  std::string_view name;
};

// Kills this process if the environment names this point; else costs one comparison.
inline void Failpoint(FailpointName point) {
  failpoint_internal::Reach(point.name);
}

}  // namespace berth
