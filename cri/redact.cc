#include "cri/redact.h"

namespace berth::cri {

Error Redact(const Error& error, const image::RegistryAuth& auth) {
  // A shorter one would be found in innocent words, and is no secret.
  constexpr size_t kShortestSecret = 4;
  constexpr std::string_view kStars = "***";
  std::string message = error.message();
  for (const std::string* secret :
       {&auth.password, &auth.auth, &auth.identity_token, &auth.registry_token}) {
    if (secret->size() < kShortestSecret) continue;
    for (size_t at = message.find(*secret); at != std::string::npos;
         at = message.find(*secret, at + kStars.size())) {
      message.replace(at, secret->size(), kStars);
    }
  }
  return {error.code(), std::move(message), error.sys_errno()};
}

}  // namespace berth::cri
