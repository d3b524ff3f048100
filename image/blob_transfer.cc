#include "image/blob_transfer.h"

#include <algorithm>

#include "base/time.h"

namespace berth::image {

HttpRequest BlobTransfer::Request(bool probe) {
  HttpRequest request;
  request.url = StrCat("blobs/", blob_.digest);
  if (received_ > 0) {
    request.headers.emplace_back("Range", StrCat("bytes=", received_, "-"));
  }
  started_ = false;
  skip_ = 0;
  is_probe_ = probe;
  is_starved_ = false;
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
  if (!started_) {
    RETURN_IF_ERROR(Begin(head));
    begin_ns_ = MonotonicNs();
    begin_bytes_ = received_;
    sink_ns_ = 0;
  }
  started_ = true;
  const size_t known = std::min(bytes.size(), static_cast<size_t>(skip_));
  skip_ -= static_cast<int64_t>(known);
  bytes.remove_prefix(known);
  RETURN_IF_ERROR(Take(bytes));
  return JudgeProbe();
}

Status BlobTransfer::JudgeProbe() {
  if (!is_probe_ || received_ - begin_bytes_ < kProbeBytes) return Ok();
  is_probe_ = false;
  is_starved_ = sink_ns_ * 2 < MonotonicNs() - begin_ns_;
  if (!is_starved_) return Ok();
  return Error(Code::kAborted, "several connections may bring more");
}

Status BlobTransfer::Take(std::string_view bytes) {
  if (bytes.empty()) return Ok();
  if (static_cast<int64_t>(bytes.size()) > blob_.size - received_) {
    return Error(Code::kDataLoss,
                 StrCat("it is larger than the ", blob_.size, " bytes of the manifest"));
  }
  received_ += static_cast<int64_t>(bytes.size());
  const int64_t begin_ns = MonotonicNs();
  sink_status_ = sink_(bytes);
  sink_ns_ += MonotonicNs() - begin_ns;
  return sink_status_;
}

}  // namespace berth::image
