#include "image/url.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>

namespace berth::image {

namespace {

struct UrlFree {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using UrlHandle = std::unique_ptr<CURLU, UrlFree>;

std::string Part(const UrlHandle& url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url.get(), part, &text, flags) != CURLUE_OK) return "";
  std::string out(text);
  curl_free(text);
  return out;
}

Result<UrlHandle> ParseUrl(const std::string& text) {
  UrlHandle url(curl_url());
  // c_str() ends at a NUL byte, behind which anything could hide.
  bool plain = text.find('\0') == std::string::npos;
  if (!plain || curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) {
    return Error(Code::kInvalidArgument, StrCat("\"", UrlForMessage(text), "\" is not a URL"));
  }
  return url;
}

}  // namespace

Result<Origin> OriginOf(const std::string& url) {
  ASSIGN_OR_RETURN(auto parsed, ParseUrl(url));
  Origin out{ToLower(Part(parsed, CURLUPART_SCHEME)), ToLower(Part(parsed, CURLUPART_HOST)),
             Part(parsed, CURLUPART_PORT, CURLU_DEFAULT_PORT)};
  if (out.scheme != "http" && out.scheme != "https") {
    return Error(Code::kInvalidArgument,
                 StrCat("\"", UrlForMessage(url), "\" is neither http nor https"));
  }
  if (!Part(parsed, CURLUPART_USER).empty() || !Part(parsed, CURLUPART_PASSWORD).empty()) {
    return Error(Code::kInvalidArgument, "a URL with a user name or a password");
  }
  return out;
}

Result<std::string> ResolveUrl(const std::string& url, const std::string& location) {
  ASSIGN_OR_RETURN(auto parsed, ParseUrl(url));
  if (location.find('\0') != std::string::npos ||
      curl_url_set(parsed.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK) {
    return Error(Code::kInvalidArgument, StrCat("\"", UrlForMessage(location), "\" is not a URL"));
  }
  return Part(parsed, CURLUPART_URL);
}

bool IsLoopbackHost(std::string_view host) {
  if (host == "localhost" || host == "::1" || host == "[::1]") return true;
  auto parts = Split(host, '.');
  return parts.size() == 4 && parts[0] == "127" &&
         std::all_of(parts.begin(), parts.end(),
                     [](std::string_view part) { return ParseNumber<uint8_t>(part).has_value(); });
}

std::string UrlForMessage(std::string_view url) {
  return Printable(url.substr(0, url.find_first_of("?#")), 200);
}

}  // namespace berth::image
