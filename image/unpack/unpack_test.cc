// The parts of the worker that need neither root nor a process.
#include <gtest/gtest.h>
#include <isa-l/crc.h>

#include "image/unpack/inflate.h"
#include "image/unpack/layer_tree.h"
#include "image/unpack/report.h"
#include "image/unpack/test_tar.h"

namespace berth::image {
namespace {

TEST(CleanPathTest, IsCanonicalAndStaysInside) {
  const std::pair<const char*, const char*> kCases[] = {
      {"a", "a"},      {"./a/b/", "a/b"}, {"/a//b", "a/b"}, {"a/./b", "a/b"},
      {"a/../b", "b"}, {"a/b/..", "a"},   {"", ""},         {"./", ""},
      {"/", ""},       {"...", "..."},    {"a/..", ""},
  };
  for (const auto& [in, out] : kCases) {
    auto path = CleanPath(in);
    ASSERT_TRUE(path.ok()) << in;
    EXPECT_EQ(*path, out) << in;
  }
  for (const char* in : {"..", "../a", "/../a", "a/../../b", "./.."}) {
    EXPECT_EQ(CleanPath(in).code(), Code::kInvalidArgument) << in;
  }
  EXPECT_TRUE(CleanPath(std::string(255, 'x')).ok());
  EXPECT_EQ(CleanPath("a/" + std::string(256, 'x')).code(), Code::kInvalidArgument);
}

TEST(ReportTest, SurvivesTheWire) {
  UnpackReport report;
  report.blob_sha256 = std::string(64, 'a');
  report.tar_sha256 = std::string(64, 'b');
  report.disk_bytes = UINT64_MAX;
  report.opaque = {".", "with\nnewline", "a/b"};
  auto back = DecodeReport(EncodeReport(report));
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->blob_sha256, report.blob_sha256);
  EXPECT_EQ(back->disk_bytes, UINT64_MAX);
  EXPECT_EQ(back->opaque, report.opaque);
  auto error = DecodeReport(EncodeReport(Error(Code::kDataLoss, "why")));
  EXPECT_EQ(error.code(), Code::kDataLoss);
  EXPECT_EQ(error.error().message(), "why");
}

TEST(ReportTest, AnythingCutOffIsAnError) {
  const std::string whole = EncodeReport(UnpackReport{});
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(DecodeReport(whole.substr(0, size)).ok()) << size;
  }
  for (const char* text : {"", "ok", "x\0", "error"}) EXPECT_FALSE(DecodeReport(text).ok());
  using namespace std::string_view_literals;
  EXPECT_FALSE(DecodeReport("error\0"
                            "0\0"
                            "x\0"sv)
                   .ok());
  EXPECT_FALSE(DecodeReport("error\0"
                            "99\0"
                            "x\0"sv)
                   .ok());
  EXPECT_FALSE(DecodeReport("ok\0a\0b\0"
                            "1\0"
                            "2\0x\0"
                            "4\0"sv)
                   .ok());
}

// Feeds `blob` in pieces and takes the result in pieces.
Result<std::string> InflateAll(Compression compression, std::string_view blob, size_t piece,
                               size_t room) {
  auto inflater = MakeInflater(compression);
  std::string out;
  std::string buffer(room, '\0');
  while (true) {
    std::string_view input = blob.substr(0, piece);
    blob.remove_prefix(input.size());
    const bool last = input.empty();
    while (true) {
      ASSIGN_OR_RETURN(size_t n, inflater->Inflate(input, buffer.data(), room));
      if (n == 0) break;
      out.append(buffer, 0, n);
    }
    if (last) break;
  }
  RETURN_IF_ERROR(inflater->Finish());
  return out;
}

std::string SampleData(size_t size) {
  std::string data;
  for (uint32_t x = 1; data.size() < size; x = x * 1664525 + 1013904223)
    data += StrCat(x % 9999, ",");
  return data;
}

class InflateTest : public testing::TestWithParam<Compression> {
 protected:
  static std::string Compress(const std::string& data) {
    return GetParam() == Compression::kGzip ? Gzip(data) : Zstd(data);
  }
};

TEST_P(InflateTest, AnySizeOfPiecesAndSeveralStreams) {
  const std::string first = SampleData(300'000);
  const std::string second = SampleData(70'001);
  const std::string blob = Compress(first) + Compress("") + Compress(second);
  for (auto [piece, room] :
       {std::pair<size_t, size_t>{1, 1 << 16}, {7, 100}, {4096, 1}, {1 << 20, 1 << 20}}) {
    auto out = InflateAll(GetParam(), blob, piece, room);
    ASSERT_TRUE(out.ok()) << piece << " " << out.error().message();
    EXPECT_TRUE(*out == first + second) << piece << " " << room;
  }
}

// RFC 1952, section 2.3: a header with all the optional fields.
std::string WithFullHeader(const std::string& gzip) {
  constexpr size_t kFixedBytes = 10;
  std::string header = gzip.substr(0, kFixedBytes);
  header[3] = 2 | 4 | 8 | 16;  // FHCRC, FEXTRA, FNAME, FCOMMENT
  header += std::string("\x0a\0SG\x06\0 extra", 12);
  header += std::string("layer.tar\0a comment\0", 20);
  const uint32_t crc =
      crc32_gzip_refl(0, reinterpret_cast<const unsigned char*>(header.data()), header.size());
  header += static_cast<char>(crc & 0xff);
  header += static_cast<char>(crc >> 8 & 0xff);
  return header + gzip.substr(kFixedBytes);
}

TEST(GzipTest, AHeaderMayComeInPieces) {
  const std::string data = SampleData(2000);
  const std::string member = WithFullHeader(Gzip(data));
  for (size_t piece = 1; piece <= member.size(); ++piece) {
    auto out = InflateAll(Compression::kGzip, member + member, piece, 4096);
    ASSERT_TRUE(out.ok()) << piece << " " << out.error().message();
    EXPECT_TRUE(*out == data + data) << piece;
  }
  std::string bad = member;
  bad[15] ^= 1;  // in the extra field
  EXPECT_EQ(InflateAll(Compression::kGzip, bad, 7, 4096).code(), Code::kDataLoss);
}

TEST_P(InflateTest, EveryTruncationIsNoticed) {
  const std::string blob = Compress(SampleData(3000));
  for (size_t size = 0; size < blob.size(); ++size) {
    auto out = InflateAll(GetParam(), std::string_view(blob).substr(0, size), 4096, 4096);
    EXPECT_EQ(out.code(), Code::kDataLoss) << size << " of " << blob.size();
  }
}

TEST_P(InflateTest, GarbageIsNoticed) {
  const std::string blob = Compress(SampleData(3000));
  for (const std::string& bad : {blob + "x", blob + std::string(512, '\0'), "x" + blob,
                                 std::string("not compressed at all"), std::string(100, '\xff')}) {
    EXPECT_EQ(InflateAll(GetParam(), bad, 4096, 4096).code(), Code::kDataLoss);
  }
}

INSTANTIATE_TEST_SUITE_P(All, InflateTest, testing::Values(Compression::kGzip, Compression::kZstd));

}  // namespace
}  // namespace berth::image
