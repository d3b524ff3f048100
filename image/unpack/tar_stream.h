// The uncompressed tar of a blob, chunk by chunk, with the digests of both.
//
//   reader thread:  read -> sha256 -> inflate -> chunk ring
//   hasher thread:                               chunk ring -> sha256
//   caller:                                      chunk ring -> Next()
//
// Threads, because inflating and writing files take about the same time, and hashing what comes out
// about half of it: one large layer then keeps two processors busy.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/sync.h"
#include "image/layer_unpacker.h"
#include "image/unpack/inflate.h"
#include "image/unpack/sha256.h"

namespace berth::image {

struct StreamTotals {
  std::string blob_sha256;
  std::string tar_sha256;
  uint64_t blob_bytes = 0;
  uint64_t tar_bytes = 0;
};

class TarStream {
 public:
  // Starts the threads and waits until they run; they touch no data before Begin(). In between the
  // sandbox closes, which forbids what the start of a thread needs. The descriptor is borrowed; the
  // destructor waits for its next byte or end.
  TarStream(int blob_fd, Compression compression);
  ~TarStream();
  TarStream(const TarStream&) = delete;
  TarStream& operator=(const TarStream&) = delete;

  void Begin() EXCLUDES(mutex_);
  // The next chunk, valid until the next call; empty at the end. DataLoss: not the format,
  // truncated; ResourceExhausted: larger than limits.h allows.
  Result<std::string_view> Next() EXCLUDES(mutex_);
  // Once Next() has returned the end.
  const StreamTotals& totals() const { return totals_; }

 private:
  static constexpr size_t kChunkBytes = 128 << 10;
  static constexpr size_t kChunks = 8;
  struct Chunk {
    std::vector<char> data;
    size_t size = 0;
  };

  void AwaitBegin() EXCLUDES(mutex_);
  void Read();
  void Hash();
  Status Pump();
  Status InflateAll(std::string_view input);
  Chunk* WaitForFree() EXCLUDES(mutex_);
  void Publish(size_t size) EXCLUDES(mutex_);
  Status AwaitHasher() EXCLUDES(mutex_);

  const int blob_fd_;
  std::array<Chunk, kChunks> chunks_;
  StreamTotals totals_;
  Sha256 blob_hash_;
  Sha256 tar_hash_;

  Mutex mutex_;
  CondVar changed_;                     // for the hasher and the caller: a chunk is there
  CondVar freed_;                       // for the reader and the constructor
  int running_ GUARDED_BY(mutex_) = 0;  // threads
  bool begun_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
  bool ended_ GUARDED_BY(mutex_) = false;
  bool lent_ GUARDED_BY(mutex_) = false;  // the caller holds the chunk at `taken_`
  Status outcome_ GUARDED_BY(mutex_);
  uint64_t filled_ GUARDED_BY(mutex_) = 0;  // chunks ever published
  uint64_t taken_ GUARDED_BY(mutex_) = 0;   // chunks ever given back
  uint64_t hashed_ GUARDED_BY(mutex_) = 0;  // chunks that the hasher is done with
  std::unique_ptr<Inflater> inflater_;
  std::thread hasher_;
  std::thread reader_;
};

}  // namespace berth::image
