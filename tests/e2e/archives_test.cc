// berth import, export, tag, push and what else berth.v1 has, against a real daemon and registry.
#include <fcntl.h>
#include <gmock/gmock.h>

#include <filesystem>

#include "base/file.h"
#include "base/strings.h"
#include "tests/e2e/berth_command.h"
#include "tests/testing/image_builder.h"

namespace berth::e2e {
namespace {

using testing::BuildImage;
using testing::BuiltImage;
using testing::Compress;
using testing::DockerArchive;
using testing::EntryType;
using testing::MakeTar;
using testing::OciLayout;
using testing::TarEntry;

class Archives : public BerthCommandTest {
 protected:
  // Two layers over busybox's, of which the upper hides a file of the lower.
  BuiltImage Image(const std::string& salt) {
    auto base = BusyboxImage();
    EXPECT_OK(base);
    testing::TestImage image = *base;
    image.layers.push_back({MakeTar({{.path = "data", .type = EntryType::kDirectory, .mode = 0750},
                                     {.path = "data/salt", .content = salt},
                                     {.path = "data/gone", .content = "gone"}})});
    image.layers.push_back(
        {MakeTar({{.path = "data", .type = EntryType::kDirectory, .mode = 0750},
                  {.path = "data/.wh.gone", .content = ""},
                  {.path = "data/link", .content = "salt", .type = EntryType::kSymlink}})});
    return BuildImage(image);
  }
  std::string Write(const std::string& name, std::string_view bytes) {
    std::string path = node().dir() + "/" + name;
    EXPECT_OK(AtomicWriteFileAt(AT_FDCWD, path, bytes, 0600));
    return path;
  }
  // What a container of the image sees.
  std::string Run(const std::string& name) {
    const RunOutput output =
        Berth({"run", "--rm", name, "sh", "-c", "cat data/salt; ls data; stat -c %a data"});
    EXPECT_EQ(output.exit_code, 0) << output.err;
    return output.out;
  }
  void RemoveImage(const std::string& name) {
    EXPECT_EQ(Berth({"rmi", name}).exit_code, 0) << name;
  }
};

TEST_F(Archives, ImportsLayoutsAndDockerArchivesInEveryForm) {
  const BuiltImage one = Image("one");
  const BuiltImage two = Image("two");
  const std::vector<testing::NamedImage> named = {{&one, {"imported.example/one:v1"}},
                                                  {&two, {"imported.example/two:v1"}}};
  const std::string expected = StrCat(one.config.digest, " imported.example/one:v1\n",
                                      two.config.digest, " imported.example/two:v1\n");
  int number = 0;
  for (const std::vector<TarEntry>& entries : {OciLayout(named), DockerArchive(named)}) {
    for (auto compression :
         {image::Compression::kNone, image::Compression::kGzip, image::Compression::kZstd}) {
      const std::string path =
          Write(StrCat("archive", ++number), Compress(MakeTar(entries), compression));
      const RunOutput output = Berth({"import", path});
      EXPECT_EQ(output.exit_code, 0) << output.err;
      EXPECT_EQ(output.out, expected);
      EXPECT_NE(output.err.find(": done, "), std::string::npos) << output.err;
      EXPECT_EQ(Run("imported.example/one:v1"), "onelink\nsalt\n750\n");
      EXPECT_EQ(Run(two.config.digest), "twolink\nsalt\n750\n");
      RemoveImage("imported.example/one:v1");
      RemoveImage("imported.example/two:v1");
    }
  }
}

TEST_F(Archives, ImportsADirectoryAndStandardInput) {
  const BuiltImage one = Image("directory");
  const std::string directory = node().dir() + "/layout";
  ASSERT_OK(MakeDirs(directory + "/blobs/sha256", 0700));
  const auto layout = OciLayout({{&one, {"v7"}}});
  for (const TarEntry& entry : layout) {
    if (entry.type == EntryType::kFile) Write("layout/" + entry.path, entry.content);
  }
  RunOutput output = Berth({"import", "--base-name", "imported.example/base", directory});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(output.out, StrCat(one.config.digest, " imported.example/base:v7\n"));
  RemoveImage("imported.example/base:v7");
  output = Berth({"import", "-"}, Compress(MakeTar(layout), image::Compression::kGzip));
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(output.out, one.config.digest + "\n");
  RemoveImage(one.config.digest);
  std::filesystem::remove_all(directory);
}

TEST_F(Archives, ABadArchiveLeavesNothing) {
  const BuiltImage one = Image("bad");
  auto entries = OciLayout({{&one, {"imported.example/bad:v1"}}});
  for (TarEntry& entry : entries) {
    if (entry.path.ends_with(one.layers.back().digest.substr(7))) entry.content.back() ^= 1;
  }
  RunOutput output = Berth({"import", Write("bad.tar", MakeTar(entries))});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_NE(output.err.find("bad.tar: layer 2"), std::string::npos) << output.err;
  EXPECT_NE(output.err.find("the data is corrupt"), std::string::npos) << output.err;
  output = Berth({"images"});
  EXPECT_EQ(output.out.find("imported.example/bad"), std::string::npos) << output.out;
  output = Berth({"import", Write("no.tar", "hello")});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_NE(output.err.find("no.tar"), std::string::npos) << output.err;
}

// Members of a tar by libarchive's tool, which knows nothing of ours.
std::vector<std::string> TarNames(const std::string& path) {
  auto output =
      RunProgram(Context::WithTimeoutMs(20'000), Program("/usr/bin/tar", {"tar", "-tf", path}), "");
  EXPECT_OK(output);
  std::vector<std::string> names;
  if (!output.ok()) return names;
  EXPECT_EQ(output->exit_code, 0) << output->err;
  for (std::string_view line : Split(output->out, '\n')) names.emplace_back(line);
  return names;
}

TEST_F(Archives, WhatIsExportedCanBeImportedAndRunsTheSame) {
  const BuiltImage one = Image("exported");
  ASSERT_EQ(
      Berth({"import", Write("in.tar", MakeTar(OciLayout({{&one, {"exported.example/one:v1"}}})))})
          .exit_code,
      0);
  ASSERT_EQ(Berth({"tag", "exported.example/one:v1", "exported.example/two:v2"}).exit_code, 0);
  const std::string path = node().dir() + "/out.tar";
  RunOutput output =
      Berth({"export", "-o", path, "exported.example/one:v1", "exported.example/two:v2"});
  ASSERT_EQ(output.exit_code, 0) << output.err;
  EXPECT_NE(output.err.find("made anew"), std::string::npos) << output.err;
  EXPECT_THAT(TarNames(path), ::testing::IsSupersetOf(
                                  {"oci-layout", "index.json", "manifest.json", "blobs/sha256/"}));
  // The same image makes the same bytes, on standard output too.
  output = Berth({"export", "-o", "-", "exported.example/one:v1", "exported.example/two:v2"});
  auto bytes = ReadFile(path, 64 << 20);
  ASSERT_OK(bytes);
  EXPECT_TRUE(output.out == *bytes) << output.out.size() << " and " << bytes->size();
  RemoveImage("exported.example/one:v1");

  output = Berth({"import", path});
  ASSERT_EQ(output.exit_code, 0) << output.err;
  const std::string id = output.out.substr(0, output.out.find(' '));
  EXPECT_EQ(output.out, StrCat(id, " exported.example/one:v1\n", id, " exported.example/two:v2\n",
                               id, " exported.example/one:v1\n", id, " exported.example/two:v2\n"));
  EXPECT_EQ(Run("exported.example/one:v1"), "exportedlink\nsalt\n750\n");
  // Exported again, its tars are those that it was built of: the id stays.
  output = Berth({"export", "-o", path, id});
  EXPECT_EQ(output.exit_code, 0);
  EXPECT_EQ(output.err, "");
  EXPECT_EQ(Berth({"import", path}).out.substr(0, id.size()), id);
  // As docker load reads it.
  const std::string docker = node().dir() + "/docker.tar";
  ASSERT_OK(RunProgram(
      Context::WithTimeoutMs(20'000),
      Program("/bin/sh", {"sh", "-c",
                          StrCat("cd ", node().dir(),
                                 " && mkdir x && tar -xf out.tar -C x && rm x/index.json "
                                 "x/oci-layout && tar -cf docker.tar -C x . && rm -r x")}),
      ""));
  RemoveImage(id);
  output = Berth({"import", docker});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(output.out.substr(0, id.size()), id);
  RemoveImage(id);
  EXPECT_EQ(Berth({"export", "-o", path, "exported.example/absent:v1"}).exit_code, 1);
  EXPECT_TRUE(std::filesystem::exists(path));  // the one before
}

TEST_F(Archives, APushedImageCanBePulled) {
  const BuiltImage one = Image("pushed");
  ASSERT_EQ(
      Berth({"import", Write("push.tar", MakeTar(OciLayout({{&one, {"pushed.example/one:v1"}}})))})
          .exit_code,
      0);
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  const std::string name = StrCat((*registry)->address(), "/archives/pushed:v1");
  RunOutput output = Berth({"push", "pushed.example/one:v1", name});
  ASSERT_EQ(output.exit_code, 0) << output.err;
  EXPECT_NE(output.err.find(": done"), std::string::npos) << output.err;
  EXPECT_NE(output.err.find("its id is now sha256:"), std::string::npos) << output.err;
  const std::string digest(Trim(output.out));
  RemoveImage("pushed.example/one:v1");
  output = Berth({"push", name});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_NE(output.err.find("there is no image"), std::string::npos) << output.err;

  ASSERT_EQ(Berth({"pull", StrCat((*registry)->address(), "/archives/pushed@", digest)}).exit_code,
            0);
  ASSERT_EQ(Berth({"pull", name}).exit_code, 0);
  EXPECT_EQ(Run(name), "pushedlink\nsalt\n750\n");
  // Nothing of it has to be sent again.
  output = Berth({"push", name});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(output.out, digest + "\n");
  EXPECT_EQ(output.err.find(": done"), std::string::npos) << output.err;
  EXPECT_NE(output.err.find(": exists"), std::string::npos) << output.err;
  RemoveImage(name);
}

// Name, kind, mode, size, time and content of all that is below a directory.
std::string Listing(const std::string& directory) {
  auto output =
      RunProgram(Context::WithTimeoutMs(20'000),
                 Program("/bin/sh", {"sh", "-c",
                                     StrCat("cd ", directory,
                                            " && find . -printf '%p %y %m %U %G %s %T@\\n' | sort"
                                            " && find . -type f -exec sha256sum {} + | sort")}),
                 "");
  EXPECT_OK(output);
  return output.ok() ? output->out : "";
}

TEST_F(Archives, APreloadedStoreIsTheSameEveryTimeAndServesContainers) {
  const BuiltImage one = Image("preloaded");
  const BuiltImage two = testing::SimpleImage({{.path = "deep/down/file", .content = "x"}});
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  ASSERT_OK((*registry)->Push("archives/preload", "v1", one));
  const std::string name = StrCat((*registry)->address(), "/archives/preload:v1");
  const std::string archive =
      Write("preload.tar", MakeTar(DockerArchive({{&two, {"preloaded.example/two:v1"}}})));
  std::string listings[2];
  for (std::string& listing : listings) {
    const std::string root = node().dir() + "/preloaded";
    const RunOutput output = Berth({"preload", "--root", root, "--archive", archive, name});
    ASSERT_EQ(output.exit_code, 0) << output.err;
    EXPECT_EQ(output.out, StrCat(two.config.digest, " preloaded.example/two:v1\n",
                                 one.config.digest, " ", name, "\n"));
    listing = Listing(root);
    EXPECT_NE(listing.find("./meta.db f"), std::string::npos) << listing;
    EXPECT_EQ(listing.find("-wal"), std::string::npos) << listing;
    if (&listing == &listings[0]) std::filesystem::remove_all(root);
  }
  const auto first = Split(listings[0], '\n');
  const auto second = Split(listings[1], '\n');
  ASSERT_EQ(first.size(), second.size());
  for (size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i], second[i]);

  NodeOptions options;
  options.root = node().dir() + "/preloaded";
  auto other = Node::Start(options);
  ASSERT_OK(other);
  auto list = (*other)->cri().Call(rt::ListImagesRequest());
  ASSERT_OK(list);
  EXPECT_EQ(list->images_size(), 2);
  SpawnOptions run = Command({"run", "--rm", name, "cat", "data/salt"});
  run.env[1] = StrCat("BERTH_ADDRESS=unix://", (*other)->socket());
  auto output = RunProgram(Context::WithTimeoutMs(60'000), run, "");
  ASSERT_OK(output);
  EXPECT_EQ(output->out, "preloaded") << output->err;
  // Nobody fills a store that a daemon has.
  const RunOutput refused =
      Berth({"preload", "--root", node().dir() + "/preloaded", "--archive", archive});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_NE(refused.err.find("in use"), std::string::npos) << refused.err;
}

TEST_F(Archives, GarbageGoes) {
  EXPECT_EQ(Berth({"pulls"}).out, "IMAGE   STARTED   LAYERS   BYTES\n");
  const RunOutput output = Berth({"gc"});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_TRUE(output.out.starts_with("removed ")) << output.out;
  EXPECT_EQ(Berth({"run", "--rm", image(), "true"}).exit_code, 0);
}

TEST_F(Archives, TagGivesOneMoreName) {
  EXPECT_EQ(Berth({"tag", image(), "tagged.example/app:1"}).exit_code, 0);
  EXPECT_EQ(Berth({"run", "--rm", "tagged.example/app:1", "true"}).exit_code, 0);
  EXPECT_EQ(Berth({"tag", "tagged.example/absent:1", "x:1"}).exit_code, 1);
  const RunOutput output = Berth({"tag", image(), "Not A Name"});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_NE(output.err.find("name: "), std::string::npos) << output.err;
}

TEST_F(Archives, PullTellsOfEachLayer) {
  const BuiltImage one = Image("progress");
  auto registry = SharedRegistry();
  ASSERT_OK(registry);
  ASSERT_OK((*registry)->Push("archives/progress", "v1", one));
  const std::string name = StrCat((*registry)->address(), "/archives/progress:v1");
  RunOutput output = Berth({"pull", name});
  EXPECT_EQ(output.exit_code, 0) << output.err;
  EXPECT_EQ(output.out, one.config.digest + "\n");
  EXPECT_NE(output.err.find(one.layers[0].digest.substr(7, 13) + ": exists"), std::string::npos)
      << output.err;
  EXPECT_NE(output.err.find(one.layers[1].digest.substr(7, 13) + ": done"), std::string::npos)
      << output.err;
  output = Berth({"pull", StrCat((*registry)->address(), "/archives/absent:v1")});
  EXPECT_EQ(output.exit_code, 1);
  EXPECT_NE(output.err.find("archives/absent"), std::string::npos) << output.err;
  RemoveImage(name);
}

}  // namespace
}  // namespace berth::e2e
