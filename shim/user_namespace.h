// User namespaces: made with the ids that they are to have, and entered.
#pragma once

#include <cstdint>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "shim/wire/messages.h"

namespace berth::shim {

// A new user namespace with these ids. It lives as long as the descriptor, or who has entered it:
// the process that had to be made with it has ended.
Result<UniqueFd> MakeUserNamespace(const std::vector<wire::IdRange>& uids,
                                   const std::vector<wire::IdRange>& gids);

// Enters it as its root, with all capabilities in it and none outside. Not to be undone.
Status EnterUserNamespaceInChild(int user_namespace);

// What this process makes from now on belongs to these ids of the host, while it keeps all its
// capabilities.
Status OwnNewFilesInChild(uint32_t uid, uint32_t gid);

}  // namespace berth::shim
