# deadline: 280
"""The host driver as root: whatever keeps a job's processes together (a control group, a process id namespace, or only their
descent), no process of a job outlives it, its folder goes whatever it holds, and what killed processes of ours left is
gone after the next run."""

import os

import host
import tenon

if os.geteuid() != 0:
    tenon.skip("needs root; acceptance/host_user has the rest")
project = tenon.project(config=host.config(as_root=True))
for enclosure in ("cgroup", "namespace", "group"):
    scene = host.Host(enclosure, project)
    scene.check_ends()
    scene.check_killed(["tenon-executor-machine"])
    scene.check_killed(["tenon-agent"])
    scene.check_killed(["tenond", "tenon-agent"])
host.Host.wait_executors()
tenon.check_nothing_left()
