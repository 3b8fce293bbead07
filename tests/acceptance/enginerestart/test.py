# deadline: 200
"""The Docker Engine is stopped or killed under a running job. With live-restore nobody notices; without it the engine
takes the containers along: the job fails as the environment's fault, with the reason. Nothing is left either way, also
of an engine that comes back only after the job was given up."""

import signal
import tempfile

import procs
import tenon
from own_engine import OwnEngine
from tenon import check, check_equal, check_in

LINES = 4000
CONFIG = f"""version: 2.1
jobs:
  job:
    docker:
      - image: alpine:latest
      - {{image: "alpine:latest", command: [sleep, "1000"]}}
    steps:
      - run: {{name: long, command: 'i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo line-$i; [ $((i % 20)) = 0 ] && sleep 0.02; done; true'}}
  stuck:
    docker:
      - image: alpine:latest
      # It heeds TERM: a starting engine waits ten seconds for each container of a killed one that does not.
      - {{image: "alpine:latest", command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.1; done']}}
    steps: [run: {{name: stuck, command: "echo begun; sleep 1000"}}]
  hello:
    docker: [{{image: "alpine:latest"}}]
    steps: [run: echo hello]
workflows:
  w: {{jobs: [job]}}
  stuck: {{jobs: [stuck]}}
  hello: {{jobs: [hello]}}
"""
WANTED = "".join(f"line-{number + 1}\n" for number in range(LINES))


def check_taken_along(project, engine, number):
    """Without live-restore: the reason, and nothing left once the engine is back."""
    with tenon.Running(["run", "--workflow", "stuck", "--json"], project, engine.host) as running:
        running.wait_output("begun\\n")
        engine.end(number)
        engine.start()
        result = running.wait(60).expect(3)
    job = result.job("stuck")
    check_equal(job["state"], "infrastructure_failure", "the job")
    check_equal(job["reason"],
                f"the environment is lost: the primary container ended: the Docker Engine at {engine.host} was stopped or "
                'restarted and took it along; with "live-restore": true in the engine\'s daemon.json containers outlive '
                "that (not tried again: its steps had begun)", "why")
    check_equal(result.log("stuck", "stuck")[:6], "begun\n", "what was put out before")
    check(procs.wait_for(lambda: not engine.api.containers(), 10), f"left: {engine.api.containers()}")
    check_equal(engine.api.volumes(), [], "volumes")


def check_gone(project, engine):
    """The engine is gone when the job is canceled: it is said, and the next run removes what is left."""
    with tenon.Running(["run", "--workflow", "stuck", "--json"], project, engine.host) as running:
        running.wait_output("begun\\n")
        engine.end(signal.SIGKILL)
        running.signal()
        result = running.wait(90).expect(130)
    check_in("its containers could not be removed yet: no Docker Engine answers at " + engine.host,
             tenon.read(result.summary["folder"] + "/tenon.log"), "it is said")
    engine.start()
    check(len(engine.api.containers()) == 2, "two containers should be there still")
    tenon.run(["run", "--workflow", "hello", "--json"], project, engine.host).expect(0)
    check(procs.wait_for(lambda: not engine.api.containers(), 10), f"left: {engine.api.containers()}")


def check_unnoticed(project, engine, number, arguments):
    """With live-restore every line is there, once."""
    with tenon.Running(["run", "--workflow", "w", "--json", *arguments], project, engine.host) as running:
        running.wait_output("line-600\\n")
        engine.end(number)
        engine.start()
        result = running.wait(60).expect(0)
    check_equal(result.log("job", "long"), WANTED, "the lines")
    check(procs.wait_for(lambda: not engine.api.containers(), 10), f"left: {engine.api.containers()}")


def main():
    source = tenon.engine()
    project = tenon.project(config=CONFIG)
    folder = tempfile.mkdtemp(prefix="e.")
    attach = tenon.write(f"{folder}/attach.yaml", 'docker: {shared_folders: "no"}\n')
    with OwnEngine(folder + "/a") as engine:
        engine.copy_image("alpine:latest", source)
        check_taken_along(project, engine, signal.SIGTERM)
        check_taken_along(project, engine, signal.SIGKILL)
        check_gone(project, engine)
    with OwnEngine(folder + "/b", options=["--live-restore"]) as engine:
        engine.copy_image("alpine:latest", source)
        check_unnoticed(project, engine, signal.SIGTERM, [])
        check_unnoticed(project, engine, signal.SIGKILL, [])
        check_unnoticed(project, engine, signal.SIGKILL, ["--settings", attach])
    tenon.check_nothing_left()


main()
