// Where one blob's transfer is, over all the connections and servers that it takes.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "image/http_client.h"
#include "image/manifest.h"

namespace berth::image {

// Takes the bytes of the blob in order.
using BlobSink = std::function<Status(std::string_view bytes)>;

// Not thread-safe.
class BlobTransfer {
 public:
  // Both must outlive it.
  BlobTransfer(const Descriptor& blob, const BlobSink& sink) : blob_(blob), sink_(sink) {}

  // Asks for what is missing (Range, if something is here). Its URL is the path below the
  // repository. A server that ignores the range begins again: what is known is then skipped. The
  // request must not outlive the transfer.
  HttpRequest Request();
  // Bytes that came on another way.
  Status Take(std::string_view bytes);

  // Whether the request before has brought anything: to repeat it is to resume.
  const bool* started() const { return &started_; }
  bool sink_failed() const { return sink_failed_; }
  int64_t received() const { return received_; }
  bool complete() const { return received_ == blob_.size; }
  const Descriptor& blob() const { return blob_; }

 private:
  Status Begin(const HttpResponse& head);
  Status TakeBody(const HttpResponse& head, std::string_view bytes);

  const Descriptor& blob_;
  const BlobSink& sink_;
  int64_t received_ = 0;
  int64_t skip_ = 0;
  bool started_ = false;
  bool sink_failed_ = false;
};

}  // namespace berth::image
