#include "image/registry_auth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "image/registry.h"
#include "image/url.h"

namespace berth::image {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ParseChallengesTest, ReadsWhatRegistriesSend) {
  auto docker =
      ParseChallenges(R"(Bearer realm="https://auth.docker.io/token",service="registry.docker.io",)"
                      R"(scope="repository:library/busybox:pull")");
  ASSERT_TRUE(docker.ok()) << docker.error().message();
  ASSERT_EQ(docker->size(), 1u);
  EXPECT_EQ((*docker)[0].scheme, "bearer");
  EXPECT_EQ((*docker)[0].params.at("realm"), "https://auth.docker.io/token");
  EXPECT_EQ((*docker)[0].params.at("scope"), "repository:library/busybox:pull");

  auto two = ParseChallenges(R"(Negotiate, BASIC Realm = "a \"b\", c" , charset=UTF-8,)"
                             R"( Bearer realm="x")");
  ASSERT_TRUE(two.ok()) << two.error().message();
  ASSERT_EQ(two->size(), 3u);
  EXPECT_EQ((*two)[0].scheme, "negotiate");
  EXPECT_EQ((*two)[1].params.at("realm"), "a \"b\", c");
  EXPECT_EQ((*two)[1].params.at("charset"), "UTF-8");
  EXPECT_EQ((*two)[2].scheme, "bearer");

  EXPECT_TRUE(ParseChallenges("")->empty());
  EXPECT_TRUE(ParseChallenges(" , ,")->empty());
}

TEST(ParseChallengesTest, RefusesEverythingElse) {
  const std::string table[] = {
      "=",
      "realm=\"x\"",
      "Bearer realm=\"x",
      "Bearer realm=",
      "Bearer realm=\"x\\",
      "Bearer realm=\"x\r\ny\"",
      std::string("Bearer realm=\"x\0y\"", 18),
      "Bearer realm=\"x\",realm=\"y\"",
      "Bearer \"x\"",
      "B\xc3\xa4rer realm=x",
      "a b c d e f g h i j k",
      "Bearer realm=\"" + std::string(9000, 'x') + "\"",
  };
  for (const std::string& text : table) {
    auto got = ParseChallenges(text);
    EXPECT_EQ(got.code(), Code::kDataLoss) << text.substr(0, 100);
  }
  std::string many = "Bearer a0=x";
  for (int i = 1; i < 20; ++i) many += StrCat(",a", i, "=x");
  EXPECT_EQ(ParseChallenges(many).code(), Code::kDataLoss);
}

TEST(CredentialsTest, AreForTheirHostOnly) {
  RegistryAuth auth;
  auth.username = "user";
  auth.password = "secret";
  struct Row {
    const char* server_address;
    const char* domain;
    bool given;
  };
  const Row table[] = {
      {"", "registry.example", true},
      {"registry.example", "registry.example", true},
      {"https://Registry.Example/v2/", "registry.example", true},
      {"registry.example:5000", "registry.example:5000", true},
      {"registry.example:5000", "registry.example", false},
      {"registry.example", "registry.example:5000", false},
      {"registry.example", "registry.example.attacker.example", false},
      {"https://registry.example@attacker.example/", "registry.example", false},
      {"https://index.docker.io/v1/", "docker.io", true},
      {"docker.io", "docker.io", true},
      {"docker.io", "quay.io", false},
  };
  for (const Row& row : table) {
    auth.server_address = row.server_address;
    auto credentials = CredentialsFor(auth, row.domain);
    ASSERT_TRUE(credentials.ok());
    EXPECT_EQ(credentials->username == "user", row.given)
        << row.server_address << " " << row.domain;
    EXPECT_EQ(credentials->password == "secret", row.given);
  }
}

TEST(CredentialsTest, UnpacksAuth) {
  RegistryAuth auth;
  auth.auth = "dXNlcjpzZWM6cmV0";  // user:sec:ret
  auto credentials = CredentialsFor(auth, "r.example");
  ASSERT_TRUE(credentials.ok());
  EXPECT_EQ(credentials->username, "user");
  EXPECT_EQ(credentials->password, "sec:ret");
  auth.auth = "dTpw";  // u:p
  EXPECT_EQ(CredentialsFor(auth, "r.example")->password, "p");
  auth.auth = "dTpwdw==";  // u:pw
  EXPECT_EQ(CredentialsFor(auth, "r.example")->password, "pw");
}

TEST(CredentialsTest, BadOnesAreNotQuoted) {
  RegistryAuth auth;
  for (const char* text : {"c2VjcmV0", "se!cret", "=", "secret"}) {
    auth.auth = text;
    auto credentials = CredentialsFor(auth, "r.example");
    ASSERT_FALSE(credentials.ok()) << text;
    EXPECT_EQ(credentials.code(), Code::kInvalidArgument);
    EXPECT_THAT(credentials.error().message(), Not(HasSubstr("secret")));
  }
  auth = {};
  auth.registry_token = "secret\r\nX-Evil: 1";
  auto credentials = CredentialsFor(auth, "r.example");
  EXPECT_EQ(credentials.code(), Code::kInvalidArgument);
  EXPECT_THAT(credentials.error().message(), Not(HasSubstr("secret")));
}

TEST(CredentialsTest, FingerprintsTellUsersApart) {
  Credentials a{"ab", "c", "", ""};
  Credentials b{"a", "bc", "", ""};
  EXPECT_NE(a.Fingerprint(), b.Fingerprint());
  EXPECT_NE(a.Fingerprint(), Credentials{}.Fingerprint());
  EXPECT_EQ(a.Fingerprint(), Credentials(a).Fingerprint());
}

TEST(UrlTest, OriginsDecideWhoIsTalkedTo) {
  EXPECT_EQ(*OriginOf("https://Host.Example/a?b"), *OriginOf("https://host.example:443/"));
  EXPECT_NE(*OriginOf("https://host.example/"), *OriginOf("http://host.example/"));
  EXPECT_NE(*OriginOf("https://host.example/"), *OriginOf("https://host.example:444/"));
  for (const char* bad : {"", "host", "ftp://host/", "file:///etc/passwd", "https://u:p@host/",
                          "https://u@host/", "https://", "javascript:1"}) {
    EXPECT_EQ(OriginOf(bad).code(), Code::kInvalidArgument) << bad;
  }
}

TEST(UrlTest, ResolvesLocations) {
  EXPECT_EQ(*ResolveUrl("https://a.example/v2/x", "/y?z=1"), "https://a.example/y?z=1");
  EXPECT_EQ(*ResolveUrl("https://a.example/v2/x", "//b.example/y"), "https://b.example/y");
  EXPECT_EQ(*ResolveUrl("https://a.example/v2/x", "http://c.example/"), "http://c.example/");
  EXPECT_FALSE(ResolveUrl("https://a.example/", std::string("/a\0b", 4)).ok());
}

TEST(UrlTest, MessagesCarryNoSignatures) {
  EXPECT_EQ(UrlForMessage("https://cdn.example/blob?X-Amz-Signature=secret#x"),
            "https://cdn.example/blob");
}

}  // namespace
}  // namespace berth::image
