#include "config/hosts_toml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace berth::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

Result<std::vector<RegistryServer>> Parse(const std::string& text) {
  return ParseHostsToml(text, "hosts.toml", "/c/r.example", "https://r.example");
}

std::vector<std::string> UrlsOf(const std::string& text) {
  auto servers = Parse(text);
  EXPECT_TRUE(servers.ok()) << servers.error().message();
  std::vector<std::string> out;
  if (!servers.ok()) return out;
  for (const RegistryServer& server : *servers) out.push_back(server.url);
  return out;
}

TEST(HostsToml, ServersAreAskedInTheOrderOfTheFileAndTheRegistryLast) {
  EXPECT_THAT(UrlsOf(""), ElementsAre("https://r.example/v2"));
  EXPECT_THAT(UrlsOf(R"(
server = "https://up.example/"
[host."https://z.example"]
[host."http://a.example:5000/mirror/"]
[host."m.example/proxy/v2"]
[host."https://whole.example/api/x"]
  override_path = true
)"),
              ElementsAre("https://z.example/v2", "http://a.example:5000/mirror/v2",
                          "https://m.example/proxy/v2", "https://whole.example/api/x",
                          "https://up.example/v2"));
}

TEST(HostsToml, EveryKeyIsOfItsServer) {
  auto servers = Parse(R"(
server = "https://up.example"
capabilities = ["push"]
ca = "own.pem"
dial_timeout = "1m2s500ms"
[host."https://m.example"]
  capabilities = ["pull", "resolve"]
  ca = ["/a.pem", "b.pem"]
  client = [["c.cert", "c.key"], ["d.pem", ""]]
  skip_verify = true
  [host."https://m.example".header]
    X-One = "1"
    X-Two = ["2", "3"]
[host."https://n.example"]
  client = "/both.pem"
)");
  ASSERT_TRUE(servers.ok()) << servers.error().message();
  ASSERT_EQ(servers->size(), 3u);
  const RegistryServer& mirror = servers->at(0);
  EXPECT_TRUE(mirror.is_mirror && mirror.pull && mirror.resolve && mirror.skip_verify);
  EXPECT_FALSE(mirror.push);
  EXPECT_THAT(mirror.ca_files, ElementsAre("/a.pem", "/c/r.example/b.pem"));
  ASSERT_EQ(mirror.clients.size(), 2u);
  EXPECT_EQ(mirror.clients[0].key, "/c/r.example/c.key");
  EXPECT_EQ(mirror.clients[1].certificate, "/c/r.example/d.pem");
  EXPECT_EQ(mirror.clients[1].key, "");
  EXPECT_THAT(mirror.headers,
              ElementsAre(Pair("X-One", "1"), Pair("X-Two", "2"), Pair("X-Two", "3")));
  EXPECT_EQ(servers->at(1).clients.at(0).certificate, "/both.pem");
  EXPECT_TRUE(servers->at(1).push && servers->at(1).pull);
  const RegistryServer& own = servers->at(2);
  EXPECT_FALSE(own.is_mirror || own.pull || own.resolve);
  EXPECT_TRUE(own.push);
  EXPECT_EQ(own.dial_timeout_ms, 62'500);
  EXPECT_THAT(own.ca_files, ElementsAre("/c/r.example/own.pem"));
}

TEST(HostsToml, ErrorsNameFileLineAndKey) {
  struct Row {
    const char* text;
    const char* says;
  };
  const Row table[] = {
      {"server = [", "hosts.toml:1"},
      {"\n[\x01]", "hosts.toml:2: "},
      {"[!]", "hosts.toml:1: "},
      {"server = 1", "hosts.toml:1: server: must be text"},
      {"\nskip_verfy = true", "hosts.toml:2: skip_verfy: unknown key"},
      {"skip_verify = 1", "must be true or false"},
      {"host = 1", "host: is not a [section]"},
      {"[host]\n\"https://m.example\" = 1", "host.\"https://m.example\": is not a [section]"},
      {"[host.\"ftp://m.example\"]", "neither http nor https"},
      {"[host.\"https://u:p@m.example\"]", "without a user"},
      {"[host.\"https://m.example?x=1\"]", "without a user or a query"},
      {"[host.\"https://\"]", "is not scheme://host"},
      {"[host.\"\"]", "is not a URL"},
      {"capabilities = [\"fetch\"]", "\"fetch\" is none of pull, resolve, push"},
      {"capabilities = [1]", "must be text"},
      {"dial_timeout = \"5\"", "is not a duration"},
      {"dial_timeout = \"500h\"", "is not a duration"},
      {"client = [[\"a\",\"b\",\"c\"]]", "is not a certificate and its key"},
      {"header = 1", "is not a [section]"},
      {"[header]\n\"a b\" = \"x\"", "is not a header's name"},
  };
  for (const Row& row : table) {
    auto servers = Parse(row.text);
    ASSERT_FALSE(servers.ok()) << row.text;
    EXPECT_EQ(servers.code(), Code::kInvalidArgument);
    EXPECT_THAT(servers.error().message(), HasSubstr(row.says)) << row.text;
  }
  auto secret = Parse("[header]\nAuthorization = \"s3cret\\n\"");
  ASSERT_FALSE(secret.ok());
  EXPECT_THAT(secret.error().message(), Not(HasSubstr("s3cret")));
}

}  // namespace
}  // namespace berth::config
