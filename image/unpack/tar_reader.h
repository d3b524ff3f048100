// The entries of a tar (ustar, pax, GNU), by libarchive's reader; nothing of libarchive writes.
#pragma once

#include <sys/types.h>

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "image/unpack/tar_stream.h"

struct archive;
struct archive_entry;

namespace berth::image {

enum class EntryType { kFile, kDirectory, kSymlink, kHardLink, kCharDevice, kBlockDevice, kFifo };

struct TarEntry {
  EntryType type = EntryType::kFile;
  std::string path;  // as it stands in the archive
  std::string link;  // target of a symlink, or path of a hard link's other name
  mode_t mode = 0;   // permissions and set-id bits only
  uid_t uid = 0;
  gid_t gid = 0;
  timespec mtime{};
  dev_t device = 0;
  int64_t size = 0;  // of a file, with its holes
  std::vector<std::pair<std::string, std::string>> xattrs;
};

struct DataBlock {
  std::string_view bytes;
  int64_t offset = 0;
};

class TarReader {
 public:
  // The stream must outlive it.
  explicit TarReader(TarStream& stream);
  ~TarReader();
  TarReader(const TarReader&) = delete;
  TarReader& operator=(const TarReader&) = delete;

  // False at the end of the archive. The errors are those of the stream; DataLoss if it is no tar;
  // InvalidArgument or ResourceExhausted, naming the entry, for what limits.h does not allow.
  Result<bool> Next(TarEntry& entry);
  // The next piece of the entry's content, valid until the next call; false at its end.
  Result<bool> NextData(DataBlock& block);

 private:
  static ssize_t ReadCallback(archive* reader, void* self, const void** buffer);
  Result<std::string_view> NextChunk();
  int SkipContent();
  Error ReadError(std::string_view what);
  Status Convert(archive_entry* from, TarEntry& to);

  TarStream& stream_;
  Status stream_status_;
  archive* archive_;
  bool led_in_ = false;
  bool in_entry_ = false;      // its content may not have been read
  bool in_header_ = false;     // what libarchive reads now is no content
  uint64_t header_bytes_ = 0;  // that it has read since the last entry
  std::string last_path_;
};

}  // namespace berth::image
