#include "image/unpack/tar_reader.h"

#include <archive.h>
#include <archive_entry.h>
#include <sys/sysmacros.h>

#include <array>
#include <utility>

#include "image/unpack/limits.h"
#include "snapshotter/layer_xattrs.h"

namespace berth::image {

namespace {

Error Refused(const TarEntry& entry, std::string_view why, Code code = Code::kInvalidArgument) {
  return {code, StrCat("entry \"", Printable(entry.path), "\": ", why)};
}

std::string Text(const char* text) {
  return text == nullptr ? "" : text;
}

Status ConvertXattrs(archive_entry* from, TarEntry& to) {
  to.xattrs.clear();
  if (archive_entry_xattr_reset(from) == 0) return Ok();
  const char* name = nullptr;
  const void* value = nullptr;
  size_t size = 0;
  while (archive_entry_xattr_next(from, &name, &value, &size) == ARCHIVE_OK) {
    if (!snapshotter::IsLayerXattr(name)) continue;
    if (std::string_view(name).size() > kMaxNameBytes || size > kMaxXattrBytes ||
        to.xattrs.size() == kMaxXattrs) {
      return Refused(to,
                     StrCat("extended attribute ", Printable(name, 64), " of ", size,
                            " bytes is more than is allowed"),
                     Code::kResourceExhausted);
    }
    to.xattrs.emplace_back(name, std::string(static_cast<const char*>(value), size));
  }
  return Ok();
}

Result<EntryType> TypeOf(archive_entry* from, const TarEntry& entry) {
  if (archive_entry_hardlink(from) != nullptr) return EntryType::kHardLink;
  switch (archive_entry_filetype(from)) {
    case AE_IFREG:
      return EntryType::kFile;
    case AE_IFDIR:
      return EntryType::kDirectory;
    case AE_IFLNK:
      return EntryType::kSymlink;
    case AE_IFCHR:
      return EntryType::kCharDevice;
    case AE_IFBLK:
      return EntryType::kBlockDevice;
    case AE_IFIFO:
      return EntryType::kFifo;
    default:
      return Refused(entry, "is of a type that layers cannot hold");
  }
}

// A symlink entry that goes before the layer's own. libarchive 3.6 loses the pax linkpath of the
// first link in an archive if the plain header has none, as Go's writer leaves it for a target
// without an ASCII character.
constexpr std::array<char, 512> MakeLeadIn() {
  std::array<char, 512> header{};
  const auto put = [&header](size_t at, std::string_view text) {
    for (char c : text) header[at++] = c;
  };
  put(0, "-");
  put(100, "0000777");
  put(108, "0000000");
  put(116, "0000000");
  put(124, "00000000000");
  put(136, "00000000000");
  put(148, "        ");
  put(156, "2-");
  put(257, "ustar");
  put(263, "00");
  unsigned sum = 0;
  for (char c : header) sum += static_cast<unsigned char>(c);
  for (size_t i = 0; i < 6; ++i, sum /= 8) header[153 - i] = static_cast<char>('0' + sum % 8);
  header[154] = 0;
  return header;
}
constexpr std::array<char, 512> kLeadIn = MakeLeadIn();

}  // namespace

TarReader::TarReader(TarStream& stream) : stream_(stream), archive_(archive_read_new()) {
  archive_read_support_format_tar(archive_);
}

TarReader::~TarReader() {
  archive_read_free(archive_);
}

// libarchive keeps what it reads of an entry's headers, and has no bound for a sparse map.
Result<std::string_view> TarReader::NextChunk() {
  if (in_header_ && header_bytes_ > kMaxHeaderBytes) {
    return Error(Code::kResourceExhausted,
                 StrCat(last_path_.empty()
                            ? "the headers of the first entry"
                            : StrCat("the headers after entry \"", Printable(last_path_), "\""),
                        " have more than ", kMaxHeaderBytes, " bytes"));
  }
  ASSIGN_OR_RETURN(std::string_view chunk, stream_.Next());
  if (in_header_) header_bytes_ += chunk.size();
  return chunk;
}

ssize_t TarReader::ReadCallback(archive* reader, void* self, const void** buffer) {
  auto& tar = *static_cast<TarReader*>(self);
  if (!std::exchange(tar.led_in_, true)) {
    *buffer = kLeadIn.data();
    return kLeadIn.size();
  }
  auto chunk = tar.NextChunk();
  if (!chunk.ok()) {
    tar.stream_status_ = std::move(chunk).error();
    archive_set_error(reader, EIO, "no more data");
    return -1;
  }
  *buffer = chunk->data();
  return static_cast<ssize_t>(chunk->size());
}

Error TarReader::ReadError(std::string_view what) {
  if (!stream_status_.ok()) return stream_status_.error();
  const Code code = archive_errno(archive_) == ENOMEM ? Code::kResourceExhausted : Code::kDataLoss;
  return {code, StrCat(what, ": ", Printable(Text(archive_error_string(archive_))))};
}

// By itself, as what is skipped is not to be counted as a header's.
int TarReader::SkipContent() {
  in_header_ = false;
  if (!std::exchange(in_entry_, false)) return ARCHIVE_OK;
  return archive_read_data_skip(archive_);
}

Result<bool> TarReader::Next(TarEntry& entry) {
  archive_entry* found = nullptr;
  if (SkipContent() < ARCHIVE_WARN) return ReadError("the layer is damaged");
  in_header_ = true;
  header_bytes_ = 0;
  // Not in the constructor, because it reads.
  if (!led_in_ &&
      (archive_read_open(archive_, this, nullptr, &ReadCallback, nullptr) != ARCHIVE_OK ||
       archive_read_next_header(archive_, &found) != ARCHIVE_OK)) {
    return ReadError("the layer is not a tar");
  }
  const int result = archive_read_next_header(archive_, &found);
  if (result == ARCHIVE_EOF) {
    if (!stream_status_.ok()) return stream_status_.error();
    return false;
  }
  if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return ReadError("the layer is not a tar");
  in_entry_ = true;
  RETURN_IF_ERROR(Convert(found, entry));
  return true;
}

Status TarReader::Convert(archive_entry* from, TarEntry& to) {
  const char* path = archive_entry_pathname(from);
  if (path == nullptr) return Error(Code::kDataLoss, "an entry's name cannot be read");
  to.path = path;
  last_path_ = path;
  ASSIGN_OR_RETURN(to.type, TypeOf(from, to));
  to.link = Text(to.type == EntryType::kHardLink ? archive_entry_hardlink(from)
                                                 : archive_entry_symlink(from));
  if (to.path.size() > kMaxPathBytes || to.link.size() > kMaxPathBytes) {
    return Refused(to, StrCat("name or link longer than ", kMaxPathBytes, " bytes"));
  }
  to.mode = archive_entry_mode(from) & 07777;
  const int64_t uid = archive_entry_uid(from);
  const int64_t gid = archive_entry_gid(from);
  if (uid < 0 || uid > kMaxOwner || gid < 0 || gid > kMaxOwner) {
    return Refused(to, StrCat("owner ", uid, ":", gid, " is not between 0 and ", kMaxOwner));
  }
  to.uid = static_cast<uid_t>(uid);
  to.gid = static_cast<gid_t>(gid);
  to.mtime = {archive_entry_mtime(from), archive_entry_mtime_nsec(from)};
  if (to.type == EntryType::kCharDevice || to.type == EntryType::kBlockDevice) {
    to.device = makedev(static_cast<unsigned>(archive_entry_rdevmajor(from)),
                        static_cast<unsigned>(archive_entry_rdevminor(from)));
  }
  to.size = archive_entry_size(from);
  if (to.size < 0 || to.size > kMaxFileBytes) {
    return Refused(to, StrCat("size ", to.size, " is not between 0 and ", kMaxFileBytes),
                   Code::kResourceExhausted);
  }
  return ConvertXattrs(from, to);
}

Result<bool> TarReader::NextData(DataBlock& block) {
  in_header_ = false;
  const void* bytes = nullptr;
  size_t size = 0;
  la_int64_t offset = 0;
  const int result = archive_read_data_block(archive_, &bytes, &size, &offset);
  if (result == ARCHIVE_EOF) return false;
  if (result != ARCHIVE_OK && result != ARCHIVE_WARN) return ReadError("the layer is damaged");
  block.bytes = {static_cast<const char*>(bytes), size};
  block.offset = offset;
  return true;
}

}  // namespace berth::image
