// Images mounted as volumes.
#include "base/strings.h"
#include "tests/e2e/e2e_test.h"

namespace berth::e2e {
namespace {

using testing::EntryType;

class ImageVolumes : public E2eTest {
 protected:
  // Two layers; the upper changes and removes something of the lower.
  std::string PullModel(const std::string& name) {
    testing::TestImage model;
    model.layers.push_back(
        {.tar = testing::MakeTar(
             {{.path = "model", .type = EntryType::kDirectory, .mode = 0755},
              {.path = "model/weights", .content = "weights of 1\n"},
              {.path = "model/old", .content = "old\n"},
              {.path = "model/run", .content = "#!/bin/sh\necho ran\n", .mode = 0755},
              {.path = "out", .content = "/etc", .type = EntryType::kSymlink},
              {.path = "up", .content = "../../../..", .type = EntryType::kSymlink},
              {.path = "inner", .content = "/model", .type = EntryType::kSymlink}})});
    model.layers.push_back(
        {.tar = testing::MakeTar(
             {{.path = "model/weights", .content = "weights of 2\n"}, {.path = "model/.wh.old"}})});
    auto registry = SharedRegistry();
    EXPECT_OK(registry);
    EXPECT_OK((*registry)->Push("volumes/" + name, "1", testing::BuildImage(model)));
    rt::PullImageRequest pull;
    pull.mutable_image()->set_image(StrCat((*registry)->address(), "/volumes/", name, ":1"));
    EXPECT_OK(cri().Call(pull));
    return pull.image().image();
  }
  rt::ContainerConfig WithImage(const std::string& script, const std::string& reference,
                                const std::string& sub_path = "") {
    rt::ContainerConfig config = ShellConfig(script);
    rt::Mount* mount = config.add_mounts();
    mount->mutable_image()->set_image(reference);
    mount->set_container_path("/volume");
    mount->set_image_sub_path(sub_path);
    mount->set_readonly(true);
    return config;
  }
  std::string OutputOf(const rt::ContainerConfig& config, const std::string& handler = "") {
    auto pod = RunPod(PodConfig(), handler);
    EXPECT_OK(pod);
    if (!pod.ok()) return "";
    auto container = RunContainer(*pod, config);
    EXPECT_OK(container);
    if (!container.ok()) return "";
    EXPECT_OK(AwaitExit(*container));
    return LogText(Log(*container));
  }
};

// With each kind of runtime handler.
class EachImageVolume : public ImageVolumes, public ::testing::WithParamInterface<const char*> {
 protected:
  std::string OutputOf(const rt::ContainerConfig& config) {
    return ImageVolumes::OutputOf(config, GetParam());
  }
};

TEST_P(EachImageVolume, HaveTheImagesFilesAndTakeNoWrites) {
  const std::string model = PullModel("files");
  rt::ContainerConfig config = WithImage(
      "cat /volume/model/weights; ls /volume/model; touch /volume/x 2>/dev/null && echo wrote; "
      "rm /volume/model/run 2>/dev/null && echo removed; "
      "mount -o remount,rw /volume 2>/dev/null && echo remounted; "
      "/volume/model/run 2>/dev/null || echo not run",
      model);
  EXPECT_EQ(OutputOf(config), "weights of 2\nrun\nweights\nran\n");
  config.mutable_mounts(0)->add_mount_options("noexec");
  EXPECT_EQ(OutputOf(config), "weights of 2\nrun\nweights\nnot run\n");
}

TEST_P(EachImageVolume, OneImageSeveralTimesAndAtOnce) {
  const std::string model = PullModel("several");
  rt::ContainerConfig config = WithImage("cat /volume/weights /b/model/weights /c", model, "model");
  rt::Mount* whole = config.add_mounts();
  whole->mutable_image()->set_image(model);
  whole->set_container_path("/b");
  whole->set_readonly(true);
  rt::Mount* file = config.add_mounts();
  file->mutable_image()->set_image(model);
  file->set_container_path("/c");
  file->set_readonly(true);
  file->set_image_sub_path("model/weights");
  EXPECT_EQ(OutputOf(config), "weights of 2\nweights of 2\nweights of 2\n");
}

TEST_P(EachImageVolume, ASubPathShowsNothingBesideIt) {
  const std::string model = PullModel("beside");
  EXPECT_EQ(OutputOf(WithImage("ls /volume; ls /volume/..", model, "model")).substr(0, 12),
            "run\nweights\n");
  EXPECT_EQ(OutputOf(WithImage("cat /volume/weights", model, "/inner/")), "weights of 2\n");
}

TEST_F(ImageVolumes, SubPathsStayInTheImage) {
  const std::string model = PullModel("inside");
  auto pod = RunPod();
  ASSERT_OK(pod);
  for (const std::string path : {"out", "out/passwd", "up/etc", "missing", "model/weights/x"}) {
    EXPECT_FAILS(Create(*pod, WithImage("true", model, path)), Code::kInvalidArgument,
                 "mounts[0].image_sub_path");
  }
  const std::string too_long(5000, 'x');
  for (const std::string& path : {std::string("../etc"), std::string("model/../.."), too_long}) {
    EXPECT_FAILS(Create(*pod, WithImage("true", model, path)), Code::kInvalidArgument,
                 "image_sub_path");
  }
  // The root of the image, and not the host's.
  EXPECT_EQ(OutputOf(WithImage("ls /volume", model, "up")), "inner\nmodel\nout\nup\n");
}

TEST_F(ImageVolumes, TheStatusNamesTheImage) {
  const std::string model = PullModel("status");
  auto pod = RunPod();
  ASSERT_OK(pod);
  auto container = Create(*pod, WithImage("true", model, "model"));
  ASSERT_OK(container);
  auto status = Status(*container);
  ASSERT_OK(status);
  rt::ImageStatusRequest request;
  request.mutable_image()->set_image(model);
  auto image = cri().Call(request);
  ASSERT_OK(image);
  ASSERT_EQ(status->mounts_size(), 1);
  EXPECT_EQ(status->mounts(0).image().image(), model);
  EXPECT_EQ(status->mounts(0).image().image_ref(), image->image().id());
  EXPECT_EQ(status->mounts(0).image_sub_path(), "model");
  EXPECT_EQ(status->mounts(0).container_path(), "/volume");
}

TEST_P(EachImageVolume, StayWhenTheImageIsRemoved) {
  const std::string model = PullModel("removed");
  auto pod = RunPod(PodConfig(), GetParam());
  ASSERT_OK(pod);
  auto container = Create(*pod, WithImage("cat /volume/model/weights; sleep 1000", model));
  ASSERT_OK(container);
  rt::RemoveImageRequest remove;
  remove.mutable_image()->set_image(model);
  ASSERT_OK(cri().Call(remove));
  ASSERT_OK(StartIt(*container));
  EXPECT_TRUE(AwaitLog(*container, "weights of 2"));
  EXPECT_EQ(ShellIn(*container, "cat /volume/model/weights"), "weights of 2\n");
}

TEST_F(ImageVolumes, WorkInAUserNamespace) {
  const std::string model = PullModel("userns");
  rt::PodSandboxConfig pod = PodConfig();
  rt::UserNamespace* userns = pod.mutable_linux()
                                  ->mutable_security_context()
                                  ->mutable_namespace_options()
                                  ->mutable_userns_options();
  userns->set_mode(rt::POD);
  for (rt::IDMapping* mapping : {userns->add_uids(), userns->add_gids()}) {
    mapping->set_host_id(65536 * 7);
    mapping->set_length(65536);
  }
  auto ending = RunToEnd(pod, WithImage("cat /volume/weights; stat -c %u:%g /volume/weights; "
                                        "touch /volume/x 2>/dev/null && echo wrote",
                                        model, "model"));
  ASSERT_OK(ending);
  EXPECT_EQ(ending->Text(), "weights of 2\n0:0\n");
}

TEST_F(ImageVolumes, WhatCannotBeIsRefusedByName) {
  const std::string model = PullModel("refused");
  auto pod = RunPod();
  ASSERT_OK(pod);
  rt::ContainerConfig config = WithImage("true", model + "no");
  EXPECT_FAILS(Create(*pod, config), Code::kNotFound, "mounts[0].image");
  config = WithImage("true", model);
  config.mutable_mounts(0)->set_readonly(false);
  EXPECT_FAILS(Create(*pod, config), Code::kInvalidArgument, "mounts[0].readonly");
  config = WithImage("true", model);
  config.mutable_mounts(0)->set_host_path("/tmp");
  EXPECT_FAILS(Create(*pod, config), Code::kInvalidArgument, "mounts[0].image");
  config = WithImage("true", model);
  config.mutable_mounts(0)->set_propagation(rt::PROPAGATION_HOST_TO_CONTAINER);
  EXPECT_FAILS(Create(*pod, config), Code::kInvalidArgument, "mounts[0].propagation");
  config = WithImage("true", model);
  config.mutable_mounts(0)->add_mount_options("rw");
  EXPECT_FAILS(Create(*pod, config), Code::kInvalidArgument, "mounts[0].mount_options");
  config = WithImage("true", model, "model");
  config.mutable_mounts(0)->clear_image();
  config.mutable_mounts(0)->set_host_path("/tmp");
  EXPECT_FAILS(Create(*pod, config), Code::kInvalidArgument, "mounts[0].image_sub_path");
  config = WithImage("true", model);
  for (int i = 0; i < 64; ++i) *config.add_mounts() = config.mounts(0);
  EXPECT_FAILS(Create(*pod, config), Code::kInvalidArgument, "mounts: more than");
}

INSTANTIATE_TEST_SUITE_P(Handlers, EachImageVolume, kHandlers, HandlerName);

}  // namespace
}  // namespace berth::e2e
