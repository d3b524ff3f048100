#include "config/hosts_toml.h"

#include <algorithm>

#include "base/strings.h"
#include "config/migrator.h"
#include "config/toml.h"

namespace berth::config {

namespace {

constexpr size_t kMaxServers = 64;
constexpr size_t kMaxListEntries = 64;
constexpr size_t kMaxHeaderBytes = 16 << 10;
constexpr int64_t kMaxDialTimeoutMs = 3'600'000;
constexpr std::string_view kApiPrefix = "/v2";

Error Invalid(std::string what) {
  return {Code::kInvalidArgument, std::move(what)};
}

bool IsVisible(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

// "https://host:port/path", where the scheme may be left out and the path be empty.
Result<std::string> NormalUrl(std::string_view text, bool override_path) {
  if (!IsVisible(text)) return Invalid("is not a URL");
  std::string_view rest = text;
  std::string_view scheme = "https";
  if (const size_t at = text.find("://"); at != std::string_view::npos) {
    scheme = text.substr(0, at);
    rest = text.substr(at + 3);
  }
  if (scheme != "http" && scheme != "https") {
    return Invalid(StrCat("\"", Printable(text), "\" is neither http nor https"));
  }
  const size_t slash = std::min(rest.find('/'), rest.size());
  const std::string_view host = rest.substr(0, slash);
  std::string_view path = rest.substr(slash);
  if (host.empty() || host.find_first_of("@\"\\<>") != std::string_view::npos ||
      rest.find_first_of("?#") != std::string_view::npos) {
    return Invalid(StrCat("\"", Printable(text),
                          "\" is not scheme://host[:port][/path], without a user or a query"));
  }
  while (path.ends_with('/')) path.remove_suffix(1);
  const bool add = !override_path && !path.ends_with(kApiPrefix);
  return StrCat(scheme, "://", host, path, add ? kApiPrefix : "");
}

// Reads one file.
class HostsReader {
 public:
  HostsReader(const std::string& file, const std::string& directory)
      : file_(file), directory_(directory) {}

  Result<std::vector<RegistryServer>> Read(const toml::table& root, const std::string& own_url) {
    std::vector<RegistryServer> out;
    std::string url = own_url;
    for (const auto& [key, node] : root) {
      if (key.str() == "host") {
        if (!node.is_table()) return Fail(node, "host", "is not a [section]");
        RETURN_IF_ERROR(ReadHosts(*node.as_table(), &out));
      } else if (key.str() == "server") {
        ASSIGN_OR_RETURN(url, Text(node, "server"));
      }
    }
    ASSIGN_OR_RETURN(RegistryServer own, ReadServer(root, url, "", root));
    own.is_mirror = false;
    out.push_back(std::move(own));
    return out;
  }

 private:
  Error Fail(const toml::node& node, std::string_view key, std::string_view what) const {
    return {Code::kInvalidArgument,
            StrCat(file_, ":", node.source().begin.line, ": ", Printable(key), ": ", what)};
  }

  // The parser's tables are sorted by name; what counts is their place in the file.
  Status ReadHosts(const toml::table& hosts, std::vector<RegistryServer>* out) {
    struct Entry {
      std::string url;
      const toml::node* node;
    };
    std::vector<Entry> entries;
    for (const auto& [url, node] : hosts) entries.push_back({std::string(url.str()), &node});
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      const auto& left = a.node->source().begin;
      const auto& right = b.node->source().begin;
      return std::pair(left.line, left.column) < std::pair(right.line, right.column);
    });
    if (entries.size() > kMaxServers) return Fail(hosts, "host", "too many of them");
    for (const Entry& entry : entries) {
      const std::string name = StrCat("host.\"", entry.url, "\"");
      if (!entry.node->is_table()) return Fail(*entry.node, name, "is not a [section]");
      ASSIGN_OR_RETURN(RegistryServer server, ReadServer(*entry.node->as_table(), entry.url,
                                                         StrCat(name, "."), *entry.node));
      out->push_back(std::move(server));
    }
    return Ok();
  }

  Result<RegistryServer> ReadServer(const toml::table& table, const std::string& url,
                                    const std::string& prefix, const toml::node& place) {
    RegistryServer out;
    out.is_mirror = true;
    bool override_path = false;
    for (const auto& [key, node] : table) {
      const std::string name = StrCat(prefix, key.str());
      if (prefix.empty() && (key.str() == "host" || key.str() == "server")) continue;
      if (key.str() == "override_path") {
        ASSIGN_OR_RETURN(override_path, Flag(node, name));
      } else {
        RETURN_IF_ERROR(ReadKey(key.str(), name, node, &out));
      }
    }
    auto normal = NormalUrl(url, override_path);
    if (!normal.ok()) {
      return Fail(place, prefix.empty() ? "server" : prefix.substr(0, prefix.size() - 1),
                  normal.error().message());
    }
    out.url = std::move(*normal);
    return out;
  }

  Status ReadKey(std::string_view key, const std::string& name, const toml::node& node,
                 RegistryServer* out) {
    if (key == "capabilities") return ReadCapabilities(name, node, out);
    if (key == "ca") {
      ASSIGN_OR_RETURN(out->ca_files, Texts(node, name));
      for (std::string& file : out->ca_files) file = Absolute(file);
      return Ok();
    }
    if (key == "client") return ReadClients(name, node, out);
    if (key == "skip_verify") {
      ASSIGN_OR_RETURN(out->skip_verify, Flag(node, name));
      return Ok();
    }
    if (key == "header") return ReadHeaders(name, node, out);
    if (key == "dial_timeout") {
      ASSIGN_OR_RETURN(const std::string text, Text(node, name));
      const auto ms = ParseGoDuration(text);
      if (!ms.has_value() || *ms < 0 || *ms > kMaxDialTimeoutMs)
        return Fail(node, name, "is not a duration (\"5s\") of up to an hour");
      out->dial_timeout_ms = *ms;
      return Ok();
    }
    return Fail(node, name, "unknown key");
  }

  Status ReadCapabilities(const std::string& name, const toml::node& node, RegistryServer* out) {
    ASSIGN_OR_RETURN(const auto list, Texts(node, name));
    if (list.empty()) return Ok();
    out->pull = out->resolve = out->push = false;
    for (const std::string& capability : list) {
      if (capability == "pull") {
        out->pull = true;
      } else if (capability == "resolve") {
        out->resolve = true;
      } else if (capability == "push") {
        out->push = true;
      } else {
        return Fail(node, name,
                    StrCat("\"", Printable(capability), "\" is none of pull, resolve, push"));
      }
    }
    return Ok();
  }

  // A file that has both, a list of such files, or a list of pairs.
  Status ReadClients(const std::string& name, const toml::node& node, RegistryServer* out) {
    if (!node.is_array()) {
      ASSIGN_OR_RETURN(const std::string file, Text(node, name));
      out->clients.push_back({Absolute(file), ""});
      return Ok();
    }
    for (const toml::node& part : *node.as_array()) {
      ASSIGN_OR_RETURN(auto files, Texts(part, name));
      if (files.empty() || files.size() > 2 || files[0].empty()) {
        return Fail(part, name, "is not a certificate and its key");
      }
      files.resize(2);
      out->clients.push_back({Absolute(files[0]), Absolute(files[1])});
    }
    if (out->clients.size() > kMaxListEntries) return Fail(node, name, "too many of them");
    return Ok();
  }

  Status ReadHeaders(const std::string& name, const toml::node& node, RegistryServer* out) {
    if (!node.is_table()) return Fail(node, name, "is not a [section]");
    constexpr std::string_view kNameChars =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    size_t bytes = 0;
    for (const auto& [header, value] : *node.as_table()) {
      const std::string full = StrCat(name, ".", header.str());
      if (header.str().empty() ||
          header.str().find_first_not_of(kNameChars) != std::string_view::npos) {
        return Fail(value, full, "is not a header's name");
      }
      ASSIGN_OR_RETURN(const auto texts, Texts(value, full));
      for (const std::string& text : texts) {
        // The value is not shown: it may be a secret.
        if (std::any_of(text.begin(), text.end(), [](char c) {
              return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f;
            })) {
          return Fail(value, full, "has a control character");
        }
        bytes += header.str().size() + text.size();
        out->headers.emplace_back(std::string(header.str()), text);
      }
    }
    if (bytes > kMaxHeaderBytes || out->headers.size() > kMaxListEntries) {
      return Fail(node, name, "too many or too long headers");
    }
    return Ok();
  }

  Result<bool> Flag(const toml::node& node, const std::string& name) const {
    if (!node.is_boolean()) return Fail(node, name, "must be true or false");
    return node.as_boolean()->get();
  }
  Result<std::string> Text(const toml::node& node, const std::string& name) const {
    if (!node.is_string()) return Fail(node, name, "must be text");
    if (node.as_string()->get().find('\0') != std::string::npos) {
      return Fail(node, name, "has a NUL byte");
    }
    return node.as_string()->get();
  }
  // A text, or a list of them.
  Result<std::vector<std::string>> Texts(const toml::node& node, const std::string& name) const {
    std::vector<std::string> out;
    if (!node.is_array()) {
      ASSIGN_OR_RETURN(std::string one, Text(node, name));
      out.push_back(std::move(one));
      return out;
    }
    if (node.as_array()->size() > kMaxListEntries) return Fail(node, name, "too many of them");
    for (const toml::node& part : *node.as_array()) {
      ASSIGN_OR_RETURN(std::string one, Text(part, name));
      out.push_back(std::move(one));
    }
    return out;
  }
  std::string Absolute(const std::string& path) const {
    return path.empty() || path[0] == '/' ? path : StrCat(directory_, "/", path);
  }

  const std::string& file_;
  const std::string& directory_;
};

}  // namespace

Result<std::vector<RegistryServer>> ParseHostsToml(const std::string& text, const std::string& file,
                                                   const std::string& directory,
                                                   const std::string& own_url) {
  toml::parse_result parsed = toml::parse(text, file);
  if (!parsed) {
    return Error(Code::kInvalidArgument, StrCat(file, ":", parsed.error().source().begin.line, ": ",
                                                parsed.error().description()));
  }
  return HostsReader(file, directory).Read(parsed.table(), own_url);
}

}  // namespace berth::config
