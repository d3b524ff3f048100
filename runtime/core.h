// What the managers share: made once by Runtime::Open, handed to each by reference.
#pragma once

#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/fd.h"
#include "base/sync.h"
#include "config/config.h"
#include "config/live.h"
#include "image/image_store.h"
#include "runtime/cgroup.h"
#include "runtime/cni.h"
#include "runtime/events.h"
#include "runtime/index.h"
#include "runtime/meters.h"
#include "runtime/runtime_handlers.h"
#include "runtime/seccomp_profile.h"
#include "runtime/shim_client.h"
#include "runtime/shim_monitor.h"
#include "runtime/store.h"
#include "snapshotter/snapshotter.h"

namespace berth::runtime {

class Core {
  mutable Mutex handlers_mutex_;
  std::shared_ptr<const RuntimeHandlers> handlers_ GUARDED_BY(handlers_mutex_);

 public:
  Core(const config::LiveConfig& the_config, EventLoop& the_loop,
       snapshotter::Snapshotter& the_snapshotter, image::ImageStore& the_images)
      : config(*the_config.Get()),
        live(the_config),
        loop(the_loop),
        snapshotter(the_snapshotter),
        images(the_images) {}

  // As it was at the start: directories, cgroups, and whatever else only a restart changes.
  const config::Config config;
  // What can change meanwhile (config/reload.h) is read from here.
  const config::LiveConfig& live;
  EventLoop& loop;
  snapshotter::Snapshotter& snapshotter;
  image::ImageStore& images;

  std::unique_ptr<CgroupDriver> cgroups;
  // The path of the cgroup of pods that name no cgroup_parent.
  std::string default_cgroup_parent;
  std::unique_ptr<Cni> cni;
  std::unique_ptr<Store> store;
  std::unique_ptr<ShimLauncher> shims;
  SeccompProfiles seccomp;
  Index index;
  std::unique_ptr<Meters> meters;
  EventBus events{index};
  // Last, so that it goes first: its thread uses the members above.
  std::unique_ptr<ShimMonitor> monitor;

  // Directories below config.state, 0700.
  std::string PodDir(const std::string& id) const { return StrCat(config.state, "/pods/", id); }
  std::string ContainerDir(const std::string& id) const {
    return StrCat(config.state, "/containers/", id);
  }
  Result<UniqueFd> OpenContainerDir(const std::string& id) const;
  Result<ShimClient> ConnectShim(const std::string& container_id) const;

  // Those of the present configuration; whoever uses what it finds there keeps the pointer.
  std::shared_ptr<const RuntimeHandlers> Handlers() const EXCLUDES(handlers_mutex_) {
    MutexLock lock(handlers_mutex_);
    return handlers_;
  }
  void SetHandlers(std::shared_ptr<const RuntimeHandlers> handlers) EXCLUDES(handlers_mutex_) {
    MutexLock lock(handlers_mutex_);
    handlers_.swap(handlers);
  }

  // NotFound names what was asked for.
  Result<std::shared_ptr<PodEntry>> FindPod(const std::string& id);
  Result<std::shared_ptr<ContainerEntry>> FindContainer(const std::string& id);

  // Changes the record in memory and on disk. The memory is changed first: what is visible is true
  // even if the disk is full, and the error is the caller's to handle.
  template <typename EntryType, typename Change>
  Status Save(EntryType& entry, Change change) {
    MutexLock lock(entry.saving);
    return store->Put(entry.Update(std::move(change)));
  }
  // The disk is changed first: for changes that can be taken back, of which nothing is to be seen
  // if it is full.
  template <typename EntryType, typename Change>
  Status SaveThenShow(EntryType& entry, Change change) {
    MutexLock lock(entry.saving);
    auto record = entry.Get();
    change(record);
    RETURN_IF_ERROR(store->Put(record));
    entry.Update(std::move(change));
    return Ok();
  }
  // As Save, and tells the subscribers of events of it before anybody can save the next change.
  template <typename EntryType, typename Change>
  Status SaveAndTell(EntryType& entry, Change change,
                     std::initializer_list<EventType> events_of_it) {
    MutexLock lock(entry.saving);
    const auto record = entry.Update(std::move(change));
    Status saved = store->Put(record);
    Tell(record, events_of_it);
    return saved;
  }
  void Tell(const PodRecord& record, std::initializer_list<EventType> types);
  void Tell(const ContainerRecord& record, std::initializer_list<EventType> types);
};

}  // namespace berth::runtime
