#include "cli/channel.h"

#include <grpcpp/grpcpp.h>

namespace berth::cli {

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  // Lists of a busy node exceed gRPC's default of 4 MiB.
  constexpr int kMaxMessageBytes = 64 << 20;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMaxMessageBytes);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

Error CallError(grpc::Channel& channel, const grpc::Status& status) {
  Error error(static_cast<Code>(status.error_code()), status.error_message());
  // The server, too, may say UNAVAILABLE: of a registry.
  const bool connected = channel.GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
  return connected ? std::move(error) : std::move(error).Wrap("cannot reach berthd");
}

}  // namespace berth::cli
