// The store of layers as an operator meets it: damage, and stores beside the daemon's own.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "tests/e2e/berth_command.h"
#include "tests/testing/image_builder.h"

namespace berth::e2e {
namespace {

using ::testing::HasSubstr;

class Store : public BerthCommandTest {
 protected:
  // Busybox and a layer of its own, in the registry.
  std::string Offer(const std::string& repository) {
    auto base = BusyboxImage();
    EXPECT_OK(base);
    testing::TestImage image = *base;
    image.layers.push_back({testing::MakeTar({{.path = "salt", .content = repository}})});
    const testing::BuiltImage built = testing::BuildImage(image);
    auto config = ParseJson(built.config.bytes);
    EXPECT_OK(config);
    layer_ = (*config)["rootfs"]["diff_ids"].back();
    auto registry = SharedRegistry();
    EXPECT_OK(registry);
    EXPECT_OK((*registry)->Push(repository, "v1", built));
    return StrCat((*registry)->address(), "/", repository, ":v1");
  }
  std::string layer_;  // the diffID of the own one
};

TEST_F(Store, ADamagedLayerIsToldAndRepaired) {
  const std::string name = Offer("store/damaged");
  ASSERT_EQ(Berth({"pull", name}).exit_code, 0);
  RunOutput output = Berth({"verify"});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_THAT(output.out, HasSubstr(" layers, 0 damaged, 0 repaired\n"));

  const std::string file =
      StrCat(node().dir(), "/root/overlay/layers/", layer_.substr(7), "/fs/salt");
  ASSERT_EQ(truncate(file.c_str(), 0), 0);
  output = Berth({"verify"});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_THAT(output.out, HasSubstr(StrCat(layer_, ": its files have 0 bytes instead of 13\n")));
  EXPECT_THAT(output.out, HasSubstr(StrCat("  image ", name, "\n")));

  ASSERT_EQ(Berth({"run", "-d", "--name", "user", name, "sleep", "1000"}).exit_code, 0);
  output = Berth({"verify", "--repair"});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_THAT(output.out, HasSubstr("  not repaired: a container uses it"));
  ASSERT_EQ(Berth({"rm", "-f", "user"}).exit_code, 0);

  output = Berth({"verify", "--repair"});
  EXPECT_EQ(output.exit_code, 0) << output.out << output.err;
  EXPECT_THAT(output.out, HasSubstr("  repaired: it was pulled again\n"));
  EXPECT_THAT(output.out, HasSubstr(", 1 damaged, 1 repaired\n"));
  EXPECT_EQ(Berth({"run", "--rm", name, "cat", "salt"}).out, "store/damaged");
  EXPECT_EQ(Berth({"rmi", name}).exit_code, 0);
}

// Usable now, durable soon.
TEST_F(Store, AContainerDoesNotWaitUntilItsImageIsOnTheDisk) {
  const std::string name = Offer("store/slow-disk");
  auto slow = Node::Start({.launcher = {BinDir() + "/berth-test-block-syncfs"}});
  ASSERT_OK(slow);
  const auto berth = [&](std::vector<std::string> args) {
    SpawnOptions command = Command(std::move(args));
    command.env[1] = StrCat("BERTH_ADDRESS=unix://", (*slow)->socket());
    auto ran = RunProgram(Context::WithTimeoutMs(60'000), command, "");
    EXPECT_OK(ran);
    return ran.ok() ? *ran : RunOutput();
  };
  ASSERT_EQ(berth({"pull", name}).exit_code, 0);
  RunOutput output = berth({"run", "--rm", name, "cat", "salt"});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(output.out, "store/slow-disk");
  auto meta = ReadFile(StrCat((*slow)->dir(), "/root/overlay/layers/", layer_.substr(7), "/meta"));
  ASSERT_OK(meta);
  EXPECT_THAT(*meta, ::testing::Not(HasSubstr("boot=-\n"))) << "syncfs was not blocked";
}

TEST_F(Store, ImagesOfAnAdditionalStoreRunWithoutAPull) {
  const std::string name = Offer("store/additional");
  const std::string root = node().dir() + "/additional";
  RunOutput output = Berth({"preload", "--root", root, name});
  ASSERT_EQ(output.exit_code, 0) << output.err;

  NodeOptions options;
  options.config =
      StrCat("[image]\nadditional_stores = [\"", root, "\"]\nkeep_layer_blobs = true\n");
  auto other = Node::Start(options);
  ASSERT_OK(other);
  const auto berth = [&](std::vector<std::string> args) {
    SpawnOptions command = Command(std::move(args));
    command.env[1] = StrCat("BERTH_ADDRESS=unix://", (*other)->socket());
    auto ran = RunProgram(Context::WithTimeoutMs(60'000), command, "");
    EXPECT_OK(ran);
    return ran.ok() ? *ran : RunOutput{-1, "", ""};
  };
  rt::ImageStatusRequest ask;
  ask.mutable_image()->set_image(name);
  auto status = (*other)->cri().Call(ask);
  ASSERT_OK(status);
  EXPECT_TRUE(status->image().pinned());
  output = berth({"run", "--rm", name, "cat", "salt"});
  EXPECT_EQ(output.out, "store/additional") << output.err;
  output = berth({"rmi", name});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_THAT(output.err, HasSubstr("read-only store"));
  EXPECT_THAT(berth({"gc"}).out, HasSubstr("removed 0 layers"));
  EXPECT_THAT(berth({"verify"}).out, HasSubstr("2 layers, 0 damaged"));
}

TEST_F(Store, TwoFileSystemsAreToldAsTwo) {
  const std::string containers = node().dir() + "/containers";
  NodeOptions options;
  options.config = StrCat("containers_root = \"", containers, "\"\n");
  auto other = Node::Start(options);
  ASSERT_OK(other);
  const std::string name = Offer("store/two");
  SpawnOptions run =
      Command({"run", "-d", name, "sh", "-c", "head -c 300000 /dev/zero >f; sleep 99"});
  run.env[1] = StrCat("BERTH_ADDRESS=unix://", (*other)->socket());
  auto ran = RunProgram(Context::WithTimeoutMs(60'000), run, "");
  ASSERT_OK(ran);
  ASSERT_EQ(ran->exit_code, 0) << ran->err;
  uint64_t written = 0;
  // As last measured, which may have been before.
  for (int i = 0; i < 100 && written < 300'000; ++i) {
    auto info = (*other)->cri().Call(rt::ImageFsInfoRequest());
    ASSERT_OK(info);
    ASSERT_EQ(info->container_filesystems_size(), 1);
    EXPECT_EQ(info->container_filesystems(0).fs_id().mountpoint(), containers);
    EXPECT_NE(info->image_filesystems(0).fs_id().mountpoint(), containers);
    EXPECT_GT(info->image_filesystems(0).used_bytes().value(), 500'000u);
    written = info->container_filesystems(0).used_bytes().value();
    usleep(100'000);
  }
  EXPECT_GE(written, 300'000u);
  EXPECT_LT(written, 400'000u);
}

}  // namespace
}  // namespace berth::e2e
