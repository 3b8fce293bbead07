# deadline: 400
"""Reality Check, the acceptance project of CircleCI Server: its config byte for byte, on Docker and on this host."""

import os
import re
import shutil
import tempfile

import tenon
from tenon import check, check_equal, check_in

CONFIG = tenon.shared("realitycheck/config.yml")
RESULTS = tenon.shared("realitycheck/test-results.xml")
DOCKER = tenon.docker_host()

# What the jobs leave outside of their working folder when they run on this host.
HOST_FOLDERS = ("/tmp/artifacts", "/tmp/artifact-1.txt", "/a")


def make_project():
    """A repository with the config and the test results, copied byte for byte."""
    source = tempfile.mkdtemp()
    for path, name in ((CONFIG, ".circleci/config.yml"), (RESULTS, "test-results/test-results.xml")):
        os.makedirs(os.path.dirname(os.path.join(source, name)))
        shutil.copyfile(path, os.path.join(source, name))
    return tenon.project(source)


def contexts():
    """The options for the two contexts that its documentation asks for."""
    folder = tempfile.mkdtemp()
    first = tenon.write(folder + "/org-global", "CONTEXT_END_TO_END_TEST_VAR=1\n")
    second = tenon.write(folder + "/individual-local", "MULTI_CONTEXT_END_TO_END_VAR=1\n")
    return ["--context", "org-global=" + first, "--context", "individual-local=" + second]


def artifact(job, name):
    """Text of the one artifact of a job whose path ends with `name`."""
    found = [path for path in tenon.files_below(job["artifacts"]) if path == name or path.endswith("/" + name)]
    check_equal(len(found), 1, f"artifacts named {name} of {tenon.files_below(job['artifacts'])}")
    return tenon.read(os.path.join(job["artifacts"], found[0]))


def check_feature_jobs(folder, options):
    """Runs the workflow feature_jobs and looks at what each job did."""
    result = tenon.run(["run", "--workflow", "feature_jobs", "--json", *contexts(), *options], folder, DOCKER).expect(0)
    check_equal(result.summary["state"], "success", "state of the run")
    check_equal(result.summary["exit_code"], 0, "exit code in the summary")
    check_equal(result.states(), {name: "succeeded" for name in (
        "save_and_restore_cache", "contexts", "multi-contexts", "write_workspace", "read_workspace",
        "artifacts_test_results")}, "states of the jobs")
    check_in("CONTEXT_END_TO_END_TEST_VAR=", result.job_log("contexts"), "the context's variable")
    check_in("MULTI_CONTEXT_END_TO_END_VAR=", result.job_log("multi-contexts"), "the other context's variable")
    check_in("Yay, value matches", result.job_log("read_workspace"), "what read_workspace printed")
    cache = result.job_log("save_and_restore_cache")
    check_in("The cache was populated", cache, "what the cache job printed")
    check(re.search(r"v3-file-cache-\d+", cache), f"the cache's key in the log:\n{cache}")
    job = result.job("artifacts_test_results")
    check_equal(artifact(job, "artifact-file.txt"), "my artifact file\n", "the artifact with a destination")
    check_equal(artifact(job, "tmp/artifacts/artifact-2.txt"), "my artifact files in a dir\n",
                "the artifact of a folder without a destination")
    check_equal((job["tests"]["total"], job["tests"]["failed"]), (35, 0), "test results: total, failed")
    tenon.check_nothing_left(DOCKER)


def check_other_jobs(folder, options):
    """Runs the workflow other_jobs."""
    result = tenon.run(["run", "--workflow", "other_jobs", "--json", *options], folder, DOCKER).expect(0)
    check_equal(result.states(), {"env-subst-example": "succeeded"}, "states of the jobs")
    check_in('the value of foo is "bar" and next to alpha is "beta"', result.job_log("env-subst-example"),
             "what circleci env subst made")
    tenon.check_nothing_left(DOCKER)


WORKFLOWS = {
    "docker_resource_class_jobs": [f"executor_resource_class-docker-{size}"
                                   for size in ("small", "medium", "medium+", "large", "xlarge")],
    "windows_resource_class_jobs": ["check_if_windows_is_enabled"] + [
        f"executor_resource_class-windows-windows.{size}" for size in ("medium", "large", "xlarge")],
    "vm_jobs": ["machine", "remote_docker", "docker_layer_caching", "machine_dlc"],
    "aws_jobs": ["check_if_environment_is_aws", "aws_arm"],
    "gcp_jobs": ["check_if_environment_is_gcp", "android_machine"],
    "feature_jobs": ["save_and_restore_cache", "contexts", "multi-contexts", "write_workspace", "read_workspace",
                     "artifacts_test_results"],
    "other_jobs": ["env-subst-example"],
}


def check_plan(folder):
    """Every workflow compiles, and its jobs are those that the config means."""
    tenon.run(["config", "validate", ".circleci/config.yml"], folder).expect(0)
    text = tenon.run(["config", "process", ".circleci/config.yml"], folder).expect(0).out
    for workflow, jobs in WORKFLOWS.items():
        check_in(workflow, text, "a workflow in the plan")
        for job in jobs:
            check_in(job, text, f"a job of workflow {workflow} in the plan")


project = make_project()
check_plan(project)
check_feature_jobs(project, [])
check_other_jobs(project, [])
there = [path for path in HOST_FOLDERS if os.path.exists(path)]
check(not there, f"these would be in the way of the jobs on this host, remove them: {there}")
check_feature_jobs(project, ["--executor", "docker=machine"])
check_other_jobs(project, ["--executor", "docker=machine"])
for path in HOST_FOLDERS:
    check(not os.path.lexists(path), f"{path} was left on this host")
