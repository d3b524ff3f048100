// A directory that is there as long as the test.
#pragma once

#include <fcntl.h>
#include <stdlib.h>

#include <string>

#include "base/file.h"

namespace berth::testing {

// Aborts the test where no directory can be made. On the file system of $TMPDIR or /tmp.
class TempDir {
 public:
  TempDir() {
    const char* base = getenv("TMPDIR");
    path_ = StrCat(std::string(base == nullptr ? "/tmp" : base), "/berth-test-XXXXXX");
    if (mkdtemp(path_.data()) == nullptr) abort();
  }
  ~TempDir() { (void)RemoveTreeAt(AT_FDCWD, path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return StrCat(path_, "/", name); }

 private:
  std::string path_;
};

}  // namespace berth::testing
