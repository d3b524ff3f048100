#include "image/unpack/report.h"

namespace berth::image {

namespace {

constexpr size_t kFixedFields = 8;

void AppendField(std::string& out, std::string_view field) {
  out.append(field);
  out.push_back('\0');
}

Error DecodeError(const std::vector<std::string_view>& fields) {
  const auto code = fields.size() == 3 ? ParseNumber<int>(fields[1]) : std::nullopt;
  constexpr int kLast = static_cast<int>(Code::kUnauthenticated);
  if (!code || *code <= 0 || *code > kLast) {
    return {Code::kDataLoss, "the unpack worker sent a malformed error"};
  }
  return {static_cast<Code>(*code), std::string(fields[2])};
}

}  // namespace

std::string EncodeReport(const Result<UnpackReport>& report) {
  std::string out;
  if (!report.ok()) {
    AppendField(out, "error");
    AppendField(out, StrCat(static_cast<int>(report.code())));
    AppendField(out, report.error().message());
    return out;
  }
  AppendField(out, "ok");
  AppendField(out, report->blob_sha256);
  AppendField(out, report->tar_sha256);
  for (uint64_t number :
       {report->blob_bytes, report->tar_bytes, report->disk_bytes, report->inodes}) {
    AppendField(out, StrCat(number));
  }
  AppendField(out, snapshotter::FormatSeal(report->seal));
  for (const std::string& path : report->opaque) AppendField(out, path);
  return out;
}

Result<UnpackReport> DecodeReport(std::string_view text) {
  const Error malformed(Code::kDataLoss, "the unpack worker sent a malformed report");
  if (text.empty() || text.back() != '\0') return malformed;
  text.remove_suffix(1);
  const std::vector<std::string_view> fields = Split(text, '\0');
  if (fields[0] == "error") return DecodeError(fields);
  if (fields[0] != "ok" || fields.size() < kFixedFields) return malformed;
  UnpackReport report;
  report.blob_sha256 = fields[1];
  report.tar_sha256 = fields[2];
  uint64_t* const numbers[] = {&report.blob_bytes, &report.tar_bytes, &report.disk_bytes,
                               &report.inodes};
  for (size_t i = 0; i < std::size(numbers); ++i) {
    const auto number = ParseNumber<uint64_t>(fields[3 + i]);
    if (!number) return malformed;
    *numbers[i] = *number;
  }
  auto seal = snapshotter::ParseSeal(fields[7]);
  if (!seal.ok()) return malformed;
  report.seal = *seal;
  report.opaque.assign(fields.begin() + kFixedFields, fields.end());
  return report;
}

}  // namespace berth::image
