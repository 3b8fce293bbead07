# deadline: 240
"""What a step means, the same on this host and in containers: shells, environment, working folders, background,
timeouts, signals, reruns, files. Most jobs check themselves; some fail on purpose, with exact words."""

import os

import procs
import tenon
from tenon import check, check_equal, check_in

HERE = os.path.dirname(os.path.abspath(__file__))
SELF_CHECKING = ("bash-env", "environment", "folders", "background", "shells", "checked-out", "tools", "reruns",
                 "shells-of-executor", "shells-of-job", "homes", "precedence")
FAILING = ("pipe", "middle", "silent", "signalled", "tired", "halted", "no-shell", "no-folder", "no-quote")


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
    check_reruns(result)

    result = tenon.run(["run", "--workflow", "bad", "--json", *options], folder, docker).expect(1)
    check_equal(result.states(), {name: "failed" for name in FAILING}, "states")
    for job in FAILING:
        check("must not run" not in result.job_log(job), f"job {job} went on after its failure")
    check_failures(result)
    tenon.check_nothing_left(docker)


def check_reruns(result):
    """A step that fails is run again, and the log says so; what a halted job had is not."""
    rerun = "\nExited with code exit status 1\n\nAutomatic rerun {} of 3 in 1s\n\n"
    check_equal(result.log("reruns", "flaky"),
                "this is try 1\n" + rerun.format(1) + "this is try 2\n" + rerun.format(2) + "this is try 3\n",
                "the log of a step that was run three times")
    check_equal(result.log("reruns", "silent once"),
                "\nToo long with no output (exceeded 1s): context deadline exceeded\n\nAutomatic rerun 1 of 1\n\n"
                "not silent\n", "the log of a step that was silent once")
    check_equal(result.steps("reruns")["flaky"].get("exit"), 0, "the last try counts")
    check_equal(result.log("reruns", "by its old name"), "deployed\n", "deploy")
    check_equal(result.log("shells-of-job", "a name"), "python\n", "a shell that is none")


def check_failures(result):
    """The reasons, word for word."""
    steps = result.steps("tired")
    check_equal({name: step["state"] for name, step in steps.items() if name != "Spin up environment"},
                {"never": "failed", "skipped": "skipped", "after a failure": "succeeded", "always": "succeeded",
                 "also stored": "succeeded"}, "what runs after a failure")
    again = "\nExited with code exit status {}\n\nAutomatic rerun {} of 2\n\n"
    check_equal(result.log("tired", "never"), again.format(41, 1) + again.format(42, 2) +
                "\nExited with code exit status 43\n", "the log of a step that never succeeds")
    check_equal(steps["never"]["exit"], 43, "the last exit counts")
    check("rerun" not in result.job_log("halted"), "a halted job ran a step again")
    check_equal(result.steps("halted")["after"]["state"], "skipped", "what comes after a halt")
    for job, step, reason in (
            ("silent", "silent", "Too long with no output (exceeded 2s): context deadline exceeded"),
            ("tired", "never", "Exited with code exit status 43"),
            ("pipe", "false | true", "Exited with code exit status 1"),
            ("no-shell", "zsh", "The command could not be started: no such file: /bin/nonesuch"),
            ("no-folder", "nowhere", "The command could not be started: cannot enter the folder /non/existent: No such file "
             "or directory"),
            ("no-quote", "quote", "the step's `shell` is not a command line: it is empty, or a quote is not closed")):
        check_equal(result.steps(job)[step].get("reason"), reason, f"reason of {job}")
        check_in(reason + "\n", result.log(job, step), f"log of {job}")


def check_crash(docker, options, executor):
    """The executor dies while a step waits for its rerun: it is run again once, by the next one."""
    with tenon.Running(["run", "--workflow", "crash", "--json", *options], tenon.project(HERE), docker) as running:
        running.wait_output("Automatic rerun 1 of 2 in 2s")
        before = running.find(executor)
        procs.kill(before)
        check(procs.wait_gone(before, 5), "the executor is still there")
        result = running.wait().expect(0)
    check_equal(result.log("crashed", "twice"),
                "try 1\n\nExited with code exit status 1\n\nAutomatic rerun 1 of 2 in 2s\n\ntry 2\n", "log of two tries")
    tenon.check_nothing_left(docker)


def check_cancel():
    """A step that waits for its rerun is canceled at once."""
    with tenon.Running(["run", "--workflow", "long", "--json", "--executor", "docker=machine"], tenon.project(HERE)) as running:
        running.wait_output("Automatic rerun 1 of 1 in 10m0s")
        running.signal()
        result = running.wait(8).expect(130)
    check_equal(result.states(), {"patient": "canceled"}, "state of the job")
    check_equal(result.steps("patient")["waits"]["state"], "canceled", "state of its step")
    tenon.check_nothing_left()


def check_other_shells(docker):
    """Images without bash: /bin/sh is used, with pipefail only where the shell knows it."""
    folder = tenon.project(HERE)
    result = tenon.run(["run", "--workflow", "no-bash", "--json"], folder, docker).expect(0)
    check_equal(result.states(), {"busybox": "succeeded", "dash": "succeeded"}, "states of the jobs")
    tenon.check_nothing_left(docker)


check_steps(None, ["--executor", "docker=machine"])
host = tenon.docker_host()
check_steps(host, [])
check_cancel()
check_crash(None, ["--executor", "docker=machine"], "tenon-executor-machine")
check_other_shells(host)
