// Threads from code that does not throw: std::thread's constructor does, where the system has none
// left.
#pragma once

#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>

#include "base/result.h"

namespace berth {

// ResourceExhausted if there is no thread to be had.
template <typename Function>
Result<std::thread> StartThread(Function function) {
  try {
    return std::thread(std::move(function));
  } catch (const std::system_error& error) {
    return ErrnoError(error.code().value(), "start a thread").WithCode(Code::kResourceExhausted);
  }
}

// Runs a function, which returns a Result, in a thread of its own to its end: for what a thread
// cannot take back, such as having entered a namespace.
template <typename Function>
std::invoke_result_t<Function> RunInThread(Function function) {
  std::invoke_result_t<Function> result = Error(Code::kInternal, "not run");
  ASSIGN_OR_RETURN(std::thread thread, StartThread([&] { result = function(); }));
  thread.join();
  return result;
}

}  // namespace berth
