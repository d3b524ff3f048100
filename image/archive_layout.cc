#include "image/archive_layout.h"

#include <algorithm>

#include "base/file.h"
#include "base/json.h"
#include "image/digest.h"
#include "image/image_config.h"
#include "image/manifest.h"
#include "image/reference.h"

namespace berth::image {

namespace {

constexpr char kIndexFile[] = "index.json";
constexpr char kDockerFile[] = "manifest.json";
constexpr size_t kMaxImages = 1000;

Error Malformed(std::string_view why) {
  return {Code::kDataLoss, std::string(why)};
}

std::string BlobPath(const std::string& digest) {
  return StrCat("blobs/sha256/", digest.substr(digest.find(':') + 1));
}

// The reference that a name in the archive means.
Result<Reference> NameOf(const std::string& name) {
  auto reference = ParseReference(name);
  if (reference.ok()) return reference;
  return std::move(reference).error().WithCode(Code::kDataLoss);
}

class Reader {
 public:
  Reader(const Context& context, ArchiveSource& source, std::string base_name)
      : context_(context), source_(source), base_name_(std::move(base_name)) {
    const auto& members = source.members();
    for (size_t i = 0; i < members.size(); ++i) members_[members[i].name] = i;
  }

  Result<ArchiveContent> Run() {
    const bool oci = members_.contains(kIndexFile);
    const bool docker = members_.contains(kDockerFile);
    if (!oci && !docker) {
      return Malformed(members_.contains("repositories")
                           ? "it was written by a Docker before 1.10: save it anew with a later one"
                           : "it has neither index.json nor manifest.json: it is no OCI layout and "
                             "no docker archive");
    }
    if (oci) RETURN_IF_ERROR(ReadOci(), kIndexFile);
    if (docker) RETURN_IF_ERROR(ReadDocker(/*names_only=*/oci), kDockerFile);
    if (content_.images.empty()) {
      return skipped_.ok() ? Error(Code::kNotFound, "it has no images") : skipped_.error();
    }
    return std::move(content_);
  }

 private:
  Result<size_t> Find(const std::string& path) const {
    const auto found = members_.find(path);
    if (found == members_.end()) return Malformed(StrCat(Printable(path), " is missing"));
    return found->second;
  }

  Result<std::string> ReadDocument(const std::string& path) {
    ASSIGN_OR_RETURN(const size_t member, Find(path));
    const uint64_t size = source_.members()[member].size_bytes;
    if (size > kMaxDocumentBytes) {
      return Error(Code::kDataLoss, StrCat(Printable(path), " has ", size, " bytes; at most ",
                                           kMaxDocumentBytes, " are allowed"));
    }
    ASSIGN_OR_RETURN(auto bytes, source_.Read(context_, member, 0, size), Printable(path));
    return bytes;
  }

  Result<std::string> ReadBlob(const Descriptor& blob) {
    const std::string path = BlobPath(blob.digest);
    ASSIGN_OR_RETURN(auto bytes, ReadDocument(path));
    if (static_cast<int64_t>(bytes.size()) != blob.size) {
      return Malformed(StrCat(path, " has ", bytes.size(), " bytes, not ", blob.size));
    }
    if (const std::string digest = DigestOf(bytes); digest != blob.digest) {
      return Malformed(StrCat(path, " has the digest ", digest));
    }
    return bytes;
  }

  Status ReadOci() {
    ASSIGN_OR_RETURN(const std::string bytes, ReadDocument(kIndexFile));
    ASSIGN_OR_RETURN(auto document, ParseManifest(bytes, kOciIndexType));
    const auto* index = std::get_if<Index>(&document);
    if (index == nullptr) return Malformed("it is not an index");
    if (index->entries.size() > kMaxImages) {
      return Malformed(StrCat("more than ", kMaxImages, " images"));
    }
    for (const IndexEntry& entry : index->entries) {
      Status added = AddOciImage(entry);
      if (added.ok()) continue;
      // Archives of several platforms, and attestations, are whole without them.
      if (added.code() != Code::kNotFound && added.code() != Code::kUnimplemented) {
        return std::move(added).error().Wrap(entry.descriptor.digest);
      }
      skipped_ = std::move(added).error().WithCode(Code::kNotFound);
    }
    return Ok();
  }

  Status AddOciImage(const IndexEntry& entry) {
    ASSIGN_OR_RETURN(std::string bytes, ReadBlob(entry.descriptor));
    ASSIGN_OR_RETURN(auto document, ParseManifest(bytes, entry.descriptor.media_type));
    if (const auto* index = std::get_if<Index>(&document)) {
      ASSIGN_OR_RETURN(const Descriptor chosen, SelectPlatform(*index, HostPlatform()));
      ASSIGN_OR_RETURN(bytes, ReadBlob(chosen));
      ASSIGN_OR_RETURN(document, ParseManifest(bytes, chosen.media_type));
    }
    auto* manifest = std::get_if<Manifest>(&document);
    if (manifest == nullptr) return Malformed("an index within an index");
    ASSIGN_OR_RETURN(std::string config, ReadBlob(manifest->config));
    ArchivedImage out;
    RETURN_IF_ERROR(SetConfig(out.image, std::move(config), manifest->layers.size()));
    out.image.annotations = std::move(manifest->annotations);
    for (size_t i = 0; i < manifest->layers.size(); ++i) {
      const Descriptor& blob = manifest->layers[i];
      RETURN_IF_ERROR(AddLayer(out, i, BlobPath(blob.digest), blob));
    }
    RETURN_IF_ERROR(SetOciNames(out.image, entry));
    content_.images.push_back(std::move(out));
    return Ok();
  }

  // containerd and Docker write the whole name beside the tag, which is all that the specification
  // has a place for.
  Status SetOciNames(Image& image, const IndexEntry& entry) const {
    auto annotation = [&](const char* key) {
      const auto found = entry.annotations.find(key);
      return found == entry.annotations.end() ? "" : found->second;
    };
    std::string name = annotation("io.containerd.image.name");
    if (name.empty()) {
      name = annotation("org.opencontainers.image.ref.name");
      const bool only_tag = name.find_first_of("/:@") == std::string::npos;
      if (!name.empty() && only_tag) name = base_name_.empty() ? "" : StrCat(base_name_, ":", name);
    }
    if (name.empty()) return Ok();
    ASSIGN_OR_RETURN(const Reference reference, NameOf(name), "annotations");
    if (reference.digest.empty()) image.repo_tags.push_back(reference.ToString());
    image.repo_digests.push_back(StrCat(reference.Name(), "@", entry.descriptor.digest));
    return Ok();
  }

  Status SetConfig(Image& image, std::string bytes, size_t layers) const {
    image.id = DigestOf(bytes);
    ASSIGN_OR_RETURN(image.config, ParseImageConfig(bytes));
    image.config_json = std::move(bytes);
    return CheckForHost(image.config, layers);
  }

  Status AddLayer(ArchivedImage& out, size_t i, const std::string& path, Descriptor blob) {
    ASSIGN_OR_RETURN(const size_t member, Find(path), "layer ", i);
    const auto size = static_cast<int64_t>(source_.members()[member].size_bytes);
    if (size != blob.size) {
      return Malformed(StrCat("layer ", i, ": ", path, " has ", size, " bytes, not ", blob.size));
    }
    const std::string& diff_id = out.image.config.diff_ids[i];
    content_.layer_members[diff_id] = member;
    out.layers.push_back({std::move(blob), diff_id});
    return Ok();
  }

  Status ReadDocker(bool names_only) {
    ASSIGN_OR_RETURN(const std::string bytes, ReadDocument(kDockerFile));
    ASSIGN_OR_RETURN(const Json json, ParseJson(bytes));
    if (!json.is_array() || json.size() > kMaxImages) {
      return Malformed(StrCat("not a list of at most ", kMaxImages, " images"));
    }
    for (size_t i = 0; i < json.size(); ++i) {
      Status added = names_only ? AddDockerNames(json[i]) : AddDockerImage(json[i]);
      if (added.ok()) continue;
      if (added.code() != Code::kNotFound) {
        return std::move(added).error().WithCode(Code::kDataLoss).Wrap(StrCat("image ", i));
      }
      skipped_ = std::move(added);
    }
    return Ok();
  }

  static Status AppendTags(const Json& json, Image& image) {
    ASSIGN_OR_RETURN(const auto tags, JsonStrings(json, "RepoTags"));
    for (const std::string& tag : tags) {
      ASSIGN_OR_RETURN(const Reference reference, NameOf(tag), "RepoTags");
      std::string name = reference.ToString();
      auto& names = image.repo_tags;
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
    return Ok();
  }

  // The layout has the images; what docker's file adds is further names.
  Status AddDockerNames(const Json& json) {
    ASSIGN_OR_RETURN(const std::string path, JsonString(json, "Config"));
    for (ArchivedImage& archived : content_.images) {
      if (BlobPath(archived.image.id) == path) return AppendTags(json, archived.image);
    }
    return Ok();
  }

  Status AddDockerImage(const Json& json) {
    ASSIGN_OR_RETURN(const std::string path, JsonString(json, "Config"));
    ASSIGN_OR_RETURN(const auto layers, JsonStrings(json, "Layers"));
    ASSIGN_OR_RETURN(std::string config, ReadDocument(path));
    ArchivedImage out;
    RETURN_IF_ERROR(SetConfig(out.image, std::move(config), layers.size()));
    RETURN_IF_ERROR(AppendTags(json, out.image));
    for (size_t i = 0; i < layers.size(); ++i) {
      ASSIGN_OR_RETURN(Descriptor blob, DockerLayer(layers[i]), "layer ", i);
      RETURN_IF_ERROR(AddLayer(out, i, layers[i], std::move(blob)));
    }
    content_.images.push_back(std::move(out));
    return Ok();
  }

  // Docker's file says neither digest nor format.
  Result<Descriptor> DockerLayer(const std::string& path) {
    ASSIGN_OR_RETURN(const size_t member, Find(path));
    Descriptor blob;
    blob.media_type = "application/vnd.docker.image.rootfs.diff.tar";
    blob.size = static_cast<int64_t>(source_.members()[member].size_bytes);
    const size_t look = std::min<size_t>(4, static_cast<size_t>(blob.size));
    ASSIGN_OR_RETURN(const std::string begin, source_.Read(context_, member, 0, look));
    if (begin.starts_with("\x1f\x8b")) blob.media_type += ".gzip";
    if (begin == "\x28\xb5\x2f\xfd") blob.media_type += ".zstd";
    return blob;
  }

  const Context& context_;
  ArchiveSource& source_;
  const std::string base_name_;
  std::map<std::string, size_t> members_;
  ArchiveContent content_;
  Status skipped_;  // why the last image was left out
};

}  // namespace

Result<ArchiveContent> ReadArchive(const Context& context, ArchiveSource& source,
                                   const std::string& base_name) {
  std::string repository;
  if (!base_name.empty()) {
    ASSIGN_OR_RETURN(const Reference reference, ParseReference(base_name), "base name");
    repository = reference.Name();
  }
  return Reader(context, source, std::move(repository)).Run();
}

}  // namespace berth::image
