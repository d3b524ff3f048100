#include "image/reference.h"

#include <gtest/gtest.h>

#include <string>

namespace berth::image {
namespace {

const std::string kHex(64, 'a');
const std::string kDigest = "sha256:" + kHex;

struct Good {
  std::string text;
  std::string domain;
  std::string repository;
  std::string tag;
  std::string digest;
};

TEST(ReferenceTest, NormalisesWhatUsersWrite) {
  const Good table[] = {
      {"busybox", "docker.io", "library/busybox", "latest", ""},
      {"busybox:1.36", "docker.io", "library/busybox", "1.36", ""},
      {"team/app", "docker.io", "team/app", "latest", ""},
      {"docker.io/busybox", "docker.io", "library/busybox", "latest", ""},
      {"index.docker.io/busybox:x", "docker.io", "library/busybox", "x", ""},
      {"localhost/app", "localhost", "app", "latest", ""},
      {"localhost:5000/app:v1", "localhost:5000", "app", "v1", ""},
      {"127.0.0.1:5000/a/b/c", "127.0.0.1:5000", "a/b/c", "latest", ""},
      {"[::1]:5000/app:v1", "[::1]:5000", "app", "v1", ""},
      {"[2001:db8::1]/app", "[2001:db8::1]", "app", "latest", ""},
      {"Registry/app", "Registry", "app", "latest", ""},
      {"registry.example/a__b/c---d.e_f:T_1.2-x", "registry.example", "a__b/c---d.e_f", "T_1.2-x",
       ""},
      {"app@" + kDigest, "docker.io", "library/app", "", kDigest},
      {"r.example/app:1@" + kDigest, "r.example", "app", "1", kDigest},
      {"a:" + std::string(128, 't'), "docker.io", "library/a", std::string(128, 't'), ""},
  };
  for (const Good& row : table) {
    auto got = ParseReference(row.text);
    ASSERT_TRUE(got.ok()) << row.text << ": " << got.error().message();
    EXPECT_EQ(got->domain, row.domain) << row.text;
    EXPECT_EQ(got->repository, row.repository) << row.text;
    EXPECT_EQ(got->tag, row.tag) << row.text;
    EXPECT_EQ(got->digest, row.digest) << row.text;
  }
}

TEST(ReferenceTest, RefusesEverythingElse) {
  const std::string table[] = {
      "",
      ":",
      "/",
      "@",
      "app:",
      "app@",
      ":tag",
      "/app",
      "app/",
      "a//b",
      "App",
      "team/App",
      "http://host/app",
      "https://host/app:1",
      "host.example/../etc/passwd",
      "host.example/./app",
      "-host.example/app",
      "host-.example/app",
      "host..example/app",
      "host.example:0/app",
      "host.example:65536/app",
      "host.example:12x/app",
      "host.example:/app",
      "host.example:+80/app",
      "[::1/app",
      "[]/app.x",
      "[::g]:80/app",
      "user@host/app",
      "a b",
      "app\n",
      std::string("app\0x", 5),
      "app:..",
      "app:-x",
      "app:a/b",
      "app:" + std::string(129, 't'),
      "a.-b",
      "a._b",
      "a___b",
      "_a",
      "a_",
      "a.",
      "caf\xc3\xa9",
      kHex,
      "app@sha256:" + std::string(63, 'a'),
      "app@sha256:" + std::string(64, 'A'),
      "app@sha256:../../" + std::string(58, 'a'),
      "app@sha512:" + kHex + kHex,
      "app@md5:" + std::string(32, 'a'),
      "app@" + kDigest + "@" + kDigest,
      "app@" + kDigest + ":tag",
      std::string(256, 'a'),
      std::string(100'000, 'a'),
      "host.example/" + std::string(250, 'a'),
  };
  for (const std::string& text : table) {
    auto got = ParseReference(text);
    ASSERT_FALSE(got.ok()) << text << " gave " << got->ToString();
    EXPECT_EQ(got.code(), Code::kInvalidArgument) << text;
    EXPECT_LT(got.error().message().size(), 2000u);
  }
}

TEST(ReferenceTest, WritesItselfBack) {
  EXPECT_EQ(ParseReference("busybox")->ToString(), "docker.io/library/busybox:latest");
  EXPECT_EQ(ParseReference("a:1@" + kDigest)->ToString(), "docker.io/library/a@" + kDigest);
  EXPECT_EQ(ParseReference("a:1@" + kDigest)->TagOrDigest(), kDigest);
}

TEST(ReferenceTest, HostOfLeavesThePortOut) {
  EXPECT_EQ(HostOf("localhost:5000"), "localhost");
  EXPECT_EQ(HostOf("[::1]:5000"), "::1");
  EXPECT_EQ(HostOf("[::1]"), "::1");
  EXPECT_EQ(HostOf("registry.example"), "registry.example");
}

}  // namespace
}  // namespace berth::image
