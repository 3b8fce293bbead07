# deadline: 400
"""A C project of our own: built with a cache, tested in four parallel tasks with split tests, collected over a
workspace; a job that halts; and a job that fails, whose on_fail and always steps run. On this host and on Docker."""

import os

import tenon
from tenon import check, check_equal, check_in

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = sorted(name[:-2] for name in os.listdir(HERE + "/tests") if name.startswith("test_"))


def artifacts(job):
    """{path: absolute path} of a job's artifacts."""
    return {path: os.path.join(job["artifacts"], path) for path in tenon.files_below(job["artifacts"])}


def check_release(folder, docker, options, cached):
    """Runs the workflow that succeeds."""
    result = tenon.run(["run", "--workflow", "release", "--json", *options], folder, docker).expect(0)
    check_equal(result.states(), {name: "succeeded" for name in ("build", "test", "collect", "halting")}, "states")

    found = f"objects from the cache: {3 if cached else 0}\n"
    check_equal(result.log("build", "Look at the cache"), found, "what the cache held")

    job = result.job("test")
    check_equal([task["index"] for task in job["tasks"]], [0, 1, 2, 3], "tasks of the job 'test'")
    for task in range(4):
        check_in(f"task {task} of 4 has 3 tests", result.log("test", "Run this task's tests", task), "split")
    check_equal((job["tests"]["total"], job["tests"]["failed"]), (len(TESTS), 0), "test results")
    stored = {os.path.basename(path)[:-4] for path in artifacts(job) if "junit/" in path}
    check_equal(sorted(stored), TESTS, "artifacts of the four tasks")

    check_in(f"{len(TESTS)} tests ran once each", result.log("collect", "Every test ran in exactly one task"), "fan-in")
    collected = artifacts(result.job("collect"))
    archive = [path for name, path in collected.items() if name.endswith("release/libtext.tar.gz")]
    check_equal(len(archive), 1, "the library's archive among the artifacts")
    check(os.path.getsize(archive[0]) > 500, "the archive is not empty")

    check_in("stopping here", result.log("halting", "Nothing to do"), "the step that halts")
    never = result.steps("halting").get("Never")
    check(never is None or never["state"] not in ("succeeded", "failed"), f"the step after the halt ran: {never}")
    check("this step must not run" not in result.job_log("halting"), "the step after the halt ran")
    tenon.check_nothing_left(docker)


def check_failing(folder, docker, options):
    """Runs the workflow with the job that fails: exit status 1, and what must run after a failure did."""
    result = tenon.run(["run", "--workflow", "failing", "--json", *options], folder, docker).expect(1)
    check_equal(result.summary["exit_code"], 1, "exit code in the summary")
    states = result.states()
    check_equal(states.get("broken"), "failed", "state of the job that fails")
    check(states.get("after-broken") not in ("succeeded", "failed"), f"the job after the failed one ran: {states}")
    steps = result.steps("broken")
    check_equal(steps["Fail"]["state"], "failed", "state of the step that fails")
    check_equal(steps["On failure"]["state"], "succeeded", "state of the on_fail step")
    check_equal(steps["Always"]["state"], "succeeded", "state of the always step")
    check_in("about to fail", result.log("broken", "Fail"), "log of the step that fails")
    check_in("the failure was noticed", result.log("broken", "On failure"), "log of the on_fail step")
    check_in("this step always runs", result.log("broken", "Always"), "log of the always step")
    check("must not run" not in result.job_log("broken"), "a step ran after the failure that must not")
    kept = [path for name, path in artifacts(result.job("broken")).items() if os.path.basename(name) == "report.txt"]
    check_equal([tenon.read(path) for path in kept], ["kept in spite of the failure\n"], "artifact of the failed job")
    tenon.check_nothing_left(docker)


project = tenon.project(HERE)
on_host = ["--executor", "docker=machine"]
check_release(project, None, on_host, cached=False)
check_failing(project, None, on_host)
host = tenon.docker_host()
check_release(project, host, [], cached=True)
check_failing(project, host, [])
