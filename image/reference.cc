#include "image/reference.h"

#include <algorithm>

#include "image/digest.h"

namespace berth::image {

namespace {

constexpr std::string_view kDefaultDomain = "docker.io";
constexpr std::string_view kLegacyDefaultDomain = "index.docker.io";
constexpr size_t kMaxReferenceBytes = 1024;
constexpr size_t kMaxNameBytes = 255;
constexpr size_t kMaxTagBytes = 128;

bool IsLower(char c) {
  return c >= 'a' && c <= 'z';
}
bool IsUpper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsLowerOrDigit(char c) {
  return IsLower(c) || IsDigit(c);
}
bool IsAlnum(char c) {
  return IsLowerOrDigit(c) || IsUpper(c);
}
bool IsHex(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

template <typename Predicate>
bool All(std::string_view text, Predicate predicate) {
  return !text.empty() && std::all_of(text.begin(), text.end(), predicate);
}

Error Invalid(std::string_view why) {
  return {Code::kInvalidArgument, std::string(why)};
}

// domain-component of the grammar: letters and digits, with '-' inside.
bool IsDomainComponent(std::string_view text) {
  return All(text, [](char c) { return IsAlnum(c) || c == '-'; }) && text.front() != '-' &&
         text.back() != '-';
}

bool IsHostName(std::string_view host) {
  if (host.starts_with('[')) {
    return host.size() > 4 && host.ends_with(']') &&
           All(host.substr(1, host.size() - 2), [](char c) { return IsHex(c) || c == ':'; });
  }
  auto parts = Split(host, '.');
  return std::all_of(parts.begin(), parts.end(), IsDomainComponent);
}

// Splits "host:port"; the port is empty where there is none.
struct HostAndPort {
  std::string_view host;
  std::string_view port;
  bool has_port;
};
HostAndPort SplitPort(std::string_view domain) {
  size_t colon = domain.rfind(':');
  size_t bracket = domain.rfind(']');
  if (colon == std::string_view::npos || (bracket != std::string_view::npos && colon < bracket)) {
    return {domain, "", false};
  }
  return {domain.substr(0, colon), domain.substr(colon + 1), true};
}

Status CheckDomain(std::string_view domain) {
  HostAndPort split = SplitPort(domain);
  if (!IsHostName(split.host)) {
    return Invalid(StrCat("\"", Printable(domain, 100), "\" is not a registry host"));
  }
  if (split.has_port) {
    auto port = ParseNumber<uint16_t>(split.port);
    if (!port.has_value() || *port == 0 || !IsDigit(split.port.front())) {
      return Invalid(StrCat("\"", Printable(split.port, 20), "\" is not a port"));
    }
  }
  return Ok();
}

// How many bytes of separator stand at the front: '.', '_', '__' or any number of '-'; 0 for
// others.
size_t SeparatorLength(std::string_view text) {
  if (text.starts_with("__")) return 2;
  if (text.starts_with('.') || text.starts_with('_')) return 1;
  return std::min(text.find_first_not_of('-'), text.size());
}

// path-component: runs of lower-case letters and digits with single separators between them.
bool IsPathComponent(std::string_view text) {
  if (text.empty() || !IsLowerOrDigit(text.back())) return false;
  while (!text.empty()) {
    if (!IsLowerOrDigit(text.front())) return false;
    text.remove_prefix(
        std::min(static_cast<size_t>(std::find_if_not(text.begin(), text.end(), IsLowerOrDigit) -
                                     text.begin()),
                 text.size()));
    text.remove_prefix(SeparatorLength(text));
  }
  return true;
}

Status CheckRepository(std::string_view repository) {
  if (std::any_of(repository.begin(), repository.end(), IsUpper)) {
    return Invalid(
        StrCat("repository name \"", Printable(repository, 100), "\" must be in lower case"));
  }
  for (std::string_view component : Split(repository, '/')) {
    if (!IsPathComponent(component)) {
      return Invalid(StrCat("repository name \"", Printable(repository, 100),
                            "\" has an invalid component \"", Printable(component, 100), "\""));
    }
  }
  return Ok();
}

Status CheckTag(std::string_view tag) {
  bool ok = All(tag, [](char c) { return IsAlnum(c) || c == '_' || c == '.' || c == '-'; }) &&
            tag.size() <= kMaxTagBytes && tag.front() != '.' && tag.front() != '-';
  if (ok) return Ok();
  return Invalid(StrCat("\"", Printable(tag, 140), "\" is not a tag"));
}

// The part before the first slash is a registry if it looks like a host and not like a user name.
bool LooksLikeDomain(std::string_view first) {
  return first == "localhost" || first.find_first_of(".:") != std::string_view::npos ||
         std::any_of(first.begin(), first.end(), IsUpper);
}

void SplitDomain(std::string_view name, Reference* reference) {
  size_t slash = name.find('/');
  if (slash != std::string_view::npos && LooksLikeDomain(name.substr(0, slash))) {
    reference->domain = name.substr(0, slash);
    reference->repository = name.substr(slash + 1);
  } else {
    reference->domain = kDefaultDomain;
    reference->repository = name;
  }
  if (reference->domain == kLegacyDefaultDomain) reference->domain = kDefaultDomain;
  if (reference->domain == kDefaultDomain && reference->repository.find('/') == std::string::npos) {
    reference->repository = StrCat("library/", reference->repository);
  }
}

Result<Reference> Parse(std::string_view text) {
  if (text.empty()) return Invalid("it is empty");
  if (text.size() > kMaxReferenceBytes) return Invalid("it is too long");
  Reference reference;
  std::string_view name = text;
  if (size_t at = name.find('@'); at != std::string_view::npos) {
    reference.digest = name.substr(at + 1);
    RETURN_IF_ERROR(CheckDigest(reference.digest, "digest"));
    name = name.substr(0, at);
  }
  // A colon after the last slash begins the tag; an earlier one, a port.
  size_t slash = name.rfind('/');
  size_t colon = name.find(':', slash == std::string_view::npos ? 0 : slash);
  if (colon != std::string_view::npos) {
    reference.tag = name.substr(colon + 1);
    RETURN_IF_ERROR(CheckTag(reference.tag));
    name = name.substr(0, colon);
  } else if (reference.digest.empty()) {
    reference.tag = "latest";
  }
  if (name.size() == 64 && All(name, [](char c) { return IsHex(c) && !IsUpper(c); })) {
    return Invalid("64 hexadecimal digits are an image id and not a name");
  }
  SplitDomain(name, &reference);
  RETURN_IF_ERROR(CheckDomain(reference.domain));
  RETURN_IF_ERROR(CheckRepository(reference.repository));
  if (reference.Name().size() > kMaxNameBytes) {
    return Invalid(StrCat("the name is longer than ", kMaxNameBytes, " bytes"));
  }
  return reference;
}

}  // namespace

std::string Reference::ToString() const {
  return digest.empty() ? StrCat(Name(), ":", tag) : StrCat(Name(), "@", digest);
}

Result<Reference> ParseReference(std::string_view text) {
  ASSIGN_OR_RETURN(auto reference, Parse(text), "image reference \"", Printable(text), "\"");
  return reference;
}

std::string_view HostOf(std::string_view domain) {
  std::string_view host = SplitPort(domain).host;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return host;
}

}  // namespace berth::image
