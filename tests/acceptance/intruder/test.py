# deadline: 120
"""A hostile job beside a victim whose context holds a secret: on this host and in Docker, started by root and by an ordinary
user. project/intruder.py tries; it finds nothing of the victim or of the installation and harms neither."""

import glob
import os
import re
import shutil
import subprocess
import tempfile

import secrets_kept as secrets
import tenon
from tenon import check, check_equal

USER = 65534
HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.geteuid() == 0
DOCKER = os.environ.get("TENON_TEST_DOCKER_HOST") if ROOT else None
SECRET = "of-the-victim-only"
LINES = 80


def job(environment, attacks):
    """A job of the config, hostile or not."""
    if attacks:
        command = "python3 intruder.py" + (" --unlink" if "docker" in environment else "")
    else:
        command = f'for i in $(seq {LINES}); do echo "line $i of ${{#VICTIM}}"; sleep 0.02; done'
    return f"""
    {environment}
    steps: [checkout, run: {{name: act, command: '{command}'}}]"""


def config(kinds):
    """Two jobs of each kind, all at once."""
    jobs, workflow = "", ""
    for kind, environment in kinds.items():
        for name in ("victim", "intruder"):
            jobs += f"\n  {kind}-{name}:" + job(environment, name == "intruder")
            workflow += f"\n      - {kind}-{name}" + (": {context: vault}" if name == "victim" else "")
    return f"version: 2.1\njobs:{jobs}\nworkflows:\n  all:\n    jobs:{workflow}\n"


def outcomes(result, name):
    """What the intruder printed, as {attempt: outcome}."""
    return dict(line.split(": ", 1) for line in result.log(name, "act").splitlines() if ": " in line)


def check_common(result, kind):
    """What holds in every environment."""
    victim = result.log(f"{kind}-victim", "act")
    check_equal(victim, "".join(f"line {i} of {len(SECRET)}\n" for i in range(1, LINES + 1)), f"{kind}: the victim's log")
    check(SECRET not in result.job_log(f"{kind}-intruder"), f"{kind}: the secret is in the intruder's log")
    found = outcomes(result, f"{kind}-intruder")
    want = {"inherited": "0 /dev/null, 1 pipe, 2 pipe", "variables": found["variables"], "agent": "1",
            "memory": "PermissionError", "environment": "PermissionError", "descriptors": "PermissionError",
            "SIGKILL": "done", "SIGSTOP": "done", "lives": "True", "processes with the secret": "0",
            "services that are seen": "0", "files with the secret": "[]", "sockets": "[]"}
    check_equal({name: found.get(name) for name in want}, want, f"{kind}: outcomes")
    check(set(found["variables"].split()) <= {"TENON_HALT_FILE", "TENON_PROGRAM"}, f"{kind}: {found['variables']}")
    check("all tried" in result.log(f"{kind}-intruder", "act"), f"{kind}: not all was tried")
    return found


def check_host(result):
    """On a host nothing of Tenon's is to be found."""
    found = check_common(result, "host")
    gone = "FileNotFoundError"
    for name in ("hello", "garbage"):
        check_equal(found[name], gone, f"host: {name}")
    check_equal(found["hello of a child that ends"], f"{{'{gone}'}}", "host: hello of a child")
    check_equal(found["a flood"], "0 answers", "host: a flood")


def check_docker(result):
    """In a container the socket is there, and root may remove it."""
    found = check_common(result, "docker")
    want = {"hello": "refused", "hello of a child that ends": "{'refused'}", "hello of another user": "refused",
            "garbage": "refused", "a flood": "0 answers", "beside the socket": "agent.sock bin", "program": "Read-only file system", "engines": "[]",
            "unlink": "done", "a socket in its place": "done"}
    check_equal({name: found[name] for name in want}, want, "docker: outcomes")


def check_run(kinds, folder, settings, user=None, env=None, program=tenon.TENON):
    """One `tenon run`: everybody's job ends as it should, and no service ended meanwhile."""
    state, run = folder + "/state", folder + "/run"
    env = dict(env or {}, XDG_STATE_HOME=state, XDG_RUNTIME_DIR=run)
    project = tenon.project(os.path.join(HERE, "project"), config(kinds))
    hunted = f"{state}:{run}:{os.environ['TENON_TEST_FOLDER']}"
    vault = tenon.write(folder + "/vault", f"VICTIM={SECRET}\n")
    path = tenon.write(folder + "/settings.yaml", settings)
    variables = tenon.write(folder + "/variables", f"HUNTED={hunted}\n")
    target = folder + "/project"
    shutil.copytree(project, target)
    for name in (state, run):
        os.mkdir(name, 0o700)
    if user is not None:
        subprocess.run(["chown", "-R", f"{user}:{user}", folder], check=True)
    arguments = ["run", "--settings", path, "--context", f"vault={vault}", "--env-file", variables, "--json"]
    with tenon.Running(arguments, target, DOCKER, env, user, program) as running:
        running.wait_output("line 1 of")
        secrets.check_processes([running.child.pid, *running.started_processes()], SECRET)
        result = running.wait(60).expect(0)
    secrets.check_files(state, SECRET)
    check_equal(set(result.states().values()), {"succeeded"}, f"states: {result}")
    for log in glob.glob(state + "/tenon/runs/*/tenon.log"):
        lines = [line for line in tenon.read(log).splitlines() if re.search(r"\(pid \d+\) .*(ended|killed)", line) or SECRET in line]
        check_equal(lines, [], "what the log says of services that ended, or of the secret")
    check_equal(tenon.files_below(run), [], "left in the run folder")
    return result


KILLER = """version: 2.1
jobs:
  killer:
    machine: true
    steps: [run: {name: act, command: "echo before; kill -9 $PPID; sleep 1000"}]
  bystander:
    machine: true
    steps: [run: {name: act, command: "for i in 1 2 3 4 5; do echo line $i; sleep 0.1; done"}]
workflows: {all: {jobs: [killer, bystander]}}
"""


def check_killer(folder):
    """Where there is no process id namespace a step of the agent's user can kill it: its own job ends by that, and says so."""
    path = tenon.write(folder + "/group.yaml", "machine: {enclosure: group}")
    result = tenon.run(["run", "--settings", path, "--json"], tenon.project(config=KILLER), timeout=60).expect(3)
    check_equal(result.job("killer")["reason"],
                "the environment is lost: the agent was killed by signal 9 (not tried again: its steps had begun)", "killer")
    check("Not apart from other jobs of this user" in result.log("killer", "Spin up environment"), "killer: first step")
    check_equal(result.states()["bystander"], "succeeded", "bystander")
    check_equal(result.log("bystander", "act"), "".join(f"line {i}\n" for i in range(1, 6)), "bystander: log")


def main():
    """Three runs."""
    # Not below /tmp, of which each job has one of its own: here only what is hidden is.
    shared = tempfile.mkdtemp(prefix="tenon-test.", dir="/dev/shm")
    os.chmod(shared, 0o711)
    host = {"host": "machine: true"}
    try:
        if ROOT:
            kinds = dict(host, docker="docker: [{image: 'python:3.13.6'}]\n    resource_class: small") if DOCKER else host
            first = check_run(kinds, tempfile.mkdtemp(dir=shared), "machine: {run_as: nobody}")
            check_host(first)
            if DOCKER:
                check_docker(first)
            env, program = tenon.build_for(USER, os.path.join(os.environ["TENON_TEST_FOLDER"], "user"))
            folder = tempfile.mkdtemp(dir=shared)
            check_host(check_run(host, folder, "store: {keep: {logs: 1d}}", USER, env, program))
        else:
            check_host(check_run(host, tempfile.mkdtemp(dir=shared), "store: {keep: {logs: 1d}}"))
        check_killer(shared)
        tenon.check_nothing_left(DOCKER)
    finally:
        shutil.rmtree(shared)


main()
