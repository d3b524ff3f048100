// What users call a container or a pod, found among those that berthd knows.
#pragma once

#include <string>

#include "base/result.h"
#include "cli/client.h"

namespace berth::cli {

// By id, by a prefix of the id that fits one only, or by name. Of several containers of a name the
// only one that runs is meant. NotFound; InvalidArgument if more than one fits.
Result<rt::Container> FindContainer(Client& client, const std::string& id_or_name);
Result<rt::PodSandbox> FindPod(Client& client, const std::string& id_or_name);

// Stops and removes a pod that `berth run` made, and the logs that it had written. `uid` is the
// value of kRunLabel.
Status RemoveRunPod(Client& client, const std::string& pod_id, const std::string& uid);
// Its last step. Ok where there are none.
Status RemoveLogs(Client& client, const std::string& uid);

}  // namespace berth::cli
