"""The stages of hack/test: static checks, builds, tests; a table of times; a count at the end."""
import argparse
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

# Targets of gRPC's users are left out: clang's thread-safety analysis is for our own locks, and
# generated code takes minutes with a second compiler.
CLANG_OPTIONS = ["-DBERTH_WITH_GRPC=OFF"]


class Run:
    def __init__(self):
        self.times = []
        self.passed = 0
        self.failures = []
        self.skipped = 0

    def stage(self, name, work):
        """Runs work(), which returns whether all went well, and notes how long it took."""
        print(f"=== {name}", flush=True)
        started = time.monotonic()
        ok = work()
        self.times.append((name, time.monotonic() - started, ok))
        return ok

    def command(self, name, command, env=None):
        """A stage of one command, which counts as one test."""
        def work():
            ok = subprocess.run(command, check=False, env=env).returncode == 0
            if ok:
                self.passed += 1
            else:
                self.failures.append(name)
            return ok
        return self.stage(name, work)

    def build(self, preset, options=()):
        return self.command(f"configure {preset}",
                            ["cmake", "--preset", preset, "-Wno-dev", *options]) and self.command(
                                f"build {preset}", ["cmake", "--build", "--preset", preset])

    def ctest(self, preset, selection):
        """Runs ctest and counts the test cases of every GoogleTest binary from its report."""
        build = os.path.join("build", preset)
        reports = os.path.join(os.path.abspath(build), "reports")
        subprocess.run(["rm", "-rf", reports], check=True)
        os.makedirs(reports)
        env = dict(os.environ, GTEST_OUTPUT=f"xml:{reports}/")
        env.setdefault("ASAN_OPTIONS", "detect_stack_use_after_return=1")

        def work():
            result = subprocess.run(
                ["ctest", "--test-dir", build, "-j", str(os.cpu_count()), "--output-on-failure",
                 "--no-tests=error", *selection],
                check=False, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            return self.judge(preset, reports, result.returncode, result.stdout)
        return self.stage(f"test {preset}", work)

    def in_vms(self, preset):
        """The suites that touch the machine, on one with systemd and cgroup v2: each cgroup driver
        in a guest of its own, side by side."""
        build = os.path.join("build", preset)
        reports = os.path.join(os.path.abspath(build), "reports-vm")
        subprocess.run(["rm", "-rf", reports], check=True)
        guests = {"cgroupfs": ["-LE", "^unit$"], "systemd": ["-L", "^(e2e|crash)$"]}
        running = {}
        for driver, selection in guests.items():
            os.makedirs(os.path.join(reports, driver))
            # /scratch is a file system on a disk; the guest's root is an overlay, which cannot have
            # another overlay in it.
            prepare = "mkdir -m 1777 /scratch/tmp && mount --bind /scratch/tmp /var/tmp && exec \"$@\""
            running[driver] = subprocess.Popen(
                ["hack/vm-run", "--mem", "4096", "--timeout", "1800", "--share", reports, "--",
                 "sh", "-c", prepare, "sh", "env", "TMPDIR=/scratch", f"BERTH_TEST_CGROUP_DRIVER={driver}",
                 f"GTEST_OUTPUT=xml:{reports}/{driver}/", "ctest", "--test-dir", build,
                 "--output-on-failure", "--no-tests=error", *selection],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for driver, process in running.items():
            def work(process=process, driver=driver):
                output = process.communicate()[0]
                return self.judge(f"vm-{driver}", os.path.join(reports, driver),
                                  process.returncode, output)
            self.stage(f"test {preset} in a VM, {driver} driver", work)

    def units_in_vms(self, preset):
        """berthd as a unit: its life under systemd, and the machine's shutdown."""
        programs = os.path.abspath(os.path.join("build", preset, "bin"))
        vm = ["hack/vm-run", "--timeout", "600"]
        for driver in ("systemd", "cgroupfs"):
            self.command(f"units in a VM, {driver} driver",
                         [*vm, "--", "tests/vm/unit_test.sh", programs, driver])
            shared = os.path.abspath(os.path.join("build", preset, f"shutdown-{driver}"))
            subprocess.run(["rm", "-rf", shared], check=True)
            os.makedirs(shared)
            test = "tests/vm/shutdown_test.sh"
            # The machine is gone with its last word; what the pods have written is judged.
            subprocess.run([*vm, "--share", shared, "--", test, "run", programs, driver, shared],
                           check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            self.command(f"shutdown of a VM, {driver} driver", [test, "check", shared])

    def packages_in_a_vm(self, preset):
        """The Debian package of that build is installed, upgraded to a later one and purged."""
        def work():
            made = []
            for version in ([], ["--version", "99.0"]):
                result = subprocess.run(["hack/package", "--preset", preset, *version], check=False,
                                        stdout=subprocess.PIPE, text=True)
                made += result.stdout.splitlines()[-1:]
            if len(made) != 2:
                return False
            return subprocess.run(["hack/vm-run", "--timeout", "600", "--",
                                   "tests/vm/package_test.sh", *made], check=False).returncode == 0

        name = "packages in a VM"
        if self.stage(name, work):
            self.passed += 1
        else:
            self.failures.append(name)

    def judge(self, name, reports, returncode, output):
        """What a run of ctest has shown, by its reports and its output."""
        print(output, flush=True)
        failed_cases = self.count_reports(name, reports)
        # A binary that crashed or ran too long has written no report.
        for binary in re.findall(r"^\s*\d+ - (\S+) \(", output, re.MULTILINE):
            if not any(case.startswith(f"{name}/{binary}:") for case in failed_cases):
                self.failures.append(f"{name}/{binary}")
        if returncode != 0 and not self.failures:
            self.failures.append(f"ctest {name}")
        return returncode == 0

    def count_reports(self, preset, reports):
        failed = []
        for report in sorted(os.listdir(reports)):
            binary = report.removesuffix(".xml")
            for case in xml.parse(os.path.join(reports, report)).getroot().iter("testcase"):
                name = f"{preset}/{binary}: {case.get('classname')}.{case.get('name')}"
                if case.find("failure") is not None:
                    failed.append(name)
                elif case.find("skipped") is not None:
                    self.skipped += 1
                    reason = (case.find("skipped").get("message") or "").strip()
                    print(f"skipped {name}: {reason.splitlines()[-1] if reason else 'no reason'}")
                elif case.get("status") == "run":
                    self.passed += 1
        self.failures += failed
        return failed

    def summary(self, setup_seconds):
        print("\n  seconds  stage")
        for name, seconds, ok in [("setup", setup_seconds, True)] + self.times:
            print(f"{seconds:9.1f}  {name}{'' if ok else '   FAILED'}")
        total = setup_seconds + sum(seconds for _, seconds, _ in self.times)
        print(f"{total:9.1f}  total\n")
        for name in self.failures:
            print(f"failed: {name}")
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {len(self.failures)} failed{skipped}")
        return 1 if self.failures else 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--setup-ns", type=int, default=0)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--vm", action="store_true")
    parser.add_argument("filter", nargs="?")
    options = parser.parse_args()
    if os.geteuid() != 0 and not options.quick:
        sys.exit("hack/test: must run as root (hack/test --quick need not)")

    run = Run()
    selection = ["-L", "^unit$"] if options.quick else []
    if options.vm:
        if run.build("dev"):
            run.in_vms("dev")
            run.units_in_vms("dev")
            run.packages_in_a_vm("dev")
        return run.summary(options.setup_ns / 1e9)
    if options.filter:
        selection += ["-R", options.filter]
    else:
        run.command("check-layers self-test", ["hack/check-layers", "--self-test"])
        run.command("check-layers", ["hack/check-layers"])
        run.command("format", ["hack/format", "--check"])
    if run.build("dev"):
        run.ctest("dev", selection)
        if not options.quick and not options.filter:
            run.in_vms("dev")
            run.units_in_vms("dev")
            run.packages_in_a_vm("dev")
            run.command("lint", ["hack/lint"])
    if not options.quick and not options.filter:
        run.build("clang", CLANG_OPTIONS)
        for preset in ("asan", "tsan"):
            if run.build(preset):
                run.ctest(preset, [])
        run.command("fuzz", ["hack/fuzz", "--seconds", "30"])
    return run.summary(options.setup_ns / 1e9)


if __name__ == "__main__":
    sys.exit(main())
