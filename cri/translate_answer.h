// What the runtime knows, as CRI's messages. Text that did not come in by protobuf is made valid
// UTF-8.
#pragma once

#include "cri/pb.h"
#include "image/image.h"
#include "runtime/stats.h"
#include "runtime/types.h"
#include "snapshotter/snapshotter.h"

namespace berth::cri {

void ToPb(const runtime::Pod& pod, pb::PodSandbox* out);
void ToPb(const runtime::Pod& pod, pb::PodSandboxStatus* out);
void ToPb(const runtime::Container& container, pb::Container* out);
void ToPb(const runtime::Container& container, pb::ContainerStatus* out);
void ToPb(const runtime::LinuxResources& resources, pb::LinuxContainerResources* out);
// translate_stats.cc. What is unknown stays unset.
void ToPb(const runtime::ContainerUsage& usage, pb::ContainerStats* out);
void ToPb(const runtime::PodUsage& usage, pb::PodSandboxStats* out);
void ToPb(const image::Image& image, pb::Image* out);
void ToPb(const snapshotter::Usage& usage, const std::string& mountpoint, int64_t timestamp_ns,
          pb::FilesystemUsage* out);

// The name that stands for the image in a container's status: what the pod asked for if the image
// has that tag, else the image's first tag, else what was asked for.
std::string ImageNameOf(const runtime::Container& container, const image::Image* image);

}  // namespace berth::cri
