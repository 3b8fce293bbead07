# deadline: 180
"""Ctrl-C cancels cleanly (exit status 130, the running job is canceled, nothing is left), a second one at once."""

import signal
import time

import tenon
from tenon import check, check_equal

CONFIG = """version: 2.1
jobs:
  on-host: &job
    machine: true
    steps: &steps
      - run:
          name: wait
          command: |
            trap 'echo asked to end; exit 1' TERM INT
            echo waiting now
            sleep 600 & wait
      - run: {name: after, when: always, command: "echo this step must not run"}
  stubborn:
    machine: true
    steps:
      - run:
          name: wait
          command: |
            trap '' TERM INT
            echo waiting now
            while true; do sleep 600; done
  in-docker:
    docker: [{image: "cimg/base:2025.05-20.04"}]
    steps: *steps
  later: *job
workflows:
  on-host: {jobs: [on-host, {later: {requires: [on-host]}}]}
  stubborn: {jobs: [stubborn]}
  in-docker: {jobs: [in-docker]}
"""


def check_canceled(workflow, docker):
    """One Ctrl-C."""
    with tenon.Running(["run", "--workflow", workflow, "--json"], project, docker) as running:
        running.wait_output("waiting now")
        running.signal(signal.SIGINT)
        result = running.wait(60).expect(130)
    check_equal(result.summary["exit_code"], 130, "exit code in the summary")
    check_equal(result.states()[workflow], "canceled", "state of the job that ran")
    check(result.states().get("later") not in ("succeeded", "failed"), f"a job began after the cancel: {result}")
    check("must not run" not in result.job_log(workflow), "a step ran after the cancel")
    tenon.check_nothing_left(docker)


def check_at_once():
    """A second Ctrl-C does not wait for a job that takes no notice of the first."""
    with tenon.Running(["run", "--workflow", "stubborn", "--json"], project) as running:
        running.wait_output("waiting now")
        running.signal(signal.SIGINT)
        running.wait_output("cancel")
        running.signal(signal.SIGINT)
        second = time.monotonic()
        running.wait(60).expect(130)
        check(time.monotonic() - second < 5 * tenon.SLOW, "the second Ctrl-C did not end it at once")
    tenon.check_nothing_left()


project = tenon.project(config=CONFIG)
check_canceled("on-host", None)
check_at_once()
check_canceled("in-docker", tenon.docker_host())
