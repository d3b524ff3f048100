// WWW-Authenticate, as registries send it.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "image/registry_auth.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto require = [](bool condition) {
    if (!condition) std::abort();
  };
  const std::string_view header(reinterpret_cast<const char*>(data), size);
  auto challenges = berth::image::ParseChallenges(header);
  if (!challenges.ok()) {
    require(challenges.code() == berth::Code::kDataLoss);
    return 0;
  }
  require(challenges->size() <= 8);
  for (const auto& challenge : *challenges) {
    require(!challenge.scheme.empty() && challenge.params.size() <= 16);
    for (const auto& [name, value] : challenge.params) {
      require(!name.empty() && value.find_first_of("\r\n") == std::string::npos);
    }
  }
  return 0;
}
