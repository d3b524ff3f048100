// CRI's messages under a short name. Within namespace berth, "runtime" is berth::runtime.
#pragma once

#include "cri/proto/api.pb.h"

namespace berth::cri {
namespace pb = ::runtime::v1;
}  // namespace berth::cri
