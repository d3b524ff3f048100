// What the files that translate answers share. translate_answer.h is for everybody else.
#pragma once

#include <string>

#include "cri/translate_answer.h"

namespace berth::cri {

void SetMap(const runtime::StringMap& from, google::protobuf::Map<std::string, std::string>* to);
void SetMetadata(const runtime::PodMetadata& from, pb::PodSandboxMetadata* to);
void SetMetadata(const runtime::ContainerMetadata& from, pb::ContainerMetadata* to);

}  // namespace berth::cri
