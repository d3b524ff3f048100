// CRI's userns_options: what Berth takes of them, and what they mean.
#pragma once

#include <vector>

#include "base/result.h"
#include "runtime/types.h"
#include "shim/wire/messages.h"

namespace berth::runtime {

// False for the host's user namespace, which is what a pod has that asks for none.
bool HasUserNamespace(const NamespaceOptions& options);

// InvalidArgument unless a user namespace that is asked for has one mapping of users and one of
// groups, each from the container's id 0 on.
Status CheckUserNamespace(const NamespaceOptions& options);

// The same for a mount's mappings, which may be several: both or neither, and no id twice.
Status CheckMountMappings(const std::string& field, const Mount& mount);

// A container's word on the user namespace, if it has one, repeats the pod's.
Status CheckSameUserNamespace(const NamespaceOptions& pod, const NamespaceOptions& container);

// The ids that a process would run with exist in the pod's user namespace.
Status CheckIdsAreMapped(const NamespaceOptions& pod, const ContainerUser& user);

std::vector<shim::wire::IdRange> IdRanges(const std::vector<IdMapping>& mappings);

}  // namespace berth::runtime
