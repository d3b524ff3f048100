// The connection to berthd, for the clients of its services.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/support/status.h>

#include <memory>
#include <string>

#include "base/result.h"

namespace berth::cli {

// `address` is unix:///path. Connects at the first call.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address);

// What a call that failed says to a person.
Error CallError(grpc::Channel& channel, const grpc::Status& status);

}  // namespace berth::cli
