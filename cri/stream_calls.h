// The runtime as the streaming server sees it.
#pragma once

#include "cri/stream/requests.h"
#include "runtime/runtime.h"

namespace berth::cri {

// The runtime must outlive what is made of it.
stream::RuntimeCalls StreamCallsOf(runtime::Runtime& runtime);

}  // namespace berth::cri
