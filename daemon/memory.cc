#include "daemon/memory.h"

#include <malloc.h>

namespace berth::daemon {

void KeepHeapSmall() {
  mallopt(M_ARENA_MAX, 2);
  mallopt(M_MMAP_THRESHOLD, 256 << 10);
  mallopt(M_TRIM_THRESHOLD, 256 << 10);
}

void TrimMemory() {
  malloc_trim(0);
}

}  // namespace berth::daemon
