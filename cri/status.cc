#include "cri/status.h"

#include "base/utf8.h"

namespace berth::cri {

namespace {

constexpr size_t kMaxMessageBytes = 2048;

}  // namespace

grpc::Status ToGrpc(const Status& status) {
  if (status.ok()) return grpc::Status::OK;
  std::string_view message = status.error().message();
  std::string text = ToUtf8(message.substr(0, kMaxMessageBytes));
  if (message.size() > kMaxMessageBytes) text.append("...");
  return {static_cast<grpc::StatusCode>(status.error().code()), text};
}

}  // namespace berth::cri
