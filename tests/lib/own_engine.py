"""An engine of a test's own, beside the private one: other addresses, TLS, options, a restart in mid-job, and folders of
this host that it does not see. One process tree (dockerd starts its own containerd), all of it below one folder."""

import os
import shutil
import signal
import socket
import subprocess

import procs
import users
from engine import SEARCH
from engine_api import Engine

START_SECONDS = 30


def free_port():
    """A TCP port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class OwnEngine:
    """`hosts`: further addresses; `options`: more words for dockerd; `hidden`: a folder of this host that the engine
    sees empty, as a remote one would; `bridge`: with a bridge, for a network namespace of the test's own. Used with
    `with`: afterwards nothing is left of it."""

    def __init__(self, folder, hosts=(), options=(), hidden=None, bridge=False):
        self.folder = folder
        self.socket = folder + "/d.sock"
        self.host = "unix://" + self.socket
        self.api = Engine(self.host)
        self.arguments = [word for host in hosts for word in ("--host", host)] + list(options)
        self.hidden = hidden
        self.network = ["--bip=198.51.100.1/24"] if bridge else ["--bridge=none"]
        self.child = None
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o711)  # others may pass to the socket

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.remove()

    def start(self):
        """Starts it (again) and waits until it answers."""
        program = shutil.which("dockerd", path=SEARCH)
        for stale in ("/pid", "/exec/containerd/containerd.pid"):  # of a killed one, whose number may be in use again
            if os.path.exists(self.folder + stale):
                os.unlink(self.folder + stale)
        argv = [program, "--config-file", self._config(), "--data-root", self.folder + "/data", "--exec-root",
                self.folder + "/exec", "--host", self.host, "--pidfile", self.folder + "/pid", *self.network,
                "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false", "--shutdown-timeout", "5", "--group",
                users.socket_group(), *self.arguments]
        if self.hidden:
            hide = 'mount -t tmpfs none "$0" && exec "$@"'
            argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", hide, self.hidden, *argv]
        environment = {"PATH": SEARCH, "HOME": self.folder}
        with open(self.folder + "/log", "ab") as log:
            self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                          env=environment, start_new_session=True)
        procs.wait_for(lambda: self.api.ping() or self.child.poll() is not None, START_SECONDS, 0.02)
        if self.child.poll() is not None or not self.api.ping():
            with open(self.folder + "/log", encoding="utf-8", errors="replace") as log:
                raise RuntimeError(f"the test's own engine does not start: {log.read()[-2000:]}")

    def _config(self):
        path = self.folder + "/daemon.json"
        with open(path, "w", encoding="utf-8") as file:
            file.write('{"features": {"buildkit": false}}')
        return path

    def end(self, number=signal.SIGTERM):
        """Ends the engine, not its containers, by a signal."""
        self.child.send_signal(number)
        self.child.wait(30)
        procs.wait_for(lambda: not self._of_containerd(), 10)

    def _of_containerd(self):
        return [pid for pid in procs.marked(self.folder + "/") if procs.program(pid) == "containerd"]

    def copy_image(self, name, source):
        """Takes an image over from another engine (its API client)."""
        status, archive = source.raw("GET", f"/v1.41/images/{name}/get")
        if status != 200:
            raise RuntimeError(f"image {name} cannot be taken over: {archive[:200]}")
        status, answer = self.api.raw("POST", "/v1.41/images/load?quiet=1", archive,
                                      {"Content-Type": "application/x-tar"})
        if status != 200 or b"errorDetail" in answer:
            raise RuntimeError(f"image {name} cannot be loaded: {answer[:200]}")

    def remove(self):
        """Containers, processes, mounts and files: all of it."""
        if self.child is None:
            return
        if self.child.poll() is None:
            for container in self.api.containers():
                self.api.remove_container(container["Id"])
            self.end()
        for pid in procs.marked(self.folder + "/"):
            procs.kill(pid)
            procs.wait_gone(pid, 5)
        for point in sorted(procs.mounts_under(self.folder), reverse=True):
            subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.child = None
