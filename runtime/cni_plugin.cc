#include "runtime/cni_plugin.h"

#include <arpa/inet.h>
#include <unistd.h>

#include <algorithm>

#include "base/process.h"

namespace berth::runtime {

namespace {

constexpr size_t kMaxIps = 64;
constexpr size_t kMaxInterfaces = 256;
// Plugins look for iptables, nft and ipset there.
constexpr std::string_view kPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr int64_t kTryAgainLater = 11;  // CNI spec, "Error", well-known codes

Error Malformed(std::string_view what) {
  return {Code::kInternal, StrCat("malformed result: ", what)};
}

Result<std::string> FindPlugin(const std::string& type, const std::vector<std::string>& bin_dirs) {
  for (const std::string& dir : bin_dirs) {
    std::string path = StrCat(dir, "/", type);
    if (access(path.c_str(), X_OK) == 0) return path;
  }
  return Error(Code::kFailedPrecondition, StrCat("no such program in ", Join(bin_dirs, ", ")));
}

// A plugin that fails prints {"code", "msg", "details"}; one that crashes prints what it likes.
Error PluginError(const RunOutput& output) {
  std::string said;
  int64_t code = 0;
  auto json = ParseJson(output.out);
  if (json.ok() && json->is_object()) {
    code = JsonInt(*json, "code").ok() ? *JsonInt(*json, "code") : 0;
    auto message = JsonString(*json, "msg");
    auto details = JsonString(*json, "details");
    if (message.ok()) said = Printable(*message, 2048);
    if (details.ok() && !details->empty()) said += StrCat("; ", Printable(*details, 2048));
  }
  if (said.empty()) {
    said = Printable(Trim(output.err.empty() ? output.out : output.err), 2048);
  }
  if (said.empty()) said = "no explanation";
  return {code == kTryAgainLater ? Code::kUnavailable : Code::kInternal,
          StrCat("exit ", output.exit_code, ": ", said)};
}

Result<std::string> Run(const Context& context, const CniCall& call, const std::string& type,
                        const Json& config) {
  SpawnOptions options;
  ASSIGN_OR_RETURN(options.path, FindPlugin(type, call.bin_dirs));
  options.args = {options.path};
  options.new_session = true;
  options.env = {StrCat("CNI_COMMAND=", call.command),
                 StrCat("CNI_CONTAINERID=", call.pod_id),
                 StrCat("CNI_NETNS=", call.netns),
                 StrCat("CNI_IFNAME=", kCniInterface),
                 StrCat("CNI_ARGS=", call.args),
                 StrCat("CNI_PATH=", Join(call.bin_dirs, ":")),
                 StrCat("PATH=", kPath)};
  ASSIGN_OR_RETURN(RunOutput output,
                   RunProgram(context.Timeout(call.timeout_ms), options, ToText(config)));
  if (output.exit_code != 0) return PluginError(output);
  return std::move(output.out);
}

// "10.1.2.3/24" without the prefix length.
Result<std::string> Address(const Json& ip) {
  ASSIGN_OR_RETURN(std::string text, JsonString(ip, "address"));
  std::string address = text.substr(0, text.find('/'));
  unsigned char bytes[sizeof(in6_addr)];
  if (inet_pton(AF_INET, address.c_str(), bytes) != 1 &&
      inet_pton(AF_INET6, address.c_str(), bytes) != 1) {
    return Malformed(StrCat("\"", Printable(text, 80), "\" is no address"));
  }
  return address;
}

// Is entry `index` of "interfaces" the pod's own? The host's end of a pair has no sandbox.
bool IsPodInterface(const Json& result, int64_t index) {
  auto interfaces = result.find("interfaces");
  if (interfaces == result.end() || !interfaces->is_array() || index < 0 ||
      static_cast<size_t>(index) >= std::min(interfaces->size(), kMaxInterfaces)) {
    return false;
  }
  const Json& interface = (*interfaces)[static_cast<size_t>(index)];
  auto name = JsonString(interface, "name");
  auto sandbox = JsonString(interface, "sandbox");
  return name.ok() && *name == kCniInterface && sandbox.ok() && !sandbox->empty();
}

}  // namespace

Result<std::string> RunCniPlugin(const Context& context, const CniCall& call, const Json& config) {
  const std::string type = config.value("type", "");
  auto output = Run(context, call, type, config);
  if (output.ok()) return output;
  return std::move(output).error().Wrap(StrCat("plugin ", type, ": ", call.command));
}

Result<std::vector<std::string>> CniResultIps(const Json& result) {
  if (!result.is_object()) return Malformed("not a JSON object");
  std::vector<std::string> own;
  std::vector<std::string> unassigned;
  const Json ips = result.value("ips", Json::array());
  if (!ips.is_array() || ips.size() > kMaxIps) {
    return Malformed(StrCat("\"ips\" is not a list of at most ", kMaxIps));
  }
  for (const Json& ip : ips) {
    ASSIGN_OR_RETURN(std::string address, Address(ip));
    if (!ip.contains("interface")) {
      unassigned.push_back(std::move(address));
      continue;
    }
    ASSIGN_OR_RETURN(int64_t index, JsonInt(ip, "interface", -1));
    if (IsPodInterface(result, index)) own.push_back(std::move(address));
  }
  own.insert(own.end(), unassigned.begin(), unassigned.end());
  if (own.empty()) return Malformed(StrCat("no address for ", kCniInterface));
  return own;
}

}  // namespace berth::runtime
