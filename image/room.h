// Whether the disk has room for what is about to be written.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sync.h"

namespace berth::image {

// What all transfers of layers into one store are still going to write at least, so that two of
// them do not count on the same room. Thread-safe.
class Room {
 private:
  struct Claim;

 public:
  struct Need {
    std::string name;    // needs of the same name, of other transfers too, are met once
    uint64_t bytes = 0;  // 0: not known, and not counted
    uint64_t inodes = 0;
  };
  // Must not outlive the room.
  class Reservation {
   public:
    ~Reservation() { room_.Release(claims_); }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;

    // So much of the need at that place in Reserve()'s list is on the disk by now. Costs a store.
    void Written(size_t need, uint64_t bytes) {
      claims_[need]->written.store(bytes, std::memory_order_relaxed);
    }

   private:
    friend class Room;
    Reservation(Room& room, std::vector<std::shared_ptr<Claim>> claims)
        : room_(room), claims_(std::move(claims)) {}

    Room& room_;
    const std::vector<std::shared_ptr<Claim>> claims_;
  };

  explicit Room(std::string directory) : directory_(std::move(directory)) {}

  // ResourceExhausted if the file system of the directory has not that much free besides what is
  // reserved: it says how much is needed, for `what`, and how much there is.
  Result<std::unique_ptr<Reservation>> Reserve(const std::vector<Need>& needs,
                                               const std::string& what) EXCLUDES(mutex_);

 private:
  struct Claim {
    Need need;
    std::atomic<uint64_t> written{0};
    int holders = 0;  // guarded by the mutex
  };
  void Release(const std::vector<std::shared_ptr<Claim>>& claims) EXCLUDES(mutex_);

  const std::string directory_;
  Mutex mutex_;
  std::map<std::string, std::shared_ptr<Claim>> claims_ GUARDED_BY(mutex_);
};

// Of the file system that the directory is on; 100 if it does not say.
int FreePercent(const std::string& directory);

// The same error, with the directory and what is free there if that is next to nothing.
Error WithRoom(Error error, const std::string& directory);

}  // namespace berth::image
