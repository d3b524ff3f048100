// PullImage, ListImages, ImageStatus, RemoveImage, ImageFsInfo against a real registry.
#include <thread>

#include "base/file.h"
#include "base/json.h"
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"
#include "tests/testing/http_server.h"

namespace berth::e2e {
namespace {

using testing::BuildImage;
using testing::BuiltImage;

class Images : public E2eTest {
 protected:
  Result<rt::PullImageResponse> Pull(const std::string& reference) {
    rt::PullImageRequest request;
    request.mutable_image()->set_image(reference);
    return cri().Call(request);
  }
  Result<rt::ImageStatusResponse> Lookup(const std::string& reference) {
    rt::ImageStatusRequest request;
    request.mutable_image()->set_image(reference);
    return cri().Call(request);
  }
  Result<rt::RemoveImageResponse> RemoveImage(const std::string& reference) {
    rt::RemoveImageRequest request;
    request.mutable_image()->set_image(reference);
    return cri().Call(request);
  }
  // Pushes a small image whose content depends on `salt`; returns its name without tag.
  std::string Push(const std::string& repository, const std::string& salt, BuiltImage& image) {
    image = testing::SimpleImage({{.path = "salt", .content = salt}});
    auto registry = SharedRegistry();
    EXPECT_OK(registry);
    EXPECT_OK((*registry)->Push(repository, "v1", image));
    return StrCat((*registry)->address(), "/", repository);
  }
};

TEST_F(Images, TheIdIsTheConfigDigestInEveryField) {
  BuiltImage image;
  const std::string name = Push("images/id", "id", image);
  auto pulled = Pull(name + ":v1");
  ASSERT_OK(pulled);
  EXPECT_EQ(pulled->image_ref(), image.config.digest);
  for (const std::string& reference : {name + ":v1", StrCat(name, "@", image.digest),
                                       image.config.digest, image.config.digest.substr(7)}) {
    auto status = Lookup(reference);
    ASSERT_OK(status);
    EXPECT_EQ(status->image().id(), image.config.digest) << reference;
  }
  auto status = Lookup(name + ":v1");
  ASSERT_OK(status);
  ASSERT_EQ(status->image().repo_tags_size(), 1);
  EXPECT_EQ(status->image().repo_tags(0), name + ":v1");
  ASSERT_EQ(status->image().repo_digests_size(), 1);
  EXPECT_EQ(status->image().repo_digests(0), StrCat(name, "@", image.digest));
  EXPECT_GT(status->image().size(), 0u);
}

TEST_F(Images, VerboseStatusHasTheConfiguration) {
  rt::ImageStatusRequest request;
  request.mutable_image()->set_image(image());
  auto brief = cri().Call(request);
  ASSERT_OK(brief);
  EXPECT_TRUE(brief->info().empty());
  request.set_verbose(true);
  auto status = cri().Call(request);
  ASSERT_OK(status);
  ASSERT_TRUE(status->info().contains("info"));
  auto info = ParseJson(status->info().at("info"));
  ASSERT_OK(info);
  auto pushed = BusyboxImage();
  ASSERT_OK(pushed);
  const Json& config = (*info)["imageSpec"]["config"];
  EXPECT_EQ(config["Cmd"], pushed->config["Cmd"]);
  EXPECT_EQ(config["Env"], pushed->config["Env"]);
  EXPECT_EQ((*info)["imageSpec"]["rootfs"]["diff_ids"].size(), 1u);
}

TEST_F(Images, ContainersSayTheSameId) {
  auto status = Lookup(image());
  ASSERT_OK(status);
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = Create(*pod, ShellConfig("true"));
  ASSERT_OK(container);
  auto container_status = Status(*container);
  ASSERT_OK(container_status);
  EXPECT_EQ(container_status->image_id(), status->image().id());
  auto list = cri().Call(rt::ListContainersRequest());
  ASSERT_OK(list);
  for (const auto& item : list->containers()) {
    if (item.id() == *container) {
      EXPECT_EQ(item.image_id(), status->image().id());
      EXPECT_EQ(item.image_ref(), container_status->image_ref());
    }
  }
}

TEST_F(Images, PullByDigestHasNoTag) {
  BuiltImage image;
  const std::string name = Push("images/digest", "digest", image);
  ASSERT_OK(Pull(StrCat(name, "@", image.digest)));
  auto status = Lookup(image.config.digest);
  ASSERT_OK(status);
  EXPECT_EQ(status->image().repo_tags_size(), 0);
  ASSERT_EQ(status->image().repo_digests_size(), 1);
  EXPECT_EQ(status->image().repo_digests(0), StrCat(name, "@", image.digest));
}

TEST_F(Images, ListFiltersByReference) {
  BuiltImage image;
  const std::string name = Push("images/list", "list", image);
  ASSERT_OK(Pull(name + ":v1"));
  auto all = cri().Call(rt::ListImagesRequest());
  ASSERT_OK(all);
  EXPECT_GE(all->images_size(), 2);
  rt::ListImagesRequest one;
  one.mutable_filter()->mutable_image()->set_image(name + ":v1");
  auto filtered = cri().Call(one);
  ASSERT_OK(filtered);
  ASSERT_EQ(filtered->images_size(), 1);
  EXPECT_EQ(filtered->images(0).id(), image.config.digest);
}

TEST_F(Images, RemoveForgetsAllNamesAndIsIdempotent) {
  BuiltImage image;
  const std::string name = Push("images/remove", "remove", image);
  ASSERT_OK(Pull(name + ":v1"));
  EXPECT_OK(RemoveImage(name + ":v1"));
  EXPECT_OK(RemoveImage(name + ":v1"));
  EXPECT_OK(RemoveImage(image.config.digest));
  auto status = Lookup(image.config.digest);
  ASSERT_OK(status);
  EXPECT_FALSE(status->has_image());
  // It can come back.
  ASSERT_OK(Pull(name + ":v1"));
}

TEST_F(Images, SimultaneousRemovalsAndPullsLeaveWholeImagesOrNone) {
  BuiltImage image;
  const std::string name = Push("images/race", "race", image);
  for (int round = 0; round < 5; ++round) {
    ASSERT_OK(Pull(name + ":v1"));
    std::vector<std::thread> threads;
    std::vector<std::string> failures(6);
    for (size_t i = 0; i < failures.size(); ++i) {
      threads.emplace_back([&, i] {
        if (i == 0) {
          auto pulled = Pull(name + ":v1");
          if (!pulled.ok()) failures[i] = ErrorText(pulled);
          return;
        }
        auto removed = RemoveImage(i % 2 == 0 ? name + ":v1" : image.config.digest);
        if (!removed.ok()) failures[i] = ErrorText(removed);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const std::string& failure : failures) EXPECT_EQ(failure, "");
  }
  // Whatever has won: it is there with all that a container needs, or gone and can come back.
  ASSERT_OK(Pull(name + ":v1"));
  auto status = Lookup(name + ":v1");
  ASSERT_OK(status);
  EXPECT_EQ(status->image().repo_tags_size(), 1);
  ASSERT_OK(RemoveImage(name + ":v1"));
  EXPECT_FALSE(Lookup(image.config.digest)->has_image());
}

TEST_F(Images, AnImageInUseCanBeRemovedAndItsContainerLivesOn) {
  auto test_image = BusyboxImage();
  ASSERT_OK(test_image);
  test_image->config["Labels"] = {{"only", "here"}};
  const BuiltImage built = BuildImage(*test_image);
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  ASSERT_OK((*registry)->Push("images/used", "v1", built));
  const std::string name = StrCat((*registry)->address(), "/images/used:v1");
  ASSERT_OK(Pull(name));
  auto pod = RunPod();
  ASSERT_OK(pod);
  rt::ContainerConfig config = ShellConfig("sleep 1000");
  config.mutable_image()->set_image(name);
  config.mutable_image()->set_user_specified_image("used");
  (*config.mutable_image()->mutable_annotations())["a"] = "b";
  auto container = RunContainer(*pod, config);
  ASSERT_OK(container);
  ASSERT_OK(RemoveImage(name));
  EXPECT_EQ(ShellIn(*container, "ls /bin/sh && echo still"), "/bin/sh\nstill\n");
  auto status = Status(*container);
  ASSERT_OK(status);
  EXPECT_EQ(status->image_id(), built.config.digest);
  EXPECT_EQ(status->image().user_specified_image(), "used");
  EXPECT_EQ(status->image().annotations().at("a"), "b");
}

TEST_F(Images, AMovedTagLeavesTheOldImageWithoutIt) {
  BuiltImage first;
  const std::string name = Push("images/moved", "first", first);
  ASSERT_OK(Pull(name + ":v1"));
  BuiltImage second;
  Push("images/moved", "second", second);
  auto pulled = Pull(name + ":v1");
  ASSERT_OK(pulled);
  EXPECT_EQ(pulled->image_ref(), second.config.digest);
  auto old = Lookup(first.config.digest);
  ASSERT_OK(old);
  EXPECT_EQ(old->image().repo_tags_size(), 0);
}

TEST_F(Images, UserOfTheImageIsReported) {
  auto test_image = BusyboxImage();
  ASSERT_OK(test_image);
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  for (const std::string user : {"1000", "app", "1000:2000", "app:extra"}) {
    test_image->config["User"] = user;
    const BuiltImage built = BuildImage(*test_image);
    ASSERT_OK((*registry)->Push("images/user", "u", built));
    ASSERT_OK(Pull(StrCat((*registry)->address(), "/images/user:u")));
    auto status = Lookup(built.config.digest);
    ASSERT_OK(status);
    if (user.starts_with("1000")) {
      EXPECT_EQ(status->image().uid().value(), 1000) << user;
    } else {
      EXPECT_EQ(status->image().username(), "app") << user;
    }
  }
}

TEST_F(Images, AnnotationsOfTheManifestAreReported) {
  auto test_image = BusyboxImage();
  ASSERT_OK(test_image);
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  test_image->annotations = {{"org.opencontainers.image.version", "1.2"}};
  test_image->config["Labels"] = {{"not", "the same image"}};
  const BuiltImage built = BuildImage(*test_image);
  ASSERT_OK((*registry)->Push("images/annotated", "a", built));
  ASSERT_OK(Pull(StrCat((*registry)->address(), "/images/annotated:a")));
  auto status = Lookup(built.config.digest);
  ASSERT_OK(status);
  const rt::ImageSpec& spec = status->image().spec();
  EXPECT_EQ(spec.image(), built.config.digest);
  ASSERT_EQ(spec.annotations_size(), 1);
  EXPECT_EQ(spec.annotations().at("org.opencontainers.image.version"), "1.2");
}

TEST_F(Images, FsInfoCountsWhatIsThere) {
  auto info = cri().Call(rt::ImageFsInfoRequest());
  ASSERT_OK(info);
  ASSERT_GE(info->image_filesystems_size(), 1);
  const auto& usage = info->image_filesystems(0);
  EXPECT_GT(usage.used_bytes().value(), 500'000u);
  EXPECT_GT(usage.inodes_used().value(), 100u);
  EXPECT_GT(usage.timestamp(), 0);
  EXPECT_TRUE(usage.fs_id().mountpoint().starts_with(node().dir()));
}

TEST_F(Images, UnknownThingsNameThemselves) {
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  const std::string host = (*registry)->address();
  EXPECT_FAILS(Pull(host + "/no/such:1"), Code::kNotFound, "no/such");
  EXPECT_FAILS(Pull(host + "/test/busybox:none"), Code::kNotFound, "none");
  EXPECT_FAILS(Pull(StrCat(host, "/test/busybox@sha256:", std::string(64, '0'))), Code::kNotFound,
               "sha256:0000");
  auto status = Lookup("no/such:1");
  ASSERT_OK(status);
  EXPECT_FALSE(status->has_image());
}

TEST_F(Images, BadReferencesAreRefused) {
  for (const std::string& reference :
       {std::string(), std::string("x/UPPER"), std::string("a b"), std::string("../x"),
        std::string("x@sha256:12"), std::string("x:") + std::string(200, 't'),
        std::string(5000, 'a'), std::string("http://x/y")}) {
    auto pulled = Pull(reference);
    ASSERT_FALSE(pulled.ok()) << reference;
    EXPECT_EQ(static_cast<int>(pulled.code()), static_cast<int>(Code::kInvalidArgument))
        << reference << ": " << pulled.error().message();
  }
}

TEST_F(Images, RegistryThatIsDownOrWrong) {
  EXPECT_FAILS(Pull("127.0.0.1:1/x:1"), Code::kUnavailable, "127.0.0.1:1");
  auto broken = testing::HttpServer::Start([](const testing::ServerRequest&) {
    return testing::ServerReply{.status = 500, .body = "on fire"};
  });
  ASSERT_OK(broken);
  EXPECT_FAILS(Pull((*broken)->address() + "/x:1"), Code::kUnavailable, "500");
  auto closed = testing::HttpServer::Start([](const testing::ServerRequest&) {
    return testing::ServerReply{.status = 401,
                                .headers = {{"WWW-Authenticate", "Basic realm=\"x\""}}};
  });
  ASSERT_OK(closed);
  auto pulled = Pull((*closed)->address() + "/x:1");
  ASSERT_FALSE(pulled.ok());
  EXPECT_TRUE(pulled.code() == Code::kUnauthenticated || pulled.code() == Code::kPermissionDenied)
      << ErrorText(pulled);
}

TEST_F(Images, ALayerWithAWrongDigestLeavesNothingAndTheNextPullWorks) {
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  const BuiltImage good = testing::SimpleImage({{.path = "salt", .content = "layer"}});
  for (int fault = 0; fault < 3; ++fault) {
    auto server = testing::HttpServer::Start([&](const testing::ServerRequest& request) {
      testing::ServerReply reply;
      if (request.path.find("/manifests/") != std::string::npos) {
        reply.headers = {{"Content-Type", good.media_type}};
        reply.body = good.manifest;
      } else if (request.path.ends_with(good.config.digest)) {
        reply.body = good.config.bytes;
      } else if (request.path.ends_with(good.layers[0].digest)) {
        reply.body = good.layers[0].bytes;
        if (fault == 0) reply.body.back() ^= 1;                            // another digest
        if (fault == 1) reply.body.resize(reply.body.size() / 2);          // truncated
        if (fault == 2) reply.body = std::string(reply.body.size(), 'g');  // garbage
      }
      return reply;
    });
    ASSERT_OK(server);
    auto pulled = Pull((*server)->address() + "/x:1");
    ASSERT_FALSE(pulled.ok()) << "fault " << fault;
    EXPECT_NE(pulled.error().message().find(good.layers[0].digest.substr(0, 19)), std::string::npos)
        << pulled.error().message();
    auto status = Lookup(good.config.digest);
    ASSERT_OK(status);
    EXPECT_FALSE(status->has_image());
  }
  ASSERT_OK((*registry)->Push("images/again", "v1", good));
  EXPECT_OK(Pull((*registry)->address() + "/images/again:v1"));
}

TEST_F(Images, BasicAuthFromTheRequest) {
  auto registry = testing::TestRegistry::Start({.username = "alice", .password = "secret"});
  ASSERT_OK(registry);
  const BuiltImage image = testing::SimpleImage({{.path = "salt", .content = "auth"}});
  ASSERT_OK((*registry)->Push("private", "1", image));
  rt::PullImageRequest request;
  request.mutable_image()->set_image((*registry)->address() + "/private:1");
  EXPECT_FALSE(cri().Call(request).ok());
  request.mutable_auth()->set_username("alice");
  request.mutable_auth()->set_password("wrong");
  auto refused = cri().Call(request);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message().find("wrong"), std::string::npos) << "shows the password";
  request.mutable_auth()->set_password("secret");
  EXPECT_OK(cri().Call(request));
  auto log = ReadFile(node().dir() + "/berthd.log");
  ASSERT_OK(log);
  EXPECT_EQ(log->find("secret"), std::string::npos) << "the password is in the daemon's log";
}

}  // namespace
}  // namespace berth::e2e
