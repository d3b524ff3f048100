#include "image/archive/tar_index.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "base/file.h"
#include "image/archive/archive_source.h"

namespace berth::image {

namespace {

constexpr uint64_t kBlock = 512;
// Of a pax header or a GNU long name.
constexpr uint64_t kMaxExtensionBytes = 64 << 10;
constexpr int kMaxLinks = 8;

using Block = std::array<char, kBlock>;

Error Malformed(std::string_view why) {
  return {Code::kDataLoss, std::string(why)};
}

std::string_view Field(const Block& block, size_t offset, size_t size) {
  std::string_view field(block.data() + offset, size);
  return field.substr(0, field.find('\0'));
}

// Octal digits that blanks may surround, or a positive number in base 256 (GNU).
std::optional<uint64_t> Number(const Block& block, size_t offset, size_t size) {
  const auto* bytes = reinterpret_cast<const unsigned char*>(block.data() + offset);
  if (bytes[0] == 0x80) {
    uint64_t value = 0;
    for (size_t i = 1; i < size; ++i) {
      if (value >> 55 != 0) return std::nullopt;
      value = value << 8 | bytes[i];
    }
    return value;
  }
  const std::string_view digits = Trim(Field(block, offset, size));
  if (digits.empty()) return 0;
  return ParseNumber<uint64_t>(digits, 8);
}

bool HasRightSum(const Block& block) {
  uint64_t sum = 0;
  for (size_t i = 0; i < block.size(); ++i) {
    const bool in_field = i >= 148 && i < 156;
    sum += in_field ? ' ' : static_cast<unsigned char>(block[i]);
  }
  return Number(block, 148, 8) == sum;
}

// What the headers in front of a member say of it.
struct Extension {
  std::optional<std::string> path, link;
  std::optional<uint64_t> size;
};

// Records "LENGTH KEY=VALUE\n" (POSIX, "pax Extended Header").
Status ParsePax(std::string_view text, Extension& out) {
  while (!text.empty()) {
    const size_t blank = text.find(' ');
    const auto length =
        ParseNumber<size_t>(text.substr(0, blank == std::string_view::npos ? 0 : blank));
    if (!length || *length <= blank + 1 || *length > text.size() || text[*length - 1] != '\n') {
      return Malformed("a malformed pax header");
    }
    const std::string_view record = text.substr(blank + 1, *length - blank - 2);
    text.remove_prefix(*length);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos) return Malformed("a malformed pax header");
    const std::string_view key = record.substr(0, equals);
    const std::string_view value = record.substr(equals + 1);
    if (key.starts_with("GNU.sparse.")) return Malformed("a sparse file, which archives have not");
    if (key == "path") out.path = value;
    if (key == "linkpath") out.link = value;
    if (key == "size") {
      out.size = ParseNumber<uint64_t>(value);
      if (!out.size) return Malformed("a malformed size in a pax header");
    }
  }
  return Ok();
}

// "a/./b/../c" -> "a/c"; nothing if it leads out.
std::optional<std::string> Normalize(std::string_view path) {
  std::vector<std::string> parts;
  if (path.find('\0') != std::string_view::npos || path.starts_with('/')) return std::nullopt;
  for (std::string_view part : Split(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      if (parts.empty()) return std::nullopt;
      parts.pop_back();
    } else {
      parts.emplace_back(part);
    }
  }
  return Join(parts, "/");
}

class Indexer {
 public:
  explicit Indexer(int fd, uint64_t size) : fd_(fd), end_(size) {}

  Result<std::map<std::string, TarRange>> Run() {
    Block block;
    while (at_ < end_) {
      RETURN_IF_ERROR(ReadAt(at_, block.data(), block.size()), Where());
      if (block == Block{}) break;  // the end of the archive
      RETURN_IF_ERROR(TakeHeader(block), Where());
    }
    if (count_ == 0) return Malformed("not a tar: it has no members");
    RETURN_IF_ERROR(FollowLinks());
    return std::move(files_);
  }

 private:
  std::string Where() const { return StrCat("tar member at byte ", at_); }

  Status ReadAt(uint64_t offset, char* to, size_t size) const {
    if (offset > end_ || size > end_ - offset) return Malformed("truncated");
    while (size > 0) {
      const ssize_t n = pread(fd_, to, size, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return ErrnoError("read");
      if (n == 0) return Malformed("truncated");
      to += n;
      offset += static_cast<uint64_t>(n);
      size -= static_cast<size_t>(n);
    }
    return Ok();
  }

  Status TakeHeader(const Block& block) {
    if (!HasRightSum(block)) return Malformed("not a tar header: its checksum is wrong");
    if (++count_ > kMaxArchiveMembers) {
      return Error(Code::kResourceExhausted, StrCat("more than ", kMaxArchiveMembers, " members"));
    }
    auto size = Number(block, 124, 12);
    if (!size) return Malformed("a malformed size");
    const char type = block[156];
    const bool extends = type == 'x' || type == 'g' || type == 'L' || type == 'K';
    if (!extends && extension_.size) size = extension_.size;
    const uint64_t begin = at_ + kBlock;
    if (begin > end_ || *size > end_ - begin) {
      return Malformed(StrCat("truncated: it needs ", *size, " bytes"));
    }
    if (extends) {
      RETURN_IF_ERROR(TakeExtension(type, begin, *size));
    } else {
      RETURN_IF_ERROR(TakeMember(block, type, {begin, *size}));
      extension_ = {};
    }
    at_ = begin + (*size + kBlock - 1) / kBlock * kBlock;
    return Ok();
  }

  Status TakeExtension(char type, uint64_t begin, uint64_t size) {
    if (size > kMaxExtensionBytes) {
      return Error(Code::kResourceExhausted,
                   StrCat("a header of ", size, " bytes; at most ", kMaxExtensionBytes));
    }
    std::string text(size, '\0');
    RETURN_IF_ERROR(ReadAt(begin, text.data(), text.size()));
    if (type == 'x') return ParsePax(text, extension_);
    if (type == 'g') return Ok();  // comments of git archive and its like
    text.resize(text.find('\0') == std::string::npos ? text.size() : text.find('\0'));
    (type == 'L' ? extension_.path : extension_.link) = std::move(text);
    return Ok();
  }

  Status TakeMember(const Block& block, char type, TarRange range) {
    std::string name = extension_.path.value_or(NameOf(block));
    const auto path = Normalize(name);
    const bool nameless = path && path->empty() && type != '5';
    if (!path || nameless || path->size() > kMaxMemberNameBytes) {
      return Malformed(StrCat("\"", Printable(name), "\" is not a path within the archive"));
    }
    switch (type) {
      case '0':
      case '\0':
      case '7':
        links_.erase(*path);
        files_[*path] = range;
        return Ok();
      case '5':
        return Ok();
      case '1':
      case '2': {
        const std::string target = extension_.link.value_or(std::string(Field(block, 157, 100)));
        const size_t slash = path->rfind('/');
        const std::string parent =
            type == '1' || slash == std::string::npos ? "" : path->substr(0, slash + 1);
        const auto resolved =
            target.starts_with('/') ? std::nullopt : Normalize(StrCat(parent, target));
        if (!resolved) {
          return Malformed(StrCat("the link \"", Printable(name), "\" leads out of the archive"));
        }
        files_.erase(*path);
        links_[*path] = *resolved;
        return Ok();
      }
      default:
        return Malformed(StrCat("\"", Printable(name), "\" is of the type \"",
                                Printable(std::string_view(&type, 1)),
                                "\", which an archive of images does not have"));
    }
  }

  static std::string NameOf(const Block& block) {
    std::string name(Field(block, 0, 100));
    const bool posix = std::string_view(block.data() + 257, 6) == std::string_view("ustar\0", 6);
    const std::string_view prefix = posix ? Field(block, 345, 155) : "";
    return prefix.empty() ? name : StrCat(prefix, "/", name);
  }

  Status FollowLinks() {
    for (const auto& [name, first] : links_) {
      std::string target = first;
      for (int i = 0; i < kMaxLinks && links_.contains(target); ++i) target = links_[target];
      const auto found = files_.find(target);
      if (found == files_.end()) continue;  // of a directory, or of what nobody may ask for
      linked_[name] = found->second;
    }
    files_.merge(linked_);
    return Ok();
  }

  const int fd_;
  const uint64_t end_;
  uint64_t at_ = 0;
  size_t count_ = 0;
  Extension extension_;
  std::map<std::string, TarRange> files_, linked_;
  std::map<std::string, std::string> links_;
};

}  // namespace

Result<std::map<std::string, TarRange>> IndexTar(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return ErrnoError("stat");
  return Indexer(fd, static_cast<uint64_t>(info.st_size)).Run();
}

}  // namespace berth::image
