// TOML files of other programs, as flat lists of keys: `berth migrate-config` reads them.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace berth::config {

// A key with a value that is no table: text, number, boolean, or a list of these.
struct ForeignKey {
  std::string file;
  int64_t line = 0;
  std::vector<std::string> path;  // an index for each part that is an element of a list of tables
  Json value;

  // As one would write it in the file: plugins."io.containerd.grpc.v1.cri".sandbox_image
  std::string Name() const;
  std::string Place() const { return StrCat(file, ":", line); }
  // "text", a number or JSON; for messages.
  std::string ValueText() const;
};

bool IsEmptyText(const Json& value);

// In the order of the file. NotFound if it is missing, InvalidArgument with file and line if it is
// no TOML. At most 1 MiB.
Result<std::vector<ForeignKey>> ReadForeignToml(const std::string& file);

// What `more` has replaces what is there by the same name; the rest is added.
void MergeForeign(std::vector<ForeignKey>& keys, std::vector<ForeignKey> more);

}  // namespace berth::config
