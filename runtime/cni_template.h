// A network configuration made from a template and the node's range of addresses
// (UpdateRuntimeConfig).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace berth::runtime {

inline constexpr char kCniTemplateResult[] = "10-berth.conflist";

// "10.244.1.0/24,fd00::/64" as a list; InvalidArgument names the part that is no range.
Result<std::vector<std::string>> ParsePodCidrs(std::string_view text);

// Fills in {{.PodCIDR}} (the first range), {{.PodCIDRRanges}} (for host-local's "ranges") and
// {{.Routes}} (a default route for each kind of address). The result must be a CNI list.
Result<std::string> FillCniTemplate(std::string_view text, const std::vector<std::string>& cidrs);

// Reads the template, and writes what comes of it to `conf_dir`, whole or not at all; there the
// watcher finds it. An unchanged result is not written again.
Status WriteCniFromTemplate(const std::string& template_path, const std::string& conf_dir,
                            const std::vector<std::string>& cidrs);

}  // namespace berth::runtime
