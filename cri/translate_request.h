// What clients ask for, as the runtime's own values. Checked here: what is required is there,
// enumerations have values that CRI knows, numbers and sizes can be meant. What the values lead to
// (paths, users, limits) is checked by those who use them. Errors are InvalidArgument and begin
// with the field's name as the client wrote it: "config.metadata.name: missing".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "cri/pb.h"
#include "image/puller.h"
#include "runtime/types.h"

namespace berth::cri {

// A container may have no more than this in arguments and environment together, and no more than
// the second in a single one (execve(2): MAX_ARG_STRLEN, and a quarter of an 8 MiB stack).
inline constexpr size_t kMaxArgumentBytes = 2 << 20;
inline constexpr size_t kMaxOneArgumentBytes = (128 << 10) - 1;

Result<runtime::PodConfig> PodConfigOf(const pb::PodSandboxConfig& config);
Result<runtime::ContainerConfig> ContainerConfigOf(const pb::ContainerConfig& config);
Result<runtime::LinuxResources> ResourcesOf(const pb::LinuxContainerResources& resources,
                                            std::string_view field);

Result<runtime::PodFilter> PodFilterOf(const pb::PodSandboxFilter& filter);
Result<runtime::ContainerFilter> ContainerFilterOf(const pb::ContainerFilter& filter);
runtime::ContainerFilter ContainerFilterOf(const pb::ContainerStatsFilter& filter);
runtime::PodFilter PodFilterOf(const pb::PodSandboxStatsFilter& filter);

// The name or id of an image. `field` is what the message is called in the request.
Result<std::string> ReferenceOf(const std::string& image, std::string_view field);
image::RegistryAuth AuthOf(const pb::AuthConfig& auth);

// An id that a request cannot do without.
Status RequireId(const std::string& id, std::string_view field);
// A time in seconds; far more than a year is a year, so that nothing overflows.
Result<int64_t> SecondsOf(int64_t seconds, std::string_view field);
// Arguments of one command, or of a container.
Status CheckArgumentSize(size_t bytes, std::string_view field);

}  // namespace berth::cri
