// Sees every call of the server: counts it, logs those that fail, in one place, with name and
// duration, and gives calls that Berth does not implement a message that says so. Requests are
// never logged: they may hold credentials.
#pragma once

#include <grpcpp/support/server_interceptor.h>

#include "cri/call_stats.h"

namespace berth::cri {

class CallLog final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  // `stats` may be null.
  explicit CallLog(CallStats* stats) : stats_(stats) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(
      grpc::experimental::ServerRpcInfo* info) override;

 private:
  CallStats* stats_;
};

}  // namespace berth::cri
