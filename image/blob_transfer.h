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
  static constexpr int64_t kProbeBytes = 4 << 20;

  // Both must outlive it.
  BlobTransfer(const Descriptor& blob, const BlobSink& sink) : blob_(blob), sink_(sink) {}

  // Asks for what is missing (Range, if something is here). Its URL is the path below the
  // repository. A server that ignores the range begins again: what is known is then skipped. The
  // request must not outlive the transfer.
  //
  // As a probe, it ends itself (Aborted, then `is_starved`) after kProbeBytes if more than half of
  // their time was spent waiting for the server: more connections may then bring more. Where the
  // sink is what takes the time they would only cost.
  HttpRequest Request(bool probe = false);
  // Bytes that came on another way.
  Status Take(std::string_view bytes);

  // Whether the request before has brought anything: to repeat it is to resume.
  const bool* started() const { return &started_; }
  // The sink's failure, as it is.
  const Status& sink_status() const { return sink_status_; }
  bool is_starved() const { return is_starved_; }
  int64_t received() const { return received_; }
  bool complete() const { return received_ == blob_.size; }
  const Descriptor& blob() const { return blob_; }

 private:
  Status Begin(const HttpResponse& head);
  Status TakeBody(const HttpResponse& head, std::string_view bytes);
  Status JudgeProbe();

  const Descriptor& blob_;
  const BlobSink& sink_;
  int64_t received_ = 0;
  int64_t skip_ = 0;
  bool started_ = false;
  Status sink_status_;
  // Of the current request:
  bool is_probe_ = false;
  bool is_starved_ = false;
  int64_t begin_ns_ = 0;  // its first byte's time
  int64_t begin_bytes_ = 0;
  int64_t sink_ns_ = 0;  // time that the sink took
};

}  // namespace berth::image
