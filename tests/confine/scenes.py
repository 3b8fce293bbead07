"""Installations whose programs are the prober, and what it noted there."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "integration"))
import kernel_test  # noqa: E402

PROGRAMS = {"bus": "core/kernel/tenon-bus", "scheduler": "core/scheduler/tenon-scheduler",
            "compiler": "core/compiler/tenon-compiler", "output": "core/output/tenon-output",
            "docker": "executors/docker/tenon-executor-docker", "machine": "executors/machine/tenon-executor-machine"}
CONFIG = """version: 2.1
jobs:
  theirs:
    docker: [{image: "busybox"}]
    steps: [{run: "true"}]
workflows: {w: {jobs: [theirs]}}
"""
PATIENCE_S = 20


class Hunting:
    """What lies beside an installation for an intruder to go for: a process, a port, sockets, files."""

    def __init__(self, base):
        self.base = base
        self.process = subprocess.Popen(["sleep", "600"], env={"TENON_PROBE": "a secret"})
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.abstract = f"tenon-probe-{os.getpid()}-{os.path.basename(base)}"
        self.local = socket.socket(socket.AF_UNIX)
        self.local.bind("\0" + self.abstract)
        self.local.listen(64)
        self.engine = socket.socket(socket.AF_UNIX)
        self.engine.bind(base + "/engine.sock")
        os.chmod(base + "/engine.sock", 0o666)
        self.engine.listen(64)
        for name, mode in (("secret", 0o644), ("private", 0o600)):
            with open(f"{base}/{name}", "w", encoding="utf-8") as file:
                file.write("a secret\n")
            os.chmod(f"{base}/{name}", mode)

    def targets(self):
        """What the prober reads."""
        return f"{self.tcp.getsockname()[1]} {self.process.pid} {self.base} {self.abstract}\n"

    def close(self):
        """Nothing stays."""
        self.process.kill()
        self.process.wait()
        for each in (self.tcp, self.local, self.engine):
            each.close()


class Scene:
    """A tenond, some of whose programs are the prober."""

    def __init__(self, build, probed, executors, folder):
        self.build, self.probed, self.folder = build, probed, folder
        self.base = tempfile.mkdtemp(prefix="c", dir=folder)
        os.chmod(self.base, 0o711)
        self.root = self.base + "/root"
        self.log = self.base + "/log"
        self.hunting = Hunting(self.base)
        self._make_root(executors)
        self._make_prey()
        self._start()

    def _copy(self, source, place):
        target = f"{self.root}/{place}"
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        try:
            os.link(f"{self.build}/{source}", target)
        except OSError:
            shutil.copy(f"{self.build}/{source}", target)

    def _make_root(self, executors):
        for role, place in PROGRAMS.items():
            if place.startswith("core/") or role in executors:
                self._copy("tests/confine/prober" if role in self.probed else place, place)
        for role in executors:
            self._copy(f"executors/{role}/manifest.json", f"executors/{role}/manifest.json")
        self._copy("executors/agent/tenon-agent", "executors/agent/tenon-agent")
        with open(self.root + "/targets", "w", encoding="utf-8") as file:
            file.write(self.hunting.targets())

    def _make_prey(self):
        """Files where roles keep theirs. The folders get their owners and modes when tenond starts."""
        for place in ("state/output/probe", "store/output/probe", "state/machine/jobs/probe", "run/machine/probe",
                      "run/docker/probe", "store/docker/probe", "state/scheduler/probe"):
            path = f"{self.base}/{place}"
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write("a secret\n")
            os.chmod(path, 0o600)

    def _start(self):
        ready, ready_in = os.pipe()
        env = dict(os.environ, XDG_STATE_HOME=self.base)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [f"{self.build}/core/kernel/tenond", "--state", self.base + "/state", "--store", self.base + "/store",
                 "--run", self.base + "/run", "--root", self.root, "--ready-fd", str(ready_in), "--installation", "probe"],
                pass_fds=(ready_in,), stderr=log, stdin=subprocess.DEVNULL, env=env)
        os.close(ready_in)
        self.ready_file = os.fdopen(ready)

    def text(self):
        """Everything that was logged."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait(self, done, what):
        """Until `done(text)`."""
        end = time.monotonic() + PATIENCE_S
        while not done(self.text()):
            if time.monotonic() > end or self.process.poll() is not None:
                raise AssertionError(f"{what} did not come:\n{self.text()[-3000:]}")
            time.sleep(0.01)

    def wait_probed(self):
        """Until every prober is through with what it does alone."""
        for role in self.probed:
            self.wait(lambda text, line=f"probe\t{role}\tfacts\tconfinement\t": line in text, f"the end of {role}")

    def status(self, name):
        """What tenond says confines a process, once that is ready."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                with open(self.base + "/run/status.json", encoding="utf-8") as file:
                    for process in json.load(file)["processes"]:
                        if process["name"] == name and process["state"] == "ready":
                            return process["mechanisms"]
            except FileNotFoundError:
                pass
            time.sleep(0.01)
        raise AssertionError(f"{name} is not ready by run/status.json:\n{self.text()[-3000:]}")

    def submit(self):
        """One pipeline with a job of the Docker executor, to its end; the state of its task."""
        ready = json.loads(self.ready_file.readline())
        env = dict(os.environ, TENON_ADDRESS=str(ready["address"]), TENON_LIFE=str(ready["life"]),
                   TENON_BUS=ready["bus"], TENON_EVENTS=ready["events"], TENON_DATA=ready["data"], TENON_RUN="",
                   TENON_STATE=self.base, TENON_STORE="", TENON_INSTALLATION="probe")
        with open(self.log, "ab") as log:
            client = subprocess.Popen(["client"], stderr=log, env=env,
                                      executable=f"{self.build}/tests/integration/kernel_worker")
        control = kernel_test.Control(self.base + "/ctl/client")
        control.ask("PIPELINE_CREATE", kernel_test.SCHEDULER, {
            "id": "p1", "config": CONFIG, "file": "config.yml", "parameters": {}, "pipeline_values": {},
            "executor_map": {}, "environment": {}, "contexts": {}, "project": {"slug": "a/b/c"},
            "git": {}, "source": False, "wait": True})
        end = time.monotonic() + PATIENCE_S
        while True:
            got = control.ask("PIPELINE_GET", kernel_test.SCHEDULER, {"id": "p1"})["body"]
            if got["pipeline"]["state"] not in ("compiling", "running") or time.monotonic() > end:
                break
            time.sleep(0.05)
        control.close()
        client.kill()
        client.wait()
        return got["workflows"][0]["jobs"][0]["tasks"][0]

    def stop(self):
        """Ends it; everything that it was is removed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.hunting.close()
            self.ready_file.close()
        shutil.rmtree(self.base)


def endings(text):
    """{(role, attempt): {phase: ending}} of a log. Said twice, the last but one that was refused counts."""
    found = {}
    for role, phase, attempt, ending in re.findall(r"^probe\t(.*)\t(.*)\t(.*)\t(.*)$", text, re.MULTILINE):
        if phase != "facts":
            phases = found.setdefault((role, attempt), {})
            if phases.get(phase) != "done":  # once is enough
                phases[phase] = ending
    return found
