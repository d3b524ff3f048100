#include "cli/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace berth::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

void Add(LayerList& layers, bv1::LayerState state, uint64_t done, uint64_t total) {
  auto* layer = layers.Add();
  layer->set_digest("sha256:0123456789abcdef");
  layer->set_state(state);
  layer->set_done_bytes(done);
  layer->set_total_bytes(total);
}

TEST(Progress, OneLineForEachLayerThatFits) {
  LayerList layers;
  Add(layers, bv1::LAYER_WAITING, 0, 1024);
  Add(layers, bv1::LAYER_DOWNLOADING, 512, 2048);
  Add(layers, bv1::LAYER_DOWNLOADING, 512, 0);
  Add(layers, bv1::LAYER_EXISTS, 0, 4096);
  EXPECT_THAT(
      ProgressLines(layers, 4, 80),
      ElementsAre("0123456789abc  waiting     1.0 KiB",
                  "0123456789abc  downloading 512 B of 2.0 KiB", "0123456789abc  downloading 512 B",
                  "0123456789abc  exists      4.0 KiB"));
  EXPECT_THAT(ProgressLines(layers, 4, 15), ElementsAre("0123456789abc  ", "0123456789abc  ",
                                                        "0123456789abc  ", "0123456789abc  "));
}

TEST(Progress, WhatDoesNotFitIsCounted) {
  LayerList layers;
  for (int i = 0; i < 10; ++i) Add(layers, bv1::LAYER_DONE, 1, 1);
  for (int i = 0; i < 10; ++i) Add(layers, bv1::LAYER_UNPACKING, 1, 1);
  EXPECT_THAT(ProgressLines(layers, 3, 80),
              ElementsAre("0123456789abc  unpacking   1 B", "0123456789abc  unpacking   1 B",
                          "10 of 20 layers are there"));
}

TEST(Progress, ElsewhereOnlyChangesAreTold) {
  LayerList before;
  LayerList now;
  Add(now, bv1::LAYER_WAITING, 0, 1);
  Add(now, bv1::LAYER_DOWNLOADING, 0, 1);
  EXPECT_THAT(ProgressChanges(before, now), ElementsAre("0123456789abc: downloading, 1 B"));
  before = now;
  EXPECT_THAT(ProgressChanges(before, now), IsEmpty());
  now[1].set_state(bv1::LAYER_FAILED);
  now[1].set_total_bytes(0);
  EXPECT_THAT(ProgressChanges(before, now), ElementsAre("0123456789abc: failed"));
}

}  // namespace
}  // namespace berth::cli
