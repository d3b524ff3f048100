#include "image/unpack/tar_stream.h"

#include <algorithm>

#include "base/fd.h"
#include "image/unpack/limits.h"

namespace berth::image {

TarStream::TarStream(int blob_fd, Compression compression)
    : blob_fd_(blob_fd), inflater_(MakeInflater(compression)) {
  for (Chunk& chunk : chunks_) chunk.data.resize(kChunkBytes);
  hasher_ = std::thread([this] { Hash(); });
  reader_ = std::thread([this] { Read(); });
  MutexLock lock(mutex_);
  while (running_ < 2) freed_.Wait(mutex_);
}

TarStream::~TarStream() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
    freed_.NotifyAll();
  }
  reader_.join();
  hasher_.join();
}

void TarStream::Begin() {
  MutexLock lock(mutex_);
  begun_ = true;
  changed_.NotifyAll();
}

void TarStream::AwaitBegin() {
  MutexLock lock(mutex_);
  ++running_;
  freed_.NotifyAll();
  while (!begun_ && !stopping_) changed_.Wait(mutex_);
}

Result<std::string_view> TarStream::Next() {
  MutexLock lock(mutex_);
  if (lent_) {
    lent_ = false;
    ++taken_;
    freed_.NotifyAll();
  }
  while (taken_ == filled_ && !ended_) changed_.Wait(mutex_);
  if (taken_ == filled_) {
    if (!outcome_.ok()) return outcome_.error();
    return std::string_view();
  }
  lent_ = true;
  const Chunk& chunk = chunks_[taken_ % kChunks];
  return std::string_view(chunk.data.data(), chunk.size);
}

void TarStream::Read() {
  AwaitBegin();
  Status outcome = Pump();
  MutexLock lock(mutex_);
  outcome_ = std::move(outcome);
  ended_ = true;
  changed_.NotifyAll();
}

void TarStream::Hash() {
  AwaitBegin();
  for (uint64_t next = 0;; ++next) {
    const Chunk* chunk = nullptr;
    {
      MutexLock lock(mutex_);
      hashed_ = next;
      freed_.NotifyAll();
      while (next == filled_ && !ended_ && !stopping_) changed_.Wait(mutex_);
      if (next == filled_ || stopping_) return;
      chunk = &chunks_[next % kChunks];
    }
    tar_hash_.Update({chunk->data.data(), chunk->size});
  }
}

Status TarStream::AwaitHasher() {
  MutexLock lock(mutex_);
  while (hashed_ < filled_ && !stopping_) freed_.Wait(mutex_);
  return stopping_ ? Status(Error(Code::kCancelled, "stopped")) : Ok();
}

Status TarStream::Pump() {
  std::vector<char> input(kChunkBytes);
  while (true) {
    ASSIGN_OR_RETURN(size_t n, ReadSome(blob_fd_, input.data(), input.size()), "read blob");
    const std::string_view bytes(input.data(), n);
    blob_hash_.Update(bytes);
    totals_.blob_bytes += n;
    RETURN_IF_ERROR(InflateAll(bytes));
    if (n == 0) break;
  }
  RETURN_IF_ERROR(inflater_->Finish());
  RETURN_IF_ERROR(AwaitHasher());
  totals_.blob_sha256 = blob_hash_.Hex();
  totals_.tar_sha256 = tar_hash_.Hex();
  return Ok();
}

// Also with no input: at the end of the blob the inflater may still hold data back.
Status TarStream::InflateAll(std::string_view input) {
  while (true) {
    Chunk* chunk = WaitForFree();
    if (chunk == nullptr) return Error(Code::kCancelled, "stopped");
    ASSIGN_OR_RETURN(size_t n, inflater_->Inflate(input, chunk->data.data(), kChunkBytes));
    if (n == 0) return Ok();
    totals_.tar_bytes += n;
    const uint64_t allowed = kFreeTarBytes + kMaxRatio * totals_.blob_bytes;
    if (totals_.tar_bytes > std::min(allowed, kMaxTarBytes)) {
      return Error(Code::kResourceExhausted,
                   StrCat("the layer unpacks to more than ", std::min(allowed, kMaxTarBytes),
                          " bytes from ", totals_.blob_bytes, " compressed ones"));
    }
    Publish(n);
  }
}

TarStream::Chunk* TarStream::WaitForFree() {
  MutexLock lock(mutex_);
  while (filled_ - std::min(taken_, hashed_) == kChunks && !stopping_) freed_.Wait(mutex_);
  return stopping_ ? nullptr : &chunks_[filled_ % kChunks];
}

void TarStream::Publish(size_t size) {
  MutexLock lock(mutex_);
  chunks_[filled_ % kChunks].size = size;
  ++filled_;
  changed_.NotifyAll();
}

}  // namespace berth::image
