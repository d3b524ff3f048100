// Which layers belong to images that are being pulled: a record goes before the first layer, and
// away with the last, so that what a killed daemon or a failed pull had brought is not lost to the
// next pull. In tables of meta.db; whoever owns the database calls.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sqlite.h"

namespace berth::image {

// For how long nobody has to pull the image again.
inline constexpr int64_t kUnfinishedKeptNs = int64_t{24} * 3600 * 1'000'000'000;

class UnfinishedPulls {
 public:
  static Status CreateTable(Database& db);
  // An image, by its id, with its diffIDs. One that is known begins anew. `now_ns`: wall clock.
  static Status Begin(Database& db, const std::string& image,
                      const std::vector<std::string>& diff_ids, int64_t now_ns);
  static Status End(Database& db, const std::string& image);
  // The layers of all of them; those that are too old, or of the future, are forgotten first.
  static Result<std::vector<std::string>> Layers(Database& db, int64_t now_ns);
  // All but that image (which may be empty); returns how many there were.
  static Result<size_t> Forget(Database& db, const std::string& except);
};

}  // namespace berth::image
