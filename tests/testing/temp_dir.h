// A directory that is there as long as the test; the test fails if it cannot be removed then.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <string>

#include "base/file.h"

namespace berth::testing {

// Aborts the test where no directory can be made. On the file system of $TMPDIR or /tmp.
class TempDir {
 public:
  TempDir() {
    const char* base = getenv("TMPDIR");
    const std::string parent = base == nullptr ? "/tmp" : base;
    path_ = StrCat(parent, "/berth-test-XXXXXX");
    auto opened = Open(parent, O_RDONLY | O_DIRECTORY);
    if (!opened.ok() || mkdtemp(path_.data()) == nullptr) abort();
    parent_ = std::move(*opened);
  }
  ~TempDir() { EXPECT_TRUE(RemoveTreeAt(parent_.get(), path_.substr(path_.rfind('/') + 1)).ok()); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string operator/(std::string_view name) const { return StrCat(path_, "/", name); }

 private:
  UniqueFd parent_;
  std::string path_;
};

}  // namespace berth::testing
