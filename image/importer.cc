#include "image/importer.h"

#include <glog/logging.h>

#include <algorithm>
#include <set>

#include "base/time.h"
#include "image/archive_layout.h"

namespace berth::image {

namespace {

constexpr size_t kReadBytes = 1 << 20;

Status StreamMember(const Context& context, ArchiveSource& source, size_t member,
                    const BlobSink& sink) {
  const uint64_t size = source.members()[member].size_bytes;
  for (uint64_t at = 0; at < size;) {
    RETURN_IF_ERROR(context.Check("read the archive"));
    const size_t part = std::min<uint64_t>(kReadBytes, size - at);
    ASSIGN_OR_RETURN(const std::string bytes, source.Read(context, member, at, part));
    RETURN_IF_ERROR(sink(bytes));
    at += part;
  }
  return Ok();
}

std::vector<LayerFetcher::Layer> DistinctLayers(const ArchiveContent& content) {
  std::vector<LayerFetcher::Layer> out;
  std::set<std::string> known;
  for (const ArchivedImage& archived : content.images) {
    for (const LayerFetcher::Layer& layer : archived.layers) {
      if (known.insert(layer.diff_id).second) out.push_back(layer);
    }
  }
  return out;
}

}  // namespace

Result<std::unique_ptr<Importer>> Importer::Create(LayerUnpacker& unpacker,
                                                   snapshotter::Snapshotter& snapshotter,
                                                   ImageStore& store, int max_parallel_layers) {
  ASSIGN_OR_RETURN(auto fetcher,
                   LayerFetcher::Create(unpacker, snapshotter, std::max(1, max_parallel_layers)));
  return std::unique_ptr<Importer>(new Importer(std::move(fetcher), store));
}

Result<std::vector<std::shared_ptr<const Image>>> Importer::Import(const Context& context,
                                                                   ArchiveSource& source,
                                                                   const ImportRequest& request) {
  const std::string what = StrCat("import ", Printable(request.description));
  const int64_t begun_ns = MonotonicNs();
  ASSIGN_OR_RETURN(ArchiveContent content, ReadArchive(context, source, request.base_name), what);
  const LayerHold hold(store_);
  ProgressBoard board;
  board.Listen(request.progress);
  LayerFetcher::BlobSource blobs;
  blobs.stream = [&](const Context& call, const LayerFetcher::Layer& layer, const BlobSink& sink) {
    return StreamMember(call, source, content.layer_members.at(layer.diff_id), sink);
  };
  const std::vector<LayerFetcher::Layer> layers = DistinctLayers(content);
  for (const ArchivedImage& archived : content.images) {
    RETURN_IF_ERROR(store_.NoteUnfinished(archived.image), what);
  }
  RETURN_IF_ERROR(fetcher_->EnsureAll(context, blobs, layers, board), what);

  std::vector<std::shared_ptr<const Image>> out;
  for (ArchivedImage& archived : content.images) {
    Image& image = archived.image;
    image.pulled_at_ns = request.imported_at_ns;
    ASSIGN_OR_RETURN(image.size_bytes, fetcher_->UnpackedBytes(image.config.diff_ids), what);
    RETURN_IF_ERROR(store_.Put(image), what);
    auto recorded = store_.Find(image.id);
    if (recorded == nullptr) return Error(Code::kAborted, StrCat(what, ": the image was removed"));
    out.push_back(std::move(recorded));
  }
  LOG(INFO) << "imported " << out.size() << " images with " << layers.size() << " layers from "
            << Printable(request.description) << " in " << (MonotonicNs() - begun_ns) / 1'000'000
            << " ms";
  return out;
}

}  // namespace berth::image
