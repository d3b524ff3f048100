// Who is asked for a registry's images, and who gets which credentials: real files, real programs.
#include "image/registry_hosts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/time.h"
#include "image/docker_config.h"
#include "tests/testing/http_server.h"
#include "tests/testing/temp_dir.h"

namespace berth::image {
namespace {

using berth::testing::MakeCertificate;
using berth::testing::TempDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const Context kContext = Context::WithTimeoutMs(100'000);

class RegistryHostsTest : public ::testing::Test {
 protected:
  RegistryHostsTest() { options_.config_dirs = {dir_ / "one", dir_ / "two"}; }

  void Write(const std::string& path, const std::string& text, mode_t mode = 0600) {
    const std::string file = dir_ / path;
    ASSERT_TRUE(MakeDirs(file.substr(0, file.rfind('/')), 0700).ok());
    ASSERT_TRUE(AtomicWriteFileAt(AT_FDCWD, file, text, mode).ok());
  }
  std::vector<std::string> UrlsFor(const std::string& domain) {
    auto endpoints = EndpointsOf(domain, options_);
    EXPECT_TRUE(endpoints.ok()) << endpoints.error().message();
    std::vector<std::string> out;
    if (!endpoints.ok()) return out;
    for (const RegistryEndpoint& endpoint : *endpoints) {
      out.push_back(endpoint.query.empty() ? endpoint.base_url
                                           : StrCat(endpoint.base_url, "?", endpoint.query));
    }
    return out;
  }
  // "user" of each server, in order.
  std::vector<std::string> UsersFor(const std::string& domain, const RegistryAuth& auth) {
    auto routes = RoutesFor(kContext, domain, "app", auth, options_);
    EXPECT_TRUE(routes.ok()) << routes.error().message();
    std::vector<std::string> out;
    if (!routes.ok()) return out;
    for (const AuthScope& scope : *routes) out.push_back(scope.credentials.username);
    return out;
  }

  TempDir dir_;
  RegistryOptions options_;
};

TEST_F(RegistryHostsTest, PlainHttpIsForLoopbackOrConfigured) {
  options_.hosts = {{"plain.example:80", true, false, ""}, {"localhost:6000", false, true, ""}};
  const std::pair<const char*, const char*> table[] = {
      {"docker.io", "https://registry-1.docker.io/v2"},
      {"registry.example", "https://registry.example/v2"},
      {"localhost:5000", "http://localhost:5000/v2"},
      {"127.1.2.3:5000", "http://127.1.2.3:5000/v2"},
      {"[::1]:5000", "http://[::1]:5000/v2"},
      {"plain.example:80", "http://plain.example:80/v2"},
      {"plain.example", "https://plain.example/v2"},
      {"localhost:6000", "https://localhost:6000/v2"},
      {"127.attacker.example", "https://127.attacker.example/v2"},
      {"127.0.0.1.attacker.example", "https://127.0.0.1.attacker.example/v2"},
      {"localhost.attacker.example", "https://localhost.attacker.example/v2"},
  };
  for (const auto& [domain, url] : table) EXPECT_THAT(UrlsFor(domain), ElementsAre(url));
}

TEST_F(RegistryHostsTest, TheFirstDirectoryThatKnowsTheHostCounts) {
  Write("two/r.example/hosts.toml", "[host.\"https://two.example\"]\n");
  EXPECT_THAT(UrlsFor("r.example"),
              ElementsAre("https://two.example/v2?ns=r.example", "https://r.example/v2"));
  Write("one/_default/hosts.toml", "[host.\"https://any.example\"]\n");
  EXPECT_THAT(UrlsFor("r.example").front(), "https://two.example/v2?ns=r.example");
  Write("one/r.example/hosts.toml", "server = \"https://one.example\"\n");
  EXPECT_THAT(UrlsFor("r.example"), ElementsAre("https://one.example/v2?ns=r.example"));

  EXPECT_THAT(UrlsFor("docker.io"), ElementsAre("https://any.example/v2?ns=docker.io",
                                                "https://registry-1.docker.io/v2"));
  options_.hosts = {{"c.example", true, false, ""}};
  EXPECT_THAT(UrlsFor("c.example"), ElementsAre("http://c.example/v2"));

  Write("two/p.example_5000_/hosts.toml", "server = \"http://p.example:5000\"\n");
  EXPECT_THAT(UrlsFor("p.example:5000"), ElementsAre("http://p.example:5000/v2"));
  Write("one/p.example:5000/hosts.toml", "server = \"http://p.example:5000/x\"\n");
  EXPECT_THAT(UrlsFor("p.example:5000"), ElementsAre("http://p.example:5000/x/v2"));
}

TEST_F(RegistryHostsTest, FilesAreReadAnewAndErrorsNameThem) {
  Write("one/r.example/hosts.toml", "server = \n");
  auto bad = EndpointsOf("r.example", options_);
  EXPECT_EQ(bad.code(), Code::kInvalidArgument);
  EXPECT_THAT(bad.error().message(), HasSubstr("one/r.example/hosts.toml:1"));
  Write("one/r.example/hosts.toml", "ca = \"no.pem\"\n");
  bad = EndpointsOf("r.example", options_);
  EXPECT_EQ(bad.code(), Code::kNotFound);
  EXPECT_THAT(bad.error().message(), HasSubstr("one/r.example/no.pem"));
  Write("one/r.example/hosts.toml", "client = \"no.pem\"\n");
  Write("one/r.example/no.pem", "no certificate");
  bad = EndpointsOf("r.example", options_);
  EXPECT_EQ(bad.code(), Code::kInvalidArgument);
  EXPECT_THAT(bad.error().message(), HasSubstr("no PEM certificate"));
  Write("one/r.example/hosts.toml", "");
  EXPECT_TRUE(EndpointsOf("r.example", options_).ok());
}

TEST_F(RegistryHostsTest, DockersDirectoriesAreReadToo) {
  auto files = MakeCertificate(dir_.path());
  ASSERT_TRUE(files.ok());
  Write("two/r.example/ca.crt", *ReadFile(files->certificate));
  Write("two/r.example/me.cert", *ReadFile(files->certificate));
  auto incomplete = EndpointsOf("r.example", options_);
  EXPECT_EQ(incomplete.code(), Code::kInvalidArgument);
  EXPECT_THAT(incomplete.error().message(), HasSubstr("no me.key"));
  Write("two/r.example/me.key", *ReadFile(files->key));
  auto endpoints = EndpointsOf("r.example", options_);
  ASSERT_TRUE(endpoints.ok()) << endpoints.error().message();
  EXPECT_THAT(endpoints->at(0).options->ca_pem, HasSubstr("BEGIN CERTIFICATE"));
  EXPECT_FALSE(endpoints->at(0).options->client_certificates.empty());
}

TEST_F(RegistryHostsTest, CredentialsGoToTheHostTheyAreFor) {
  Write("one/r.example/hosts.toml",
        "server = \"https://real.example\"\n[host.\"https://m.example:5000\"]\n");
  RegistryAuth auth;
  auth.username = "u";
  auth.password = "p";
  EXPECT_THAT(UsersFor("r.example", auth), ElementsAre("", "u"));
  auth.server_address = "r.example";
  EXPECT_THAT(UsersFor("r.example", auth), ElementsAre("", "u"));
  auth.server_address = "https://m.example:5000/v2/";
  EXPECT_THAT(UsersFor("r.example", auth), ElementsAre("u", ""));
  auth.server_address = "other.example";
  EXPECT_THAT(UsersFor("r.example", auth), ElementsAre("", ""));
}

TEST_F(RegistryHostsTest, TheFileHelpsOutWhereTheRequestHasNone) {
  Write("one/r.example/hosts.toml", "[host.\"https://m.example:5000\"]\n");
  Write("config.json", R"({"auths":{"m.example:5000":{"auth":"bTpw"},
      "https://r.example/v1/":{"username":"f","password":"p"},
      "https://index.docker.io/v1/":{"identitytoken":"tok"}}})");
  options_.credentials_file = dir_ / "config.json";
  EXPECT_THAT(UsersFor("r.example", {}), ElementsAre("m", "f"));
  RegistryAuth auth;
  auth.username = "u";
  auth.password = "p";
  EXPECT_THAT(UsersFor("r.example", auth), ElementsAre("m", "u"));
  auto hub = RoutesFor(kContext, "docker.io", "library/x", {}, options_);
  ASSERT_TRUE(hub.ok());
  EXPECT_EQ(hub->at(0).credentials.identity_token, "tok");
  options_.credentials_file = dir_ / "absent.json";
  EXPECT_EQ(RoutesFor(kContext, "r.example", "app", {}, options_).code(), Code::kNotFound);
}

TEST_F(RegistryHostsTest, HelpersAreRunWithBounds) {
  Write(
      "bin/docker-credential-echo",
      "#!/bin/sh\nread -r host\n[ \"$1\" = get ] || exit 9\n"
      "[ \"$host\" = none.example ] && { echo credentials not found in native keychain; exit 1; }\n"
      "[ \"$host\" = bad.example ] && { echo the vault is sealed; exit 1; }\n"
      "[ \"$host\" = odd.example ] && { echo s3cret; exit 0; }\n"
      "[ \"$host\" = tok.example ] && { echo '{\"Username\":\"<token>\",\"Secret\":\"t\"}'; exit "
      "0; }\n"
      "echo \"{\\\"Username\\\":\\\"$host\\\",\\\"Secret\\\":\\\"s\\\"}\"\n",
      0700);
  Write("bin/docker-credential-hang", "#!/bin/sh\nexec sleep 1000\n", 0700);
  Write("config.json", R"({"credsStore":"echo","auths":{"none.example":{"auth":"ZjpwCg=="}},
      "credHelpers":{"gone.example":"gone","slow.example":"hang"}})");
  const std::string file = dir_ / "config.json";
  auto ask = [&](const Context& context, const std::string& host) {
    return CredentialsInFile(context, file, host, StrCat("relative:", dir_ / "bin"));
  };
  EXPECT_EQ(ask(kContext, "R.example:5000")->username, "r.example:5000");
  EXPECT_EQ(ask(kContext, "docker.io")->username, "https://index.docker.io/v1/");
  EXPECT_EQ(ask(kContext, "tok.example")->identity_token, "t");
  EXPECT_EQ(ask(kContext, "none.example")->auth, "ZjpwCg==");
  auto bad = ask(kContext, "bad.example");
  EXPECT_EQ(bad.code(), Code::kFailedPrecondition);
  EXPECT_THAT(
      bad.error().message(),
      HasSubstr("bad.example: docker-credential-echo get: exit code 1: the vault is sealed"));
  auto odd = ask(kContext, "odd.example");
  EXPECT_EQ(odd.code(), Code::kFailedPrecondition);
  EXPECT_THAT(odd.error().message(), Not(HasSubstr("s3cret")));
  EXPECT_THAT(ask(kContext, "gone.example").error().message(),
              HasSubstr("docker-credential-gone is not in"));
  const int64_t begin = MonotonicNs();
  EXPECT_EQ(ask(Context::WithTimeoutMs(300), "slow.example").code(), Code::kDeadlineExceeded);
  EXPECT_LT(MonotonicNs() - begin, 20'000'000'000);
}

TEST(DockerConfigTest, WhatIsWrongIsNamedAndNoSecretShown) {
  const std::pair<const char*, const char*> table[] = {
      {"", "not a JSON object"},
      {"[\"s3cret\"]", "not a JSON object"},
      {R"({"auths":"s3cret"})", "auths is not an object"},
      {R"({"auths":{"r.example":"s3cret"}})", "auths.\"r.example\": not an object"},
      {R"({"auths":{"r.example":{"password":["s3cret"]}}})", "\"password\""},
      {R"({"credsStore":"../../s3"})", "is not the name of a credential helper"},
      {R"({"credHelpers":{"r.example":"a b"}})", "is not the name of a credential helper"},
  };
  for (const auto& [text, says] : table) {
    auto config = ParseDockerConfig(text);
    ASSERT_FALSE(config.ok()) << text;
    EXPECT_EQ(config.code(), Code::kInvalidArgument);
    EXPECT_THAT(config.error().message(), HasSubstr(says)) << text;
    EXPECT_THAT(config.error().message(), Not(HasSubstr("s3cret")));
  }
  EXPECT_TRUE(ParseDockerConfig("{}")->auths.empty());
}

}  // namespace
}  // namespace berth::image
