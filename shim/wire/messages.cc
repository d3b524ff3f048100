#include "shim/wire/messages.h"

#include "base/file.h"

namespace berth::shim::wire {

namespace {
constexpr size_t kHeaderBytes = 4;
constexpr size_t kMaxPlanBytes = 32 << 20;
}  // namespace

std::string Pack(Type type) {
  return Encode(Header{kVersion, type});
}

Result<Unpacked> Unpack(std::string_view packet) {
  if (packet.size() < kHeaderBytes) return Error(Code::kDataLoss, "shim message without a header");
  ASSIGN_OR_RETURN(Header header, Decode<Header>(packet.substr(0, kHeaderBytes)));
  if (header.version != kVersion) {
    return Error(Code::kUnimplemented,
                 StrCat("shim protocol version ", header.version, ", expected ", kVersion));
  }
  return Unpacked{header.type, packet.substr(kHeaderBytes)};
}

Result<LaunchPlan> ReadPlan(int state_dir) {
  ASSIGN_OR_RETURN(std::string bytes, ReadFileAt(state_dir, kPlanName, kMaxPlanBytes));
  return Decode<LaunchPlan>(bytes);
}

Failure ToFailure(const Error& error) {
  return {static_cast<int32_t>(error.code()), error.sys_errno(), error.message()};
}

Error ToError(const Failure& failure) {
  auto code = static_cast<Code>(failure.code);
  if (failure.code <= 0 || failure.code > static_cast<int>(Code::kUnauthenticated)) {
    code = Code::kInternal;
  }
  return {code, failure.message, failure.sys_errno};
}

}  // namespace berth::shim::wire
