// certs.d/HOST/hosts.toml.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "config/hosts_toml.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto require = [](bool condition) {
    if (!condition) std::abort();
  };
  const std::string text(reinterpret_cast<const char*>(data), size);
  // toml++ 3.3 asks of letters from U+00A1 to U+0499 whether they are blanks by way of code that it
  // declares unreachable: ASCII only here.
  if (std::any_of(text.begin(), text.end(), [](char c) { return (c & 0x80) != 0; })) return 0;
  auto servers = berth::config::ParseHostsToml(text, "hosts.toml", "/c", "https://r.example");
  if (!servers.ok()) {
    require(servers.code() == berth::Code::kInvalidArgument);
    require(servers.error().message().starts_with("hosts.toml:"));
    return 0;
  }
  require(!servers->empty() && !servers->back().is_mirror);
  for (const auto& server : *servers) {
    require(server.url.starts_with("http://") || server.url.starts_with("https://"));
    require(server.url.find_first_of("?#\r\n ") == std::string::npos);
    const std::string_view host = std::string_view(server.url).substr(server.url.find("://") + 3);
    require(host.substr(0, host.find('/')).find('@') == std::string::npos);
    require(server.dial_timeout_ms >= 0);
    for (const auto& [name, value] : server.headers) {
      require(!name.empty() && name.find_first_of(":\r\n ") == std::string::npos);
      require(value.find_first_of("\r\n") == std::string::npos);
    }
    for (const std::string& file : server.ca_files) require(file.empty() || file[0] == '/');
  }
  return 0;
}
