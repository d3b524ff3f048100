#include "image/unpack/unpack.h"

#include "image/unpack/layer_writer.h"
#include "image/unpack/tar_reader.h"

namespace berth::image {

namespace {

Result<UnpackReport> Unpack(TarStream& stream, int root) {
  TarReader reader(stream);
  LayerWriter writer(root);
  TarEntry entry;
  while (true) {
    ASSIGN_OR_RETURN(bool more, reader.Next(entry));
    if (!more) break;
    RETURN_IF_ERROR(writer.Write(entry, reader));
  }
  // What follows the end of the archive is not unpacked, but belongs to both digests.
  while (true) {
    ASSIGN_OR_RETURN(std::string_view rest, stream.Next());
    if (rest.empty()) break;
  }
  ASSIGN_OR_RETURN(LayerContent content, writer.Finish());
  const StreamTotals& totals = stream.totals();
  return UnpackReport{totals.blob_sha256, totals.tar_sha256,        totals.blob_bytes,
                      totals.tar_bytes,   content.disk_bytes,       content.inodes,
                      content.seal,       std::move(content.opaque)};
}

}  // namespace

Result<UnpackReport> UnpackStream(TarStream& stream, int root) {
  auto report = Unpack(stream, root);
  if (report.ok()) return report;
  switch (report.code()) {
    case Code::kDataLoss:
    case Code::kInvalidArgument:
    case Code::kResourceExhausted:
      return report;
    default:
      // The code of some errno, which means another thing to whoever pulls an image.
      return std::move(report).error().WithCode(Code::kInternal);
  }
}

}  // namespace berth::image
