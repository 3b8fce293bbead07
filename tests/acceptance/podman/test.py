# deadline: 120
"""Podman's socket in the place of a Docker Engine's: jobs with services, over mounted folders and over attach; the
executor may die; nothing is left."""

import os
import shutil
import signal
import subprocess
import tempfile

import procs
import tenon
import users
from engine_api import Engine
from tenon import check, check_equal, check_in

LINES = 2000
CONFIG = f"""version: 2.1
jobs:
  job:
    docker:
      - image: alpine:latest
      - {{image: "alpine:latest", name: beside, command: [sleep, "1000"]}}
    steps:
      - checkout
      - run: {{name: numbers, command: 'i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line-$i; [ $((i % 20)) = 0 ] && sleep 0.02; done; true'}}
      - run: {{name: where, command: "tr '\\\\0' ' ' </proc/1/cmdline; grep -c beside /etc/hosts"}}
workflows:
  w: {{jobs: [job]}}
"""
# Ours may be lower than what Podman asks for by itself, and raising them is refused then.
SETTINGS = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Podman:
    """`podman system service` with folders of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.host = f"unix://{folder}/p.sock"
        self.api = Engine(self.host)
        self.environment = dict(os.environ, CONTAINERS_CONF=tenon.write(folder + "/c.conf", SETTINGS))
        self.words = ["podman", "--root", folder + "/root", "--runroot", folder + "/rr", "--storage-driver", "vfs"]
        self.child = None

    def __enter__(self):
        self.child = subprocess.Popen([*self.words, "system", "service", "--time", "0", self.host],
                                      env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                      stderr=open(self.folder + "/log", "wb"))
        up = procs.wait_for(lambda: self.child.poll() is not None or self.api.ping(), 30)
        if not up or self.child.poll() is not None:
            tenon.skip("podman system service does not run here: " + tenon.read(self.folder + "/log")[-300:])
        users.let_in(self.folder + "/p.sock")
        return self

    def __exit__(self, *_):
        for container in self.api.containers():
            self.api.remove_container(container["Id"])
        self.child.send_signal(signal.SIGTERM)
        self.child.wait(20)
        for pid in procs.marked(self.folder + "/"):
            procs.kill(pid)
        for point in sorted(procs.mounts_under(self.folder), reverse=True):
            subprocess.run(["umount", "--lazy", point], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def take_image(self, source):
        """Copies alpine:latest from another engine and gives it the name that Docker would give it."""
        status, archive = source.raw("GET", "/v1.41/images/alpine:latest/get")
        check_equal(status, 200, "the image's archive")
        self.api.raw("POST", "/v1.41/images/load", archive, {"Content-Type": "application/x-tar"})
        name = next(name for name in self.api.image_names() if name.endswith("/alpine:latest"))
        self.api.call("POST", f"/images/{name}/tag", query={"repo": "docker.io/library/alpine", "tag": "latest"})

    def starts_containers(self):
        """Why it cannot start a container on this kernel, or None."""
        try:
            self.api.run("alpine:latest", ["true"])
        except Exception as error:  # pylint: disable=broad-except
            return str(error)
        return None


def check_job(project, podman, arguments, way, kill):
    """The job, with the executor killed in the middle if `kill`."""
    with tenon.Running(["run", "--json", *arguments], project, podman.host) as running:
        running.wait_output("line-600\\n")
        if kill:
            procs.kill(running.find("tenon-executor-docker"))
        result = running.wait(60).expect(0)
    check_equal(result.log("job", "numbers"), "".join(f"line-{i + 1}\n" for i in range(LINES)), "the lines")
    check_in(way, result.log("job", "where"), "how the agent serves")
    check(procs.wait_for(lambda: not podman.api.containers(), 10), "containers left")
    check_equal(podman.api.volumes(), [], "volumes left")


def main():
    source = tenon.engine()
    if shutil.which("podman") is None:
        tenon.skip("podman is not installed (Debian package podman)")
    project = tenon.project(config=CONFIG)
    folder = tempfile.mkdtemp(prefix="e.")
    attach = tenon.write(folder + "/attach.yaml", 'docker: {shared_folders: "no"}\n')
    with Podman(folder) as podman:
        podman.take_image(source)
        why = podman.starts_containers()
        if why:
            tenon.skip(f"Podman starts no container on this kernel: {why[:200]}")
        check_job(project, podman, [], "--listen /.tenon/run/agent.sock", True)
        check_job(project, podman, ["--settings", attach], "--stdio", False)
    tenon.check_nothing_left()


main()
