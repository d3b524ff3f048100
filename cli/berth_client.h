// Calls of berth.v1, Berth's own service. Other CRI servers answer them with Unimplemented.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "cri/proto/berth.pb.h"

namespace berth::cli {

namespace bv1 = ::berth::v1;

// One connection, made at the first call. Calls block until the end, however long that takes.
class BerthClient {
 public:
  // As Client::address() has it.
  explicit BerthClient(const std::string& address);
  ~BerthClient();

  Result<bv1::TagImageResponse> Call(const bv1::TagImageRequest& request);
  Result<bv1::CollectGarbageResponse> Call(const bv1::CollectGarbageRequest& request);

  // Streams: each message goes to `news`; the error is how the stream ended, or what `news` says,
  // which then ends it.
  template <typename Response>
  using News = std::function<Status(const Response& message)>;
  Status Stream(const bv1::PullRequest& request, const News<bv1::PullResponse>& news);
  Status Stream(const bv1::WatchPullsRequest& request, const News<bv1::WatchPullsResponse>& news);
  Status Stream(const bv1::PushImageRequest& request, const News<bv1::PushImageResponse>& news);
  Status Stream(const bv1::ExportImagesRequest& request,
                const News<bv1::ExportImagesResponse>& news);
  Status Stream(const bv1::VerifyStoreRequest& request, const News<bv1::VerifyStoreResponse>& news);

  // Begins with `begin` and answers each message with what `answer` makes of it: nothing, or one
  // message.
  using ImportAnswer = std::function<Result<std::unique_ptr<bv1::ImportImagesRequest>>(
      const bv1::ImportImagesResponse& message)>;
  Status Import(const bv1::ImportImagesRequest& begin, const ImportAnswer& answer);

 private:
  struct Stubs;
  std::unique_ptr<Stubs> stubs_;
};

}  // namespace berth::cli
