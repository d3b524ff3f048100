// URLs that registries hand out: resolved and judged by one parser, libcurl's, which is also the
// one that connects.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace berth::image {

// The parts of an absolute http or https URL that decide who is talked to.
struct Origin {
  std::string scheme;
  std::string host;  // lower case, IPv6 in brackets
  std::string port;  // always there

  bool operator==(const Origin&) const = default;
};
// InvalidArgument for another scheme, a user name in it, or what is no URL.
Result<Origin> OriginOf(const std::string& url);
// The URL that `location` (absolute or relative) means on the page `url`.
Result<std::string> ResolveUrl(const std::string& url, const std::string& location);
// "localhost", 127.0.0.0/8 or "::1", with or without brackets.
bool IsLoopbackHost(std::string_view host);
// Fit for a message: without query and fragment, printable, bounded.
std::string UrlForMessage(std::string_view url);

}  // namespace berth::image
