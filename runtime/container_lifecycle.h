// Steps of a container's life that the managers and recovery share. All are idempotent.
#pragma once

#include <optional>
#include <string>

#include "base/context.h"
#include "base/result.h"
#include "runtime/core.h"
#include "shim/wire/messages.h"

namespace berth::runtime {

// Sends the stop signal, after `timeout_s` SIGKILL, and waits for the exit. Ok if it is not
// running.
Status StopContainer(Core& core, const Context& context, ContainerEntry& entry, int64_t timeout_s);
// Kills it if it runs and removes everything of it.
Status RemoveContainer(Core& core, const Context& context, ContainerEntry& entry);

// All containers of a pod, at once and without a grace period.
Status StopContainersOf(Core& core, const Context& context, const std::string& pod_id);
Status RemoveContainersOf(Core& core, const Context& context, const std::string& pod_id);

// Records how it ended and lets its cgroup go. Without a status the shim has gone without a word:
// what is left of the container is killed first.
Status RecordExit(Core& core, ContainerEntry& entry,
                  const std::optional<shim::wire::ExitStatus>& exit);
// Records a start that failed: exited, with code 128 and reason StartError; ContainerCannotRun if
// it was not for the container that it never ran (the node or the daemon was restarted).
enum class StartFailure { kStartError, kContainerCannotRun };
Status RecordStartError(Core& core, ContainerEntry& entry, StartFailure failure,
                        const std::string& message);

// Snapshot, cgroup, directory: for a container that does not run.
Status RemoveContainerFiles(Core& core, const ContainerRecord& record);

}  // namespace berth::runtime
