// The records on disk: tables `pods` and `containers` of meta.db.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/sqlite.h"
#include "base/sync.h"
#include "runtime/record.h"

namespace berth::runtime {

// Thread-safe. A write returns when the kernel has it: a killed daemon loses nothing, a power loss
// may lose the last moments (docs/RECOVERY.md).
class Store {
 public:
  static Result<std::unique_ptr<Store>> Open(const std::string& database_path);
  ~Store();

  Status Put(const PodRecord& record);
  Status Put(const ContainerRecord& record);
  Status RemovePod(const std::string& id);
  Status RemoveContainer(const std::string& id);

  struct Contents {
    std::vector<PodRecord> pods;
    std::vector<ContainerRecord> containers;
    // Records that cannot be read: kept aside in the table `quarantine`, never a reason not to
    // start.
    std::vector<std::string> quarantined;
  };
  Result<Contents> Load();

 private:
  struct Statements {
    Statement put_pod, put_container, remove_pod, remove_container;
  };
  Store(Database database, Statements statements, Database checkpointing);
  void CheckpointNowAndThen() EXCLUDES(mutex_);
  Status Put(Statement& statement, const std::string& id, const std::string& bytes)
      REQUIRES(mutex_);
  Status Quarantine(const char* table, const std::string& id) REQUIRES(mutex_);

  Mutex mutex_;
  Database database_ GUARDED_BY(mutex_);
  Statements statements_ GUARDED_BY(mutex_);
  CondVar stopped_;
  bool stopping_ GUARDED_BY(mutex_) = false;
  Database checkpointing_;  // a connection of the thread's own
  std::thread checkpointer_;
};

}  // namespace berth::runtime
