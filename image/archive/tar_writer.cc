#include "image/archive/tar_writer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>

#include "base/strings.h"

namespace berth::image {

namespace {

constexpr size_t kBlock = 512;
constexpr size_t kNameBytes = 100;
constexpr uint64_t kMaxOctal7 = 07777777;
constexpr uint64_t kMaxOctal11 = 077777777777;

// "LENGTH KEY=VALUE\n", whose length counts its own digits.
std::string PaxRecord(std::string_view key, std::string_view value) {
  const size_t rest = key.size() + value.size() + 3;
  size_t length = rest + 1;
  while (StrCat(length).size() + rest != length) length = StrCat(length).size() + rest;
  return StrCat(length, " ", key, "=", value, "\n");
}

std::string Time(const timespec& time) {
  std::array<char, 48> text{};
  snprintf(text.data(), text.size(), "%lld.%09ld", static_cast<long long>(time.tv_sec),
           time.tv_nsec);
  std::string out = text.data();
  out.erase(out.find_last_not_of('0') + 1);
  if (out.ends_with('.')) out.pop_back();
  return out;
}

void PutText(std::string& block, size_t at, size_t size, std::string_view text) {
  text = text.substr(0, size);
  block.replace(at, text.size(), text);
}

// With a NUL at the end. What is too large is in a pax header.
void PutOctal(std::string& block, size_t at, size_t size, uint64_t value) {
  for (size_t i = size - 1; i-- > 0; value >>= 3)
    block[at + i] = static_cast<char>('0' + (value & 7));
}

std::string Block(const TarHeader& header, std::string_view name, char type, uint64_t size) {
  std::string block(kBlock, '\0');
  PutText(block, 0, kNameBytes, name);
  PutOctal(block, 100, 8, header.mode & 07777);
  PutOctal(block, 108, 8, std::min(header.uid, kMaxOctal7));
  PutOctal(block, 116, 8, std::min(header.gid, kMaxOctal7));
  PutOctal(block, 124, 12, std::min(size, kMaxOctal11));
  PutOctal(block, 136, 12, static_cast<uint64_t>(std::max<time_t>(0, header.mtime.tv_sec)));
  PutText(block, 148, 8, "        ");
  block[156] = type;
  PutText(block, 157, kNameBytes, header.link);
  PutText(block, 257, 8,
          std::string_view("ustar\0"
                           "00",
                           8));
  PutOctal(block, 329, 8, header.device_major);
  PutOctal(block, 337, 8, header.device_minor);
  unsigned sum = 0;
  for (char c : block) sum += static_cast<unsigned char>(c);
  PutOctal(block, 148, 7, sum);
  return block;
}

std::string PaxOf(const TarHeader& header) {
  std::string pax;
  if (header.name.size() > kNameBytes) pax += PaxRecord("path", header.name);
  if (header.link.size() > kNameBytes) pax += PaxRecord("linkpath", header.link);
  if (header.uid > kMaxOctal7) pax += PaxRecord("uid", StrCat(header.uid));
  if (header.gid > kMaxOctal7) pax += PaxRecord("gid", StrCat(header.gid));
  if (header.size > kMaxOctal11) pax += PaxRecord("size", StrCat(header.size));
  if (header.mtime.tv_nsec != 0 || header.mtime.tv_sec < 0) {
    pax += PaxRecord("mtime", Time(header.mtime));
  }
  for (const auto& [name, value] : header.xattrs) {
    pax += PaxRecord(StrCat("SCHILY.xattr.", name), value);
  }
  return pax;
}

}  // namespace

std::string EncodeTarHeader(const TarHeader& header) {
  std::string out;
  if (const std::string pax = PaxOf(header); !pax.empty()) {
    TarHeader extension;
    extension.name = "PaxHeaders.0/entry";
    out += StrCat(Block(extension, extension.name, 'x', pax.size()), pax, TarPadding(pax.size()));
  }
  return out + Block(header, header.name, header.type, header.size);
}

std::string TarPadding(uint64_t size) {
  return std::string((kBlock - size % kBlock) % kBlock, '\0');
}

std::string TarEnd() {
  return std::string(2 * kBlock, '\0');
}

}  // namespace berth::image
