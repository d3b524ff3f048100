// Keeps credentials out of errors, which are logged and go into pods' events.
#pragma once

#include "base/result.h"
#include "image/puller.h"

namespace berth::cri {

// The error with "***" wherever a secret of `auth` stands in its message: a registry may send back
// what it was sent.
Error Redact(const Error& error, const image::RegistryAuth& auth);

}  // namespace berth::cri
