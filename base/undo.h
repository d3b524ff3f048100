// Steps that take back what a multi-step operation has done so far.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace berth {

// Register a step right after each effect; call Commit() once the whole has succeeded. Otherwise
// the steps run in reverse: in Run() or Fail(), which tell what could not be undone, or in the
// destructor.
class UndoStack {
 public:
  UndoStack() = default;
  UndoStack(const UndoStack&) = delete;
  UndoStack& operator=(const UndoStack&) = delete;
  ~UndoStack() { (void)Run(); }

  void Add(std::string what, std::function<Status()> step) {
    steps_.emplace_back(std::move(what), std::move(step));
  }
  void Commit() { steps_.clear(); }
  // Runs every step, also after one has failed. The error has the first failure's code and the
  // words of all.
  Status Run() {
    Status all;
    while (!steps_.empty()) {
      auto [what, step] = std::move(steps_.back());
      steps_.pop_back();
      Status status = step();
      if (status.ok()) continue;
      Error error = std::move(status).error().Wrap(StrCat("undo ", what));
      all = all.ok() ? std::move(error) : std::move(all).error().Append("; ", error.message());
    }
    return all;
  }
  // Runs every step because of `why`, which the result is; what could not be undone is added to it.
  Error Fail(Error why) {
    Status undone = Run();
    return undone.ok() ? why : std::move(why).Append("; and ", undone.error().message());
  }

 private:
  std::vector<std::pair<std::string, std::function<Status()>>> steps_;
};

}  // namespace berth
