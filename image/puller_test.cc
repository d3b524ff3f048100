// Pulls from a real registry.
#include "image/puller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "image/digest.h"
#include "image/manifest.h"
#include "snapshotter/overlay.h"
#include "tests/testing/puller_fixture.h"
#include "tests/testing/registry.h"

namespace berth::image {
namespace {

using berth::testing::BuildImage;
using berth::testing::BuildIndex;
using berth::testing::BuiltImage;
using berth::testing::EntryType;
using berth::testing::HaveDockerRegistry;
using berth::testing::MakeTar;
using berth::testing::PullerFixture;
using berth::testing::SimpleImage;
using berth::testing::TestImage;
using berth::testing::TestRegistry;
using berth::testing::TestRegistryOptions;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class PullerTest : public PullerFixture {
 protected:
  PullerTest() : PullerFixture(snapshotter::OpenOverlay) {}

  void SetUp() override {
    if (!HaveDockerRegistry()) GTEST_SKIP() << "docker-registry is not installed";
    PullerFixture::SetUp();
  }
  // Starts the registry and returns the prefix of its references.
  std::string Start(const TestRegistryOptions& options = {}) {
    auto registry = TestRegistry::Start(options);
    EXPECT_TRUE(registry.ok()) << registry.error().message();
    registry_ = std::move(*registry);
    return StrCat(registry_->address(), "/");
  }
  void Push(const std::string& repository, const std::string& tag, const BuiltImage& image) {
    Status status = registry_->Push(repository, tag, image);
    ASSERT_TRUE(status.ok()) << status.error().message();
  }
  std::unique_ptr<TestRegistry> registry_;
};

TEST_F(PullerTest, PullsEveryCompressionByTag) {
  const std::string prefix = Start();
  TestImage source;
  source.layers = {
      {MakeTar({{.path = "etc/", .type = EntryType::kDirectory, .mode = 0755},
                {.path = "etc/one", .content = "1"}}),
       Compression::kGzip},
      {MakeTar({{.path = "two", .content = std::string(300'000, '2')}}), Compression::kZstd},
      {MakeTar({{.path = "three", .content = "3"}}), Compression::kNone}};
  source.config = {{"Cmd", {"/bin/sh"}}, {"User", "7:8"}};
  for (bool docker : {false, true}) {
    source.docker_types = docker;
    BuiltImage built = BuildImage(source);
    const std::string reference = StrCat(prefix, docker ? "team/docker:v1" : "team/oci:v1");
    Push(docker ? "team/docker" : "team/oci", "v1", built);

    std::vector<LayerProgress> last;
    PullRequest request{reference, {}, [&](const std::vector<LayerProgress>& now) { last = now; }};
    auto image = puller_->Pull(Context::WithTimeoutMs(60'000), request);
    ASSERT_TRUE(image.ok()) << image.error().message();
    EXPECT_EQ((*image)->id, built.config.digest);
    EXPECT_THAT((*image)->repo_tags, ::testing::Contains(reference));
    EXPECT_THAT(
        (*image)->repo_digests,
        ::testing::Contains(StrCat(reference.substr(0, reference.size() - 3), "@", built.digest)));
    EXPECT_EQ((*image)->config.user, "7:8");
    EXPECT_EQ((*image)->config_json, built.config.bytes);
    EXPECT_GE((*image)->size_bytes, 300'000u);
    EXPECT_GT((*image)->pulled_at_ns, 0);
    EXPECT_EQ(LayerFile(built.diff_ids[0], "etc/one"), "1");
    EXPECT_EQ(LayerFile(built.diff_ids[1], "two"), std::string(300'000, '2'));
    EXPECT_EQ(LayerFile(built.diff_ids[2], "three"), "3");
    EXPECT_EQ(store_->Find(reference), *image);
    ASSERT_EQ(last.size(), 3u);
    for (const LayerProgress& layer : last) {
      EXPECT_TRUE(layer.state == LayerState::kDone || layer.state == LayerState::kExists);
      EXPECT_EQ(layer.done_bytes, layer.total_bytes);
    }
  }
  EXPECT_EQ(Layers().size(), 3u);
  EXPECT_THAT(Staged(), IsEmpty());
}

TEST_F(PullerTest, ADigestIsTheOnlyNameOfAPullByDigest) {
  const std::string prefix = Start();
  BuiltImage built = SimpleImage({{.path = "a", .content = "a"}});
  Push("app", "", built);
  const std::string reference = StrCat(prefix, "app@", built.digest);
  for (const std::string& text : {reference, StrCat(prefix, "app:v9@", built.digest)}) {
    auto image = Pull(text);
    ASSERT_TRUE(image.ok()) << image.error().message();
    EXPECT_THAT((*image)->repo_tags, IsEmpty());
    EXPECT_THAT((*image)->repo_digests, ElementsAre(reference));
  }
}

TEST_F(PullerTest, AnIndexGivesThisMachinesImage) {
  const std::string prefix = Start();
  BuiltImage mine = SimpleImage({{.path = "a", .content = "mine"}});
  TestImage other_source;
  other_source.layers = {{MakeTar({{.path = "a", .content = "other"}})}};
  other_source.architecture = "s390x";
  BuiltImage other = BuildImage(other_source);
  Push("app", "", mine);
  Push("app", "", other);
  const std::string architecture = HostPlatform().architecture;
  auto index = BuildIndex({{&other, "linux", "s390x"}, {&mine, "linux", architecture}});
  auto foreign = BuildIndex({{&other, "linux", "s390x"}});
  ASSERT_TRUE(registry_->PushIndex("app", "multi", index).ok());
  ASSERT_TRUE(registry_->PushIndex("app", "foreign", foreign).ok());
  Push("app", "mainframe", other);

  auto image = Pull(StrCat(prefix, "app:multi"));
  ASSERT_TRUE(image.ok()) << image.error().message();
  EXPECT_EQ((*image)->id, mine.config.digest);
  EXPECT_THAT((*image)->repo_digests, ElementsAre(StrCat(prefix, "app@", index.digest)));
  EXPECT_EQ(LayerFile(mine.diff_ids[0], "a"), "mine");

  for (const char* tag : {"foreign", "mainframe"}) {
    auto none = Pull(StrCat(prefix, "app:", tag));
    EXPECT_EQ(none.code(), Code::kNotFound);
    EXPECT_THAT(none.error().message(), HasSubstr("s390x"));
  }
  EXPECT_THAT(Layers(), UnorderedElementsAre(mine.diff_ids[0]));
}

TEST_F(PullerTest, UnknownNamesAreNotFound) {
  const std::string prefix = Start();
  BuiltImage built = SimpleImage({{.path = "a", .content = "a"}});
  Push("app", "v1", built);
  for (const std::string& name :
       {std::string("app:v2"), std::string("other:v1"), StrCat("app@", DigestOf("nothing"))}) {
    auto image = Pull(StrCat(prefix, name));
    EXPECT_EQ(image.code(), Code::kNotFound) << name;
    EXPECT_THAT(image.error().message(), HasSubstr(StrCat(prefix, name)));
  }
}

TEST_F(PullerTest, PrivateRepositoriesWantTheRightUser) {
  const std::string prefix = Start({.username = "user", .password = "s3cret"});
  BuiltImage built = SimpleImage({{.path = "a", .content = "a"}});
  Push("app", "v1", built);
  const std::string reference = StrCat(prefix, "app:v1");

  RegistryAuth wrong;
  wrong.username = "user";
  wrong.password = "wr0ng";
  RegistryAuth elsewhere;
  elsewhere.username = "user";
  elsewhere.password = "s3cret";
  elsewhere.server_address = "registry.example";
  for (const RegistryAuth& auth : {RegistryAuth{}, wrong, elsewhere}) {
    auto image = Pull(reference, auth);
    EXPECT_EQ(image.code(), Code::kUnauthenticated);
    EXPECT_THAT(image.error().message(), Not(HasSubstr("s3cret")));
    EXPECT_THAT(image.error().message(), Not(HasSubstr("wr0ng")));
  }
  RegistryAuth right;
  right.auth = "dXNlcjpzM2NyZXQ=";
  right.server_address = registry_->address();
  auto image = Pull(reference, right);
  ASSERT_TRUE(image.ok()) << image.error().message();
  // That it is here now is no reason to give it to anybody.
  EXPECT_EQ(Pull(reference, wrong).code(), Code::kUnauthenticated);
}

TEST_F(PullerTest, TlsNeedsTrust) {
  const std::string prefix = Start({.username = "", .password = "", .tls = true});
  BuiltImage built = SimpleImage({{.path = "a", .content = "a"}});
  Push("app", "v1", built);
  PullerOptions options;
  options.registry.hosts = {{registry_->address(), false, false, ""}};
  Open(options);
  EXPECT_EQ(Pull(StrCat(prefix, "app:v1")).code(), Code::kFailedPrecondition);
  options.registry.hosts[0].ca_file = registry_->certificate();
  Open(options);
  auto image = Pull(StrCat(prefix, "app:v1"));
  EXPECT_TRUE(image.ok()) << image.error().message();
}

TEST_F(PullerTest, AMirrorWithTlsAndAUserOfItsOwnStandsInForItsRegistry) {
  Start({.username = "user", .password = "s3cret", .tls = true});
  BuiltImage built = SimpleImage({{.path = "a", .content = "a"}});
  Push("team/app", "v1", built);
  PullerOptions options;
  options.registry.config_dirs = {dir_ / "certs.d"};
  options.registry.credentials_file = dir_ / "config.json";
  Open(options);
  const std::string directory = dir_ / "certs.d/registry.invalid";
  auto write = [](const std::string& file, const std::string& text) {
    EXPECT_TRUE(AtomicWriteFileAt(AT_FDCWD, file, text, 0600).ok());
  };
  ASSERT_TRUE(MakeDirs(directory, 0700).ok());
  write(StrCat(directory, "/ca.pem"), *ReadFile(registry_->certificate()));
  write(dir_ / "config.json", StrCat(R"({"auths":{")", registry_->address(),
                                     R"(":{"username":"user","password":"s3cret"}}})"));
  EXPECT_EQ(Pull("registry.invalid/team/app:v1").code(), Code::kUnavailable);
  // Read at every pull: no restart.
  write(StrCat(directory, "/hosts.toml"),
        StrCat("[host.\"https://", registry_->address(), "\"]\nca = \"ca.pem\"\n"));
  auto image = Pull("registry.invalid/team/app:v1");
  ASSERT_TRUE(image.ok()) << image.error().message();
  EXPECT_EQ((*image)->repo_tags, std::vector<std::string>{"registry.invalid/team/app:v1"});
  EXPECT_EQ(LayerFile(built.diff_ids[0], "a"), "a");
}

TEST_F(PullerTest, ImagesAreThereAfterARestart) {
  const std::string prefix = Start();
  BuiltImage built = SimpleImage({{.path = "a", .content = "a"}});
  Push("app", "v1", built);
  auto image = Pull(StrCat(prefix, "app:v1"));
  ASSERT_TRUE(image.ok()) << image.error().message();
  Open({});
  auto again = store_->Find(StrCat(prefix, "app:v1"));
  ASSERT_NE(again, nullptr);
  EXPECT_EQ(again->id, (*image)->id);
  EXPECT_EQ(again->repo_tags, (*image)->repo_tags);
  EXPECT_EQ(again->repo_digests, (*image)->repo_digests);
  EXPECT_EQ(again->size_bytes, (*image)->size_bytes);
  EXPECT_EQ(again->pulled_at_ns, (*image)->pulled_at_ns);
  EXPECT_EQ(again->config.env, (*image)->config.env);
}

}  // namespace
}  // namespace berth::image
