// Whether the disk has room for what is about to be written.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"

namespace berth::image {

// ResourceExhausted if the file system of `directory` has fewer than `bytes` free: it says how many
// are needed, for what, and how many there are.
Status CheckRoom(const std::string& directory, uint64_t bytes, const std::string& what);

// The same error, with the directory and what is free there if that is next to nothing.
Error WithRoom(Error error, const std::string& directory);

}  // namespace berth::image
