#!/usr/bin/env python3
# deadline: 200
"""The engine's disk, on an engine of its own with a small disk: images that no job used for long make room, others' and
used ones stay; no job begins while the disk is full, and it does once there is room; containers of a run that was killed go
away with the next one, those of a run that goes on stay."""

import contextlib
import json
import os
import signal
import subprocess
import tempfile

import procs
import registry
from engine import EngineUnavailable, PrivateEngine
from tenon import SLOW, Running, check, check_equal, check_in, project, run, skip, write

if registry.programs_missing():
    skip("Debian packages are missing: " + ", ".join(registry.programs_missing()))
if os.geteuid() != 0:
    skip("a disk of its own needs root")
MB = 1000000
DISK = 400 * MB
folder = tempfile.mkdtemp(prefix="disk-test.")
env = {"XDG_STATE_HOME": tempfile.mkdtemp(prefix="x."), "XDG_RUNTIME_DIR": tempfile.mkdtemp(prefix="x.")}


@contextlib.contextmanager
def disk(path):
    """A small disk at `path`."""
    os.makedirs(path)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tenon-test", path], check=False).returncode != 0:
        skip("no tmpfs can be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@contextlib.contextmanager
def small_engine(path):
    """An engine whose data is at `path`."""
    private = PrivateEngine(path)
    try:
        private.start()
    except EngineUnavailable as error:
        skip(f"no engine: {error}")
    try:
        yield private
    finally:
        private.stop()


def config(jobs):
    """Jobs {name: (image, command)}, one after the other."""
    text = "version: 2.1\njobs:\n"
    for name, (image, command) in jobs.items():
        text += (f"  {name}:\n    resource_class: small\n    docker: [{{image: '{image}'}}]\n"
                 f"    steps: [{{run: {{name: do, command: '{command}'}}}}]\n")
    text += "workflows:\n  w:\n    jobs:\n"
    before = None
    for name in jobs:
        text += f"      - {name}" + (f": {{requires: [{before}]}}\n" if before else "\n")
        before = name
    return text


def arguments(cleanup=None, reserve="1MB"):
    """Of `tenon run` with these settings."""
    settings = {"docker": {"cleanup": cleanup or {"images_above": 100}}, "store": {"reserve": reserve}}
    return ["run", "--json", "--settings", write(folder + "/tenon.yaml", json.dumps(settings))]


def kill_whole(run_of_its_own):
    """Starts it and kills all of its processes at once when its job runs."""
    with run_of_its_own as running:
        running.wait_output('"text":"begun')
        doomed = [*procs.descendants(running.child.pid), running.child.pid]
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in doomed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)


def used(path):
    """Bytes in use on the disk."""
    room = os.statvfs(path)
    return (room.f_blocks - room.f_bfree) * room.f_frsize


with contextlib.ExitStack() as stack:
    store = stack.enter_context(registry.Registry(password=False))
    small = stack.enter_context(disk(folder + "/engine"))
    private = stack.enter_context(small_engine(folder + "/engine"))
    host, api = private.host(), private.api()
    shell = registry.shell_layer(os.environ["TENON_TEST_BUSYBOX"])
    for name in ("a", "b", "c", "mine"):
        store.push(name, "1", [shell, registry.layer({"data": os.urandom(20 * MB)})])
    images = {name: f"{store.host}/{name}:1" for name in ("a", "b", "c", "mine")}

    def present():
        """The images that the engine has."""
        return {name for name, image in images.items() if image in api.image_names()}

    # ---- the least recently used goes; what is used, or somebody else's, stays ----
    api.raw("POST", f"/v1.41/images/create?fromImage={store.host}/mine&tag=1")
    result = run(arguments(), project(config=config({name: (images[name], "true") for name in ("b", "c", "a")})),
                 docker=host, env=env).expect(0)
    check_equal(present(), {"a", "b", "c", "mine"}, "images that were pulled")
    holder = api.call("POST", "/containers/create", {"Image": images["b"]})["Id"]
    above = int(100 * (used(small) - 10 * MB) / DISK)
    with Running(arguments({"images_above": above, "images_unused_for": "0.001s"}),
                 project(config=config({"wait": (images["a"], "sleep 1000")})), docker=host, env=env) as running:
        procs.wait_for(lambda: "c" not in present(), 20 * SLOW)  # times are kept in seconds: maybe not at the first look
        check_equal(present(), {"a", "b", "mine"}, "images after one had to go")
        running.signal()
        running.wait(60).expect(130)
    api.remove_container(holder)
    result = run(arguments({"images_above": 1, "images_unused_for": "1h"}),
                 project(config=config({"wait": (images["a"], "true")})), docker=host, env=env).expect(0)
    check_equal(present(), {"a", "b", "mine"}, "images that were used within the hour")

    # ---- a full disk ----
    with open(small + "/ballast", "wb") as ballast:
        os.posix_fallocate(ballast.fileno(), 0, DISK - used(small) - 20 * MB)
    with Running(arguments(reserve="50MB"), project(config=config({"job": (images["a"], "echo done")})), docker=host,
                 env=env) as running:
        running.wait_output("waits for the docker executor: the Docker Engine's disk (")
        waiting = running.result(None).out + running.result(None).err
        os.unlink(small + "/ballast")
        result = running.wait(60).expect(0)
    check_in(" free, and 47.7 MiB are kept free (store.reserve): free space there (docker system df)", waiting, "the figures")
    check_equal(result.log("job", "do"), "done\n", "the job that waited")

    # ---- a run that is killed as a whole, beside one that goes on ----
    long = config({"long": (images["a"], "echo begun; sleep 1000")})
    with Running(arguments(), project(config=long), docker=host, env=env) as beside:
        beside.wait_output('"text":"begun')
        kept = [container["Id"] for container in api.containers()]
        kill_whole(Running(arguments(), project(config=long), docker=host, env=env))
        check_equal(len(api.containers()), 2, "containers of the run that goes on, and of the one that was killed")
        run(arguments(), project(config=config({"next": (images["a"], "sleep 1")})), docker=host, env=env).expect(0)
        check(procs.wait_for(lambda: len(api.containers()) == 1, 10), f"containers are left: {api.containers()}")
        check_equal([container["Id"] for container in api.containers()], kept, "the container of the run that goes on")
        beside.signal()
        beside.wait(60).expect(130)
