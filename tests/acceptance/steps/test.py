# deadline: 240
"""What a step means, the same on this host and in containers: shells, environment, working folders, background,
timeouts, signals, files. Most jobs check themselves; one fails on purpose."""

import os

import tenon
from tenon import check, check_equal, check_in

HERE = os.path.dirname(os.path.abspath(__file__))
SELF_CHECKING = ("bash-env", "environment", "folders", "background", "shells", "checked-out", "tools")


def check_steps(docker, options):
    """Runs the workflows of the project beside this file."""
    folder = tenon.project(HERE)
    # What is not committed comes along, what is ignored does not.
    tenon.write(folder + "/changed", "changed\n")
    tenon.write(folder + "/new", "new\n")
    tenon.write(folder + "/ignored.o", "ignored\n")
    result = tenon.run(["run", "--workflow", "good", "--json", *options], folder, docker).expect(0)
    check_equal(result.states(), {name: "succeeded" for name in SELF_CHECKING}, "states of the jobs")
    check_in("both streams", result.log("shells", "streams"), "standard output")
    check_equal(result.log("shells", "streams"), "".join(f"both streams {i}\n" for i in range(200)),
                "output and errors in the order in which they were written")

    result = tenon.run(["run", "--workflow", "bad", "--json", *options], folder, docker).expect(1)
    check_equal(result.states(), {name: "failed" for name in ("pipe", "middle", "silent", "signalled")}, "states")
    for job in ("pipe", "middle", "silent", "signalled"):
        check("must not run" not in result.job_log(job), f"job {job} went on after its failure")
    text = result.log("silent", "silent") + str(result.steps("silent")["silent"]) + result.out
    check_in("2s", text, "the reason of the end of a silent step names its no_output_timeout")
    tenon.check_nothing_left(docker)


def check_other_shells(docker):
    """Images without bash: /bin/sh is used, with pipefail only where the shell knows it."""
    folder = tenon.project(HERE)
    result = tenon.run(["run", "--workflow", "no-bash", "--json"], folder, docker).expect(0)
    check_equal(result.states(), {"busybox": "succeeded", "dash": "succeeded"}, "states of the jobs")
    tenon.check_nothing_left(docker)


check_steps(None, ["--executor", "docker=machine"])
host = tenon.docker_host()
check_steps(host, [])
check_other_shells(host)
