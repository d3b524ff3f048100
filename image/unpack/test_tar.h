// Builds tars, also such as no archiver would write, and compresses them.
#pragma once

#include <isa-l/igzip_lib.h>
#include <sys/types.h>
#include <zstd.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "base/strings.h"
#include "image/unpack/sha256.h"

namespace berth::image {

struct TarItem {
  std::string name = {};
  char type = '0';
  std::string data = {};
  std::string link = {};
  mode_t mode = 0644;
  unsigned uid = 0;
  unsigned gid = 0;
  int64_t mtime = 1'000'000'000;
  unsigned major = 0;
  unsigned minor = 0;
  std::vector<std::pair<std::string, std::string>> pax =
      {};  // records of an extended header before it
};

class TarBuilder {
 public:
  TarBuilder& Add(const TarItem& item) {
    if (!item.pax.empty()) {
      std::string records;
      for (const auto& [key, value] : item.pax) records += PaxRecord(key, value);
      AddRaw({.name = "pax", .type = 'x', .data = std::move(records)});
    }
    return AddRaw(item);
  }
  TarBuilder& File(const std::string& name, const std::string& data) {
    return Add({.name = name, .data = data});
  }
  TarBuilder& Dir(const std::string& name, mode_t mode = 0755) {
    return Add({.name = name, .type = '5', .mode = mode});
  }
  TarBuilder& Symlink(const std::string& name, const std::string& target) {
    return Add({.name = name, .type = '2', .link = target, .mode = 0777});
  }
  TarBuilder& HardLink(const std::string& name, const std::string& target, mode_t mode = 0644) {
    return Add({.name = name, .type = '1', .link = target, .mode = mode});
  }
  // Without the two blocks that end an archive.
  const std::string& raw() const { return out_; }
  std::string Tar() const { return out_ + std::string(1024, '\0'); }

 private:
  static std::string PaxRecord(const std::string& key, const std::string& value) {
    const std::string body = StrCat(" ", key, "=", value, "\n");
    size_t size = body.size() + 1;
    while (StrCat(size).size() + body.size() != size) size = StrCat(size).size() + body.size();
    return StrCat(size, body);
  }

  TarBuilder& AddRaw(const TarItem& item) {
    char header[512] = {};
    std::strncpy(header, item.name.c_str(), 100);
    const auto octal = [&header](size_t at, size_t width, uint64_t value) {
      for (size_t i = width; i > 0; --i, value >>= 3) {
        header[at + i - 1] = static_cast<char>('0' + (value & 7));
      }
    };
    octal(100, 7, item.mode);
    octal(108, 7, item.uid);
    octal(116, 7, item.gid);
    octal(124, 11, item.data.size());
    octal(136, 11, static_cast<uint64_t>(item.mtime));
    header[156] = item.type;
    std::strncpy(header + 157, item.link.c_str(), 100);
    constexpr char kMagicAndVersion[8] = {'u', 's', 't', 'a', 'r', '\0', '0', '0'};
    std::memcpy(header + 257, kMagicAndVersion, sizeof kMagicAndVersion);
    octal(329, 7, item.major);
    octal(337, 7, item.minor);
    std::memset(header + 148, ' ', 8);
    unsigned sum = 0;
    for (char c : header) sum += static_cast<unsigned char>(c);
    octal(148, 6, sum);
    out_.append(header, sizeof header);
    out_ += item.data;
    out_.resize((out_.size() + 511) / 512 * 512, '\0');
    return *this;
  }

  std::string out_;
};

inline std::string Gzip(const std::string& data) {
  std::string out(data.size() + data.size() / 8 + 4096, '\0');
  isal_zstream stream;
  isal_deflate_stateless_init(&stream);
  stream.gzip_flag = IGZIP_GZIP;
  stream.end_of_stream = 1;
  stream.next_in = reinterpret_cast<uint8_t*>(const_cast<char*>(data.data()));
  stream.avail_in = static_cast<uint32_t>(data.size());
  stream.next_out = reinterpret_cast<uint8_t*>(out.data());
  stream.avail_out = static_cast<uint32_t>(out.size());
  if (isal_deflate_stateless(&stream) != COMP_OK) return "";
  out.resize(stream.total_out);
  return out;
}

inline std::string Zstd(const std::string& data) {
  std::string out(ZSTD_compressBound(data.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), data.data(), data.size(), 3));
  return out;
}

inline std::string DigestOf(const std::string& data) {
  Sha256 hash;
  hash.Update(data);
  return StrCat("sha256:", hash.Hex());
}

}  // namespace berth::image
