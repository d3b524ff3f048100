#include <gtest/gtest.h>

#include "cri/translate_answer.h"

namespace berth::cri {
namespace {

runtime::Reading FullReading() {
  runtime::Reading reading;
  reading.timestamp_ns = 77;
  reading.cpu_nano_cores = 5;
  reading.sample.cpu_usage_ns = 6;
  reading.sample.tasks = 3;
  reading.sample.memory = runtime::MemorySample();
  reading.sample.memory->usage_bytes = 1000;
  reading.sample.memory->working_set_bytes = 600;
  reading.sample.memory->rss_bytes = 500;
  reading.sample.memory->page_faults = 40;
  reading.sample.memory->major_page_faults = 4;
  reading.sample.memory->limit_bytes = 2000;
  reading.sample.swap = runtime::SwapSample{10, 30};
  runtime::Pressure pressure;
  pressure.some = {1.5, 2.5, 3.5, 99};
  pressure.full = {0.5, 0.25, 0.125, 9};
  reading.sample.cpu_pressure = pressure;
  reading.sample.memory_pressure = pressure;
  reading.sample.io_pressure = pressure;
  return reading;
}

TEST(TranslateStatsTest, AContainersReadingIsTold) {
  runtime::ContainerUsage usage;
  usage.id = "c";
  usage.metadata.name = "main";
  usage.metadata.attempt = 2;
  usage.labels["l"] = "1";
  usage.annotations["a"] = "2";
  usage.reading = FullReading();
  usage.writable_layer = snapshotter::MeasuredUsage{{4096, 2}, 55};
  usage.writable_layer_mountpoint = "/store";
  pb::ContainerStats out;
  ToPb(usage, &out);
  EXPECT_EQ(out.attributes().id(), "c");
  EXPECT_EQ(out.attributes().metadata().attempt(), 2u);
  EXPECT_EQ(out.attributes().labels().at("l"), "1");
  EXPECT_EQ(out.attributes().annotations().at("a"), "2");
  EXPECT_EQ(out.cpu().timestamp(), 77);
  EXPECT_EQ(out.cpu().usage_core_nano_seconds().value(), 6u);
  EXPECT_EQ(out.cpu().usage_nano_cores().value(), 5u);
  EXPECT_EQ(out.cpu().psi().some().total(), 99u);
  EXPECT_DOUBLE_EQ(out.cpu().psi().some().avg10(), 1.5);
  EXPECT_DOUBLE_EQ(out.cpu().psi().full().avg300(), 0.125);
  EXPECT_EQ(out.memory().usage_bytes().value(), 1000u);
  EXPECT_EQ(out.memory().working_set_bytes().value(), 600u);
  EXPECT_EQ(out.memory().available_bytes().value(), 1400u);
  EXPECT_EQ(out.memory().rss_bytes().value(), 500u);
  EXPECT_EQ(out.memory().page_faults().value(), 40u);
  EXPECT_EQ(out.memory().major_page_faults().value(), 4u);
  EXPECT_EQ(out.memory().psi().full().total(), 9u);
  EXPECT_EQ(out.io().timestamp(), 77);
  EXPECT_EQ(out.io().psi().some().total(), 99u);
  EXPECT_EQ(out.swap().swap_usage_bytes().value(), 10u);
  EXPECT_EQ(out.swap().swap_available_bytes().value(), 20u);
  EXPECT_EQ(out.writable_layer().timestamp(), 55);
  EXPECT_EQ(out.writable_layer().used_bytes().value(), 4096u);
  EXPECT_EQ(out.writable_layer().inodes_used().value(), 2u);
  EXPECT_EQ(out.writable_layer().fs_id().mountpoint(), "/store");
}

TEST(TranslateStatsTest, WhatIsUnknownStaysUnset) {
  runtime::ContainerUsage usage;
  pb::ContainerStats out;
  ToPb(usage, &out);
  EXPECT_FALSE(out.has_cpu() || out.has_memory() || out.has_swap() || out.has_io() ||
               out.has_writable_layer());
  usage.reading = FullReading();
  usage.reading->cpu_nano_cores.reset();
  usage.reading->sample.cpu_pressure.reset();
  usage.reading->sample.io_pressure.reset();
  usage.reading->sample.memory->limit_bytes.reset();
  usage.reading->sample.swap->limit_bytes.reset();
  ToPb(usage, &out);
  EXPECT_FALSE(out.cpu().has_usage_nano_cores());
  EXPECT_FALSE(out.cpu().has_psi());
  EXPECT_FALSE(out.has_io());
  EXPECT_FALSE(out.memory().has_available_bytes());
  EXPECT_TRUE(out.memory().has_psi());
  EXPECT_FALSE(out.swap().has_swap_available_bytes());
}

TEST(TranslateStatsTest, MoreThanTheLimitLeavesNothingAvailable) {
  runtime::ContainerUsage usage;
  usage.reading = FullReading();
  usage.reading->sample.memory->limit_bytes = 500;
  usage.reading->sample.swap->limit_bytes = 5;
  pb::ContainerStats out;
  ToPb(usage, &out);
  EXPECT_TRUE(out.memory().has_available_bytes());
  EXPECT_EQ(out.memory().available_bytes().value(), 0u);
  EXPECT_TRUE(out.swap().has_swap_available_bytes());
  EXPECT_EQ(out.swap().swap_available_bytes().value(), 0u);
}

TEST(TranslateStatsTest, APodsNetworkHasADefaultInterfaceAndOthers) {
  runtime::PodUsage usage;
  usage.id = "p";
  usage.metadata.name = "web";
  usage.reading = FullReading();
  usage.network_timestamp_ns = 88;
  usage.network.emplace();
  usage.network->push_back({"net1", 1, 2, 3, 4, 5, 6, 7, 8});
  usage.network->push_back({"eth0", 11, 12, 13, 14, 15, 16, 17, 18});
  usage.containers.emplace_back().id = "c";
  pb::PodSandboxStats out;
  ToPb(usage, &out);
  EXPECT_EQ(out.attributes().metadata().name(), "web");
  EXPECT_EQ(out.linux().process().process_count().value(), 3u);
  EXPECT_EQ(out.linux().network().timestamp(), 88);
  const pb::NetworkInterfaceUsage& eth0 = out.linux().network().default_interface();
  EXPECT_EQ(eth0.name(), "eth0");
  EXPECT_EQ(eth0.rx_bytes().value(), 11u);
  EXPECT_EQ(eth0.rx_errors().value(), 13u);
  EXPECT_EQ(eth0.tx_bytes().value(), 15u);
  EXPECT_EQ(eth0.tx_errors().value(), 17u);
  ASSERT_EQ(out.linux().network().interfaces_size(), 1);
  EXPECT_EQ(out.linux().network().interfaces(0).name(), "net1");
  ASSERT_EQ(out.linux().containers_size(), 1);
  EXPECT_EQ(out.linux().containers(0).attributes().id(), "c");

  usage.network.reset();
  usage.reading.reset();
  pb::PodSandboxStats without;
  ToPb(usage, &without);
  EXPECT_TRUE(without.has_linux());
  EXPECT_FALSE(without.linux().has_network() || without.linux().has_cpu() ||
               without.linux().has_process());
}

}  // namespace
}  // namespace berth::cri
