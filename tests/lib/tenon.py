"""What the integration and acceptance tests share: running `tenon`, making projects, checking results.

Every test is a program of its own. It ends with status 0 when all went well, 77 through skip(), and 1 at the first
failed check, which prints what was wanted and what was there."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

import procs
from engine_api import Engine

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SHARED = os.path.join(os.path.dirname(REPOSITORY), "shared")
BUILD = os.environ.get("TENON_BUILD") or os.path.join(REPOSITORY, "build")
TENON = os.path.join(BUILD, "tools", "tenon")
SANITIZED = os.path.basename(BUILD).endswith("asan")
SLOW = 3 if SANITIZED else 1


def fail(text):
    """Ends the test as failed."""
    print(f"failed: {text}", file=sys.stderr, flush=True)
    sys.exit(1)


def skip(reason):
    """Ends the test as skipped."""
    print(reason, file=sys.stderr, flush=True)
    sys.exit(77)


def check(condition, what):
    """Fails with `what` unless the condition holds."""
    if not condition:
        fail(what)


def check_equal(actual, wanted, what):
    """Fails unless both are equal."""
    if actual != wanted:
        fail(f"{what}\n   is: {actual!r}\n want: {wanted!r}")


def check_in(part, text, what):
    """Fails unless `text` holds `part`."""
    if part not in text:
        fail(f"{what}: {part!r} is not in\n{text}")


def shared(name):
    """Path of a file of the shared material, or skips."""
    path = os.path.join(SHARED, name)
    if not os.path.exists(path):
        skip(f"../shared/{name} is not there")
    return path


def docker_host():
    """Address of the private Docker Engine, or skips."""
    host = os.environ.get("TENON_TEST_DOCKER_HOST")
    if not host:
        skip("no private Docker Engine: " + os.environ.get("TENON_TEST_NO_DOCKER", "run this through tools/test"))
    return host


def engine():
    """A client of the private Docker Engine."""
    return Engine(docker_host())


def write(path, text):
    """Writes a file and the folders above it."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def read(path):
    """A file's text."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def files_below(folder):
    """Paths of all files below a folder, relative to it, sorted."""
    found = []
    for base, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(base, name), folder) for name in names]
    return sorted(found)


def git(folder, *arguments):
    """Runs git in a folder with a fixed identity."""
    subprocess.run(["git", "-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main",
                    "-c", "advice.detachedHead=false", *arguments], cwd=folder, check=True, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL)


def project(source=None, config=None, files=None):
    """Makes a project in a temporary folder: a copy of `source`, with `config` (text) and `files` ({path: text}),
    committed to a new git repository. Returns the folder."""
    folder = os.path.join(tempfile.mkdtemp(prefix="p."), "project")
    if source:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("test.py", "__pycache__"))
    else:
        os.makedirs(folder)
    if config is not None:
        write(os.path.join(folder, ".circleci", "config.yml"), config)
    for path, text in (files or {}).items():
        write(os.path.join(folder, path), text)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "project under test")
    return folder


def build_for(user, folder):
    """Copies the build folder's programs for another user, because the repository may lie where only root may go.
    Makes `folder`, all of it the user's, with home, tmp, state and run folders. Returns the environment for them, and the
    command's path."""
    os.chmod(os.environ["TENON_TEST_FOLDER"], 0o711)
    os.makedirs(folder, 0o700)

    def not_needed(base, names):
        kept = []
        for name in names:
            path = os.path.join(base, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISDIR(mode) and not name.endswith(".p") and name not in ("meson-private", "meson-logs", "tests"):
                kept.append(name)
            elif stat.S_ISREG(mode) and (mode & 0o100 or name.endswith((".so", "manifest.json"))):
                kept.append(name)
        return set(names) - set(kept)

    build = os.path.join(folder, "build")
    shutil.copytree(BUILD, build, ignore=not_needed)
    env = {"HOME": folder + "/home", "TMPDIR": folder + "/tmp", "XDG_STATE_HOME": folder + "/state",
           "XDG_RUNTIME_DIR": folder + "/run"}
    for path in env.values():
        os.mkdir(path, 0o700)
    subprocess.run(["chown", "-R", f"{user}:{user}", folder], check=True)
    return env, build + "/tools/tenon"


class Result:
    """What a finished `tenon` left: status, both outputs, and with --json the events."""

    def __init__(self, argv, code, out, err, seconds):
        self.argv, self.code, self.out, self.err, self.seconds = argv, code, out, err, seconds
        self.events = []
        if "--json" in argv:
            for line in filter(None, out.split("\n")):
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    fail(f"{' '.join(argv)}: this line is not JSON: {line!r}")

    def __str__(self):
        words = " ".join(word if len(word) < 300 else word[:300] + "…" for word in self.argv)
        return (f"{words} exited {self.code} after {self.seconds:.1f} s\n"
                f"--- stdout\n{self.out[-20000:]}\n--- stderr\n{self.err[-20000:]}")

    def expect(self, code):
        """Fails, showing all, unless the exit status is this. Returns the result."""
        if self.code != code:
            fail(f"exit status {self.code}, want {code}: {self}")
        return self

    def of_type(self, name):
        """All events of one type."""
        return [event for event in self.events if event.get("type") == name]

    @property
    def summary(self):
        """The last event, which must be the summary."""
        if not self.events or self.events[-1].get("type") != "summary":
            fail(f"the last line is no summary: {self}")
        return self.events[-1]

    def job(self, name):
        """A job's entry in the summary."""
        found = [job for job in self.summary["jobs"] if job["name"] == name]
        if len(found) != 1:
            fail(f"{len(found)} jobs named {name} in the summary: {self}")
        return found[0]

    def states(self):
        """{job name: state} of the summary."""
        return {job["name"]: job["state"] for job in self.summary["jobs"]}

    def steps(self, job, task=0):
        """{step name: step} of a job's task, from the summary."""
        return {step["name"]: step for step in self.job(job)["tasks"][task]["steps"]}

    def log(self, job, step, task=0):
        """Text of a step's log file."""
        steps = self.steps(job, task)
        if step not in steps:
            fail(f"job {job}, task {task} has no step {step!r}, only {list(steps)}: {self}")
        return read(steps[step]["log"])

    def job_log(self, job, task=0):
        """Text of all logs of a task, in the order of its steps."""
        return "".join(read(step["log"]) for step in self.job(job)["tasks"][task]["steps"]
                       if step.get("log") and os.path.exists(step["log"]))


def command_environment(docker=None, **more):
    """Environment for `tenon`: the test's own folders, and the engine at `docker` (none when it is None)."""
    env = dict(os.environ)
    env.pop("DOCKER_HOST", None)
    env["DOCKER_HOST"] = docker or "unix:///nonexistent/docker.sock"
    env.update(more)
    for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        if name not in env:
            env[name] = tempfile.mkdtemp(prefix="x.")
    return env


def run(arguments, folder, docker=None, timeout=120, env=None):
    """Runs `tenon ARGUMENTS` in a project's folder to its end."""
    with Running(arguments, folder, docker, env) as running:
        return running.wait(timeout)


class Running:
    """A `tenon` that runs. Used with `with`: afterwards it is gone, whatever happened. `user` is a numeric id to run as,
    `program` another copy of the command."""

    def __init__(self, arguments, folder, docker=None, env=None, user=None, program=TENON):
        if not os.path.exists(program):
            fail(f"{program} is not built")
        self.argv = [program, *arguments]
        identity = {} if user is None else {"user": user, "group": user, "extra_groups": []}
        self.started = time.monotonic()
        self._out, self._err = [], []
        self.child = subprocess.Popen(self.argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, env=command_environment(docker, **(env or {})),
                                      **identity)
        self._line = threading.Condition()
        self._readers = [threading.Thread(target=self._read, args=pair, daemon=True)
                         for pair in ((self.child.stdout, self._out), (self.child.stderr, self._err))]
        for reader in self._readers:
            reader.start()

    def _read(self, stream, lines):
        for line in stream:
            with self._line:
                lines.append(line.decode(errors="replace"))
                self._line.notify_all()
        with self._line:
            self._line.notify_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()

    def wait_output(self, text, timeout=60):
        """Waits until a line of either stream holds `text`; fails when the command ends or the time is over before."""
        end = time.monotonic() + timeout * SLOW
        seen = 0
        with self._line:
            while True:
                if any(text in line for line in self._out[seen:] + self._err):
                    return
                seen = len(self._out)
                if not any(reader.is_alive() for reader in self._readers) or time.monotonic() > end:
                    break
                self._line.wait(min(1, max(0.01, end - time.monotonic())))
        fail(f"{text!r} was not printed: {self.result(self.child.poll())}")

    def find(self, name, timeout=20):
        """Id of the process of program `name` among what this `tenon` started."""
        found = procs.wait_for(lambda: [pid for pid in self.started_processes() if procs.program(pid) == name],
                               timeout * SLOW)
        if not found:
            names = sorted(procs.program(pid) for pid in self.started_processes())
            fail(f"no process {name} runs below tenon, only: {', '.join(names)}")
        return found[0]

    def started_processes(self):
        """Ids of everything that descends from the command, also by way of an orphan in the test's folders."""
        mark = os.environ.get("TENON_TEST_FOLDER")
        found = set(procs.descendants(self.child.pid))
        if mark:
            found |= {pid for pid in procs.marked(mark) if procs.program(pid).startswith("tenon-")}
        return sorted(found)

    def signal(self, number=signal.SIGINT):
        """Sends the command a signal."""
        self.child.send_signal(number)

    def result(self, code):
        """What there is so far."""
        return Result(self.argv, code, "".join(self._out), "".join(self._err), time.monotonic() - self.started)

    def wait(self, timeout=120):
        """Waits for the end and returns the result."""
        try:
            code = self.child.wait(timeout * SLOW)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            for reader in self._readers:
                reader.join(5)
            fail(f"still running after {timeout * SLOW} s: {self.result(None)}")
        for reader in self._readers:
            reader.join(10)
        return self.result(code)


def check_nothing_left(docker=None):
    """Fails when a process or a container of ours is still there shortly after a command ended."""
    mark = os.environ.get("TENON_TEST_FOLDER")

    def ours():
        return [pid for pid in procs.marked(mark) if procs.program(pid).startswith("tenon")] if mark else []

    left = procs.wait_for(lambda: not ours(), 3 * SLOW) or [f"{pid} {procs.command(pid)}" for pid in ours()]
    check(left is True, f"left running: {left}")
    if docker:
        client = Engine(docker)
        gone = procs.wait_for(lambda: not client.containers(), 3 * SLOW)
        check(gone, f"left in the engine: {[c['Names'] for c in client.containers()]}")
