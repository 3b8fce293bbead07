# deadline: 180
"""The host driver without root: in a control group that is delegated to the user, in a process id namespace, with neither.
Nothing of a job outlives it, nor what killed processes of ours left the next run."""

import contextlib
import os
import shutil
import subprocess

import host
import tenon

USER = 65534


@contextlib.contextmanager
def delegated_group():
    """A control group of version 2 that the user may use; None where there can be none."""
    mounts = [line.split()[1] for line in tenon.read("/proc/mounts").splitlines() if line.split()[2] == "cgroup2"]
    own = next((line[3:] for line in tenon.read("/proc/self/cgroup").splitlines() if line.startswith("0::")), "")
    folder = f"{mounts[0]}{own.rstrip('/')}/test-{os.getpid()}" if mounts else "/nonexistent"
    if not os.access(os.path.dirname(folder), os.W_OK):
        yield None
        return
    os.mkdir(folder)
    for path in (folder, folder + "/cgroup.procs"):
        os.chown(path, USER, USER)
    try:
        yield folder
    finally:
        os.rmdir(folder)


if os.geteuid() != 0:
    scene = host.Host("group", tenon.project(config=host.config(as_root=False)))
    scene.check_ends()
    scene.check_killed(["tenond", "tenon-agent"])
    host.Host.wait_executors()
    tenon.check_nothing_left()
    raise SystemExit(0)

env, program = tenon.build_for(USER, os.path.join(host.FOLDER, "user"))
project = os.path.join(host.FOLDER, "user", "project")
shutil.copytree(tenon.project(config=host.config(as_root=False)), project)
subprocess.run(["chown", "-R", f"{USER}:{USER}", project], check=True)
user = (USER, env, program)

with delegated_group() as group:
    if group:
        scene = host.Host("cgroup", project, user, group)
        scene.check_ends()
        scene.check_killed(["tenond", "tenon-agent"])
        host.Host.wait_executors()  # they are in the group, too
for enclosure in ("namespace", "group"):
    scene = host.Host(enclosure, project, user)
    scene.check_ends()
    scene.check_killed(["tenond", "tenon-agent"])
scene.check_refused("machine: {run_as: nobody}",
                    'machine.run_as: only root can run jobs as user "nobody": Tenon was started by user 65534')
scene.check_refused("machine: {enclosure: cgroup}",
                    "machine.enclosure: cgroup cannot be had: no control group can be made here: choose auto")
host.Host.wait_executors()
tenon.check_nothing_left()
