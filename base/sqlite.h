// SQLite behind Result: one connection, prepared statements. Not thread-safe: one thread at a time.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace berth {

// A prepared statement; reusable after Reset(). Must not outlive its Database.
class Statement {
 public:
  // Parameters and columns count from 1 and 0, as in SQLite.
  Statement& Bind(int index, std::string_view text);
  Statement& Bind(int index, int64_t number);
  Statement& BindBlob(int index, std::string_view bytes);
  // True if there is a row to read, false at the end.
  Result<bool> Step();
  // Step() for statements without rows, then Reset().
  Status Execute();
  void Reset();

  std::string Text(int column) const;
  std::string Blob(int column) const;
  int64_t Int(int column) const;

 private:
  friend class Database;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

class Database {
 public:
  // Opens or creates it in WAL mode with synchronous=NORMAL: a commit never waits for the disk, and
  // a power loss loses the last commits but never the consistency. The WAL is checkpointed by
  // Checkpoint() only.
  static Result<Database> Open(const std::string& path);
  // One that nobody writes, wherever it lies: no lock is taken and no file is made beside it, and
  // what has not been checkpointed is not seen.
  static Result<Database> OpenImmutable(const std::string& path);

  Status Execute(const char* sql);
  Result<Statement> Prepare(std::string_view sql);
  // Moves the WAL into the database file; waits for the disk, so never on a request's path.
  Status Checkpoint();

 private:
  struct Close {
    void operator()(sqlite3* db) const;
  };
  explicit Database(sqlite3* db) : db_(db) {}
  std::unique_ptr<sqlite3, Close> db_;
};

}  // namespace berth
