#include "cri/call_log.h"

#include <glog/logging.h>

#include <string>
#include <string_view>

#include "base/strings.h"
#include "base/time.h"
#include "cri/unreadable.h"

namespace berth::cri {

namespace {

using grpc::experimental::InterceptionHookPoints;

class CallLogger final : public grpc::experimental::Interceptor {
 public:
  CallLogger(std::string_view method, CallStats* stats)
      : name_(method.substr(method.rfind('/') + 1)),
        begun_ns_(MonotonicNs()),
        stats_(stats == nullptr ? nullptr : &stats->OfMethod(method)) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      grpc::Status status = methods->GetSendStatus();
      if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED &&
          status.error_message().empty()) {
        status = {status.error_code(), StrCat("Berth does not implement ", name_, " yet")};
        methods->ModifySendStatus(status);
      }
      // What gRPC says of a request that it could not read, and says nothing else with.
      if (status.error_code() == grpc::StatusCode::INTERNAL && status.error_message().empty()) {
        status = {grpc::StatusCode::INVALID_ARGUMENT, TakeUnreadableReason()};
        methods->ModifySendStatus(status);
      }
      if (!status.ok()) Log(status);
      if (stats_ != nullptr) {
        stats_->Observe(static_cast<Code>(status.error_code()), MonotonicNs() - begun_ns_);
      }
    }
    methods->Proceed();
  }

 private:
  void Log(const grpc::Status& status) const {
    LOG(WARNING) << name_ << " failed after " << (MonotonicNs() - begun_ns_) / 1'000'000
                 << " ms with code " << status.error_code() << ": "
                 << Printable(status.error_message(), 2048);
  }

  const std::string name_;
  const int64_t begun_ns_;
  MethodStats* const stats_;
};

}  // namespace

grpc::experimental::Interceptor* CallLog::CreateServerInterceptor(
    grpc::experimental::ServerRpcInfo* info) {
  return new CallLogger(info->method(), stats_);
}

}  // namespace berth::cri
