#include "config/migrate.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "base/file.h"
#include "base/strings.h"
#include "config/migrator.h"

namespace berth::config {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using Kind = MigrationNote::Kind;

// As `containerd config default` of 1.7 has it, with an administrator's changes.
constexpr char kVersion2[] = R"(
version = 2
root = "/var/lib/containerd"
oom_score = -999
disabled_plugins = []
imports = ["more/*.toml"]

[grpc]
  address = "/run/containerd/containerd.sock"
  gid = 123
  max_recv_message_size = 16777216

[debug]
  level = "warn"

[plugins]
  [plugins."io.containerd.gc.v1.scheduler"]
    pause_threshold = 0.02

  [plugins."io.containerd.grpc.v1.cri"]
    sandbox_image = "registry.k8s.io/pause:3.8"
    max_container_log_line_size = 32768
    max_concurrent_downloads = 4
    image_pull_progress_timeout = "1m30s"
    stream_server_address = "127.0.0.1"
    stream_server_port = "10010"
    stream_idle_timeout = "2h0m0s"
    enable_cdi = true
    cdi_spec_dirs = ["/etc/cdi"]
    enable_unprivileged_ports = true
    tolerate_missing_hugetlb_controller = true

    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/opt/cni/bin"
      conf_dir = "/etc/cni/other"
      max_conf_num = 1

    [plugins."io.containerd.grpc.v1.cri".containerd]
      default_runtime_name = "runc"
      snapshotter = "overlayfs"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
          SystemdCgroup = true

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
        privileged_without_host_devices = false
        runtime_type = "io.containerd.runc.v2"
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
          BinaryName = "/usr/bin/nvidia-container-runtime"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]
        runtime_type = "io.containerd.kata.v2"

    [plugins."io.containerd.grpc.v1.cri".registry]
      [plugins."io.containerd.grpc.v1.cri".registry.mirrors."docker.io"]
        endpoint = ["https://mirror.example", "https://registry-1.docker.io"]
      [plugins."io.containerd.grpc.v1.cri".registry.configs."in.example:5000".tls]
        ca_file = "/etc/pki/in.pem"
      [plugins."io.containerd.grpc.v1.cri".registry.configs."in.example:5000".auth]
        username = "u"
        password = "s3cret"
)";

constexpr char kVersion4[] = R"(
version = 4
[plugins.'io.containerd.server.v1.grpc']
  address = '/run/containerd/containerd.sock'
  gid = 7
[plugins.'io.containerd.server.v1.debug']
  level = 'error'
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'erofs'
  max_concurrent_downloads = 8
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = 'registry.k8s.io/pause:3.10.1'
    agent = 'registry.example/agent:1'
[plugins.'io.containerd.cri.v1.runtime']
  cdi_spec_dirs = ['/etc/cdi', '/opt/cdi']
  device_ownership_from_security_context = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ['/usr/lib/cni', '/opt/cni/bin']
  [plugins.'io.containerd.cri.v1.runtime'.containerd]
    default_runtime_name = 'crun'
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.crun]
      runtime_type = 'io.containerd.runc.v2'
      sandboxer = 'podsandbox'
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.crun.options]
        BinaryName = '/usr/bin/crun'
[plugins.'io.containerd.nri.v1.nri']
  disable = false
  socket_path = '/var/run/nri/nri.sock'
[plugins.'io.containerd.grpc.v1.cri']
  stream_server_port = '0'
  brand_new_key = 'x'
)";

constexpr char kCrio[] = R"(
[crio]
storage_driver = "overlay"
log_dir = "/var/log/crio/pods"
[crio.api]
listen = "/run/crio/crio.sock"
stream_port = "10010"
[crio.runtime]
default_runtime = "crun"
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
log_level = "info"
default_ulimits = ["nofile=2048:4096", "nproc=64:64"]
pids_limit = -1
hooks_dir = ["/usr/share/containers/oci/hooks.d"]
default_sysctls = ["net.ipv4.ping_group_range=0 0"]
[crio.runtime.runtimes.crun]
runtime_path = "/usr/bin/crun"
runtime_type = "oci"
monitor_path = "/usr/libexec/crio/conmon"
allowed_annotations = ["io.containers.trace-syscall"]
[crio.runtime.runtimes.kata]
runtime_path = "/usr/bin/containerd-shim-kata-v2"
runtime_type = "vm"
[crio.image]
pause_image = "registry.k8s.io/pause:3.10"
pinned_images = ["registry.example/a:1", "registry.example/b*"]
insecure_registries = ["lab.example:5000", "10.0.0.0/8"]
[crio.network]
network_dir = "/etc/cni/net.d/"
plugin_dirs = ["/opt/cni/bin/"]
[crio.metrics]
enable_metrics = true
)";

constexpr char kRegistries[] = R"(
unqualified-search-registries = ["quay.io", "docker.io"]
[[registry]]
prefix = "docker.io"
location = "registry-1.docker.io"
  [[registry.mirror]]
  location = "mirror.example/hub"
  pull-from-mirror = "digest-only"
  [[registry.mirror]]
  location = "lab.example:5000"
  insecure = true
[[registry]]
location = "evil.example"
blocked = true
[[registry]]
prefix = "*.example.org"
location = "x.example.org"
[aliases]
"debian" = "docker.io/library/debian"
)";

class MigrateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = StrCat(::testing::TempDir(), "/migrate_test.XXXXXX");
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    dir_ = name;
  }
  void TearDown() override {
    auto parent = Open(::testing::TempDir(), O_RDONLY | O_DIRECTORY);
    ASSERT_TRUE(parent.ok());
    EXPECT_TRUE(RemoveTreeAt(parent->get(), dir_.substr(dir_.rfind('/') + 1)).ok());
  }
  std::string Write(const std::string& name, const std::string& text) {
    std::string path = StrCat(dir_, "/", name);
    EXPECT_TRUE(MakeDirs(path.substr(0, path.rfind('/')), 0755).ok());
    std::ofstream(path) << text;
    return path;
  }
  Migration Containerd(const std::string& text) {
    auto migration = MigrateContainerd(Write("config.toml", text));
    EXPECT_TRUE(migration.ok()) << migration.error().message();
    return migration.ok() ? *migration : Migration();
  }
  Migration Crio(const std::string& text) {
    sources_.config = Write("crio.conf", text);
    sources_.drop_ins = dir_ + "/crio.conf.d";
    sources_.registries = dir_ + "/registries.conf";
    sources_.registry_drop_ins = dir_ + "/registries.conf.d";
    auto migration = MigrateCrio(sources_);
    EXPECT_TRUE(migration.ok()) << migration.error().message();
    return migration.ok() ? *migration : Migration();
  }
  // What was said of the key whose name ends so, as "kind: text".
  static std::string Said(const Migration& migration, const std::string& key) {
    for (const MigrationNote& note : migration.notes) {
      if (!note.key.ends_with(key)) continue;
      const char* kind = note.kind == Kind::kTaken     ? "taken: "
                         : note.kind == Kind::kMissing ? "missing: "
                                                       : "not needed: ";
      return kind + note.text;
    }
    return "nothing";
  }
  // What is printed is what was found, as berthd would read it.
  void ExpectReadBack(const Migration& migration) {
    auto read = Load(Write("berth.toml", ToToml(migration)), true);
    ASSERT_TRUE(read.ok()) << read.error().message() << "\n" << ToToml(migration);
    EXPECT_EQ(ToJson(*read), ToJson(migration.config));
  }

  std::string dir_;
  CrioSources sources_;
};

TEST_F(MigrateTest, ContainerdVersion2) {
  Write("more/10.toml", "[debug]\n  level = \"debug\"\n");
  const Migration migration = Containerd(kVersion2);
  const Config& config = migration.config;
  EXPECT_EQ(config.socket_gid, 123);
  EXPECT_EQ(config.log_level, 0);  // the imported file's
  EXPECT_EQ(config.runtime.max_log_line_bytes, 32768);
  EXPECT_EQ(config.image.max_parallel_layers, 4);
  EXPECT_EQ(config.image.stall_timeout_ms, 90'000);
  EXPECT_EQ(config.streaming.port, 10010);
  EXPECT_EQ(config.streaming.idle_timeout_s, 7200);
  EXPECT_THAT(config.runtime.cdi_dirs, ElementsAre("/etc/cdi"));
  EXPECT_THAT(config.cni.bin_dirs, ElementsAre("/opt/cni/bin"));
  EXPECT_EQ(config.cni.conf_dir, "/etc/cni/other");
  ASSERT_EQ(config.runtime_handlers.size(), 2u);
  EXPECT_EQ(config.runtime_handlers.at("runc").type, "builtin");
  EXPECT_EQ(config.runtime_handlers.at("nvidia").path, "/usr/bin/nvidia-container-runtime");

  EXPECT_THAT(Said(migration, "kata.runtime_type"), HasSubstr("missing: io.containerd.kata.v2"));
  EXPECT_THAT(Said(migration, "sandbox_image"), HasSubstr("not needed: there is no pause"));
  EXPECT_THAT(Said(migration, "enable_unprivileged_ports"), HasSubstr("missing: set the sysctl"));
  EXPECT_THAT(Said(migration, "pause_threshold"), HasSubstr("not needed"));
  EXPECT_THAT(Said(migration, "password"), HasSubstr("missing: credentials come with the pod"));
  EXPECT_THAT(ToToml(migration), Not(HasSubstr("s3cret")));
  EXPECT_THAT(Said(migration, "\"docker.io\".endpoint"),
              HasSubstr("missing: write [host.\"https://mirror.example\"] into "
                        "/etc/berth/certs.d/docker.io/hosts.toml"));
  EXPECT_EQ(config.image.registries.at("in.example:5000").ca_file, "/etc/pki/in.pem");
  ExpectReadBack(migration);
}

TEST_F(MigrateTest, ContainerdVersion4) {
  const Migration migration = Containerd(kVersion4);
  const Config& config = migration.config;
  EXPECT_EQ(config.socket_gid, 7);
  EXPECT_EQ(config.log_level, 2);
  EXPECT_EQ(config.image.max_parallel_layers, 8);
  EXPECT_THAT(config.image.pinned, ElementsAre("registry.example/agent:1"));
  EXPECT_THAT(config.runtime.cdi_dirs, ElementsAre("/etc/cdi", "/opt/cdi"));
  EXPECT_THAT(config.cni.bin_dirs, ElementsAre("/usr/lib/cni", "/opt/cni/bin"));
  EXPECT_EQ(config.runtime_handlers.at("crun").path, "/usr/bin/crun");
  EXPECT_THAT(Said(migration, "snapshotter"), HasSubstr("missing: there is one"));
  EXPECT_THAT(Said(migration, "default_runtime_name"), HasSubstr("missing: pods without"));
  EXPECT_THAT(Said(migration, "device_ownership_from_security_context"), HasSubstr("missing"));
  EXPECT_THAT(Said(migration, "nri\".socket_path"), HasSubstr("missing: there is no NRI"));
  EXPECT_EQ(Said(migration, "nri\".disable"), "not needed: empty or off");
  EXPECT_EQ(Said(migration, "stream_server_port"), "not needed: as usual");
  EXPECT_EQ(Said(migration, "brand_new_key"), "missing: not known to this version of berth");
  EXPECT_EQ(Said(migration, "sandboxer"), "not needed: as usual");
  ExpectReadBack(migration);
}

TEST_F(MigrateTest, ContainerdVersion1) {
  const Migration migration = Containerd(
      "[plugins.cri]\nsystemd_cgroup = true\nmax_container_log_line_size = -1\n"
      "[plugins.cri.cni]\nconf_dir = \"relative\"\n[plugins.linux]\nshim_debug = true\n");
  EXPECT_EQ(migration.config.cgroup.driver, "systemd");
  EXPECT_EQ(migration.config.runtime.max_log_line_bytes, 1 << 20);
  EXPECT_THAT(Said(migration, "conf_dir"),
              AllOf(HasSubstr("missing: cni.conf_dir cannot be that"), HasSubstr("relative")));
  EXPECT_THAT(Said(migration, "shim_debug"), HasSubstr("not needed"));
}

TEST_F(MigrateTest, Crio) {
  Write("crio.conf.d/10-level.conf", "[crio.runtime]\nlog_level = \"error\"\n");
  Write("registries.conf", kRegistries);
  const Migration migration = Crio(kCrio);
  const Config& config = migration.config;
  EXPECT_EQ(config.log_level, 2);  // the drop-in's
  EXPECT_EQ(config.cgroup.driver, "cgroupfs");
  EXPECT_EQ(config.streaming.port, 10010);
  EXPECT_EQ(config.runtime.rlimit_nofile_soft, 2048u);
  EXPECT_EQ(config.runtime.rlimit_nofile_hard, 4096u);
  EXPECT_EQ(config.cni.conf_dir, "/etc/cni/net.d");
  EXPECT_THAT(config.cni.bin_dirs, ElementsAre("/opt/cni/bin"));
  EXPECT_THAT(config.image.pinned, ElementsAre("registry.example/a:1"));
  EXPECT_EQ(config.runtime_handlers.at("crun").path, "/usr/bin/crun");
  EXPECT_FALSE(config.runtime_handlers.contains("kata"));

  EXPECT_THAT(Said(migration, "default_ulimits"), HasSubstr("nofile is taken; no key for nproc"));
  EXPECT_THAT(Said(migration, "pinned_images"), HasSubstr("left out: registry.example/b*"));
  EXPECT_THAT(Said(migration, "insecure_registries"), HasSubstr("left out: 10.0.0.0/8"));
  EXPECT_THAT(Said(migration, "hooks_dir"), HasSubstr("missing"));
  EXPECT_THAT(Said(migration, "kata.runtime_type"), HasSubstr("missing: a runtime of type vm"));
  EXPECT_THAT(Said(migration, "allowed_annotations"), HasSubstr("missing"));
  EXPECT_EQ(Said(migration, "pids_limit"), "not needed: as usual");
  EXPECT_THAT(Said(migration, "blocked"), HasSubstr("missing: no registry is blocked"));
  EXPECT_THAT(Said(migration, "debian"), HasSubstr("missing"));
  EXPECT_THAT(Said(migration, "unqualified-search-registries"), HasSubstr("Docker Hub"));
  EXPECT_THAT(Said(migration, "mirror.0.location"),
              HasSubstr("missing: write [host.\"https://mirror.example/hub\"] into"));
  EXPECT_TRUE(config.image.registries.at("lab.example:5000").skip_verify);
  EXPECT_THAT(Said(migration, "2.prefix"),
              HasSubstr("missing: \"*.example.org\" is not a whole registry"));
  EXPECT_EQ(config.image.registries.size(), 1u);
  ExpectReadBack(migration);
}

TEST_F(MigrateTest, HostsTomlOfCertsD) {
  Write("certs.d/lab.example:5000/hosts.toml",
        "server = \"https://lab.example:5000\"\n[host.\"https://lab.example:5000\"]\n"
        "capabilities = [\"pull\", \"resolve\"]\nca = \"/etc/pki/lab.pem\"\n"
        "client = [[\"/a.pem\", \"/a.key\"]]\n");
  Write("certs.d/docker.io/hosts.toml",
        "server = \"https://registry-1.docker.io\"\n[host.\"https://mirror.example\"]\n"
        "capabilities = [\"pull\"]\n[host.\"https://mirror.example\".header]\nx = \"y\"\n");
  Write("certs.d/empty.example/ca.crt", "");
  const Migration migration = Containerd(
      StrCat("version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\nconfig_path = '", dir_,
             "/certs.d:", dir_, "/none'\n"));
  EXPECT_TRUE(migration.config.image.registries.empty());
  EXPECT_THAT(migration.config.image.registry_config_dirs,
              ElementsAre(StrCat(dir_, "/certs.d"), StrCat(dir_, "/none")));
  EXPECT_EQ(Said(migration, "config_path"), "taken: image.registry_config_dirs");
  ExpectReadBack(migration);

  Write("certs.d/bad.example/hosts.toml", "server = [\n");
  auto bad = MigrateContainerd(dir_ + "/config.toml");
  EXPECT_EQ(bad.code(), Code::kInvalidArgument);
  EXPECT_THAT(bad.error().message(), HasSubstr("bad.example/hosts.toml"));
}

TEST_F(MigrateTest, EveryKeyIsNamedOnce) {
  for (const char* text : {kVersion2, kVersion4}) {
    auto keys = ReadForeignToml(Write("all.toml", text));
    ASSERT_TRUE(keys.ok());
    const Migration migration = Containerd(text);
    std::vector<std::string> named, there;
    for (const MigrationNote& note : migration.notes) named.push_back(note.key);
    for (const ForeignKey& key : *keys) there.push_back(key.Name());
    EXPECT_THAT(named, ::testing::UnorderedElementsAreArray(there));
  }
  Write("registries.conf", kRegistries);
  const Migration migration = Crio(kCrio);
  std::vector<std::string> named, there;
  for (const MigrationNote& note : migration.notes) named.push_back(note.key);
  for (const std::string& file : {sources_.config, sources_.registries}) {
    auto keys = ReadForeignToml(file);
    ASSERT_TRUE(keys.ok());
    for (const ForeignKey& key : *keys) there.push_back(key.Name());
  }
  EXPECT_THAT(named, ::testing::UnorderedElementsAreArray(there));
}

TEST_F(MigrateTest, WrongFilesAreNamedWithTheLine) {
  auto missing = MigrateContainerd(dir_ + "/none.toml");
  EXPECT_EQ(missing.code(), Code::kNotFound);
  auto wrong = MigrateContainerd(Write("wrong.toml", "version = 2\n[plugins\n"));
  EXPECT_EQ(wrong.code(), Code::kInvalidArgument);
  EXPECT_THAT(wrong.error().message(), HasSubstr("wrong.toml:2"));
  sources_ = {dir_ + "/a", dir_ + "/b", dir_ + "/c", dir_ + "/d"};
  EXPECT_EQ(MigrateCrio(sources_).code(), Code::kNotFound);
  // Drop-ins may be all there is.
  Write("b/10.conf", "[crio.runtime]\nlog_level = \"warn\"\n");
  auto drop_ins = MigrateCrio(sources_);
  ASSERT_TRUE(drop_ins.ok()) << drop_ins.error().message();
  EXPECT_EQ(drop_ins->config.log_level, 1);
}

TEST_F(MigrateTest, ValuesOfAnyTypeAreRead) {
  const Migration migration = Containerd(
      "version = \"two\"\nroot = 1\n[grpc]\ngid = \"x\"\n[plugins.cri]\nsandbox_image = [1]\n"
      "cdi_spec_dirs = [1, 2]\nstream_idle_timeout = 5\nmax_concurrent_downloads = 1000\n"
      "[plugins.cri.containerd.runtimes.\"Not a name\"]\nruntime_type = 5\n"
      "[plugins.cri.registry]\nconfig_path = 7\nmirrors = 1\n"
      "[plugins.cri.registry.mirrors2.a]\nendpoint = 1979-05-27\n");
  EXPECT_EQ(ToJson(migration.config), ToJson(Config()));
  EXPECT_THAT(Said(migration, "gid"), HasSubstr("missing"));
  EXPECT_THAT(Said(migration, "max_concurrent_downloads"), HasSubstr("not in the range"));
  EXPECT_THAT(Said(migration, "stream_idle_timeout"), HasSubstr("5 is not a duration"));
}

TEST(GoDuration, Values) {
  EXPECT_EQ(ParseGoDuration("4h0m0s"), 4 * 3600'000);
  EXPECT_EQ(ParseGoDuration("1.5s"), 1500);
  EXPECT_EQ(ParseGoDuration("250ms"), 250);
  EXPECT_EQ(ParseGoDuration("0"), 0);
  for (const char* wrong : {"", "5", "s", "1x", "1h-2m", "1h 2m", "9999999999999h"}) {
    EXPECT_EQ(ParseGoDuration(wrong), std::nullopt) << wrong;
  }
}

}  // namespace
}  // namespace berth::config
