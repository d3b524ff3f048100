#include "cri/stream/command_status.h"

#include "base/json.h"

namespace berth::cri::stream {

std::string CommandStatus(const Result<int32_t>& ending, int version) {
  if (ending.ok() && *ending == 0) {
    if (version < 4) return "";
    return ToText({{"metadata", Json::object()}, {"status", "Success"}});
  }
  std::string text = ending.ok() ? StrCat("command terminated with exit code ", *ending)
                                 : Printable(ending.error().message(), 2048);
  if (version < 4) return text;
  Json status = {{"metadata", Json::object()}, {"status", "Failure"}};
  if (ending.ok()) {
    status["message"] = text;
    status["reason"] = "NonZeroExitCode";
    status["details"]["causes"] = {{{"reason", "ExitCode"}, {"message", StrCat(*ending)}}};
  } else {
    status["message"] = StrCat("Internal error occurred: ", text);
    status["reason"] = "InternalError";
    status["details"]["causes"] = {{{"message", text}}};
    status["code"] = 500;
  }
  return ToText(status);
}

}  // namespace berth::cri::stream
