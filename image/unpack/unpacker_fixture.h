// A layer store in a temporary directory, and blobs pushed through the real worker.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>

#include "base/file.h"
#include "image/layer_unpacker.h"
#include "image/unpack/test_tar.h"
#include "snapshotter/overlay.h"

namespace berth::image {

class UnpackerTest : public testing::Test {
 protected:
  static constexpr const char* kParent = "/var/tmp";

  void SetUp() override {
    if (geteuid() != 0)
      GTEST_SKIP() << "needs root: the worker's sandbox is made with CAP_SYS_ADMIN";
    char name[] = "/var/tmp/berth-unpack-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    canary_ = directory_ + "/canary";
    auto canary = Open(canary_, O_WRONLY | O_CREAT | O_EXCL, 0600);
    ASSERT_TRUE(canary.ok());
    ASSERT_TRUE(WriteAll(canary->get(), "untouched").ok());
    OpenStore(directory_ + "/store");
  }
  void TearDown() override {
    unpacker_.reset();
    snapshotter_.reset();
    if (directory_.empty()) return;
    struct stat info {};
    EXPECT_EQ(*ReadFile(canary_), "untouched");
    ASSERT_EQ(stat(canary_.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
    EXPECT_EQ(info.st_nlink, 1u);
    auto parent = Open(kParent, O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(parent.ok());
    Status removed = RemoveTreeAt(parent->get(), directory_.substr(std::strlen(kParent) + 1));
    EXPECT_TRUE(removed.ok()) << removed.error().message();
  }

  void OpenStore(const std::string& root) {
    unpacker_.reset();
    snapshotter_.reset();
    auto opened = snapshotter::OpenOverlay(root);
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    snapshotter_ = std::move(*opened);
    unpacker_ = std::make_unique<LayerUnpacker>(WorkerPath(), *snapshotter_);
  }

  // The binary is built beside the tests.
  static std::string WorkerPath() {
    char path[4096];
    const ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    std::string self(path, n > 0 ? static_cast<size_t>(n) : 0);
    return self.substr(0, self.rfind('/')) + "/berth-unpack";
  }

  // This process's child, which may not have become berth-unpack yet; -1 if there is none. Not by
  // the file `children` of a task, which not every kernel has.
  static pid_t FindWorker() {
    pid_t found = -1;
    auto proc = Open("/proc", O_RDONLY | O_DIRECTORY);
    if (!proc.ok()) return found;
    const std::string parent = StrCat("\nPPid:\t", getpid(), "\n");
    (void)ForEachEntry(proc->get(), [&](const std::string& name) -> Status {
      const auto pid = ParseNumber<pid_t>(name);
      const auto status = pid ? ReadFileAt(proc->get(), name + "/status") : Result<std::string>("");
      if (status.ok() && status->find(parent) != std::string::npos) found = *pid;
      return Ok();
    });
    return found;
  }

  static UnpackRequest RequestFor(const std::string& blob, const std::string& tar,
                                  Compression compression) {
    return {DigestOf(blob), DigestOf(tar), static_cast<int64_t>(blob.size()), compression};
  }

  Status Push(const UnpackRequest& request, std::string_view blob) {
    const Context context = Context::WithTimeoutMs(60'000);
    ASSIGN_OR_RETURN(auto unpack, unpacker_->Begin(request));
    (void)unpack.Write(context, blob);  // the cause of a failure is in Finish
    return unpack.Finish(context);
  }

  // Unpacks a plain tar; `layer_` is then the path of what came out.
  Status Unpack(const std::string& tar) { return UnpackBlob(tar, tar, Compression::kNone); }
  Status UnpackBlob(const std::string& blob, const std::string& tar, Compression compression) {
    const UnpackRequest request = RequestFor(blob, tar, compression);
    layer_ = LayerPath(request.diff_id);
    Status status = Push(request, blob);
    EXPECT_EQ(snapshotter_->HasLayer(request.diff_id), status.ok());
    if (status.ok()) {
      // The seal, made while it was written, is that of what is there.
      Status whole = snapshotter_->VerifyLayer(Context::Background(), request.diff_id);
      EXPECT_TRUE(whole.ok()) << whole.error().message();
    }
    return status;
  }

  std::string LayerPath(const std::string& diff_id) const {
    return StrCat(snapshotter_->root(), "/layers/", diff_id.substr(7), "/fs");
  }
  std::string At(const std::string& path) const { return layer_ + "/" + path; }
  struct stat Stat(const std::string& path) const {
    struct stat info {};
    EXPECT_EQ(lstat(At(path).c_str(), &info), 0) << path;
    return info;
  }
  bool Has(const std::string& path) const {
    struct stat info {};
    return lstat(At(path).c_str(), &info) == 0;
  }
  std::string Content(const std::string& path) const {
    auto text = ReadFile(At(path));
    return text.ok() ? *text : "error: " + text.error().message();
  }
  std::string Target(const std::string& path) const {
    char target[4096];
    const ssize_t n = readlink(At(path).c_str(), target, sizeof target);
    return std::string(target, n > 0 ? static_cast<size_t>(n) : 0);
  }
  std::string Xattr(const std::string& path, const char* name) const {
    char value[256];
    const ssize_t n = lgetxattr(At(path).c_str(), name, value, sizeof value);
    return n < 0 ? "none" : std::string(value, static_cast<size_t>(n));
  }
  static std::string NameOfCode(const Status& status) {
    return status.ok()
               ? "ok "
               : StrCat(static_cast<int>(status.code()), " ", status.error().message(), " ");
  }
  // What is in one of the store's directories, after the background has had time.
  bool StoreDirIsEmpty(const std::string& name) const {
    for (int i = 0; i < 250; ++i) {
      int count = 0;
      auto dir = Open(snapshotter_->root() + "/" + name, O_RDONLY | O_DIRECTORY);
      if (!dir.ok()) return false;
      (void)ForEachEntry(dir->get(), [&](const std::string&) -> Status {
        ++count;
        return Ok();
      });
      if (count == 0) return true;
      usleep(20'000);
    }
    return false;
  }
  void ExpectNothingLeft() const {
    for (const char* name : {"layers", "staging", "trash"})
      EXPECT_TRUE(StoreDirIsEmpty(name)) << name;
  }

  std::string directory_;
  std::string canary_;
  std::string layer_;
  std::unique_ptr<snapshotter::Snapshotter> snapshotter_;
  std::unique_ptr<LayerUnpacker> unpacker_;
};

#define ASSERT_GOOD(expr)                               \
  do {                                                  \
    Status good_ = (expr);                              \
    ASSERT_TRUE(good_.ok()) << good_.error().message(); \
  } while (0)
#define EXPECT_GOOD(expr)                               \
  do {                                                  \
    Status good_ = (expr);                              \
    EXPECT_TRUE(good_.ok()) << good_.error().message(); \
  } while (0)

}  // namespace berth::image
