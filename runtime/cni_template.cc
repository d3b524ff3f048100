#include "runtime/cni_template.h"

#include <arpa/inet.h>
#include <fcntl.h>

#include "base/file.h"
#include "base/json.h"
#include "runtime/cni_config.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxTemplateBytes = 1 << 20;
constexpr size_t kMaxCidrs = 16;

bool IsV6(std::string_view cidr) {
  return cidr.find(':') != std::string_view::npos;
}

bool IsCidr(std::string_view text) {
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return false;
  const std::string address(text.substr(0, slash));
  auto length = ParseNumber<int>(text.substr(slash + 1));
  unsigned char bytes[sizeof(in6_addr)];
  const int family = IsV6(address) ? AF_INET6 : AF_INET;
  return inet_pton(family, address.c_str(), bytes) == 1 && length && *length >= 0 &&
         *length <= (family == AF_INET6 ? 128 : 32);
}

std::string ReplaceAll(std::string text, std::string_view from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

}  // namespace

Result<std::vector<std::string>> ParsePodCidrs(std::string_view text) {
  std::vector<std::string> cidrs;
  for (std::string_view part : Split(text, ',')) {
    part = Trim(part);
    if (!IsCidr(part)) {
      return Error(Code::kInvalidArgument,
                   StrCat("\"", Printable(part, 64), "\" is not a range like 10.244.1.0/24"));
    }
    if (cidrs.size() == kMaxCidrs) {
      return Error(Code::kInvalidArgument, StrCat("more than ", kMaxCidrs, " ranges"));
    }
    cidrs.emplace_back(part);
  }
  return cidrs;
}

Result<std::string> FillCniTemplate(std::string_view text, const std::vector<std::string>& cidrs) {
  Json ranges = Json::array();
  bool v4 = false;
  bool v6 = false;
  for (const std::string& cidr : cidrs) {
    ranges.push_back(Json::array({Json{{"subnet", cidr}}}));
    (IsV6(cidr) ? v6 : v4) = true;
  }
  Json routes = Json::array();
  if (v4) routes.push_back({{"dst", "0.0.0.0/0"}});
  if (v6) routes.push_back({{"dst", "::/0"}});
  std::string filled = ReplaceAll(std::string(text), "{{.PodCIDR}}", cidrs.front());
  filled = ReplaceAll(std::move(filled), "{{.PodCIDRRanges}}", ToText(ranges));
  filled = ReplaceAll(std::move(filled), "{{.Routes}}", ToText(routes));
  RETURN_IF_ERROR(ParseCniNetwork(filled, /*single=*/false));
  return filled;
}

Status WriteCniFromTemplate(const std::string& template_path, const std::string& conf_dir,
                            const std::vector<std::string>& cidrs) {
  ASSIGN_OR_RETURN(std::string text, ReadFile(template_path, kMaxTemplateBytes),
                   "cni.conf_template");
  auto filled = FillCniTemplate(text, cidrs);
  if (!filled.ok()) {
    // The administrator's file is wrong and not the request.
    return std::move(filled)
        .error()
        .WithCode(Code::kFailedPrecondition)
        .Wrap(StrCat("cni.conf_template ", template_path));
  }
  RETURN_IF_ERROR(MakeDirs(conf_dir, 0755), "cni.conf_dir");
  ASSIGN_OR_RETURN(auto dir, Open(conf_dir, O_RDONLY | O_DIRECTORY), "cni.conf_dir");
  auto present = ReadFileAt(dir.get(), kCniTemplateResult, kMaxTemplateBytes);
  if (present.ok() && *present == *filled) return Ok();
  return AtomicWriteFileAt(dir.get(), kCniTemplateResult, *filled, 0644, Durability::kFsync);
}

}  // namespace berth::runtime
