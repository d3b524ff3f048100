// Printing a container's log as it grows.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/client.h"
#include "cli/cri_log.h"

namespace berth::cli {

// Prints what is new in the log.
Status PrintNew(LogReader& reader);

// Prints the log until the container has exited and everything is printed; returns its last status.
// Whenever the eventfd `stop_signals` (-1 for none) becomes readable, the container is stopped: the
// first time as `berth stop` does, from then on at once.
Result<rt::ContainerStatus> FollowUntilExit(Client& client, const std::string& container_id,
                                            LogOptions options, int stop_signals);

}  // namespace berth::cli
