#!/usr/bin/env python3
"""Builds Tenon, runs every test, and says what passed. Called by tools/test, which installs what this needs.

One process a test, in a session of its own, ended at its deadline. A test passes with exit status 0, is skipped with 77
(its last line on stderr is the reason), and fails with everything else, or when it leaves a process, a container or a
mount behind."""

import argparse
import concurrent.futures
import ctypes
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import engine as private_engine  # noqa: E402
import images  # noqa: E402
import procs  # noqa: E402
from engine_api import EngineError  # noqa: E402

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEADLINES = {"unit": 60, "fuzz": 60, "integration": 120, "acceptance": 300, "confine": 60}
PARALLEL = ("unit", "fuzz")
SANITIZED_FACTOR = 3
SKIPPED = 77
PR_SET_CHILD_SUBREAPER = 36


class Test:
    """One test: its name, what to start, and how long it may take."""

    def __init__(self, kind, name, argv, source, suffix=""):
        self.kind = kind
        self.name = f"{kind}/{name}{suffix}"
        self.argv = argv
        self.deadline, self.long = self._marks(source)
        if suffix:
            self.deadline *= SANITIZED_FACTOR

    def _marks(self, source):
        """`deadline: SECONDS` and `long: yes` in the comments of the first lines."""
        head = ""
        if source and os.path.exists(source):
            with open(source, encoding="utf-8", errors="replace") as file:
                head = "".join(file.readlines()[:12])
        deadline = re.search(r"^[\s/*#]*deadline: (\d+)", head, re.MULTILINE)
        return (int(deadline.group(1)) if deadline else DEADLINES[self.kind],
                bool(re.search(r"^[\s/*#]*long: yes", head, re.MULTILINE)))


class Run:
    """One call of the runner: where things lie, what has been counted."""

    def __init__(self, options):
        self.options = options
        self.root = os.path.realpath(tempfile.mkdtemp(prefix="tenon-test."))
        os.chmod(self.root, 0o711)  # a test may let another user into its own folder
        self.passed, self.failed, self.skipped = [], [], []
        self.engine = private_engine.PrivateEngine()
        self.docker_host = None
        self.no_docker = None
        self.printing = threading.Lock()
        self.current = {}

    # Building and finding tests

    def build(self, sanitized):
        """Builds and returns the build folder, or None when that failed."""
        folder = "build-asan" if sanitized else "build"
        argv = ["tools/setup", "--build", folder] + (["--sanitize"] if sanitized else [])
        started = time.monotonic()
        done = subprocess.run(argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            self.report("fail", f"build/{folder}", time.monotonic() - started, f"tools/setup exited {done.returncode}")
            return None
        print(f"built {folder} in {time.monotonic() - started:.0f} s", flush=True)
        return os.path.join(REPOSITORY, folder)

    def find(self, build, sanitized):
        """All tests for a build folder, in the order in which they run."""
        suffix = " (sanitized)" if sanitized else ""
        tests = []
        for kind in ("unit", "integration"):
            for path in sorted(glob.glob(f"{build}/tests/{kind}/*_test")):
                name = os.path.basename(path)[:-len("_test")]
                source = os.path.join(REPOSITORY, "tests", kind, name + "_test.c")
                tests.append(Test(kind, name, [path], source, suffix))
        for path in sorted(glob.glob(f"{build}/tests/fuzz/*_fuzz")):
            name = os.path.basename(path)[:-len("_fuzz")]
            corpus = sorted(glob.glob(f"{REPOSITORY}/tests/fuzz/{name}/*"))
            source = os.path.join(REPOSITORY, "tests", "fuzz", name + "_fuzz.c")
            tests.append(Test("fuzz", name, [path, *corpus], source, suffix))
        for path in sorted(glob.glob(f"{REPOSITORY}/tests/integration/*_test.py")):
            name = os.path.basename(path)[:-len("_test.py")]
            tests.append(Test("integration", name, [sys.executable, "-B", path], path, suffix))
        for path in sorted(glob.glob(f"{REPOSITORY}/tests/acceptance/*/test.py")):
            name = os.path.basename(os.path.dirname(path))
            tests.append(Test("acceptance", name, [sys.executable, "-B", path], path, suffix))
        path = os.path.join(REPOSITORY, "tests", "confine", "test.py")
        tests.append(Test("confine", "prober", [sys.executable, "-B", path], path, suffix))
        wanted = self.options.filter
        return [t for t in tests if (not wanted or any(w in t.name for w in wanted))
                and (self.options.long or not t.long)]

    # The private engine

    def start_engine(self):
        """Starts the private Docker Engine with its images; says why when there is none."""
        started = time.monotonic()
        try:
            self.docker_host = self.engine.start()
            ready = time.monotonic()
            self.engine.ensure_images()
            images.extract("busybox", "bin/busybox", self.engine.cache, os.path.join(self.root, "busybox"))
        except (private_engine.EngineUnavailable, EngineError, RuntimeError, OSError) as error:
            self.no_docker = str(error)
            self.docker_host = None
            # Without root there can be none: tests that need it are skipped. As root it is a failure.
            if os.geteuid() == 0:
                self.report("fail", "engine", time.monotonic() - started, str(error))
            else:
                print(f"no private Docker Engine: {error}", flush=True)
            return
        print(f"private Docker Engine up in {ready - started:.1f} s, images ready in {time.monotonic() - ready:.1f} s",
              flush=True)

    # Running

    def environment(self, build, folder):
        """What a test sees. Folders are its own and go away with it."""
        env = {k: v for k, v in os.environ.items()
               if not k.startswith(("DOCKER_", "TENON_", "CIRCLE", "XDG_")) and k not in ("CI", "PYTHONPATH")}
        env.update(TENON_BUILD=build, TENON_AGENT=build + "/executors/agent/tenon-agent", TENON_TEST_FOLDER=folder, TMPDIR=folder, XDG_STATE_HOME=folder + "/state",
                   XDG_RUNTIME_DIR=folder + "/run", XDG_CACHE_HOME=folder + "/cache", HOME=folder + "/home",
                   PYTHONPATH=os.path.join(REPOSITORY, "tests", "lib"), LC_ALL="C.UTF-8",
                   GIT_CONFIG_NOSYSTEM="1", TENON_TEST_LONG="1" if self.options.long else "",
                   ASAN_OPTIONS=f"abort_on_error=1:detect_leaks=1:disable_coredump=1:log_path={folder}/reports/sanitizer",
                   UBSAN_OPTIONS=f"print_stacktrace=1:halt_on_error=1:log_path={folder}/reports/sanitizer")
        if self.docker_host:
            env["TENON_TEST_DOCKER_HOST"] = self.docker_host
            env["TENON_TEST_BUSYBOX"] = os.path.join(self.root, "busybox")
        else:
            env["TENON_TEST_NO_DOCKER"] = self.no_docker or "the private engine was not started"
        for name in ("state", "run", "cache", "home", "reports"):
            os.makedirs(os.path.join(folder, name), mode=0o700)
        os.chmod(folder + "/reports", 0o1777)  # processes that root starts have users of their own
        return env

    def run_test(self, test, build):
        """Runs one test to its end and reports it."""
        folder = tempfile.mkdtemp(prefix="t.", dir=self.root)
        log = folder + ".log"
        started = time.monotonic()
        with open(log, "wb") as output:
            child = subprocess.Popen(test.argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                     env=self.environment(build, folder), start_new_session=True)
            self.current[child.pid] = test.name
            try:
                status = child.wait(test.deadline)
            except subprocess.TimeoutExpired:
                status = None
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            finally:
                del self.current[child.pid]
        seconds = time.monotonic() - started
        left = self.clean(folder, grace=2 if status is not None else 0)
        with open(log, encoding="utf-8", errors="replace") as file:
            text = file.read().rstrip()
        # What a sanitizer found in any process fails the test, also in one that was started again and did well then.
        for path in sorted(glob.glob(folder + "/reports/sanitizer.*")):
            with open(path, encoding="utf-8", errors="replace") as file:
                left.append("a sanitizer's report:\n" + file.read())
        # Those of Tenon's confined processes, which can make no such file, are in the logs of the runs.
        for path in glob.glob(folder + "/**/tenon.log", recursive=True):
            with open(path, encoding="utf-8", errors="replace") as file:
                text_of_log = file.read()
            if "ERROR: AddressSanitizer" in text_of_log or ": runtime error: " in text_of_log:
                left.append(f"a sanitizer's report in {path}:\n" + text_of_log[-20000:])
        self.judge(test, status, seconds, text, left)
        shutil.rmtree(folder, ignore_errors=True)
        os.unlink(log)

    def judge(self, test, status, seconds, text, left):
        """Says whether a test passed, and why not."""
        if status is None:
            self.report("fail", test.name, seconds, f"{text}\nkilled at its deadline of {test.deadline} s")
        elif status == SKIPPED:
            lines = text.strip().splitlines()
            self.report("skip", test.name, seconds, lines[-1] if lines else "no reason given")
        elif status != 0:
            how = f"exit status {status}" if status > 0 else f"killed by signal {-status}"
            self.report("fail", test.name, seconds, "\n".join([text, how, *left]))
        elif left:
            self.report("fail", test.name, seconds, f"{text}\nleft behind: {'; '.join(left)}")
        else:
            self.report("pass", test.name, seconds, text if self.options.verbose else "")

    def report(self, outcome, name, seconds, text):
        """Counts a result and prints it: one line, below it what a reader needs."""
        {"pass": self.passed, "fail": self.failed, "skip": self.skipped}[outcome].append(name)
        with self.printing:
            if outcome == "skip":
                print(f"skip  {name} ({seconds:.1f} s): {text}", flush=True)
                return
            print(f"{outcome}  {name} ({seconds:.1f} s)", flush=True)
            if text.strip():
                lines = text.strip().splitlines()
                if len(lines) > 400 and not self.options.verbose:
                    lines = lines[:100] + [f"… {len(lines) - 300} lines left out …"] + lines[-200:]
                print("\n".join("    " + line for line in lines), flush=True)

    # Nothing stays behind

    def reap(self):
        """Collects orphans that ended: we are the subreaper of everything that tests start."""
        for pid in procs.all_pids():
            if procs.state(pid) == "Z" and procs.parent(pid) == os.getpid() and pid not in self.current:
                if pid in (self.engine.running or {}).get("pids", {}).values():
                    continue
                try:
                    os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    pass

    def clean(self, folder, grace):
        """Ends and removes what a test left; returns what that was. Processes get `grace` seconds to end."""
        procs.wait_for(lambda: not procs.marked(folder), grace)
        left = []
        for pid in procs.marked(folder):
            left.append(f"process {pid} {procs.command(pid)}")
            procs.kill(pid)
            procs.wait_gone(pid, 5)
        if self.docker_host and not self.current:
            left += self.clean_containers(grace)
        for point in procs.mounts_under(folder):
            left.append(f"mount {point}")
            subprocess.run(["umount", "--lazy", point], check=False)
        return left

    def clean_containers(self, grace):
        """The engine is ours alone, so every container, volume and network in it is some test's."""
        api = self.engine.api()
        left = []
        if not api.ping():
            return left
        procs.wait_for(lambda: not api.containers(), grace)
        for container in api.containers():
            left.append(f"container {container['Names'][0]} ({container['Image']}, {container['State']})")
            api.remove_container(container["Id"])
        for volume in api.volumes():
            left.append(f"volume {volume['Name']}")
            api.call("DELETE", f"/volumes/{volume['Name']}")
        for network in api.networks():
            left.append(f"network {network['Name']}")
            api.call("DELETE", f"/networks/{network['Id']}")
        return left

    def leftovers(self):
        """The last test: after all others nothing of them is left."""
        started = time.monotonic()
        left = self.clean(self.root, grace=2)
        self.engine.stop()
        left += [f"mount {point}" for point in procs.mounts_under(self.engine.folder)]
        shutil.rmtree(self.root, ignore_errors=True)
        if os.path.exists(self.root):
            left.append(f"folder {self.root}")
        self.report("fail" if left else "pass", "leftovers", time.monotonic() - started, "\n".join(left))

    # All of it

    def suite(self, sanitized):
        """Builds one flavour and runs all its tests."""
        build = self.build(sanitized)
        if build is None:
            return
        tests = self.find(build, sanitized)
        if self.docker_host is None and self.no_docker is None and any(t.kind not in PARALLEL for t in tests):
            self.start_engine()
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            list(pool.map(lambda test: self.run_test(test, build), [t for t in tests if t.kind in PARALLEL]))
        for test in tests:
            if test.kind not in PARALLEL:
                self.run_test(test, build)
            self.reap()

    def all(self):
        """Runs what the options ask for; the exit status."""
        started = time.monotonic()
        try:
            if self.options.only != "sanitize":
                self.suite(sanitized=False)
            if self.options.only != "normal":
                self.suite(sanitized=True)
        finally:
            self.leftovers()
        if self.failed:
            print("failed: " + ", ".join(self.failed))
        print(f"took {time.monotonic() - started:.0f} s")
        print(f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped", flush=True)
        return 1 if self.failed else 0


def parse(arguments):
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="tools/test", description="Installs what tests need, builds, runs all tests.")
    parser.add_argument("--long", action="store_true", help="run the tests marked `long: yes` too")
    parser.add_argument("--only", choices=("normal", "sanitize"), help="only the normal, or only the sanitizer build")
    parser.add_argument("--sanitize", dest="only", action="store_const", const="sanitize",
                        help="the same as --only sanitize")
    parser.add_argument("--filter", action="append", metavar="TEXT", help="only tests whose name holds TEXT")
    parser.add_argument("--list", action="store_true", help="print the names of the tests of an existing build")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the output of tests that passed, too")
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    # Orphans of tests come to us instead of to init, so that they can be seen and collected.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if options.list:
        run = Run(options)
        os.rmdir(run.root)
        for folder, sanitized in (("build", False), ("build-asan", True)):
            for test in run.find(os.path.join(REPOSITORY, folder), sanitized):
                print(test.name)
        return 0
    # Held until the end: two runs at once would share the build folders and the engine's data.
    with private_engine.lock():
        return Run(options).all()


if __name__ == "__main__":
    sys.exit(main())
