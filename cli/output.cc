#include "cli/output.h"

#include <google/protobuf/util/json_util.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/fd.h"
#include "base/strings.h"

namespace berth::cli {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;

}  // namespace

Table::Table(std::vector<std::string> header) {
  rows_.push_back(std::move(header));
}

void Table::Add(std::vector<std::string> row) {
  for (std::string& cell : row) cell = Printable(cell);
  rows_.push_back(std::move(row));
}

std::string Table::Text() const {
  std::vector<size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      out += row[i];
      if (i + 1 < row.size()) out.append(widths[i] - row[i].size() + 3, ' ');
    }
    out += '\n';
  }
  return out;
}

Result<std::string> ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  std::string out;
  auto status = google::protobuf::util::MessageToJsonString(message, &out, options);
  if (!status.ok()) {
    return Error(Code::kInternal, StrCat("format the answer as JSON: ", status.ToString()));
  }
  if (!out.ends_with('\n')) out += '\n';
  return out;
}

std::string HumanBytes(uint64_t bytes) {
  constexpr std::array<const char*, 5> kUnits = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::array<char, 32> text{};
  snprintf(text.data(), text.size(), unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text.data();
}

std::string HumanAge(int64_t then_ns, int64_t now_ns) {
  if (then_ns == 0) return "-";
  const int64_t seconds = std::max<int64_t>(0, (now_ns - then_ns) / kSecondNs);
  if (seconds < 60) return StrCat(seconds, "s ago");
  if (seconds < 3600) return StrCat(seconds / 60, "m ago");
  if (seconds < 86400) return StrCat(seconds / 3600, "h ago");
  return StrCat(seconds / 86400, "d ago");
}

std::string ShortId(std::string_view id) {
  constexpr std::string_view kAlgorithm = "sha256:";
  if (id.starts_with(kAlgorithm)) id.remove_prefix(kAlgorithm.size());
  return std::string(id.substr(0, 13));
}

Status Print(std::string_view text) {
  RETURN_IF_ERROR(WriteAll(STDOUT_FILENO, text), "write to standard output");
  return Ok();
}

}  // namespace berth::cli
