// What the files that translate requests share. translate_request.h is for everybody else.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cri/translate_request.h"

namespace berth::cri {

// "field: what", InvalidArgument.
Error Bad(std::string_view field, std::string_view what);
// A name of a pod or container: letters, digits and - _ . : only, because file names and arguments
// of CNI plugins are made from it.
Status RequireName(const std::string& name, std::string_view field);

std::vector<std::string> ListOf(const google::protobuf::RepeatedPtrField<std::string>& list);
runtime::StringMap MapOf(const google::protobuf::Map<std::string, std::string>& map);
std::vector<runtime::IdMapping> MappingsOf(
    const google::protobuf::RepeatedPtrField<pb::IDMapping>& mappings);

// Parts that pods and containers both have.
Result<runtime::NamespaceOptions> NamespacesOf(const pb::NamespaceOption& options,
                                               std::string_view field);
Result<runtime::SecurityProfile> ProfileOf(const pb::SecurityProfile& profile,
                                           std::string_view field);
Result<runtime::SupplementalGroupsPolicy> GroupsPolicyOf(pb::SupplementalGroupsPolicy policy,
                                                         std::string_view field);
// Nothing if every part of it is empty, as some clients send it.
std::optional<runtime::SelinuxOptions> SelinuxOf(const pb::SELinuxOption& options);

}  // namespace berth::cri
