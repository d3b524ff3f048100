// berth_bench: measures one or two CRI runtimes through their sockets. hack/bench prepares a
// private place for them and calls this; docs/BENCHMARKS.md says what each figure means.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/file.h"
#include "base/process.h"
#include "base/time.h"
#include "tests/bench/bench.h"
#include "tests/bench/usage.h"

namespace berth::bench {
namespace {

std::atomic<bool> g_interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free);

struct Options {
  std::vector<std::string> targets;
  std::vector<std::string> suites = {"pods", "exec", "scale", "pull"};
  std::string image;
  std::vector<std::string> pull_images;
  std::vector<std::string> pull_floors;
  std::string log_root;
  std::string registry_cgroup;
  std::string floor_program;
  std::string floor_layer;
  std::string json_file;
  bool quick = false;
};

struct Suite {
  const char* name;
  Status (*run)(Bench&);
};
constexpr Suite kSuites[] = {{"pods", RunPodSuite},
                             {"exec", RunExecSuite},
                             {"scale", RunScaleSuite},
                             {"pull", RunPullSuite}};

Plan QuickPlan() {
  Plan plan;
  plan.serial_lives = 10;
  plan.parallel_lives = 16;
  plan.execs = 30;
  plan.lists = 30;
  plan.polls = 1;
  plan.pulls = 1;
  plan.memory_settle_ms = 1500;
  return plan;
}

// "NAME=SOCKET" or "NAME=SOCKET,CGROUP".
Result<Target> ParseTarget(const std::string& text) {
  size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return Error(Code::kInvalidArgument, StrCat("--target ", text, ": not NAME=SOCKET[,CGROUP]"));
  }
  Target target;
  target.name = text.substr(0, equals);
  size_t comma = text.find(',', equals);
  target.socket_path = text.substr(equals + 1, comma - equals - 1);
  if (comma != std::string::npos) target.cgroup = text.substr(comma + 1);
  return target;
}

// "GROUP=IMAGE", and "GROUP:PART=SECONDS" for the floor of that group.
Status ParsePulls(const Options& options, Bench& bench) {
  for (const std::string& text : options.pull_images) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos) {
      return Error(Code::kInvalidArgument, StrCat("--pull-image ", text, ": not GROUP=IMAGE"));
    }
    bench.pulls.push_back({text.substr(0, equals), text.substr(equals + 1)});
  }
  for (const std::string& text : options.pull_floors) {
    const size_t colon = text.find(':');
    const size_t equals = text.rfind('=');
    const bool whole = colon != std::string::npos && equals != std::string::npos && colon < equals;
    const double seconds = whole ? std::strtod(text.c_str() + equals + 1, nullptr) : 0;
    if (seconds <= 0) {
      return Error(Code::kInvalidArgument,
                   StrCat("--pull-floor ", text, ": not GROUP:PART=SECONDS"));
    }
    for (PullCase& pull : bench.pulls) {
      if (pull.group != text.substr(0, colon)) continue;
      const std::string part = text.substr(colon + 1, equals - colon - 1);
      bench.report->At(pull.group, "floor: " + part, "s", "").samples.Add(seconds);
      pull.floor_s = std::max(pull.floor_s, seconds);
    }
  }
  return Ok();
}

Status Connect(Bench& bench, Target& target) {
  ASSIGN_OR_RETURN(target.daemon_pid, ListenerPid(target.socket_path), target.name);
  ASSIGN_OR_RETURN(target.client, CriClient::Connect(target.socket_path), target.name);
  RETURN_IF_ERROR(target.client->CheckReady(), target.name);
  ASSIGN_OR_RETURN(target.idle_pss, PssBytes(target.daemon_pid), target.name);
  bench.report->SetFact(target.name, target.client->version());
  ASSIGN_OR_RETURN(std::string reference, target.client->PullImage(bench.image), target.name);
  return Ok();
}

Status MeasureFloor(Bench& bench, const Options& options, bool host_network) {
  SpawnOptions spawn;
  spawn.path = options.floor_program;
  spawn.args = {"floor", host_network ? "host" : "own", options.floor_layer, bench.log_root,
                StrCat(bench.plan.serial_lives)};
  ASSIGN_OR_RETURN(RunOutput output, RunProgram(Context::WithTimeoutMs(120'000), spawn, ""));
  if (output.exit_code != 0) {
    return Error(Code::kInternal, StrCat("exit code ", output.exit_code, ": ", Trim(output.err)));
  }
  Cell& cell =
      bench.report->At("Floor: namespaces, mounts and exec of the same pod, nothing around",
                       host_network ? "host network" : "own network namespace", "ms", "");
  for (std::string_view line : Split(output.out, '\n')) {
    if (auto ns = ParseNumber<int64_t>(line)) cell.samples.Add(Ms(*ns));
  }
  double floor = cell.samples.Percentile(50);
  for (const Target& target : bench.targets) {
    double up = bench.report->P50(SerialGroup(host_network), "pod up", target.name);
    if (floor <= 0 || up <= 0) continue;
    bench.report->At(SerialGroup(host_network), "pod up, multiples of the floor", "", target.name)
        .samples.Add(up / floor);
  }
  return Ok();
}

// CPU that neither the runtimes nor the registry nor this process has used, in per cent of all
// CPUs: what else disturbed the figures (kernel threads that work for the runtimes count here,
// too).
class ForeignLoad {
 public:
  explicit ForeignLoad(const Bench& bench) : bench_(bench), begin_(Read()) {}

  double Percent() const {
    Reading now = Read();
    double foreign = static_cast<double>((now.machine - begin_.machine) - (now.ours - begin_.ours));
    double all = static_cast<double>(now.wall - begin_.wall) *
                 static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN));
    return 100 * foreign / all;
  }

 private:
  struct Reading {
    int64_t wall = 0;
    int64_t machine = 0;
    int64_t ours = 0;
  };
  static int64_t ValueOrZero(const Result<int64_t>& result) { return result.ok() ? *result : 0; }
  Reading Read() const {
    Reading reading;
    reading.wall = MonotonicNs();
    reading.machine = ValueOrZero(MachineBusyNs());
    reading.ours = ClockNs(CLOCK_PROCESS_CPUTIME_ID);
    for (const Target& target : bench_.targets) {
      if (!target.cgroup.empty()) reading.ours += ValueOrZero(CgroupCpuNs(target.cgroup));
    }
    if (!bench_.registry_cgroup.empty()) {
      reading.ours += ValueOrZero(CgroupCpuNs(bench_.registry_cgroup));
    }
    return reading;
  }

  const Bench& bench_;
  Reading begin_;
};

bool Wanted(const Options& options, const std::string& suite) {
  return std::find(options.suites.begin(), options.suites.end(), suite) != options.suites.end();
}

// One suite's failure is reported and leaves the others their chance.
void RunSuites(Bench& bench, const Options& options) {
  for (const Suite& suite : kSuites) {
    if (!Wanted(options, suite.name) || g_interrupted) continue;
    if (suite.run == RunPullSuite && bench.pulls.empty()) continue;
    fprintf(stderr, "measuring: %s\n", suite.name);
    Status status = suite.run(bench);
    if (status.ok()) continue;
    bench.report->AddFailure(StrCat(suite.name, ": ", status.error().message()));
    for (Target& target : bench.targets) {
      Status removed = target.client->RemoveBenchPods();
      if (!removed.ok()) {
        bench.report->AddFailure(
            StrCat("clean up after ", suite.name, ": ", removed.error().message()));
      }
    }
  }
  if (options.floor_program.empty()) return;
  for (bool host_network : {false, true}) {
    Status status = MeasureFloor(bench, options, host_network);
    if (!status.ok()) bench.report->AddFailure(StrCat("floor: ", status.error().message()));
  }
}

Status WriteResults(const Options& options, const Report& report) {
  printf("%s", report.Table().c_str());
  fflush(stdout);
  if (options.json_file.empty()) return Ok();
  ASSIGN_OR_RETURN(UniqueFd file, Open(options.json_file, O_WRONLY | O_CREAT | O_TRUNC, 0644));
  return WriteAll(file.get(),
                  report.ToJson().dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

Status Run(const Options& options) {
  Bench bench;
  bench.image = options.image;
  bench.log_root = options.log_root;
  bench.registry_cgroup = options.registry_cgroup;
  bench.interrupted = &g_interrupted;
  if (options.quick) bench.plan = QuickPlan();
  std::vector<std::string> names;
  for (const std::string& text : options.targets) {
    ASSIGN_OR_RETURN(Target target, ParseTarget(text));
    names.push_back(target.name);
    bench.targets.push_back(std::move(target));
  }
  Report report(names);
  bench.report = &report;
  RETURN_IF_ERROR(ParsePulls(options, bench));
  RETURN_IF_ERROR(MakeDirs(bench.log_root, 0755));
  for (Target& target : bench.targets) RETURN_IF_ERROR(Connect(bench, target));

  ASSIGN_OR_RETURN(double load, LoadAverage());
  report.SetFact("load average before", load);
  report.SetFact("CPUs", sysconf(_SC_NPROCESSORS_ONLN));
  ForeignLoad foreign(bench);
  RunSuites(bench, options);
  ASSIGN_OR_RETURN(double load_after, LoadAverage());
  report.SetFact("load average after", load_after);
  report.SetFact("CPU used by others, % of all CPUs", static_cast<int>(foreign.Percent()));
  RETURN_IF_ERROR(WriteResults(options, report));
  if (g_interrupted) return Error(Code::kCancelled, "interrupted");
  if (report.failed()) return Error(Code::kInternal, "not everything could be measured");
  return Ok();
}

void OnSignal(int) {
  g_interrupted = true;
}

int Main(int argc, char** argv) {
  Options options;
  CLI::App app("Measures CRI runtimes through their sockets.");
  app.add_option("--target", options.targets, "NAME=SOCKET[,CGROUP]; twice to compare two runtimes")
      ->required()
      ->expected(1, 2);
  app.add_option("--image", options.image, "image with /pause and /bin/true")->required();
  app.add_option("--log-root", options.log_root, "directory for container logs")->required();
  app.add_option("--pull-image", options.pull_images,
                 "GROUP=IMAGE: a large image for the pull suite; may be repeated");
  app.add_option("--pull-floor", options.pull_floors,
                 "GROUP:PART=SECONDS: what a part of that pull takes alone; may be repeated");
  app.add_option("--registry-cgroup", options.registry_cgroup, "cgroup of the registry's process");
  app.add_option("--suite", options.suites, "what to measure; default all")
      ->check(CLI::IsMember({"pods", "exec", "scale", "pull"}));
  app.add_option("--floor", options.floor_program, "the floor program");
  app.add_option("--floor-layer", options.floor_layer, "the image's layer, unpacked");
  app.add_option("--json", options.json_file, "also write the results to this file");
  app.add_flag("--quick", options.quick, "fewer rounds");
  CLI11_PARSE(app, argc, argv);

  struct sigaction action {};
  action.sa_handler = OnSignal;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  Status status = Run(options);
  if (status.ok()) return EXIT_SUCCESS;
  fprintf(stderr, "berth_bench: %s\n", status.error().message().c_str());
  return EXIT_FAILURE;
}

}  // namespace
}  // namespace berth::bench

// What CLI11 throws for a wrongly declared option may end the program.
// NOLINTNEXTLINE(bugprone-exception-escape)
int main(int argc, char** argv) {
  return berth::bench::Main(argc, argv);
}
