#!/usr/bin/env python3
"""What tenond puts on each process before its first instruction, looked at in /proc by this test: with users of their own,
as root without them, and without root; `tenon status`; and what `security.require` refuses."""

import atexit
import glob
import json
import os
import shutil
import subprocess
import sys
import tempfile

import procs
from tenon import BUILD, SANITIZED, TENON, check, check_equal, check_in, project, skip, write

NAMES = ("bus", "scheduler", "compiler", "output", "docker", "machine")
FOLDER = os.path.join(os.environ["TENON_TEST_FOLDER"], "c")
CONFIG = """
version: 2.1
jobs:
  wait:
    machine: true
    steps:
      - run: for i in $(seq 1000); do [ -e ~/go ] && break; sleep 0.02; done
workflows:
  w:
    jobs: [wait]
"""


def users(with_ours):
    """Copies of /etc/passwd and /etc/group, with or without our users: {name: uid}."""
    ids = {}
    for kind, line in (("passwd", "tenon-{0}:x:{1}:{1}::/nonexistent:/usr/sbin/nologin"), ("group", "tenon-{0}:x:{1}:")):
        with open("/etc/" + kind, encoding="utf-8") as file:
            text = "".join(entry for entry in file if not entry.startswith("tenon-"))
        for number, name in enumerate(NAMES if with_ours else ()):
            ids[name] = 64100 + number
            text += line.format(name, ids[name]) + "\n"
        os.chmod(write(os.path.join(FOLDER, kind), text), 0o644)
    return ids


class Run:
    """A `tenon run` of a job that waits, in a mount namespace of its own with these users."""

    def __init__(self, name, with_users, uid=None, settings=None):
        self.folder = os.path.join(FOLDER, name)
        self.ids = users(with_users)
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}
        for key, part in (("HOME", "home"), ("XDG_STATE_HOME", "state"), ("TMPDIR", "tmp")):
            env[key] = os.path.join(self.folder, part)
            os.makedirs(env[key], 0o700)
        # Short: with a long one `tenon run` would take another folder.
        self.sockets = env["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="t.", dir="/tmp")
        atexit.register(shutil.rmtree, self.sockets, True)
        for key in ("ASAN_OPTIONS", "UBSAN_OPTIONS"):
            env[key] = os.environ.get(key, "")
        os.rename(project(config=CONFIG), self.folder + "/project")
        build = self.folder + "/build"  # the build may lie where only root may go
        os.mkdir(build)
        if uid is not None:
            subprocess.run(["chown", "-R", f"{uid}:{uid}", self.folder, self.sockets], check=True)
        self.tenon = build + "/tools/tenon"
        command = [self.tenon, "run", "--executor", "docker=machine"]
        if settings:
            command += ["--settings", write(self.folder + "/settings.yaml", settings)]
        become = f"setpriv --reuid {uid} --regid {uid} --clear-groups " if uid is not None else ""
        script = (f"mount --bind {FOLDER}/passwd /etc/passwd && mount --bind {FOLDER}/group /etc/group && "
                  f"mount --bind {BUILD} {build} && cd {self.folder}/project && exec {become}\"$@\"")
        self.env = env
        self.process = subprocess.Popen(["unshare", "-m", "sh", "-c", script, "sh", *command], env=env, text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def await_status(self):
        """The status once all are ready and the job waits."""
        def ready():
            found = glob.glob(self.sockets + "/tenon/*/status.json")
            if not found or not self.homes():
                return None
            self.run = os.path.dirname(found[0])
            with open(found[0], encoding="utf-8") as file:
                status = json.load(file)
            return status if all(p["state"] == "ready" for p in status["processes"]) else None
        check(procs.wait_for(lambda: ready() or self.process.poll() is not None, 30, 0.02), "nothing is ready")
        status = ready()
        check(status, "it ended: " + "".join(self.process.communicate()) if not status else "")
        return status

    def homes(self):
        """HOME of the job."""
        return glob.glob(self.folder + "/state/tenon/runs/*/machine/jobs/*/home")

    def end(self, code):
        """Lets the job end; its output."""
        for home in self.homes():
            write(home + "/go", "")
        out, err = self.process.communicate(timeout=60)
        check_equal(self.process.returncode, code, f"exit status of {self.folder}: {out}{err}")
        return out + err


def facts(pid):
    """/proc/PID/status as a dict."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return dict((name, value.split()) for name, _, value in (line.partition(":") for line in file))


def namespace(pid, kind):
    """Names the process's namespace."""
    return os.readlink(f"/proc/{pid}/ns/{kind}")


def applied(process):
    """{mechanism: applied} of a process in status.json."""
    return {item["mechanism"]: item["applied"] for item in process["mechanisms"]}


def check_process(run, status, process, uid):
    """What holds for each process, whoever started it."""
    name, pid = process["name"], process["pid"]
    own = name.removeprefix("executor-")
    seen = facts(pid)
    check_equal(seen["Uid"] + seen["Gid"], [str(uid)] * 8, f"user of {name}")
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        check_equal(int(seen[kind][0], 16), 0, f"{kind} of {name}")
    check_equal((seen["NoNewPrivs"], seen["Seccomp"]), (["1"], ["2"]), f"no_new_privs and filter of {name}")
    for kind in ("mnt", "ipc", "uts") + (() if own == "docker" else ("net",)):
        check(namespace(pid, kind) != namespace(status["tenond"]["pid"], kind), f"{name} shares tenond's {kind}")
    with open(f"/proc/{pid}/limits", encoding="utf-8") as file:
        limits = {line[:25].strip(): line[25:].split()[1] for line in file}
    check_equal((limits["Max core file size"], limits["Max locked memory"]), ("0", "0"), f"limits of {name}")
    # The root that it sees: others' folders are not there at all, nor is what else the host has.
    root = f"/proc/{pid}/root"
    for other in ("scheduler", "output", "docker", "machine"):
        check_equal(os.path.exists(f"{root}{run.run}/{other}"), other == own, f"{name} sees RUN/{other}")
        check_equal(os.path.exists(f"{root}{status['state']}/{other}"), other == own, f"{name} sees STATE/{other}")
    var = {"docker": [["run", "docker.sock"]]}.get(own, [])  # an engine's socket is awaited there
    check_equal([x for x in ("root", "home", "var", "sys", "boot", "opt") if os.path.exists(f"{root}/{x}")
                 and os.listdir(f"{root}/{x}")], ["var"] if var else [], f"what {name} sees of the host")
    check_equal([[*os.listdir(f"{root}/var"), *os.listdir(f"{root}/var/run")] for _ in var], var, "and of /var")
    check_equal(os.path.exists(f"{root}/etc/passwd"), name.startswith("executor-"), f"{name} sees /etc/passwd")
    if not SANITIZED:
        check_equal(os.path.exists(f"{root}/proc/1"), False, f"{name} sees other processes")
    lives = os.listdir(f"{root}{run.run}/bus")
    check(own == "bus" or len(lives) == 1, f"{name} sees the sockets {lives}")
    wanted = dict.fromkeys(("user", "capabilities", "no_new_privs", "limits", "mounts", "network", "ipc", "landlock",
                            "seccomp"), True)
    wanted["network"] = own != "docker"
    wanted["user"] = bool(run.ids)
    check_equal(applied(process), wanted, f"mechanisms of {name}")


def test_own_users():
    """Each process has its user; none can enter what is another's."""
    run = Run("u", True)
    status = run.await_status()
    for process in status["processes"]:
        check_process(run, status, process, run.ids[process["name"].removeprefix("executor-")])
    for path, mode, owner in ((run.run, 0o711, 0), (run.run + "/scheduler", 0o700, run.ids["scheduler"]),
                              (run.run + "/bus", 0o711, run.ids["bus"]), (run.run + "/data", 0o711, run.ids["output"]),
                              (status["state"] + "/scheduler", 0o700, run.ids["scheduler"]),
                              (status["store"] + "/output", 0o700, run.ids["output"])):
        info = os.stat(path)
        check_equal((oct(info.st_mode & 0o7777), info.st_uid), (oct(mode), owner), path)
    life = glob.glob(run.run + "/bus/0300.*")[0]
    info = os.stat(life)
    check_equal((oct(info.st_mode & 0o7777), info.st_uid, info.st_gid), ("0o2710", run.ids["bus"], run.ids["scheduler"]), life)
    # Without all that hides it, too: the folders' modes alone.
    for who, path in (("compiler", run.run + "/scheduler"), ("output", life), ("machine", status["state"] + "/scheduler")):
        for above in (run.run, FOLDER, run.folder, run.sockets, run.sockets + "/tenon"):
            os.chmod(above, 0o711)
        denied = subprocess.run(["setpriv", f"--reuid={run.ids[who]}", f"--regid={run.ids[who]}", "--clear-groups", "ls", path],
                                capture_output=True, text=True, check=False)
        check_in("Permission denied", denied.stderr, f"{who} lists {path}")
    shown = subprocess.run([TENON, "status", "--run", run.run], capture_output=True, text=True, check=False)
    check_equal((shown.returncode, shown.stderr), (0, ""), "tenon status")
    check_in(f"tenon-scheduler ({run.ids['scheduler']})", shown.stdout, "tenon status names the user")
    check_in("not wanted:  network: the host's, for engines", shown.stdout, "tenon status says what is not wanted")
    run.end(0)


def test_root_without_users():
    """No such users: root without any capability, and that is said."""
    run = Run("r", False)
    status = run.await_status()
    for process in status["processes"]:
        check_process(run, status, process, 0)
        why = [item["detail"] for item in process["mechanisms"] if item["mechanism"] == "user"]
        check_equal(why, [f"no user tenon-{process['name'].removeprefix('executor-')}; tools/users makes it"], "why not")
    run.end(0)
    gone = subprocess.run([TENON, "status", "--run", run.run], capture_output=True, text=True, check=False)
    check_equal((gone.returncode, gone.stderr), (3, f"tenon: no Tenon runs in {run.run}\n"), "status of what is gone")


def test_unprivileged():
    """Without root the same within a user namespace, but no users."""
    run = Run("n", True, uid=65534)
    status = run.await_status()
    if any(not applied(process)["mounts"] for process in status["processes"]):
        print("this host lets no user namespace be made: " + json.dumps(status["processes"][0]["mechanisms"]))
    else:
        run.ids = {}
        for process in status["processes"]:
            check_process(run, status, process, 65534)
    run.end(0)


def test_demands():
    """What an operator demands and cannot be had: nothing starts, and the reason is told."""
    run = Run("d", True, uid=65534, settings="security: {require: [seccomp, user]}\n")
    check_in("tenon: bus: confinement is too weak: user (only root can give a process another user) is required by "
             "security.require\n", run.end(3), "the reason")
    write(FOLDER + "/wrong.yaml", "security: {require: usr}\n")
    wrong = subprocess.run([TENON, "settings", FOLDER + "/wrong.yaml"], capture_output=True, text=True, check=False)
    check_equal(wrong.returncode, 2, "an unknown mechanism")
    check_in("`require` of `security` is `usr`, which is not allowed", wrong.stderr, "the diagnostic")


def main():
    if os.geteuid() != 0:
        skip("only root can start processes as other users")
    os.makedirs(FOLDER)
    os.chmod(os.environ["TENON_TEST_FOLDER"], 0o711)
    for name, test in sorted(globals().items()):
        if name.startswith("test_") and sys.argv[1:] in ([], [name]):
            test()


if __name__ == "__main__":
    main()
