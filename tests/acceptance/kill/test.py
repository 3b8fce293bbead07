# deadline: 400
"""Any process of ours may die: it is killed while a job prints a numbered line a millisecond. The job ends well, and
its log has every line exactly once."""

import signal

import procs
import tenon
from tenon import check, check_equal

LINES = 20000
CONFIG = """version: 2.1
jobs:
  on-host:
    machine: true
    steps:
      - checkout
      - run: {name: numbers, command: python3 numbers.py}
  in-docker:
    docker: [{image: "cimg/base:2025.05-20.04"}]
    steps:
      - checkout
      - run: {name: numbers, command: python3 numbers.py}
workflows:
  on-host: {jobs: [on-host]}
  in-docker: {jobs: [in-docker]}
"""
PROGRAM = f"""import sys, time
begin = time.monotonic()
for number in range({LINES}):
    time.sleep(max(0, begin + number / 1000 - time.monotonic()))
    print(f"line-{{number:06d}}", flush=True)
"""
WANTED = "".join(f"line-{number:06d}\n" for number in range(LINES))


def check_killed(folder, workflow, victim, docker):
    """Kills `victim` a quarter into the job and looks at the log afterwards."""
    with tenon.Running(["run", "--workflow", workflow, "--json"], folder, docker) as running:
        running.wait_output("line-005")
        pid = running.find(victim)
        procs.kill(pid, signal.SIGKILL)
        check(procs.wait_gone(pid, 5), f"{victim} is still there after SIGKILL")
        again = running.find(victim)
        check(again != pid, f"{victim} was not started again")
        result = running.wait(120).expect(0)
    check_equal(result.states(), {workflow: "succeeded"}, f"after the death of {victim}")
    log = result.log(workflow, "numbers")
    if log != WANTED:
        lines = log.splitlines()
        wanted = WANTED.splitlines()
        missing = sorted(set(wanted) - set(lines))
        first = next((i for i, (a, b) in enumerate(zip(lines, wanted)) if a != b), min(len(lines), len(wanted)))
        tenon.fail(f"after the death of {victim}: {len(lines)} lines, want {LINES}; {len(missing)} missing "
                   f"(first {missing[:3]}), {len(lines) - len(set(lines))} doubled; first difference at line "
                   f"{first}: {lines[first:first + 3]}")
    shown = "".join(event["text"] for event in result.of_type("output") if event.get("name") == "numbers")
    check_equal(len(shown), len(WANTED), f"bytes of output that were streamed around the death of {victim}")
    tenon.check_nothing_left(docker)


project = tenon.project(config=CONFIG, files={"numbers.py": PROGRAM})
for name in ("tenon-executor-machine", "tenon-bus", "tenon-output", "tenon-scheduler"):
    check_killed(project, "on-host", name, None)
check_killed(project, "in-docker", "tenon-executor-docker", tenon.docker_host())
