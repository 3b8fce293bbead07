#!/usr/bin/env python3
"""Chaos: `tenon run` with many small jobs while its processes are killed and stopped at random; then everything is
compared with what must have come of it. Prints the seed (--seed repeats the schedule), the faults given, the jobs checked."""

import argparse
import atexit
import collections
import hashlib
import os
import random
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import faults  # noqa: E402
import plan  # noqa: E402
import procs  # noqa: E402
import tenon  # noqa: E402

TERMINAL = {"succeeded", "failed", "canceled", "timed_out", "infrastructure_failure", "skipped", "not_run"}


class Checks:
    """Collects what is wrong instead of ending at the first."""

    def __init__(self):
        self.wrong = []

    def equal(self, actual, wanted, what):
        """Notes a difference."""
        if actual != wanted:
            self.wrong.append(f"{what}\n   is: {str(actual)[:600]!r}\n want: {str(wanted)[:600]!r}")

    def text(self, actual, wanted, what):
        """Notes where two long texts differ."""
        if actual == wanted:
            return
        got, want = actual.splitlines(), wanted.splitlines()
        at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
        doubled = sum(n - 1 for n in collections.Counter(got).values())
        self.wrong.append(f"{what}: {len(got)} lines, want {len(want)}; {len(set(want) - set(got))} missing, {doubled} "
                          f"doubled; first difference at line {at}: {got[at:at + 3]}, want {want[at:at + 3]}")


def check_jobs(checks, jobs, result):
    """States, steps, logs and artifacts of every job."""
    for job in jobs:
        entry = result.job(job.name)
        checks.equal(entry["state"], job.state, f"state of {job.name} ({entry.get('reason')})")
        checks.equal([task["index"] for task in entry["tasks"]], list(range(job.parallelism)), f"tasks of {job.name}")
        for task in entry["tasks"]:
            logs = {step["name"]: step.get("log") for step in task["steps"]}
            for step in job.steps:
                what = f"log of {job.name}.{task['index']}.{step.name}"
                if step.log is not None and not logs.get(step.name):
                    checks.wrong.append(f"{what}: there is none, only {logs}")
                elif step.log is not None:
                    checks.text(tenon.read(logs[step.name]), step.log, what)
        found = {}
        if entry.get("artifacts"):
            for name in tenon.files_below(entry["artifacts"]):
                with open(os.path.join(entry["artifacts"], name), "rb") as file:
                    found[name] = hashlib.sha256(file.read()).hexdigest()
        checks.equal(found, job.artifacts, f"artifacts of {job.name}")


def check_stream(checks, jobs, result):
    """What was printed while it ran: every byte of output once, every end once."""
    shown = collections.defaultdict(str)
    ends = collections.Counter()
    for event in result.events:
        if event["type"] == "output":
            shown[event["job"], event["index"], event["name"]] += event["text"]
        elif event["type"] == "job" and event.get("state") in TERMINAL:
            ends[event["job"]] += 1
    for job in jobs:
        checks.equal(ends[job.name], 1, f"terminal states of {job.name} that were printed")
        for index in range(job.parallelism):
            for step in job.steps:
                if step.log is not None:
                    checks.text(shown[job.name, index, step.name], step.log,
                                f"printed output of {job.name}.{index}.{step.name}")


def check_witness(checks, jobs, path):
    """Every command of every step ran exactly once."""
    wanted = {f"{job.name}.{index}.{step.name}" for job in jobs for index in range(job.parallelism) for step in job.steps}
    ran = collections.Counter(tenon.read(path).splitlines())
    checks.equal({name: count for name, count in ran.items() if count > 1}, {}, "commands that ran more than once")
    checks.equal(sorted(wanted - set(ran)), [], "commands that did not run")
    checks.equal(sorted(set(ran) - wanted), [], "commands that must not have run")


def check_left(checks, mark, runtime, state, pid):
    """Nothing is left: processes, sockets and folders of the run, mounts, cgroups."""
    def ours():
        return [pid for pid in procs.marked(mark) if procs.program(pid).startswith("tenon") or
                "WITNESS" in procs.read(pid, "environ")]

    procs.wait_for(lambda: not ours(), 3 * tenon.SLOW)
    checks.equal([procs.command(pid) for pid in ours()], [], "processes left")
    checks.equal(tenon.files_below(runtime), [], "files left in the run folder")
    checks.equal([f for f in os.listdir(os.path.join(runtime, "tenon"))] if os.path.isdir(runtime + "/tenon") else [],
                 [], "folders left in the run folder")
    jobs = [os.path.join(base, "jobs", name) for base, names, _ in os.walk(state) if "jobs" in names
            for name in os.listdir(os.path.join(base, "jobs")) if "." in name and name.replace(".", "").isdigit()]
    checks.equal(jobs, [], "environments left")
    checks.equal(procs.mounts_under(mark), [], "mounts left")
    groups = [base for base, _, _ in os.walk("/sys/fs/cgroup")
              if os.path.basename(base).startswith("tenon-") and base.endswith(f"-{pid}")]
    checks.equal(groups, [], "cgroups left")


def parse(arguments):
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="of the jobs and of the schedule; by default a new one")
    parser.add_argument("--tasks", type=int, default=60, help="how many tasks at least")
    parser.add_argument("--calm-after", type=float, metavar="S", help="no faults any more after so many seconds")
    parser.add_argument("--victim", action="append", choices=faults.VICTIMS, help="only this program")
    parser.add_argument("--timeout", type=float, default=100, help="seconds in which the run must end")
    parser.add_argument("--not-printed", action="store_true", help="do not check what the run printed meanwhile")
    parser.add_argument("-v", "--verbose", action="store_true", help="print every fault")
    return parser.parse_args(arguments)


def main(arguments):
    """One run; the exit status."""
    options = parse(arguments)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10 ** 6)
    print(f"chaos: seed {seed}", flush=True)
    rng = random.Random(seed)
    jobs = plan.make(rng, options.tasks)
    folder = tenon.project(config=plan.config(jobs))
    mark = os.environ.get("TENON_TEST_FOLDER") or tempfile.mkdtemp(prefix="chaos.")
    os.environ["TENON_TEST_FOLDER"] = mark
    # A job sees a /tmp of its own: the witness must lie elsewhere.
    witness = tenon.write(os.path.join(tempfile.mkdtemp(prefix="tenon-chaos.", dir="/dev/shm"), "witness"), "")
    atexit.register(shutil.rmtree, os.path.dirname(witness), ignore_errors=True)
    env = {name: os.environ.get(name) or tempfile.mkdtemp(dir=mark) for name in ("XDG_STATE_HOME", "XDG_RUNTIME_DIR")}
    command = ["run", "--json", "--env", f"WITNESS={witness}"]
    with tenon.Running(command, folder, env=env) as running:
        chaos = faults.Faults(random.Random(seed + 1), running.started_processes, tuple(options.victim or faults.VICTIMS),
                              options.calm_after)
        chaos.start()
        try:
            result = running.wait(options.timeout)
        finally:
            chaos.stop()
            if options.verbose or sys.exc_info()[0]:
                print("\n".join(chaos.log), flush=True)
    checks = Checks()
    checks.equal(result.code, 1, f"exit status {result.err[-2000:]}")  # some jobs fail, as they must
    check_jobs(checks, jobs, result)
    if not options.not_printed:
        check_stream(checks, jobs, result)
    check_witness(checks, jobs, witness)
    check_left(checks, mark, env["XDG_RUNTIME_DIR"], env["XDG_STATE_HOME"], running.child.pid)
    print(f"chaos: seed {seed}: {sum(chaos.given.values())} faults in {result.seconds:.0f} s: " +
          ", ".join(f"{count} {name}" for name, count in sorted(chaos.given.items())))
    print(f"chaos: {len(jobs)} jobs, {sum(job.parallelism for job in jobs)} tasks checked, {len(checks.wrong)} wrong")
    if checks.wrong:
        print("\n".join(chaos.log))
        print("\n".join(checks.wrong[:30]), file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
