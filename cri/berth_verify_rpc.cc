// VerifyStore.

#include "base/utf8.h"
#include "cri/berth_service.h"
#include "cri/progress_mailbox.h"
#include "cri/status.h"
#include "image/store_verifier.h"

namespace berth::cri {

namespace {

bv1::VerifyStoreResponse ToPb(const image::VerifiedLayer& layer) {
  bv1::VerifyStoreResponse out;
  out.set_done_layers(layer.done);
  out.set_total_layers(layer.total);
  out.set_layer(layer.diff_id);
  out.set_store(ToUtf8(layer.store));
  out.set_problem(ToUtf8(layer.problem));
  out.set_repaired(layer.repaired);
  for (const std::string& image : layer.images) out.add_images(image);
  out.set_not_repaired(ToUtf8(layer.not_repaired));
  return out;
}

}  // namespace

grpc::Status BerthService::VerifyStore(grpc::ServerContext* call,
                                       const bv1::VerifyStoreRequest* request,
                                       grpc::ServerWriter<bv1::VerifyStoreResponse>* writer) {
  return Answer([&]() -> berth::Status {
    image::StoreVerifier verifier(parts_.snapshotter, parts_.images, parts_.puller);
    // A large layer takes its time: a client that goes ends it.
    auto transfer = [&](const Context& context, const image::ProgressCallback&) {
      return verifier.Verify(context, request->repair(), [&](const image::VerifiedLayer& layer) {
        return writer->Write(ToPb(layer));
      });
    };
    return RunTransfer(*call, lifetime_, transfer,
                       [](const std::vector<image::LayerProgress>&) { return true; });
  });
}

}  // namespace berth::cri
