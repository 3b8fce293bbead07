# deadline: 200
"""Test results: what pytest and CTest write, in all its places, told in each form; splits by the times of the run before; a
kill of everything that knows of them."""

import glob
import json
import os
import re
import signal
import subprocess
import tempfile

import tenon
from tenon import check, check_equal, check_in

HERE = os.path.dirname(os.path.abspath(__file__))
NAME_ORDER = [["split/test_a.py", "split/test_c.py"], ["split/test_b.py", "split/test_d.py"]]
TIME_ORDER = [["split/test_a.py"], ["split/test_b.py", "split/test_c.py", "split/test_d.py"]]


def lists(tests):
    """All tests of a job's folder of results: what its lists say, by name."""
    found = {}
    for name in sorted(os.listdir(tests["folder"])):
        if name.endswith(".jsonl"):
            for line in tenon.read(os.path.join(tests["folder"], name)).splitlines():
                test = json.loads(line)
                found[test["name"]] = test
    return found


def check_pytest(result):
    """pytest's results, in a folder in a folder: counts, names, messages."""
    check_in("Stored 4 test results of 1 file: 2 failed, 1 skipped\n", result.log("pytest", "Uploading test results"), "log")
    tests = result.job("pytest")["tasks"][0]["tests"]
    check_equal([tests[key] for key in ("total", "failed", "skipped", "flaky")], [4, 2, 1, 0], "pytest's counts")
    check_equal([(test["name"], test["classname"], test["file"]) for test in tests["failures"]],
                [(name, "shop.test_shop", "shop/test_shop.py") for name in ("test_fails", "test_error")], "failed tests")
    check(tests["failures"][0]["message"].startswith("AssertionError: two apples are not <three> & ä\nassert 2 == 3\n"),
          tests["failures"][0]["message"])
    check_in("no database", tests["failures"][1]["message"], "the message of an error")
    kept = lists(tests)
    check_equal({name: test["result"] for name, test in kept.items()},
                {"test_ok": "success", "test_fails": "failure", "test_skipped": "skipped", "test_error": "error"}, "list")
    check(0 <= kept["test_ok"]["seconds"] < 5 and kept["test_skipped"]["message"].endswith("not today"), str(kept))
    check(os.path.exists(os.path.join(tests["folder"], "03/deep/er/pytest.xml")), "the file itself is kept")


def check_ctest(result):
    """CTest's results, a single file whose name does not end in .xml; why a test failed is in its output."""
    check_in("Stored 4 test results of 1 file: 1 failed, 2 skipped\n", result.log("ctest", "Uploading test results"), "log")
    tests = result.job("ctest")["tests"]
    check_equal([tests[key] for key in ("total", "failed", "skipped")], [4, 1, 2], "CTest's counts")
    check_equal([(test["name"], test["message"]) for test in tests["failures"]], [("fails", "expected <3> & got 2")], "CTest")


def check_bad(result):
    """Files that are no results are told, and nothing fails for them."""
    check_equal(result.job("bad")["state"], "succeeded", "state of the job with bad files")
    mixed = result.log("bad", "mixed").splitlines()
    check_equal(mixed, ["cut.xml, line 1: unclosed token", "deep/nothing.xml is empty",
                        "deep/page.xml holds no test results: its first element is <html>, not <testsuites>",
                        "laughs.xml, line 1: it declares entities", "Ignored 2 files without XML",
                        "Stored 2 test results of 5 files: 1 failed, 1 skipped"], "a folder of all kinds")
    for step, word in (("empty", "empty"), ("only", "only")):
        log = result.log("bad", step)
        check(re.search(rf"^Found no test results in /.*/{word}, skipping$", log, re.MULTILINE), f"{step}: {log}")
    check(re.search(r"^Unable to save test results from (/.*/no/such)\nError stat \1: no such file or directory\n"
                    r"Found no path with test results, skipping$", result.log("bad", "missing"), re.MULTILINE),
          result.log("bad", "missing"))
    tests = result.job("bad")["tasks"][0]["tests"]
    check_equal([tests[key] for key in ("total", "failed", "skipped")], [32, 31, 1], "counts of several steps")
    check_equal(len(tests["failures"]), 10, "failed tests that are told")
    check_equal(tests["failures"][0], {"name": "good", "classname": "K", "file": "x.c", "suite": "s", "message": "Oops"},
                "a test's file is relative to the working directory")
    kept = lists(tests)
    check(len(kept) == 32 and kept["t30"]["message"] == "why 30" and kept["off"]["result"] == "skipped", str(kept)[:2000])


def shares(result):
    """What each task of the job `split` was given, in its two steps."""
    received, again = [], []
    for task in (0, 1):
        names = re.search(r"DEBUG Received: (.*?)\n[^s]", result.log("split", "tests", task) + "\n", re.DOTALL).group(1)
        received.append(names.split("\n"))
        again.append([line for line in result.log("split", "again", task).splitlines() if line.startswith("split/")])
    check_equal(again, received, "both splits of a task")
    return received


def check_split(run):
    """The first run splits by name, the second by the times of the first."""
    first = run("all").expect(1)
    check_equal(first.states(), {"split": "succeeded", "pytest": "failed", "ctest": "succeeded", "bad": "succeeded"}, "states")
    check_equal(shares(first), NAME_ORDER, "without times")
    for task in (0, 1):
        check_in("Error autodetecting timing type, falling back to weighting by name. "
                 "Autodetect no matching filename or classname.\n", first.log("split", "tests", task), "no times")
        check_in("Requested historical based timing, but they are not present.  Falling back to name based sorting\n"
                 "Using 2 of 4 tests", first.log("split", "again", task), "no times, a type")
        check_equal(first.log("split", "times", task), "none\n", "tasks of the first run")
    second = run("again").expect(0)
    check_equal(shares(second), TIME_ORDER, "by the times of the first run")
    for task in (0, 1):
        times = json.loads(second.log("split", "times", task))
        check_equal(list(times), ["tests", "files", "exceptions"], "members of results.json")
        check_equal(sorted((test["file"], test["classname"], test["name"], test["result"]) for test in times["tests"]),
                    [(f"split/test_{x}.py", f"split.test_{x}", f"test_{x}", "success") for x in "abcd"], "results.json")
        check(max(test["run_time"] for test in times["tests"]) > 0.5, str(times))
        log = second.log("split", "tests", task)
        check("Autodetected filename timings.\n" in log and "No timing found" not in log, log)
        check_in("/split/test_" + ("b" if task else "a") + ".py", second.log("split", "again", task).split("/: ")[1], "absolute")
    return first


def check_plain(folder, more, env):
    """The summary names failed tests for people, too."""
    plain = tenon.run(["run", "--job", "pytest", *more], folder, env=env).expect(1).out
    for text in ("\npytest: 2 of 4 tests failed\n  test_fails (shop.test_shop, shop/test_shop.py)\n"
                 "      AssertionError: two apples are not <three> & ä\n      assert 2 == 3\n",
                 "\n  test_error (shop.test_shop, shop/test_shop.py)\n", "  (all of them: /"):
        check_in(text, plain, "the summary")


def check_killed(folder, more, env):
    """Results and their list outlive the executor and the output service, and are counted once."""
    with tenon.Running(["run", "--workflow", "killed", "--json", *more], folder, None, env) as running:
        running.wait_output('"text":"now')
        for name in ("tenon-output", "tenon-executor-machine"):
            os.kill(running.find(name), signal.SIGKILL)
        project = glob.glob(f"{env['XDG_STATE_HOME']}/tenon/runs/*/machine/jobs/*/home/project")
        check_equal(len(project), 1, "folders of running jobs")
        tenon.write(os.path.join(project[0], "go"), "")
        result = running.wait().expect(0)
    tests = result.job("killed")["tests"]
    check_equal([tests["total"], tests["failed"]], [2, 2], "results before and after the kill")
    check_equal([test["message"] for test in tests["failures"]], ["in spite of it"] * 2, "failed tests after the kill")


def check_all(docker, more):
    """Everything with one kind of environment and a store of its own."""
    folder = tenon.project(HERE)
    env = {"XDG_STATE_HOME": tempfile.mkdtemp(prefix="s.")}

    def run(workflow):
        return tenon.run(["run", "--workflow", workflow, "--json", *more], folder, docker, env=env)

    first = check_split(run)
    check_pytest(first)
    check_ctest(first)
    check_bad(first)
    if docker is None:
        check_plain(folder, more, env)
        check_killed(folder, more, env)
    tenon.check_nothing_left(docker)


for tool in (["python3", "-m", "pytest", "--version"], ["ctest", "--version"]):
    if subprocess.run(tool, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        tenon.skip(f"{' '.join(tool)} does not run here: it needs Debian's python3-pytest and cmake")
check_all(None, ["--executor", "docker=machine"])
check_all(tenon.docker_host(), [])
