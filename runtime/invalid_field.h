// InvalidArgument for a field of a request.
#pragma once

#include <string_view>

#include "base/result.h"

namespace berth::runtime {

inline Error InvalidField(std::string_view field, std::string_view what) {
  return {Code::kInvalidArgument, StrCat(field, ": ", what)};
}

}  // namespace berth::runtime
