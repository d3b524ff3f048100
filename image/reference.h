// Names of images as users write them: "busybox", "registry.example:5000/team/app:1.2",
// "app@sha256:...", normalised as docker and kubelet do.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace berth::image {

// A normalised reference. Every part has passed the grammar of the distribution project
// (distribution/reference), so each may go into a URL as it is.
struct Reference {
  std::string domain;      // "docker.io", "localhost:5000", "[::1]:5000"
  std::string repository;  // "library/busybox"
  std::string tag;         // empty only if there is a digest
  std::string digest;      // "sha256:<hex>" or empty

  std::string Name() const { return StrCat(domain, "/", repository); }
  // "docker.io/library/busybox:latest"; with a digest the tag says nothing more and is left out.
  std::string ToString() const;
  // What the registry is asked for: the digest if there is one.
  const std::string& TagOrDigest() const { return digest.empty() ? tag : digest; }
};

// Adds what is left out: docker.io, library/, and latest where there is neither tag nor digest.
// InvalidArgument says which part is wrong and why.
Result<Reference> ParseReference(std::string_view text);

// The host of a registry address without its port: "localhost", "::1".
std::string_view HostOf(std::string_view domain);

}  // namespace berth::image
