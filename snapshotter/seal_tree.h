// The seal of a tree as it is on the disk: everything in it is read.
#pragma once

#include "base/context.h"
#include "base/result.h"
#include "snapshotter/seal.h"

namespace berth::snapshotter {

// Walks by descriptors and follows no symlink. Directories that are opaque for overlayfs count as
// such, if the caller may see it (CAP_SYS_ADMIN). Errors name the path.
Result<Seal> SealTree(const Context& context, int root);

// Of anything but a directory.
Result<SealedBody> SealBody(const Context& context, int parent, const std::string& name,
                            const struct stat& info);

// DataLoss says what is otherwise than `expected`, or that the disk does not give it.
// `opaque_root`: the root counts as opaque; its attribute would not tell.
Status VerifyTree(const Context& context, int root, bool opaque_root, const Seal& expected);

}  // namespace berth::snapshotter
