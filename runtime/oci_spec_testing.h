// What the tests of the OCI spec build on: an ordinary pod with one container.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "runtime/oci_spec.h"

namespace berth::runtime {

class OciSpecTest : public ::testing::Test {
 protected:
  OciSpecTest() {
    pod_.hostname = "web-0";
    image_.entrypoint = {"/bin/server"};
    image_.cmd = {"--port", "80"};
    paths_.net_ns = "/run/berth/pods/p/ns/net";
    paths_.ipc_ns = "/run/berth/pods/p/ns/ipc";
    paths_.uts_ns = "/run/berth/pods/p/ns/uts";
    paths_.shm = "/run/berth/pods/p/shm";
    paths_.hosts = "/run/berth/pods/p/hosts";
    paths_.hostname = "/run/berth/pods/p/hostname";
    paths_.resolv_conf = "/run/berth/pods/p/resolv.conf";
  }

  Result<OciSpec> Build() {
    return BuildOciSpec(
        {pod_, container_, image_, user_, home_, paths_, "/berth/p/c", target_pid_ns_});
  }
  // The spec of a configuration that is right.
  OciSpec MustBuild() {
    Result<OciSpec> spec = Build();
    EXPECT_TRUE(spec.ok()) << spec.error().message();
    return spec.ok() ? *std::move(spec) : OciSpec();
  }
  void ExpectRefused(Code code, const std::string& words) {
    Result<OciSpec> spec = Build();
    ASSERT_EQ(spec.code(), code) << (spec.ok() ? "accepted" : spec.error().message());
    EXPECT_THAT(spec.error().message(), ::testing::HasSubstr(words));
  }
  void MakePrivileged() { pod_.security.privileged = container_.security.privileged = true; }

  static const OciMount* MountAt(const OciSpec& spec, const std::string& destination) {
    auto it = std::find_if(spec.mounts.begin(), spec.mounts.end(),
                           [&](const OciMount& mount) { return mount.destination == destination; });
    return it == spec.mounts.end() ? nullptr : &*it;
  }

  PodConfig pod_;
  ContainerConfig container_;
  image::ImageConfig image_;
  ContainerUser user_;
  std::string home_;
  PodPaths paths_;
  std::string target_pid_ns_;
};

}  // namespace berth::runtime
