#!/usr/bin/env python3
"""A private Docker Engine for tests: own socket, own data folder, own containerd.

usage: engine start|stop|status|host

Another engine on the machine and its containers are never touched. The data folder stays in the cache between runs so
that images need not be loaded again; everything else of the engine is gone after `stop`."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import images  # noqa: E402
import procs  # noqa: E402
import users  # noqa: E402
from engine_api import Engine  # noqa: E402

SEARCH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin"
START_SECONDS = 30
STOP_SECONDS = 20


def cache_folder():
    """Where things live that are worth keeping between test runs."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get("TENON_CACHE") or os.path.join(base, "tenon")


class EngineUnavailable(Exception):
    """The private engine cannot run here; the text says why."""


class PrivateEngine:
    """The engine of one cache folder. At most one runs at a time; start() takes over what an interrupted run left."""

    def __init__(self, cache=None):
        self.cache = os.path.abspath(cache or cache_folder())
        self.folder = os.path.join(self.cache, "engine")
        self.data = os.path.join(self.folder, "data")
        self.record = os.path.join(self.folder, "running.json")
        self.running = None

    def _programs(self):
        found = {}
        for name in ("dockerd", "containerd", "runc"):
            found[name] = shutil.which(name, path=SEARCH)
            if not found[name]:
                raise EngineUnavailable(f"{name} is not installed (Debian package docker.io)")
        return found

    def start(self):
        """Starts the engine and returns its address. Raises EngineUnavailable."""
        if os.geteuid() != 0:
            raise EngineUnavailable("a private Docker Engine needs root")
        programs = self._programs()
        os.makedirs(self.data, mode=0o711, exist_ok=True)
        self.stop()
        run = tempfile.mkdtemp(prefix="tenon-engine.")
        os.chmod(run, 0o711)
        self.running = {"run": run, "pids": {}}
        self._save()
        try:
            self._start_containerd(programs, run)
            self._start_dockerd(programs, run)
        except BaseException:
            self.stop()
            raise
        return self.host()

    def host(self):
        """Address of the running engine."""
        return f"unix://{self.running['run']}/docker.sock"

    def api(self):
        """A client of the running engine."""
        return Engine(self.host())

    def _start_containerd(self, programs, run):
        socket = run + "/containerd.sock"
        config = run + "/containerd.toml"
        with open(config, "w", encoding="utf-8") as file:
            file.write(f'version = 2\nroot = "{self.data}/containerd"\nstate = "{run}/containerd"\n'
                       f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                       f'[grpc]\naddress = "{socket}"\n'
                       f'[plugins."io.containerd.internal.v1.opt"]\npath = "{self.data}/opt"\n')
        self._spawn("containerd", [programs["containerd"], "--config", config], run)
        self._await("containerd", lambda: os.path.exists(socket), run)

    def _start_dockerd(self, programs, run):
        config = run + "/daemon.json"
        with open(config, "w", encoding="utf-8") as file:
            json.dump({"features": {"buildkit": False}}, file)
        self._spawn("dockerd", [
            programs["dockerd"], "--config-file", config, "--data-root", self.data, "--exec-root", run + "/exec",
            "--host", f"unix://{run}/docker.sock", "--pidfile", run + "/docker.pid", "--containerd",
            run + "/containerd.sock", "--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false",
            "--shutdown-timeout", "5", "--group", users.socket_group()], run)
        self._await("dockerd", Engine(f"unix://{run}/docker.sock").ping, run)

    def _spawn(self, name, argv, run):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "TENON_", "XDG_"))}
        environment["PATH"] = SEARCH
        with open(f"{run}/{name}.log", "wb") as log:
            child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd="/",
                                     start_new_session=True)
        self.running["pids"][name] = child.pid
        self.running.setdefault("children", {})[name] = child
        self._save()

    def _await(self, name, ready, run):
        child = self.running["children"][name]
        procs.wait_for(lambda: ready() or child.poll() is not None, START_SECONDS, 0.02)
        if child.poll() is None and ready():
            return
        why = f"exited {child.returncode}" if child.returncode is not None else f"not ready in {START_SECONDS} s"
        with open(f"{run}/{name}.log", encoding="utf-8", errors="replace") as file:
            raise EngineUnavailable(f"{name}: {why}: {file.read()[-1500:]}")

    def _save(self):
        record = {key: value for key, value in self.running.items() if key != "children"}
        with open(self.record + ".new", "w", encoding="utf-8") as file:
            json.dump(record, file)
        os.rename(self.record + ".new", self.record)

    def load_record(self):
        """Reads what start() of another process left in the record; False when no engine is recorded."""
        try:
            with open(self.record, encoding="utf-8") as file:
                self.running = json.load(file)
        except (FileNotFoundError, ValueError):
            return False
        return True

    def stop(self):
        """Stops the engine and removes all of it but the data folder. Fine when it does not run."""
        if self.running is None and not self.load_record():
            return
        run = self.running["run"]
        if os.path.exists(run + "/docker.sock") and self.api().ping():
            for container in self.api().containers():
                self.api().remove_container(container["Id"])
        for name in ("dockerd", "containerd"):
            self._end(name)
        for pid in procs.marked(run + "/"):
            procs.kill(pid)
            procs.wait_gone(pid, 5)
        for point in procs.mounts_under(self.folder) + procs.mounts_under(run):
            subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(run, ignore_errors=True)
        os.unlink(self.record)
        self.running = None

    def _end(self, name):
        pid = self.running["pids"].get(name)
        child = self.running.get("children", {}).get(name)
        # An id of an interrupted run may belong to somebody else today: its command line must name our folder.
        if pid is None or (child is None and self.running["run"] not in procs.command(pid)):
            return
        procs.kill(pid, signal.SIGTERM)
        if not procs.wait_gone(pid, STOP_SECONDS):
            procs.kill(pid)
            procs.wait_gone(pid, 5)
        if child is not None:
            child.wait()

    def ensure_images(self):
        """Loads the stand-in images that the engine does not have yet."""
        images.ensure(self.api(), self.cache)


def lock(cache=None):
    """Takes the lock that keeps two users of the cache's engine apart; returns the open file. Waits for the other."""
    folder = os.path.abspath(cache or cache_folder())
    os.makedirs(folder, exist_ok=True)
    file = open(os.path.join(folder, "engine.lock"), "w", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"waiting for another test run that uses {folder}", file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
    return file


def main(arguments):
    engine = PrivateEngine()
    if arguments == ["start"]:
        with lock():
            started = time.monotonic()
            try:
                engine.start()
                print(f"engine up in {time.monotonic() - started:.2f} s", file=sys.stderr)
                engine.ensure_images()
            except (EngineUnavailable, RuntimeError) as error:
                print(f"engine: {error}", file=sys.stderr)
                return 1
            print(engine.host())
    elif arguments == ["stop"]:
        engine.stop()
    elif arguments in (["status"], ["host"]):
        if not engine.load_record() or not engine.api().ping():
            print("no engine is running", file=sys.stderr)
            return 1
        print(engine.host())
    else:
        print("usage: engine start|stop|status|host", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
