#include "image/store_verifier.h"

#include <glog/logging.h>

#include <algorithm>

namespace berth::image {

namespace {

bool Has(const std::vector<std::string>& list, const std::string& what) {
  return std::find(list.begin(), list.end(), what) != list.end();
}

std::vector<std::shared_ptr<const Image>> ImagesWith(ImageStore& store,
                                                     const std::string& diff_id) {
  auto images = store.List();
  std::erase_if(images, [&](const auto& image) { return !Has(image->config.diff_ids, diff_id); });
  return images;
}

std::string NameOf(const Image& image) {
  if (!image.repo_tags.empty()) return image.repo_tags.front();
  return image.repo_digests.empty() ? image.id : image.repo_digests.front();
}

// The others say that the layer could not be read at all.
bool IsFinding(const Status& status) {
  return status.code() == Code::kDataLoss || status.code() == Code::kFailedPrecondition;
}

}  // namespace

Status StoreVerifier::Check(const Context& context, VerifiedLayer& layer) {
  Status found = snapshotter_.VerifyLayer(context, layer.diff_id);
  if (found.ok()) return Ok();
  if (!IsFinding(found)) return found;
  layer.problem = found.error().message();
  for (const auto& image : ImagesWith(store_, layer.diff_id)) {
    layer.images.push_back(NameOf(*image));
  }
  return Ok();
}

Status StoreVerifier::Bring(const Context& context, const std::string& diff_id) {
  Error last(Code::kFailedPrecondition,
             "no image that has it came from a registry: remove the image and import it again");
  for (const auto& image : ImagesWith(store_, diff_id)) {
    for (const std::string& reference : image->repo_digests) {
      auto pulled = puller_.Pull(context, {reference, {}, {}});
      if (pulled.ok() && snapshotter_.HasLayer(diff_id)) return Ok();
      if (!pulled.ok()) last = std::move(pulled).error();
      RETURN_IF_ERROR(context.Check("repair"));
    }
  }
  return last;
}

Status StoreVerifier::Repair(const Context& context, const VerifiedLayer& layer) {
  if (layer.images.empty()) {
    return Error(Code::kFailedPrecondition, "no image has it: `berth gc` removes it");
  }
  if (Has(store_.LayersInUse(), layer.diff_id)) {
    return Error(Code::kFailedPrecondition, "a container uses it: remove that first");
  }
  RETURN_IF_ERROR(
      snapshotter_.ReplaceLayer(layer.diff_id, [&] { return Bring(context, layer.diff_id); }));
  return snapshotter_.VerifyLayer(context, layer.diff_id);
}

Status StoreVerifier::Verify(const Context& context, bool repair,
                             const std::function<bool(const VerifiedLayer&)>& tell) {
  const LayerHold hold(store_);
  ASSIGN_OR_RETURN(const auto layers, snapshotter_.ListLayers(), "verify");
  VerifiedLayer layer;
  layer.total = layers.size();
  for (const std::string& diff_id : layers) {
    layer = {layer.done + 1, layer.total, diff_id, {}, {}, false, {}};
    Status checked = Check(context, layer);
    if (checked.code() == Code::kNotFound) continue;
    RETURN_IF_ERROR(checked, "verify layer ", diff_id);
    if (!layer.problem.empty()) LOG(WARNING) << "layer " << diff_id << ": " << layer.problem;
    if (!layer.problem.empty() && repair) {
      Status repaired = Repair(context, layer);
      RETURN_IF_ERROR(context.Check("verify"));
      layer.repaired = repaired.ok();
      if (!repaired.ok()) layer.not_repaired = repaired.error().message();
      if (repaired.ok()) LOG(INFO) << "layer " << diff_id << " was pulled again";
    }
    if (!tell(layer)) return Error(Code::kCancelled, "verify: whoever asked has gone");
  }
  return Ok();
}

}  // namespace berth::image
