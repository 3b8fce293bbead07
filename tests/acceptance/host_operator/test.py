# deadline: 180
"""What the operator says of jobs on the host: their user, a prefix, limits by the resource class; and what is wrong with
it."""

import os

import host
import tenon
from tenon import check_equal, check_in

if os.geteuid() != 0:
    tenon.skip("needs root to run jobs as another user and to limit them")
scene = host.Host("cgroup", tenon.project(config=host.config(as_root=True)))

# The folders of the state are closed to that user, and those of root's home, too.
with scene.run("ends", "machine: {run_as: nobody, command_prefix: [nice, -n, '5'], limits: 'off'}") as running:
    result = running.wait(90)
check_equal(result.states(), {"escapes": "succeeded", "too-quiet": "failed"}, f"run_as: {result}")
first = result.log("escapes", "Spin up environment")
check_in("The steps run as user nobody", first, "run_as in the first step")
check_in("No limits: machine.limits is off", first, "limits off in the first step")
check_in("65534\n5\nat /", result.log("escapes", "escape"), "user and niceness of a step")
scene.check_gone("run_as")

# Limits of the resource class.
with scene.run("limited", more=["--executor", "docker=machine"]) as running:
    result = running.wait(120)
first = result.log("limited", "Spin up environment")
check_in("Limits: 1 vCPU, 2 GB of memory, 8192 processes", first, "limits in the first step")
check_in("The job reached its limit of 8192 processes and threads: ", result.log("limited", "threads"), "processes")
check_equal(result.steps("limited")["memory"].get("reason"),
            "killed: out of memory (limit 2 GB, resource class small)", "the kernel's kill")
scene.check_gone("limits")

scene.check_refused("machine: {run_as: no-such-user}", 'machine.run_as: no user "no-such-user" in /etc/passwd')
scene.check_refused("machine: {command_prefix: [no-such-program]}",
                    'machine.command_prefix: no program "no-such-program" in the PATH ')
tenon.check_nothing_left()
