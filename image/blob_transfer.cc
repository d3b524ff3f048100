#include "image/blob_transfer.h"

#include <algorithm>

namespace berth::image {

HttpRequest BlobTransfer::Request() {
  HttpRequest request;
  request.url = StrCat("blobs/", blob_.digest);
  if (received_ > 0) {
    request.headers.emplace_back("Range", StrCat("bytes=", received_, "-"));
  }
  started_ = false;
  skip_ = 0;
  request.sink = [this](const HttpResponse& head, std::string_view bytes) {
    return TakeBody(head, bytes);
  };
  return request;
}

Status BlobTransfer::Begin(const HttpResponse& head) {
  if (received_ == 0 || head.status != 206) {
    skip_ = received_;
    return Ok();
  }
  if (head.Header("content-range").starts_with(StrCat("bytes ", received_, "-"))) return Ok();
  return Error(Code::kDataLoss, StrCat("the range ", Printable(head.Header("content-range"), 80),
                                       " is not the one asked for"));
}

Status BlobTransfer::TakeBody(const HttpResponse& head, std::string_view bytes) {
  if (!started_) RETURN_IF_ERROR(Begin(head));
  started_ = true;
  const size_t known = std::min(bytes.size(), static_cast<size_t>(skip_));
  skip_ -= static_cast<int64_t>(known);
  bytes.remove_prefix(known);
  return Take(bytes);
}

Status BlobTransfer::Take(std::string_view bytes) {
  if (bytes.empty()) return Ok();
  if (static_cast<int64_t>(bytes.size()) > blob_.size - received_) {
    return Error(Code::kDataLoss,
                 StrCat("it is larger than the ", blob_.size, " bytes of the manifest"));
  }
  received_ += static_cast<int64_t>(bytes.size());
  Status status = sink_(bytes);
  sink_failed_ = !status.ok();
  return status;
}

}  // namespace berth::image
