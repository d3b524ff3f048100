// What the tests of pulls share: a real store in a temporary directory, with the real unpack
// worker.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <unistd.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "image/image_store.h"
#include "image/layer_unpacker.h"
#include "image/puller.h"
#include "tests/testing/image_builder.h"
#include "tests/testing/temp_dir.h"

namespace berth::testing {

class PullerFixture : public ::testing::Test {
 protected:
  using OpenSnapshotter =
      Result<std::unique_ptr<snapshotter::Snapshotter>>(const std::string& root);
  explicit PullerFixture(OpenSnapshotter* open_snapshotter) : open_snapshotter_(open_snapshotter) {}

  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "unpacking needs root";
    Open({});
  }

  // Opens (again) everything that a daemon would.
  void Open(image::PullerOptions options) {
    puller_.reset();
    store_.reset();
    unpacker_.reset();
    snapshotter_.reset();
    auto snapshotter = open_snapshotter_(dir_ / "store");
    ASSERT_TRUE(snapshotter.ok()) << snapshotter.error().message();
    snapshotter_ = std::move(*snapshotter);
    unpacker_ = std::make_unique<image::LayerUnpacker>(WorkerPath(), *snapshotter_);
    auto store = image::ImageStore::Open(dir_ / "meta.db", *snapshotter_);
    ASSERT_TRUE(store.ok()) << store.error().message();
    store_ = std::move(*store);
    puller_ =
        std::make_unique<image::Puller>(std::move(options), *unpacker_, *snapshotter_, *store_);
  }

  Result<std::shared_ptr<const image::Image>> Pull(const std::string& reference,
                                                   image::RegistryAuth auth = {}) {
    return puller_->Pull(Context::WithTimeoutMs(60'000), {reference, std::move(auth), {}});
  }

  // A file of an unpacked layer.
  std::string LayerFile(const std::string& diff_id, const std::string& path) {
    auto text = ReadFile(StrCat(dir_ / "store", "/layers/", diff_id.substr(7), "/fs/", path));
    return text.ok() ? *text : text.error().message();
  }
  std::set<std::string> Layers() {
    auto layers = snapshotter_->ListLayers();
    EXPECT_TRUE(layers.ok());
    return {layers->begin(), layers->end()};
  }
  // What a failed or cancelled unpacking might have left.
  std::vector<std::string> Staged() {
    std::vector<std::string> names;
    auto dir = ::berth::Open(dir_ / "store/staging", O_RDONLY | O_DIRECTORY);
    EXPECT_TRUE(dir.ok());
    (void)ForEachEntry(dir->get(), [&](const std::string& name) {
      names.push_back(name);
      return Ok();
    });
    return names;
  }

  // berth-unpack is built into the directory of this test.
  static std::string WorkerPath() {
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self);
    std::string path(self, static_cast<size_t>(std::max<ssize_t>(n, 0)));
    return path.substr(0, path.rfind('/')) + "/berth-unpack";
  }

  OpenSnapshotter* open_snapshotter_;
  TempDir dir_;
  std::unique_ptr<snapshotter::Snapshotter> snapshotter_;
  std::unique_ptr<image::LayerUnpacker> unpacker_;
  std::unique_ptr<image::ImageStore> store_;
  std::unique_ptr<image::Puller> puller_;
};

}  // namespace berth::testing
