#include "cri/unreadable.h"

#include <glog/logging.h>
#include <google/protobuf/stubs/logging.h>

#include <string_view>
#include <utility>

#include "base/strings.h"

namespace berth::cri {

namespace {

constexpr std::string_view kPackage = "runtime.v1.";

// gRPC reads a request and answers that it could not on the same thread.
thread_local std::string last_field;

// "String field 'runtime.v1.X.y' contains invalid UTF-8 data when parsing ...": the field's name is
// all that is worth knowing. Anything else that protobuf says goes to the log.
void OnMessage(google::protobuf::LogLevel, const char*, int, const std::string& message) {
  const size_t begin = message.find('\'');
  const size_t end = message.find('\'', begin + 1);
  if (message.find("UTF-8") == std::string::npos || end == std::string::npos) {
    LOG(WARNING) << "protobuf: " << Printable(message, 1024);
    return;
  }
  std::string_view field(message);
  field = field.substr(begin + 1, end - begin - 1);
  if (field.starts_with(kPackage)) field.remove_prefix(kPackage.size());
  last_field = field;
}

}  // namespace

void KeepUnreadableReasons() {
  google::protobuf::SetLogHandler(OnMessage);
}

std::string TakeUnreadableReason() {
  const std::string field = std::exchange(last_field, "");
  if (field.empty()) return "the request is not a message of this call's type";
  return StrCat(field, ": not UTF-8 text");
}

}  // namespace berth::cri
