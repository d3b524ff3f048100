// All pods and containers in memory, by id, by prefix and by what makes them unique.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sync.h"
#include "runtime/state.h"

namespace berth::runtime {

// One kind of entry. Thread-safe.
template <typename EntryType>
class Table {
 public:
  using Pointer = std::shared_ptr<EntryType>;

  struct Reservation {
    Pointer entry;
    bool is_new = false;  // false: somebody else has made or is making it
  };
  // Adds the entry unless its key is taken; then returns the one that has it.
  Reservation Reserve(const std::string& key, const std::string& id, Pointer entry) {
    MutexLock lock(mutex_);
    auto [it, is_new] = keys_.emplace(key, id);
    if (!is_new) return {entries_.at(it->second).entry, false};
    entries_.emplace(id, Item{entry, key});
    return {std::move(entry), true};
  }
  void Remove(const std::string& id) {
    MutexLock lock(mutex_);
    auto it = entries_.find(id);
    if (it == entries_.end()) return;
    keys_.erase(it->second.key);
    entries_.erase(it);
  }
  // Null unless the id or the prefix fits exactly one.
  Pointer Find(const std::string& id_or_prefix) {
    if (id_or_prefix.empty()) return nullptr;
    MutexLock lock(mutex_);
    auto it = entries_.lower_bound(id_or_prefix);
    if (it == entries_.end() || !it->first.starts_with(id_or_prefix)) return nullptr;
    auto next = std::next(it);
    const bool exact = it->first == id_or_prefix;
    if (!exact && next != entries_.end() && next->first.starts_with(id_or_prefix)) return nullptr;
    return it->second.entry;
  }
  std::vector<Pointer> All() {
    MutexLock lock(mutex_);
    std::vector<Pointer> all;
    all.reserve(entries_.size());
    for (const auto& [id, item] : entries_) all.push_back(item.entry);
    return all;
  }

 private:
  struct Item {
    Pointer entry;
    std::string key;
  };
  Mutex mutex_;
  std::map<std::string, Item> entries_ GUARDED_BY(mutex_);
  std::map<std::string, std::string> keys_ GUARDED_BY(mutex_);
};

// Ends a creation that an exception has left: whoever waits for it learns so, and its name is free
// for the next try. What it has made so far is recovery's to remove.
template <typename EntryType>
class CreationGuard {
 public:
  CreationGuard(Table<EntryType>& table, std::string id, std::shared_ptr<EntryType> entry)
      : table_(table), id_(std::move(id)), entry_(std::move(entry)) {}
  CreationGuard(const CreationGuard&) = delete;
  CreationGuard& operator=(const CreationGuard&) = delete;
  ~CreationGuard() {
    if (entry_->creation.finished()) return;
    table_.Remove(id_);
    entry_->creation.Finish(Error(Code::kInternal, "it was ended by an exception"));
  }

 private:
  Table<EntryType>& table_;
  std::string id_;
  std::shared_ptr<EntryType> entry_;
};

struct Index {
  Table<PodEntry> pods;
  Table<ContainerEntry> containers;

  // Those that are still being made with them.
  std::vector<std::shared_ptr<ContainerEntry>> ContainersOf(const std::string& pod_id);
};

// What no two pods, or two containers, may share.
std::string PodKey(const PodMetadata& metadata);
std::string ContainerKey(const std::string& pod_id, const ContainerMetadata& metadata);

bool LabelsMatch(const StringMap& labels, const StringMap& selector);

}  // namespace berth::runtime
