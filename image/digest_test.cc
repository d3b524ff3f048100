#include "image/digest.h"

#include <gtest/gtest.h>

#include <string>

namespace berth::image {
namespace {

TEST(DigestTest, AcceptsOneSpellingOnly) {
  EXPECT_TRUE(IsDigest("sha256:" + std::string(64, '0')));
  const std::string bad[] = {
      "",
      "sha256:",
      "sha256",
      std::string(64, 'a'),
      "sha256:" + std::string(63, 'a'),
      "sha256:" + std::string(65, 'a'),
      "sha256:" + std::string(64, 'A'),
      "SHA256:" + std::string(64, 'a'),
      "sha256:" + std::string(63, 'a') + "g",
      "sha256:" + std::string(63, 'a') + "\n",
      "sha256:../../../" + std::string(55, 'a'),
      " sha256:" + std::string(64, 'a'),
      "sha512:" + std::string(128, 'a'),
  };
  for (const std::string& text : bad) {
    EXPECT_FALSE(IsDigest(text)) << text;
    Status status = CheckDigest(text, "layer 3");
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << text;
    EXPECT_TRUE(status.error().message().starts_with("layer 3: ")) << status.error().message();
  }
}

// The examples of FIPS 180-2.
TEST(DigestTest, ComputesSha256) {
  EXPECT_EQ(DigestOf(""),
            "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(DigestOf("abc"),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 sha;
  sha.Update("a");
  sha.Update("");
  sha.Update("bc");
  EXPECT_EQ(sha.Finish(), DigestOf("abc"));
}

}  // namespace
}  // namespace berth::image
