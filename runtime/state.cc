#include "runtime/state.h"

#include <algorithm>

#include "base/time.h"

namespace berth::runtime {

Operation::Guard::~Guard() {
  if (operation_ == nullptr) return;
  MutexLock lock(operation_->mutex_);
  operation_->holder_ = nullptr;
  operation_->ended_.NotifyAll();
}

Result<Operation::Guard> Operation::Begin(const Context& context, const char* verb) {
  MutexLock lock(mutex_);
  while (holder_ != nullptr) {
    Status status = context.Check(verb);
    if (!status.ok()) {
      int64_t seconds = (MonotonicNs() - since_ns_) / 1'000'000'000;
      return std::move(status).error().Wrap(
          StrCat("waiting for ", std::string(holder_), ", under way for ", seconds, " s"));
    }
    ended_.WaitMs(mutex_, std::min(context.RemainingMs(), 250));
  }
  holder_ = verb;
  since_ns_ = MonotonicNs();
  return Guard(this);
}

void Creation::Finish(Status result) {
  MutexLock lock(mutex_);
  finished_ = true;
  result_ = std::move(result);
  changed_.NotifyAll();
}

bool Creation::finished() {
  MutexLock lock(mutex_);
  return finished_;
}

Status Creation::AwaitEnd(const Context& context) {
  MutexLock lock(mutex_);
  while (!finished_) {
    RETURN_IF_ERROR(context.Check("waiting for its creation, which is under way"));
    changed_.WaitMs(mutex_, std::min(context.RemainingMs(), 250));
  }
  return Ok();
}

Status Creation::Wait(const Context& context) {
  MutexLock lock(mutex_);
  while (!finished_) {
    RETURN_IF_ERROR(context.Check("waiting for the same request, which is under way"));
    changed_.WaitMs(mutex_, std::min(context.RemainingMs(), 250));
  }
  return result_;
}

}  // namespace berth::runtime
