# deadline: 200
"""The Docker executor is killed just before, or just after, the engine gets a certain request: a container is made,
filled, started, asked about, removed. The job succeeds all the same, and nothing is left: no container, no volume of an
image that declares one, no network, no folder."""

import os
import re
import socket
import tempfile
import threading

import procs
import tenon
import users
from tenon import check, check_equal

CONFIG = """version: 2.1
jobs:
  job:
    docker:
      - image: tenon-test/volume:1
      - {image: "tenon-test/volume:1", command: [sleep, "1000"]}
    steps: [run: {name: hello, command: "echo hello > /data/x; cat /data/x"}]
workflows:
  w: {jobs: [job]}
"""
CREATE = rb"POST /v[0-9.]+/containers/create\?name=tenon-[^ ]*-0 "
CREATE_SERVICE = rb"POST /v[0-9.]+/containers/create\?name=tenon-[^ ]*-1 "
START = rb"POST /v[0-9.]+/containers/[^ ]*-0/start "
FILL = rb"PUT /v[0-9.]+/containers/[^ ]*/archive"
ATTACH = rb"POST /v[0-9.]+/containers/[^ ]*/attach"
REMOVE = rb"DELETE /v[0-9.]+/containers/"
CASES = [(CREATE, "before", []), (CREATE, "after", []), (START, "after", []), (CREATE_SERVICE, "after", []),
         (REMOVE, "before", []), (REMOVE, "after", []), (FILL, "after", ["attach"]), (ATTACH, "before", ["attach"])]


class Proxy:
    """A unix socket before the engine's. When a request matches, `act` is called once: before the engine gets it, or
    after it was passed on."""

    def __init__(self, path, target):
        self.path, self.target = path, target
        self.pattern, self.when, self.act = None, None, None
        self.lock = threading.Lock()
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(64)
        users.let_in(path)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            client, _ = self.listener.accept()
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(self.target)
            threading.Thread(target=self._requests, args=(client, engine), daemon=True).start()
            threading.Thread(target=self._pump, args=(engine, client), daemon=True).start()

    def _fire(self, data, when):
        with self.lock:
            if self.pattern is None or when != self.when or not re.match(self.pattern, data):
                return
            self.pattern = None
        self.act()

    def _requests(self, client, engine):
        try:
            while data := client.recv(1 << 16):
                self._fire(data, "before")
                engine.sendall(data)
                self._fire(data, "after")
            engine.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    @staticmethod
    def _pump(source, target):
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def make_image(api):
    """An image that declares a volume."""
    identity = api.call("POST", "/containers/create", {"Image": "alpine:latest", "Cmd": ["true"],
                                                       "HostConfig": {"NetworkMode": "none"}})["Id"]
    api.call("POST", "/commit", {}, query={"container": identity, "repo": "tenon-test/volume", "tag": "1",
                                           "changes": "VOLUME /data"})
    api.remove_container(identity)


def check_case(project, proxy, api, run, case, settings):
    """One job, one kill."""
    pattern, when, names = case
    killed = []
    arguments = ["run", "--json"] + (["--settings", settings] if "attach" in names else [])
    with tenon.Running(arguments, project, "unix://" + proxy.path, {"XDG_RUNTIME_DIR": run}) as running:
        def kill():
            pid = running.find("tenon-executor-docker")
            procs.kill(pid)
            procs.wait_gone(pid, 5)
            killed.append(pid)
        proxy.when, proxy.act, proxy.pattern = when, kill, pattern
        result = running.wait(60).expect(0)
    what = f"killed {when} {pattern.decode()}"
    check_equal(len(killed), 1, what)
    check_equal(result.log("job", "hello"), "hello\n", what)
    check(procs.wait_for(lambda: not api.containers(), 5), f"{what}: containers left: {api.containers()}")
    check_equal(api.volumes(), [], f"{what}: volumes left")
    check_equal(api.networks(), [], f"{what}: networks left")
    check_equal([path for path in tenon.files_below(run) if "docker/" in path], [], f"{what}: folders left")


def main():
    api = tenon.engine()
    project = tenon.project(config=CONFIG)
    folder = tempfile.mkdtemp(prefix="e.")
    run = tempfile.mkdtemp(prefix="r.")
    settings = tenon.write(folder + "/attach.yaml", 'docker: {shared_folders: "no"}\n')
    make_image(api)
    try:
        proxy = Proxy(folder + "/p.sock", api.path)
        for case in CASES:
            check_case(project, proxy, api, run, case, settings)
    finally:
        api.call("DELETE", "/images/tenon-test/volume:1")
    tenon.check_nothing_left(tenon.docker_host())


main()
os._exit(0)  # threads of the proxy wait for connections
