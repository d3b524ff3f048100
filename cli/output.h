// How answers look: tables for people, JSON for programs.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace berth::cli {

// Columns as wide as their longest cell. A cell's control bytes are made visible, since names come
// from whoever made the pod.
class Table {
 public:
  explicit Table(std::vector<std::string> header);
  void Add(std::vector<std::string> row);
  std::string Text() const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// The message as JSON with CRI's field names in lowerCamelCase, zero values included, with a
// newline.
Result<std::string> ToJson(const google::protobuf::Message& message);

std::string HumanBytes(uint64_t bytes);                 // "12.3 MiB"
std::string HumanAge(int64_t then_ns, int64_t now_ns);  // "5m ago"; "-" for a time that is not set
std::string ShortId(std::string_view id);               // 13 digits, without "sha256:"

// Writes to standard output; Unavailable if nobody reads it any more.
Status Print(std::string_view text);

}  // namespace berth::cli
