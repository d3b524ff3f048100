#include "runtime/store.h"

#include <glog/logging.h>

namespace berth::runtime {

namespace {

// The log grows by some kilobytes for each pod's life.
constexpr int64_t kCheckpointMs = 30'000;

constexpr char kSchema[] =
    "CREATE TABLE IF NOT EXISTS pods(id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS containers(id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT "
    "ROWID;"
    "CREATE TABLE IF NOT EXISTS quarantine(kind TEXT, id TEXT, record BLOB);";

}  // namespace

Result<std::unique_ptr<Store>> Store::Open(const std::string& database_path) {
  ASSIGN_OR_RETURN(auto database, Database::Open(database_path));
  RETURN_IF_ERROR(database.Execute(kSchema), database_path);
  ASSIGN_OR_RETURN(auto put_pod, database.Prepare("INSERT OR REPLACE INTO pods VALUES(?1, ?2)"));
  ASSIGN_OR_RETURN(auto put_container,
                   database.Prepare("INSERT OR REPLACE INTO containers VALUES(?1, ?2)"));
  ASSIGN_OR_RETURN(auto remove_pod, database.Prepare("DELETE FROM pods WHERE id = ?1"));
  ASSIGN_OR_RETURN(auto remove_container, database.Prepare("DELETE FROM containers WHERE id = ?1"));
  Statements statements{std::move(put_pod), std::move(put_container), std::move(remove_pod),
                        std::move(remove_container)};
  ASSIGN_OR_RETURN(auto checkpointing, Database::Open(database_path));
  return std::unique_ptr<Store>(
      new Store(std::move(database), std::move(statements), std::move(checkpointing)));
}

Store::Store(Database database, Statements statements, Database checkpointing)
    : database_(std::move(database)),
      statements_(std::move(statements)),
      checkpointing_(std::move(checkpointing)),
      checkpointer_([this] { CheckpointNowAndThen(); }) {}

Store::~Store() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    stopped_.NotifyAll();
  }
  checkpointer_.join();
}

void Store::CheckpointNowAndThen() {
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!stopping_ && stopped_.WaitMs(mutex_, kCheckpointMs)) {
      }
      if (stopping_) return;
    }
    Status status = checkpointing_.Checkpoint();
    if (!status.ok()) LOG(WARNING) << status.error().message();
  }
}

Status Store::Put(Statement& statement, const std::string& id, const std::string& bytes) {
  RETURN_IF_ERROR(statement.Bind(1, id).BindBlob(2, bytes).Execute(), "record ", id);
  return Ok();
}

Status Store::Put(const PodRecord& record) {
  std::string bytes = EncodeRecord(record);
  MutexLock lock(mutex_);
  return Put(statements_.put_pod, record.pod.id, bytes);
}

Status Store::Put(const ContainerRecord& record) {
  std::string bytes = EncodeRecord(record);
  MutexLock lock(mutex_);
  return Put(statements_.put_container, record.container.id, bytes);
}

Status Store::RemovePod(const std::string& id) {
  MutexLock lock(mutex_);
  return statements_.remove_pod.Bind(1, id).Execute();
}

Status Store::RemoveContainer(const std::string& id) {
  MutexLock lock(mutex_);
  return statements_.remove_container.Bind(1, id).Execute();
}

Status Store::Quarantine(const char* table, const std::string& id) {
  ASSIGN_OR_RETURN(auto copy,
                   database_.Prepare(StrCat("INSERT INTO quarantine SELECT '", table,
                                            "', id, record FROM ", table, " WHERE id = ?1")));
  RETURN_IF_ERROR(copy.Bind(1, id).Execute());
  ASSIGN_OR_RETURN(auto remove, database_.Prepare(StrCat("DELETE FROM ", table, " WHERE id = ?1")));
  return remove.Bind(1, id).Execute();
}

Result<Store::Contents> Store::Load() {
  MutexLock lock(mutex_);
  Contents contents;
  std::vector<std::pair<const char*, std::string>> unreadable;
  {
    ASSIGN_OR_RETURN(auto pods, database_.Prepare("SELECT id, record FROM pods"));
    ASSIGN_OR_RETURN(auto containers, database_.Prepare("SELECT id, record FROM containers"));
    while (true) {
      ASSIGN_OR_RETURN(bool row, pods.Step());
      if (!row) break;
      auto record = DecodePodRecord(pods.Blob(1));
      if (record.ok())
        contents.pods.push_back(std::move(*record));
      else
        unreadable.emplace_back("pods", pods.Text(0));
    }
    while (true) {
      ASSIGN_OR_RETURN(bool row, containers.Step());
      if (!row) break;
      auto record = DecodeContainerRecord(containers.Blob(1));
      if (record.ok())
        contents.containers.push_back(std::move(*record));
      else
        unreadable.emplace_back("containers", containers.Text(0));
    }
  }
  for (const auto& [table, id] : unreadable) {
    RETURN_IF_ERROR(Quarantine(table, id), "quarantine ", id);
    contents.quarantined.push_back(id);
  }
  return contents;
}

}  // namespace berth::runtime
