#include "image/room.h"

#include <sys/statvfs.h>

#include <algorithm>

#include "base/strings.h"

namespace berth::image {

namespace {

// What a writer left on a disk that it found full.
constexpr uint64_t kNextToNothing = 16 << 20;
constexpr uint64_t kFewInodes = 64;

struct Space {
  uint64_t bytes = 0;
  uint64_t inodes = UINT64_MAX;  // where the file system makes them as they are needed
};

Result<Space> FreeSpace(const std::string& directory) {
  struct statvfs info {};
  if (statvfs(directory.c_str(), &info) != 0) return ErrnoError(StrCat("statfs ", directory));
  Space space{uint64_t{info.f_bavail} * info.f_frsize};
  if (info.f_files != 0) space.inodes = info.f_favail;
  return space;
}

Status Compare(const Space& needed, const Space& reserved, const Space& free,
               const std::string& where, const std::string& what) {
  const auto lacks = [&](uint64_t need, uint64_t others, uint64_t there, const char* unit) {
    std::string text = StrCat("no room for ", what, ": at least ", need, " ", unit,
                              " are needed in ", where, ", ", there, " are free");
    if (others > 0) text += StrCat(", of which others are going to take ", others);
    return Error(Code::kResourceExhausted, text);
  };
  if (needed.bytes == 0 && needed.inodes == 0) return Ok();
  if (needed.bytes > free.bytes || reserved.bytes > free.bytes - needed.bytes) {
    return lacks(needed.bytes, reserved.bytes, free.bytes, "bytes");
  }
  if (needed.inodes > free.inodes || reserved.inodes > free.inodes - needed.inodes) {
    return lacks(needed.inodes, reserved.inodes, free.inodes, "inodes");
  }
  return Ok();
}

}  // namespace

Result<std::unique_ptr<Room::Reservation>> Room::Reserve(const std::vector<Need>& needs,
                                                         const std::string& what) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const Space free, FreeSpace(directory_));
  Space reserved{0, 0};
  for (const auto& [name, claim] : claims_) {
    reserved.bytes += claim->need.bytes - std::min(claim->need.bytes, claim->written.load());
    reserved.inodes += claim->need.inodes;
  }
  Space needed{0, 0};
  std::map<std::string, std::shared_ptr<Claim>> added;
  std::vector<std::shared_ptr<Claim>> mine;
  for (const Need& need : needs) {
    if (need.bytes == 0 && need.inodes == 0) {  // not one that another's need could rely on
      mine.push_back(std::make_shared<Claim>());
      continue;
    }
    auto known = claims_.find(need.name);
    auto& claim = known != claims_.end() ? known->second : added[need.name];
    if (claim == nullptr) {
      claim = std::make_shared<Claim>();
      claim->need = need;
      needed.bytes += need.bytes;
      needed.inodes += need.inodes;
    }
    mine.push_back(claim);
  }
  RETURN_IF_ERROR(Compare(needed, reserved, free, directory_, what));
  for (const auto& claim : mine) ++claim->holders;
  claims_.merge(added);
  return std::unique_ptr<Reservation>(new Reservation(*this, std::move(mine)));
}

void Room::Release(const std::vector<std::shared_ptr<Claim>>& claims) {
  MutexLock lock(mutex_);
  for (const auto& claim : claims) {
    if (--claim->holders > 0) continue;
    const auto known = claims_.find(claim->need.name);
    if (known != claims_.end() && known->second == claim) claims_.erase(known);
  }
}

int FreePercent(const std::string& directory) {
  struct statvfs info {};
  if (statvfs(directory.c_str(), &info) != 0 || info.f_blocks == 0) return 100;
  return static_cast<int>(100 * static_cast<uint64_t>(info.f_bavail) / info.f_blocks);
}

Error WithRoom(Error error, const std::string& directory) {
  if (error.code() != Code::kResourceExhausted) return error;
  const auto free = FreeSpace(directory);
  if (!free.ok()) return error;
  if (free->inodes < kFewInodes) {
    return std::move(error).Wrap(StrCat(free->inodes, " inodes are free in ", directory));
  }
  if (free->bytes > kNextToNothing) return error;
  return std::move(error).Wrap(StrCat(free->bytes, " bytes are free in ", directory));
}

}  // namespace berth::image
