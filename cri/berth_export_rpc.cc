// ExportImages.
#include "base/utf8.h"
#include "cri/berth_service.h"
#include "cri/progress_mailbox.h"
#include "cri/status.h"
#include "cri/translate_request.h"

namespace berth::cri {

namespace {

constexpr size_t kMessageBytes = 256 << 10;
constexpr int kMaxImages = 1000;

}  // namespace

grpc::Status BerthService::ExportImages(grpc::ServerContext* call,
                                        const bv1::ExportImagesRequest* request,
                                        grpc::ServerWriter<bv1::ExportImagesResponse>* writer) {
  return Answer([&]() -> berth::Status {
    if (request->images().empty()) return Error(Code::kInvalidArgument, "images: missing");
    if (request->images_size() > kMaxImages) {
      return Error(Code::kInvalidArgument, StrCat("images: more than ", kMaxImages));
    }
    std::vector<std::string> references;
    for (const std::string& image : request->images()) {
      ASSIGN_OR_RETURN(auto reference, ReferenceOf(image, "images"));
      references.push_back(std::move(reference));
    }
    bv1::ExportImagesResponse message;
    auto flush = [&]() -> berth::Status {
      if (call->IsCancelled() || !writer->Write(message)) {
        return Error(Code::kCancelled, "the client has gone");
      }
      message.Clear();
      return Ok();
    };
    auto sink = [&](std::string_view bytes) -> berth::Status {
      message.mutable_data()->append(bytes);
      return message.data().size() < kMessageBytes ? Ok() : flush();
    };
    // Reading the layers takes its time before the first byte: a client that goes ends it.
    auto transfer = [&](const Context& context, const image::ProgressCallback&) -> berth::Status {
      ASSIGN_OR_RETURN(const auto report, parts_.exporter.Export(context, references, sink));
      RETURN_IF_ERROR(flush());
      for (const std::string& warning : report.warnings) {
        message.set_warning(ToUtf8(warning));
        RETURN_IF_ERROR(flush());
      }
      return Ok();
    };
    return RunTransfer(*call, lifetime_, transfer,
                       [](const std::vector<image::LayerProgress>&) { return true; });
  });
}

}  // namespace berth::cri
