#include "image/store_verifier.h"

#include <glog/logging.h>

#include <algorithm>

#include "image/digest.h"

namespace berth::image {

namespace {

constexpr size_t kReadBytes = 256 << 10;

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

Status CheckBlob(const Context& context, const snapshotter::KeptBlob& blob) {
  Sha256 hash;
  std::vector<char> buffer(kReadBytes);
  uint64_t size = 0;
  while (true) {
    RETURN_IF_ERROR(context.Check("read the kept blob"));
    ASSIGN_OR_RETURN(const size_t n, ReadSome(blob.file.get(), buffer.data(), buffer.size()),
                     "read the kept blob");
    if (n == 0) break;
    hash.Update({buffer.data(), n});
    size += n;
  }
  if (size != blob.size_bytes) {
    return Error(Code::kDataLoss,
                 StrCat("its kept blob has ", size, " bytes instead of ", blob.size_bytes));
  }
  const std::string digest = hash.Finish();
  if (digest == blob.digest) return Ok();
  return Error(Code::kDataLoss, StrCat("its kept blob is ", digest, ", not ", blob.digest));
}

}  // namespace

Status StoreVerifier::Look(const Context& context, const VerifiedLayer& layer) {
  const snapshotter::ReadOnlyLayer read_only{layer.store, layer.diff_id};
  const bool own = layer.store.empty();
  RETURN_IF_ERROR(own ? snapshotter_.VerifyLayer(context, layer.diff_id)
                      : snapshotter_.VerifyReadOnlyLayer(context, read_only));
  const auto blob =
      own ? snapshotter_.OpenBlob(layer.diff_id) : snapshotter_.OpenReadOnlyBlob(read_only);
  if (blob.ok()) return CheckBlob(context, *blob);
  return blob.code() == Code::kNotFound ? Ok() : Status(blob.error());
}

Status StoreVerifier::Check(const Context& context, VerifiedLayer& layer) {
  Status found = Look(context, layer);
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
  if (!layer.store.empty()) {
    return Error(Code::kFailedPrecondition, "its store is only read: fill that anew");
  }
  if (layer.images.empty()) {
    return Error(Code::kFailedPrecondition, "no image has it: `berth gc` removes it");
  }
  if (Has(store_.LayersInUse(), layer.diff_id)) {
    return Error(Code::kFailedPrecondition, "a container uses it: remove that first");
  }
  RETURN_IF_ERROR(
      snapshotter_.ReplaceLayer(layer.diff_id, [&] { return Bring(context, layer.diff_id); }));
  return Look(context, layer);
}

Status StoreVerifier::Verify(const Context& context, bool repair,
                             const std::function<bool(const VerifiedLayer&)>& tell) {
  const LayerHold hold(store_);
  ASSIGN_OR_RETURN(const auto own, snapshotter_.ListLayers(), "verify");
  const auto read_only = snapshotter_.ReadOnlyLayers();
  std::vector<snapshotter::ReadOnlyLayer> layers;
  layers.reserve(own.size() + read_only.size());
  for (const std::string& diff_id : own) layers.push_back({"", diff_id});
  layers.insert(layers.end(), read_only.begin(), read_only.end());
  VerifiedLayer layer;
  layer.total = layers.size();
  for (const auto& [store, diff_id] : layers) {
    layer = {layer.done + 1, layer.total, diff_id, store, {}, {}, false, {}};
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
