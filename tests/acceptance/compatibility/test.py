# deadline: 200
"""What users know of CircleCI's steps, one small job a fact, on this host and in containers. README.md beside this file
says which check proves which fact; the names in it are checked first."""

import glob
import hashlib
import json
import os
import re
import subprocess
import tarfile
import tempfile

import procs
import tenon
from tenon import check, check_equal, check_in

HERE = os.path.dirname(os.path.abspath(__file__))
FAILS = {"run-missing-folder", "run-silent", "run-when", "halt-after-failure", "run-no-shell",
         "cache-checksum-missing",
         "cache-long-key", "workspace-missing", "workspace-absolute", "tests-run",
         "artifacts-outside", "alpine-pipefail"}
TABLE = os.path.join(HERE, "README.md")
TIME_LIMIT = "the job ran longer than its limit of {:g}s (jobs.max_run_time)"
LINES_OF_SECRET = "first secret line\nsecond secret line\n"


def names_of(place):
    """What a place in the table has: jobs of a test's config, functions, cases of the compiler."""
    path = os.path.join(os.path.dirname(HERE), place)
    if os.path.isdir(path):
        files = [f"{path}/test.py", f"{path}/.circleci/config.yml"]
    else:
        files = [os.path.join(os.path.dirname(os.path.dirname(HERE)), place)]
    if os.path.isdir(files[0]):
        return set(os.listdir(files[0]))
    names = set()
    for file in files:
        if os.path.exists(file):
            text = tenon.read(file)
            jobs = text.split("\njobs:\n")[-1].split("\nworkflows:\n")[0] if file.endswith(".yml") else ""
            names |= set(re.findall(r"^  ([\w-]+):", jobs, re.M))
            names |= set(re.findall(r"^(?:def|static void) (\w+)\(", text, re.M))
    check(names, f"README.md names the place {place}, and there is nothing")
    return names


def check_table():
    """Each name in the table is there, each row has one or says where it belongs, and each job here proves a row."""
    here = names_of("compatibility")
    used = set()
    rows = [line for line in tenon.read(TABLE).splitlines() if line.startswith("| ")]
    check(len(rows) > 100, f"README.md has {len(rows)} rows")
    for row in rows:
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]
        check_equal(len(cells), 2, f"README.md: cells of {row}")
        proofs = re.findall(r"([\w./-]+): ((?:`[\w.-]+`(?:, )?)+)", cells[1])
        check(proofs or cells[1].startswith("elsewhere: ") or cells == ["row", "shown by"] or cells[0] == "---",
              f"README.md: this row has neither a check nor where it belongs: {row}")
        for place, names in proofs:
            names = set(re.findall(r"`([\w.-]+)`", names))
            check(names <= names_of(place), f"README.md: {place} has no {names - names_of(place)}")
            used |= names if place == "compatibility" else set()
    jobs = set(re.findall(r"^  ([\w-]+):", tenon.read(f"{HERE}/.circleci/config.yml").split("\njobs:\n")[1]
                          .split("\nparameters:\n")[0], re.M))
    check_equal(jobs - used, set(), "jobs that README.md does not name")
    check(used <= here, str(used - here))


def options(folder):
    """Variables, contexts and parameters of a run."""
    contexts = {"one": "FROM_PROJECT_CONTEXT=context-one\nFROM_PROJECT_CONTEXT_JOB=context\nFROM_CONTEXTS=context-one\n"
                       "FROM_JOB_STEP=context\nCIRCLE_JOB=context\n",
                "two": "FROM_CONTEXTS=context-two\n",
                "secret": 'FROM_SECRET_CONTEXT=context-secret\nFROM_SECRET_LINES="first secret line\\nsecond secret line"\n'}
    arguments = []
    for name, text in contexts.items():
        arguments += ["--context", f"{name}={tenon.write(f'{folder}/{name}.env', text)}"]
    for pair in ("FROM_PROJECT=of-project", "FROM_PROJECT_CONTEXT=of-project", "FROM_PROJECT_CONTEXT_JOB=of-project",
                 "SECRET=se-cr-et-42", "SHORT=xyz", "TRUTH=true"):
        arguments += ["--env", pair]
    return arguments


def check_run(result):
    """The rows of `run`."""
    check_equal(list(result.steps("run-name"))[1:], ["test 1 = 1", "echo two &&\n  echo lines", "its own"], "run-name")
    silent = result.log("run-silent", "silent")
    check_in("Too long with no output (exceeded 1.5s): context deadline exceeded", silent, "run-silent")
    check_in("before\n", silent, "what was printed before the silence is kept")
    check_equal(result.steps("run-silent")["gone"]["state"], "succeeded", "the whole tree of processes is gone")
    check_in("no/where", result.job_log("run-missing-folder"), "the missing folder is named")
    states = {name: step["state"] for name, step in result.steps("run-when").items()}
    check_equal({name: states[name] for name in ("early", "breaks", "default", "success", "fail", "always",
                                                 "Saving cache", "Uploading artifacts", "Uploading test results")},
                {"early": "skipped", "breaks": "failed", "default": "skipped", "success": "skipped",
                 "fail": "succeeded", "always": "succeeded", "Saving cache": "succeeded",
                 "Uploading artifacts": "succeeded", "Uploading test results": "succeeded"}, "run-when")
    for name, word in (("empty", "empty"), ("open", "quote"), ("missing", "/no/such")):
        check_in(word, result.log("run-no-shell", name), "why there is no shell")
    check_in("answered again", result.log("run-background", "server"), "the log of a background step")
    check_equal(result.log("run-long-command", "long").strip(), "done", "the log of a long command")
    for job in ("halt-agent", "halt-step", "halt-task", "halt-after-failure", "halt-by-hand"):
        check_equal(result.steps(job)["halting"]["state"], "succeeded", job)
    check_in("said after", result.log("halt-agent", "halting"), "a step that halts runs to its end")


def check_built_in(result, folder, name):
    """Each variable of ours that a job has, with its value, and no other one."""
    said = dict(line.split("=", 1) for line in result.log("env-built-in-values", "all").splitlines())
    number = said.get("CIRCLE_BUILD_NUM", "")
    pipeline = values(result)
    unique = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    for variable in ("CIRCLE_WORKFLOW_ID", "CIRCLE_WORKFLOW_JOB_ID", "CIRCLE_PIPELINE_ID", "CIRCLE_PROJECT_ID",
                     "CIRCLE_ORGANIZATION_ID"):
        check(re.fullmatch(unique, said.get(variable, "")), f"{variable} is {said.get(variable)}")
    ids = [said.pop(variable) for variable in ("CIRCLE_WORKFLOW_JOB_ID", "CIRCLE_PROJECT_ID", "CIRCLE_ORGANIZATION_ID")]
    check_equal(len({*ids, said["CIRCLE_WORKFLOW_ID"], said["CIRCLE_PIPELINE_ID"]}), 5, f"ids that differ: {ids} {said}")
    data = said.pop("CIRCLE_INTERNAL_TASK_DATA")
    check_equal(said, {
        "CI": "true", "CIRCLECI": "true", "CIRCLE_BRANCH": "main", "CIRCLE_BUILD_NUM": str(int(number)),
        "CIRCLE_BUILD_URL": f"https://tenon.invalid/gh/team/{name}/{number}", "CIRCLE_JOB": "env-built-in-values",
        "CIRCLE_NODE_INDEX": "0", "CIRCLE_NODE_TOTAL": "1", "CIRCLE_PIPELINE_ID": pipeline["id"],
        "CIRCLE_PREVIOUS_BUILD_NUM": str(int(number) - 1), "CIRCLE_PROJECT_REPONAME": name,
        "CIRCLE_PROJECT_USERNAME": "team", "CIRCLE_REPOSITORY_URL": f"git@github.com:team/{name}.git",
        "CIRCLE_SHA1": pipeline["git.revision"], "CIRCLE_SHELL_ENV": f"{data}/bash_env", "CIRCLE_USERNAME": "team",
        "CIRCLE_WORKFLOW_ID": said["CIRCLE_WORKFLOW_ID"],
        "CIRCLE_WORKFLOW_WORKSPACE_ID": said["CIRCLE_WORKFLOW_ID"],
        "CIRCLE_WORKING_DIRECTORY": "~/project"}, "env-built-in-values")
    revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
    check_equal(revision.stdout.strip(), said["CIRCLE_SHA1"], "CIRCLE_SHA1")


def values(result):
    """{name: value} of what the job pipeline-values says."""
    return dict(line.split("=", 1) for line in result.log("pipeline-values", "values").splitlines())


def check_pipeline_values(result, folder, name):
    """Each pipeline value; what a run without a server cannot know is empty."""
    said = values(result)
    check_equal(said.pop("environment"), said["id"], "CIRCLE_PIPELINE_ID is pipeline.id")
    check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said.pop("trigger.received_at")), "received_at")
    check_equal(int(said.pop("number")), result.summary["number"], "pipeline.number")
    check(said.pop("id") and said.pop("git.revision"), f"id and revision in {folder}")
    check_equal(said, {"definition.id": "", "project.git_url": f"git@github.com:team/{name}.git",
                       "project.type": "github", "project.slug": f"gh/team/{name}", "integration_source": "",
                       "git.tag": "", "git.branch": "main", "git.branch.is_default": "false", "git.commit.url": "",
                       "git.base_revision": "", "trigger_source": "local", "schedule": "",
                       "parameters.given": "given"}, "pipeline-values")


def check_environment(result):
    """The rows of variables."""
    check_equal([result.log("env-built-in", "index", task) for task in (0, 1)], ["0\n", "1\n"], "CIRCLE_NODE_INDEX")
    check_equal(result.log("env-mask", "masked").splitlines(),
                ["[****] [xyz] [true] [****]", "****", "****", "****", "********", "[se-cr-et-4]"], "env-mask")


def check_output(result):
    """What a step prints is kept byte for byte."""
    with open(result.steps("output-exact")["bytes"]["log"], "rb") as file:
        check_equal(file.read(), b"a\0b\r\nprogress 1\rprogress 2\r\n\033[31mred\033[0m\xff\xfe\ttab\n\nno end", "bytes")
    check_equal(result.log("output-exact", "nothing"), "", "the log of a step that prints nothing")
    wanted = subprocess.run("head -c 52428800 /dev/zero | openssl enc -aes-128-ctr -nosalt -K 0 -iv 0", shell=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    with open(result.steps("output-exact")["large"]["log"], "rb") as file:
        check_equal(hashlib.sha256(file.read()).hexdigest(), hashlib.sha256(wanted).hexdigest(), "50 MB of output")
    check_equal(result.log("output-exact", "lines") == "".join(f"{i}\n" for i in range(1, 200001)), True,
                "200,000 lines of output")


def check_stores(result, docker):
    """The rows of caches, workspaces, artifacts and test results."""
    check_in("already exists", result.log("cache-restore", "again"), "a second save of a key")
    check_in("No cache is found", result.log("cache-restore", "missing"), "a miss")
    check_in("-xyz", result.log("cache-restore", "newest"), "the newest of the matches wins")
    check_in("not-there", result.log("cache-missing-path", "saving"), "a path of a cache that is not there is named")
    branch, number, revision, epoch, workflow = result.log("cache-template", "values").split()
    rendered = re.search(r"t\|\S*", result.log("cache-template", "rendered"))
    fields = rendered.group(0).split("|")
    check_equal(fields[1:7] + fields[8:], [result.log("cache-template", "expected").strip(), branch, number, revision,
                                           "mine", workflow, arch(), ""], "a rendered key")
    check(abs(int(fields[7]) - int(epoch)) < 30, f"{{{{ epoch }}}} is {fields[7]}, date says {epoch}")
    check_in("nothing", result.log("cache-checksum-missing", "no file"), "the file of a checksum is named")
    check_equal(result.log("cache-template-empty", "rendered"), "No cache is found for key: e|<no value>||\n", "no values")
    check_in("No such file or folder: ", result.log("cache-no-globs", "saving"), "a pattern among the paths of a cache")
    check_in("/c/*\n", result.log("cache-no-globs", "saving"), "a pattern among the paths of a cache")
    check_in("No cache is found for key: scope-\n", result.log("cache-scope", "nothing of another project"), "scope")
    check_equal(result.log("workspace-globs-read", "all"), "./a/deep/y.txt ./a/x.txt ./b/1.o ./b/2.o ./c/* ./one.txt "
                "./three.md ./two.txt ./{a,b} ", "workspace-globs")
    check_in("No such file or folder: b/[^1-3].o\nNo such file or folder: a/**/x.txt\n", result.log("workspace-globs", "two fit"), "a pattern without a match")
    steps = result.steps("cache-long-key")
    check_equal([steps["just fits"]["state"], steps["too long"]["state"]], ["succeeded", "failed"], "cache-long-key")
    check_in("900", result.log("cache-long-key", "too long"), "the limit is named")
    check_in("nothing", result.log("workspace-missing", "nothing there"), "what is missing is named")

    folder = artifacts_folder(result, "artifacts")
    check_equal(tenon.files_below(folder),
                ["home/in-home", "named/a", "named/deep/b", "named/link", "out/a", "out/deep/b", "out/link",
                 "renamed.txt", "single.txt", "slash/a", "slash/deep/b", "slash/link"], "artifacts")
    check_equal(tenon.files_below(artifacts_folder(result, "run-when")), ["out/file"], "artifacts of a failed job")
    home = "home/circleci" if docker else "home"
    check_equal(tenon.files_below(artifacts_folder(result, "artifacts-outside")),
                [f"{home}/beside/file"], "artifacts from outside of the working directory")
    check_in("..", result.log("artifacts-outside", "refused"), "a destination that leads out")
    check_equal(result.steps("artifacts-outside")["goes on"]["state"], "succeeded", "the steps after a refused one")
    check_in("2 test", result.log("test-results", "file"), "results of a single file")
    check_in("4 test", result.log("test-results", "folder"), "results of a folder with folders")
    check_in("Found no path with test results, skipping\n", result.log("test-results", "missing"), "a path that is not there")


def arch():
    """What {{ arch }} is on this machine."""
    processor = dict(re.findall(r"^(cpu family|model)\t+: (\d+)$", tenon.read("/proc/cpuinfo"), re.M))
    return f"linux-amd64-{processor['cpu family']}_{processor['model']}"


def check_tests(result):
    """The rows of test results and of `circleci tests`."""
    results = result.job("test-results")["tests"]
    check_equal([results["total"], results["failed"], results["skipped"]], [6, 2, 1], "test-results")
    check_equal([failure["name"] for failure in results["failures"]], ["b", "b"], "failed tests")
    check_equal([line.split(": ", 2)[1:] for line in result.log("tests-split", "bad options").splitlines()],
                [["2", f"Error: {text}"] for text in
                 ("--index must be a number: x", "--index counts from 0 and must be below --total",
                  "--total must be a number above 0: 0", "--split-by must be name, filesize or timings, not luck",
                  "--timings-type must be autodetect, filename, classname or testname, not file",
                  "--time-default must be a duration such as 10s: soon", "unknown option or missing value")], "tests-split")
    check_equal(result.log("tests-run", "nothing"),
                "WARN No test names found in input source. If you were expecting test names, please check your input source.\n"
                "There were no tests found\n", "tests-run")
    check_in('Error: required flag(s) "command" not set\n', result.log("tests-run", "no command"), "tests-run")
    log = next(step["log"] for step in result.job("test-results-timings")["tasks"][0]["steps"] if step.get("log"))
    store = glob.glob(log[:log.index("/runs/")] + "/store/output/timings/*/test-results-timings.tar")
    with tarfile.open(store[0]) as tar:
        times = json.load(tar.extractfile("circle-test-results/results.json"))["tests"]
    check_equal(sorted((time["file"] or "", time["classname"], time["name"], time["run_time"]) for time in times),
                [("", "Only", "c", 1.5), ("of/suite.py", "", "a", 2), ("own.py", "", "b", 1.5)], "test-results-timings")


def artifacts_folder(result, job, workflow="rows"):
    """Where the artifacts of a job's first task lie."""
    log = next(step["log"] for step in result.job(job)["tasks"][0]["steps"] if step.get("log"))
    state = log[:log.index("/logs/")]
    return os.path.join(state, "artifacts", workflow, job, "0")


def check_said(result, docker):
    """What cannot be done here is said."""
    check_in("blobless", result.log("checkout-method", "Checkout code"), "a checkout method that has no effect")
    for word in ("ubuntu-2204", "docker_layer_caching"):
        check_in(word, result.log("machine-image", "Spin up environment"), "what a machine job does not get")
    if docker is None:
        check_in("alpine:latest", result.log("image-environment", "Spin up environment"), "services of a job without Docker")
    check_in("image|", result.log("image-environment", "in keys"), "variables of the image in a cache key")
    check_in("../../etc/passwd", result.log("workspace-absolute", "leads out"), "a path that leads out of a workspace")


def check_states(result):
    """Every job ends as its name's row says."""
    states = result.states()
    wrong = [job for job, state in states.items() if (state == "failed") != (job in FAILS)
             or state not in ("succeeded", "failed")]
    text = "".join(f"\n--- {job}: {states[job]}\n{result.job_log(job)[-1500:]}" for job in wrong)
    check(not wrong, f"jobs that ended otherwise than they must: {wrong}{text}\n{result.err[-2000:]}")
    for job in states:
        check("must not run" not in result.job_log(job).replace("echo must not run", ""), f"job {job} went on")


def limited(seconds):
    """Settings with a time limit for jobs."""
    return tenon.write(os.path.join(tempfile.mkdtemp(prefix="s."), "tenon.yaml"), f"jobs: {{max_run_time: {seconds:g}s}}\n")


def check_second(folder, docker, more):
    """Another run of the project, on another branch, with a time limit."""
    tenon.git(folder, "checkout", "--quiet", "-b", "other")
    limit = (3 if docker else 1.5) * tenon.SLOW
    result = tenon.run(["run", "--workflow", "second", "--json", "--settings", limited(limit), *more], folder,
                       docker).expect(1)
    check_equal(result.states(), {"run-time-limit": "timed_out", "cache-scope-branch": "succeeded"}, "states")
    check_equal(result.job("run-time-limit")["reason"], TIME_LIMIT.format(limit), "reason")
    check_equal([step for step in result.steps("run-time-limit") if step != "Spin up environment"], ["too long"],
                "steps after the job's time limit")
    check_equal(result.log("run-time-limit", "too long"), "works\nasked to end\n", "a step that ran too long")


def check_limit_after_crash():
    """A new executor does not begin the limit anew."""
    limit = 2.5 * tenon.SLOW
    config = ("version: 2.1\njobs: {build: {machine: true, steps: [run: echo it begins; sleep %d; echo dies now; sleep 600]}}\n"
              % (2 * tenon.SLOW))
    with tenon.Running(["run", "--json", "--settings", limited(limit)], tenon.project(config=config)) as running:
        running.wait_output('"text":"dies now')
        before = running.find("tenon-executor-machine")
        procs.kill(before)
        check(procs.wait_gone(before, 5), "the executor is still there")
        result = running.wait().expect(1)
    check_equal(result.job("build")["reason"], TIME_LIMIT.format(limit), "reason")
    check(result.job("build")["seconds"] < 4.4 * tenon.SLOW, f"the limit began anew: {result.job('build')}")


def check_default_timeout():
    """`no_output_timeout` is 10 minutes where nothing is said: the compiler writes down only what is not the default."""
    said = []
    for more in ("", ", no_output_timeout: 10m", ", no_output_timeout: 11m"):
        folder = tenon.project(config="version: 2.1\njobs: {build: {machine: true, steps: [{run: {command: x%s}}]}}\n" % more)
        said.append(tenon.run(["config", "process"], folder).expect(0).out)
    check(said[0] == said[1] != said[2], f"the default of no_output_timeout: {said}")


def check_rows(docker, more):
    """All rows with one kind of environment."""
    folder = tenon.project(HERE)
    name = "app" if docker is None else "other"
    tenon.git(folder, "remote", "add", "origin", f"git@github.com:team/{name}.git")
    long_command = "# " + "x" * 100000 + "\necho done"
    result = tenon.run(["run", "--workflow", "rows", "--json", "--param", f"long={long_command}", "--param",
                        "nine_hundred=" + os.urandom(450).hex(), "--param", "given=given",
                        *options(tempfile.mkdtemp(prefix="o.")), *more],
                       folder, docker).expect(1)
    check_states(result)
    check_run(result)
    check_environment(result)
    check_built_in(result, folder, name)
    check_pipeline_values(result, folder, name)
    check_output(result)
    check_stores(result, docker)
    check_tests(result)
    check_said(result, docker)
    check_second(folder, docker, more)
    if docker is None:
        check_limit_after_crash()
    tenon.check_nothing_left(docker)


def check_images(docker):
    """The rows that are about images."""
    folder = tenon.project(HERE)
    result = tenon.run(["run", "--workflow", "images", "--json", "--env", "FROM_PROJECT=of-project"], folder,
                       docker).expect(1)
    check_states(result)
    check_equal(tenon.files_below(artifacts_folder(result, "working-directory-absolute", "images")), ["srv/art/file"],
                "artifacts from an absolute path")
    check_in("/bin/sh -eo pipefail -c", result.log("alpine", "cmdline"), "the shell of an image without bash")
    check_in("/bin/sh -e -c", result.log("dash", "cmdline"), "the shell where pipefail is unknown")
    tenon.check_nothing_left(docker)


check_table()
check_default_timeout()
check_rows(None, ["--executor", "docker=machine"])
host = tenon.docker_host()
check_images(host)
check_rows(host, [])
