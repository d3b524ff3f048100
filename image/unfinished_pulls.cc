#include "image/unfinished_pulls.h"

#include "base/strings.h"

namespace berth::image {

namespace {

constexpr char kSchema[] =
    "CREATE TABLE IF NOT EXISTS unfinished_pulls(image TEXT PRIMARY KEY, begun_at INTEGER NOT NULL,"
    " diff_ids TEXT NOT NULL) STRICT";

}  // namespace

Status UnfinishedPulls::CreateTable(Database& db) {
  return db.Execute(kSchema);
}

Status UnfinishedPulls::Begin(Database& db, const std::string& image,
                              const std::vector<std::string>& diff_ids, int64_t now_ns) {
  ASSIGN_OR_RETURN(auto put, db.Prepare("INSERT OR REPLACE INTO unfinished_pulls(image, begun_at,"
                                        " diff_ids) VALUES(?, ?, ?)"));
  std::string list;
  for (const std::string& diff_id : diff_ids) list += StrCat(list.empty() ? "" : " ", diff_id);
  return put.Bind(1, image).Bind(2, now_ns).Bind(3, list).Execute();
}

Status UnfinishedPulls::End(Database& db, const std::string& image) {
  ASSIGN_OR_RETURN(auto remove, db.Prepare("DELETE FROM unfinished_pulls WHERE image = ?"));
  return remove.Bind(1, image).Execute();
}

Result<std::vector<std::string>> UnfinishedPulls::Layers(Database& db, int64_t now_ns) {
  ASSIGN_OR_RETURN(auto expire, db.Prepare("DELETE FROM unfinished_pulls"
                                           " WHERE begun_at <= ? OR begun_at > ?"));
  RETURN_IF_ERROR(expire.Bind(1, now_ns - kUnfinishedKeptNs).Bind(2, now_ns).Execute());
  ASSIGN_OR_RETURN(auto select, db.Prepare("SELECT diff_ids FROM unfinished_pulls"));
  std::vector<std::string> out;
  while (true) {
    ASSIGN_OR_RETURN(bool more, select.Step());
    if (!more) return out;
    const std::string list = select.Text(0);
    for (std::string_view diff_id : Split(list, ' ')) out.emplace_back(diff_id);
  }
}

Result<size_t> UnfinishedPulls::Forget(Database& db, const std::string& except) {
  ASSIGN_OR_RETURN(auto count,
                   db.Prepare("SELECT count(*) FROM unfinished_pulls WHERE image != ?"));
  ASSIGN_OR_RETURN(bool row, count.Bind(1, except).Step());
  const size_t before = row ? static_cast<size_t>(count.Int(0)) : 0;
  count.Reset();
  ASSIGN_OR_RETURN(auto remove, db.Prepare("DELETE FROM unfinished_pulls WHERE image != ?"));
  RETURN_IF_ERROR(remove.Bind(1, except).Execute());
  return before;
}

}  // namespace berth::image
