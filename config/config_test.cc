#include "config/config.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "base/file.h"
#include "base/json.h"

namespace berth::config {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ConfigTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = StrCat(::testing::TempDir(), "/config_test.XXXXXX");
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
    ASSERT_EQ(mkdir((dir_ + "/conf.d").c_str(), 0755), 0);
  }
  void TearDown() override {
    auto parent = Open(::testing::TempDir(), O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(parent.ok());
    EXPECT_TRUE(RemoveTreeAt(parent->get(), dir_.substr(dir_.rfind('/') + 1)).ok());
  }

  std::string Write(const std::string& name, const std::string& text) {
    std::string path = StrCat(dir_, "/", name);
    std::ofstream(path) << text;
    return path;
  }
  Result<Config> LoadText(const std::string& text) { return Load(Write("c.toml", text), true); }
  std::string ErrorOf(const std::string& text) {
    auto config = LoadText(text);
    EXPECT_FALSE(config.ok()) << text;
    if (config.ok()) return "";
    EXPECT_EQ(config.code(), Code::kInvalidArgument);
    return config.error().message();
  }

  std::string dir_;
};

TEST_F(ConfigTest, DefaultFileSaysWhatTheCodeDoes) {
  auto config = LoadText(DefaultToml());
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_EQ(ToJson(*config), ToJson(Config()));
}

TEST_F(ConfigTest, DefaultFileNamesEveryKey) {
  std::string text = DefaultToml();
  auto json = ParseJson(ToJson(Config()));
  ASSERT_TRUE(json.ok());
  for (const auto& [key, value] : json->items()) {
    if (!value.is_object()) {
      EXPECT_THAT(text, HasSubstr(StrCat("\n", key, " = ")));
      continue;
    }
    for (const auto& [inner, unused] : value.items()) {
      EXPECT_THAT(text, HasSubstr(StrCat("\n", inner, " = "))) << "in " << key;
    }
  }
}

TEST_F(ConfigTest, ReadsEveryType) {
  auto config = LoadText(R"(
listen = "unix:///run/x/y.sock"
socket_gid = 44
[cni]
bin_dirs = ["/a/", "/b"]
[runtime]
rlimit_nofile_soft = 4096
cni_timeout_ms = 1234
[registry."127.0.0.1:5000"]
plain_http = true
)");
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_EQ(config->listen, "/run/x/y.sock");
  EXPECT_EQ(config->socket_gid, 44);
  EXPECT_THAT(config->cni.bin_dirs, ElementsAre("/a", "/b"));
  EXPECT_EQ(config->runtime.rlimit_nofile_soft, 4096u);
  EXPECT_EQ(config->runtime.cni_timeout_ms, 1234);
  EXPECT_TRUE(config->image.registries["127.0.0.1:5000"].plain_http);
}

TEST_F(ConfigTest, DropInsWinInOrderOfNames) {
  std::string path =
      Write("c.toml", "root = '/main'\nsocket_gid = 1\n[registry.'r:1']\nca_file='/x'");
  Write("conf.d/20-b.toml", "root = '/b'\n[cni]\nbin_dirs = ['/only']");
  Write("conf.d/10-a.toml", "root = '/a'\nsocket_gid = 7\n[registry.'r:1']\nca_file='/y'");
  Write("conf.d/30-ignored.txt", "nonsense");
  auto config = Load(path, true);
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_EQ(config->root, "/b");
  EXPECT_EQ(config->socket_gid, 7);
  EXPECT_THAT(config->cni.bin_dirs, ElementsAre("/only"));
  EXPECT_EQ(config->image.registries["r:1"].ca_file, "/y");
}

TEST_F(ConfigTest, MissingFileIsFineUnlessRequired) {
  EXPECT_TRUE(Load(dir_ + "/none.toml", false).ok());
  auto required = Load(dir_ + "/none.toml", true);
  ASSERT_FALSE(required.ok());
  EXPECT_EQ(required.code(), Code::kNotFound);
  EXPECT_THAT(required.error().message(), HasSubstr("none.toml"));
}

TEST_F(ConfigTest, DropInsCountWithoutAMainFile) {
  Write("conf.d/a.toml", "root = '/a'");
  auto config = Load(dir_ + "/none.toml", false);
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->root, "/a");
}

TEST_F(ConfigTest, ErrorsNameFileLineAndKey) {
  EXPECT_THAT(ErrorOf("\n\nrooot = '/x'"),
              AllOf(HasSubstr("c.toml:3"), HasSubstr("rooot: unknown")));
  EXPECT_THAT(ErrorOf("[cni]\nconfdir = '/x'"), AllOf(HasSubstr(":2"), HasSubstr("cni.confdir")));
  EXPECT_THAT(ErrorOf("[nothing]\n"), HasSubstr("nothing: unknown key"));
  EXPECT_THAT(ErrorOf("cni = 3"), HasSubstr("cni: is not a [section]"));
  EXPECT_THAT(ErrorOf("root = 3"), HasSubstr("c.toml:1: root: must be text"));
  EXPECT_THAT(ErrorOf("socket_gid = 'x'"), HasSubstr("socket_gid: must be a whole number"));
  EXPECT_THAT(ErrorOf("socket_gid = 1.5"), HasSubstr("must be a whole number"));
  EXPECT_THAT(ErrorOf("[cni]\nbin_dirs = ['/a', 3]"), HasSubstr("cni.bin_dirs: must be a list"));
  EXPECT_THAT(ErrorOf("[registry.'r']\nplain_http = 1"), HasSubstr("must be true or false"));
  EXPECT_THAT(ErrorOf("[registry.'r']\nx = 1"), HasSubstr("registry.r.x: unknown key"));
  EXPECT_THAT(ErrorOf("root = '/a'\nroot = '/b'"), HasSubstr("c.toml:2"));
  EXPECT_THAT(ErrorOf("root = "), HasSubstr("c.toml:1"));
}

TEST_F(ConfigTest, ErrorInADropInNamesTheDropIn) {
  std::string path = Write("c.toml", "");
  Write("conf.d/10-bad.toml", "\nx = 1");
  auto config = Load(path, true);
  ASSERT_FALSE(config.ok());
  EXPECT_THAT(config.error().message(), HasSubstr("conf.d/10-bad.toml:2: x"));
}

TEST_F(ConfigTest, RefusesValuesThatCannotBe) {
  EXPECT_THAT(ErrorOf("root = 'relative'"), HasSubstr("not an absolute path"));
  EXPECT_THAT(ErrorOf("root = ''"), HasSubstr("not an absolute path"));
  EXPECT_THAT(ErrorOf("root = '/a/../b'"), HasSubstr(".."));
  EXPECT_THAT(ErrorOf("root = \"/a\\u0000b\""), HasSubstr("NUL"));
  EXPECT_THAT(ErrorOf("root = '/run/berth'"), HasSubstr("state"));
  EXPECT_THAT(ErrorOf("root = '/'"), HasSubstr("root"));
  EXPECT_THAT(ErrorOf("listen = 'tcp://0.0.0.0:1'"), HasSubstr("listen"));
  EXPECT_THAT(ErrorOf("socket_gid = -1"), HasSubstr("range"));
  EXPECT_THAT(ErrorOf("log_level = 9"), HasSubstr("0 to 2"));
  EXPECT_THAT(ErrorOf("[cgroup]\ndriver = 'cgroupd'"), HasSubstr("cgroup driver"));
  EXPECT_THAT(ErrorOf("[image]\nmax_parallel_layers = 0"), HasSubstr("range"));
  EXPECT_THAT(ErrorOf("[registry.'http://r']\n"), HasSubstr("not a host"));
  EXPECT_THAT(ErrorOf("[registry.r]\nplain_http = true\nskip_verify = true"),
              HasSubstr("c.toml:2: registry.r.plain_http"));
  EXPECT_THAT(ErrorOf("[runtime]\nrlimit_nofile_soft = 600000"),
              HasSubstr("c.toml:2: runtime.rlimit_nofile_soft: 600000 is above"));
}

TEST_F(ConfigTest, StreamingNeedsAnAddressThatCanBeToldAndBothPartsOfTls) {
  EXPECT_THAT(ErrorOf("[streaming]\naddress = 'localhost'"), HasSubstr("not an IP address"));
  EXPECT_THAT(ErrorOf("[metrics]\nlisten = '0.0.0.0:9430'"), HasSubstr("reached from elsewhere"));
  EXPECT_THAT(ErrorOf("[metrics]\nlisten = '127.0.0.1'"), HasSubstr("neither"));
  EXPECT_THAT(ErrorOf("[metrics]\nlisten = 'unix:relative'"), HasSubstr("absolute"));
  EXPECT_THAT(ErrorOf("[streaming]\naddress = '0.0.0.0'"), HasSubstr("streaming.address"));
  EXPECT_THAT(ErrorOf("[streaming]\naddress = '0::0'"), HasSubstr("streaming.address"));
  EXPECT_THAT(ErrorOf("[streaming]\nport = 65536"), HasSubstr("range"));
  EXPECT_THAT(ErrorOf("[streaming]\ntls_cert_file = '/c'"), HasSubstr("streaming.tls_key_file"));
  EXPECT_THAT(ErrorOf("[streaming]\nidle_timeout_s = 0"), HasSubstr("range"));
}

TEST_F(ConfigTest, RuntimeHandlersAreReadByName) {
  auto config = LoadText(R"(
[runtime_handlers.runc]
type = "oci"
path = "/usr/sbin/runc"
arguments = ["--debug"]
[runtime_handlers.own]
)");
  ASSERT_TRUE(config.ok()) << config.error().message();
  ASSERT_EQ(config->runtime_handlers.size(), 2u);
  EXPECT_EQ(config->runtime_handlers["runc"].path, "/usr/sbin/runc");
  EXPECT_THAT(config->runtime_handlers["runc"].arguments, ElementsAre("--debug"));
  EXPECT_EQ(config->runtime_handlers["own"].type, "builtin");
  EXPECT_THAT(ToJson(*config), HasSubstr("/usr/sbin/runc"));
}

TEST_F(ConfigTest, RuntimeHandlersThatCannotBeAreRefused) {
  EXPECT_THAT(ErrorOf("[runtime_handlers.'a/b']"), HasSubstr("runtime_handlers.a/b: a handler's"));
  EXPECT_THAT(ErrorOf("[runtime_handlers.'']"), HasSubstr("a handler's name"));
  EXPECT_THAT(ErrorOf("[runtime_handlers]\nx = 1"), HasSubstr("x: is not a [section]"));
  EXPECT_THAT(ErrorOf("[runtime_handlers.x]\ntype = 'vm'"), HasSubstr("not a type of handler"));
  EXPECT_THAT(ErrorOf("[runtime_handlers.x]\npath = 'runc'"), HasSubstr("not an absolute path"));
  EXPECT_THAT(ErrorOf("[runtime_handlers.x]\nruntime = 'y'"), HasSubstr("x.runtime: unknown key"));
  EXPECT_THAT(ErrorOf("[runtime_handlers.x]\ntype = 'oci'"),
              HasSubstr("runtime_handlers.x.path: missing"));
  EXPECT_THAT(ErrorOf("[runtime_handlers.x]\npath = '/bin/runc'"),
              HasSubstr("runtime_handlers.x.type: builtin runs no program"));
}

TEST_F(ConfigTest, SetChecksLikeAFile) {
  Config config;
  EXPECT_TRUE(Set(config, "listen", "unix:///a/b.sock").ok());
  EXPECT_EQ(config.listen, "/a/b.sock");
  EXPECT_TRUE(Set(config, "log_level", "2").ok());
  EXPECT_EQ(config.log_level, 2);
  EXPECT_FALSE(Set(config, "log_level", "high").ok());
  EXPECT_FALSE(Set(config, "root", "x").ok());
  EXPECT_FALSE(Set(config, "nothing", "x").ok());
}

}  // namespace
}  // namespace berth::config
